package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Snapshot writes a consistent copy of the store at path, which may be open
// and written to meanwhile, into the file at to, which must not be there. It
// waits for nobody and nobody waits for it: it reads one state of the store,
// as every reader does. The search index is not part of it.
func Snapshot(ctx context.Context, path, to string) (err error) {
	if _, err := os.Stat(to); err == nil {
		return fmt.Errorf("copy store %s: %s is there already", path, to)
	}
	if err := touchPrivate(to); err != nil {
		return fmt.Errorf("copy store %s: %w", path, err)
	}
	db, err := connect(ctx, path, "FULL", 1, false)
	if err != nil {
		return fmt.Errorf("copy store %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
		return fmt.Errorf("copy store %s: %w", path, err)
	}
	return nil
}
