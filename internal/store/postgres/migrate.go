package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// The tables of package sqlite, under the same numbers, and the search index.
// A file that was released is never edited: a change is a new file, and only
// adds what the release before can live with.
//
//go:embed migrations
var migrations embed.FS

// migrate brings the tables up to date. Of gateways that start at once, one
// does it and the others wait.
func migrate(ctx context.Context, conf *pgx.ConnConfig) (err error) {
	conf = conf.Copy()
	limits(conf, 10*time.Minute)
	db := pool(conf, 2)
	defer func() { err = errors.Join(err, db.Close()) }()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("find migrations: %w", err)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 600), lock.WithUnlockTimeout(1, 5))
	if err != nil {
		return fmt.Errorf("load migrations: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker))
	if err != nil {
		return fmt.Errorf("load migrations: %w", err)
	}
	have, know, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the version of its tables: %w", err)
	}
	if have > know {
		return fmt.Errorf("its tables have version %d, this program knows up to %d: a newer version wrote it, and only that or a later one may open it", have, know)
	}
	if have == know {
		return nil
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring its tables from version %d to %d: %w", have, know, err)
	}
	return nil
}
