package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

// One file per concern. A file that was released is never edited: a change is
// a new file, and only adds what the release before can live with.
//
//go:embed migrations
var migrations embed.FS

// migrate brings the tables of one file up to date.
func migrate(ctx context.Context, db *sql.DB, folder string) error {
	steps, err := stepsOf(folder)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, nil, goose.WithGoMigrations(steps...), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("load migrations %s: %w", folder, err)
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
	// The file says itself who may still open it.
	if _, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", floor[folder])); err != nil {
		return fmt.Errorf("note who may open its tables: %w", err)
	}
	return nil
}

// floor is, by folder, the newest migration of the release before this one,
// which lives with what came after it: going back to it works. Until there is
// a release before, it is this one's own newest.
var floor = map[string]int64{"main": 51, "search": 1}

// newer refuses tables that a newer program made, unless it wrote down that
// this one can live with them.
func newer(ctx context.Context, db *sql.DB, have, know int64) error {
	var least int64
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&least); err != nil {
		return fmt.Errorf("read who may open its tables: %w", err)
	}
	if least > 0 && know >= least {
		return nil
	}
	return fmt.Errorf("its tables have version %d, this program knows up to %d: a newer version wrote it, and only that, a later one or the one just before may open it", have, know)
}

// stepsOf reads the files of a folder. SQLite takes all statements of one at once;
// goose would take them apart first, in buffers of 4 MiB, which took longer
// than everything else about a new store.
func stepsOf(folder string) (out []*goose.Migration, err error) {
	names, err := fs.Glob(migrations, "migrations/"+folder+"/*.sql")
	if err != nil {
		return nil, fmt.Errorf("find migrations %s: %w", folder, err)
	}
	for _, name := range names {
		version, err := goose.NumericComponent(name)
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", name, err)
		}
		text, err := migrations.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		run := func(ctx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, string(text)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		}
		out = append(out, goose.NewGoMigration(version, &goose.GoFunc{RunTx: run}, nil))
	}
	return out, nil
}
