package postgres

import (
	"context"
	"database/sql"
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
		return newer(ctx, db, have, know)
	}
	if have == know {
		return nil
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring its tables from version %d to %d: %w", have, know, err)
	}
	// The tables say themselves who may still open them.
	if _, err := db.ExecContext(ctx, fmt.Sprintf("COMMENT ON TABLE goose_db_version IS '%s%d'", floorIs, floor)); err != nil {
		return fmt.Errorf("note who may open its tables: %w", err)
	}
	return nil
}

// floor is the newest migration of the release before this one, which lives
// with what came after it: during a rolling upgrade it may open the store once
// more, and going back to it works. Until there is a release before, it is
// this one's own newest.
const floor = 51

const floorIs = "opened by programs that know version "

// newer refuses tables that a newer program made, unless it wrote down that
// this one can live with them.
func newer(ctx context.Context, db *sql.DB, have, know int64) error {
	var text sql.NullString
	if err := db.QueryRowContext(ctx, "SELECT obj_description('goose_db_version'::regclass)").Scan(&text); err != nil {
		return fmt.Errorf("read who may open its tables: %w", err)
	}
	var least int64
	if _, err := fmt.Sscanf(text.String, floorIs+"%d", &least); err == nil && know >= least {
		return nil
	}
	return fmt.Errorf("its tables have version %d, this program knows up to %d: a newer version wrote it, and only that, a later one or the one just before may open it", have, know)
}
