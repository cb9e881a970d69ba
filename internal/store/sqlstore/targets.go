package sqlstore

import (
	"context"
	"fmt"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/inventory"
)

// StoredTargets implements inventory.Store, by name.
func (db *DB) StoredTargets(ctx context.Context) ([]inventory.Target, error) {
	return list(ctx, db.read, "list stored targets", "SELECT doc FROM targets ORDER BY name", nil, doc[inventory.Target])
}

// PutTarget implements inventory.Store: it adds or replaces.
func (db *DB) PutTarget(ctx context.Context, target inventory.Target, ev audit.Event) error {
	return db.change(ctx, fmt.Sprintf("keep target %q", target.Name), ev, func(t *tx) error {
		text, err := encode(target)
		if err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO targets (name, doc) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET doc = excluded.doc", target.Name, text)
		return err
	})
}

// DeleteTarget implements inventory.Store.
func (db *DB) DeleteTarget(ctx context.Context, name string, ev audit.Event) error {
	return db.change(ctx, fmt.Sprintf("remove target %q", name), ev, func(t *tx) error {
		return t.found("DELETE FROM targets WHERE name = ?", name)
	})
}
