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
	files, err := fs.Sub(migrations, "migrations/"+folder)
	if err != nil {
		return fmt.Errorf("find migrations %s: %w", folder, err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		return fmt.Errorf("load migrations %s: %w", folder, err)
	}
	have, know, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the version of its tables: %w", err)
	}
	if have > know {
		return fmt.Errorf("its tables have version %d, this program knows up to %d: a newer version wrote it, and only that or a later one may open it", have, know)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring its tables from version %d to %d: %w", have, know, err)
	}
	return nil
}
