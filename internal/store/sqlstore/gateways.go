package sqlstore

import (
	"context"
	"fmt"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// Introduce says who the gateway with g.ID is. It beats from then on.
func (db *DB) Introduce(ctx context.Context, g store.Gateway, ev audit.Event) error {
	return db.change(ctx, "introduce gateway "+g.ID, ev, func(t *tx) error {
		beat := g.Beat
		g.Beat = time.Time{}
		text, err := encode(g)
		if err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO instances (id, beat, doc) VALUES (?, ?, ?)", g.ID, ns(beat), text)
		return err
	})
}

// Gateway returns what the gateway with that id said of itself.
func (db *DB) Gateway(ctx context.Context, id string) (store.Gateway, error) {
	return get(ctx, db.read, fmt.Sprintf("gateway %q", id), "SELECT id, beat, doc FROM instances WHERE id = ?", []any{id}, scanGateway)
}

// Gateways lists those that have beaten since a time, newest start first.
func (db *DB) Gateways(ctx context.Context, since time.Time) ([]store.Gateway, error) {
	return list(ctx, db.read, "list gateways", "SELECT id, beat, doc FROM instances WHERE beat >= ? ORDER BY beat DESC, id", []any{ns(since)}, scanGateway)
}

func scanGateway(r row) (store.Gateway, error) {
	var id, text string
	var beat int64
	if err := r.Scan(&id, &beat, &text); err != nil {
		return store.Gateway{}, err
	}
	g, err := decode[store.Gateway](text)
	g.ID, g.Beat = id, at(beat)
	return g, err
}

// Agree returns what the installation has on record under the name; if it has
// nothing, it records the value, with the event. Of several at once one
// records, and all get the same.
func (db *DB) Agree(ctx context.Context, name, value string, ev audit.Event) (recorded string, err error) {
	err = db.write(ctx, func(t *tx) error {
		n, err := t.exec("INSERT INTO installation (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", name, value)
		if err != nil {
			return err
		}
		if err := t.one([]any{&recorded}, "SELECT value FROM installation WHERE name = ?", name); err != nil || n == 0 {
			return err
		}
		_, err = t.append(ev)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("agree on %s: %w", name, err)
	}
	return recorded, nil
}

// Record replaces what the installation has on record under the name, if it is
// still old; store.ErrConflict otherwise.
func (db *DB) Record(ctx context.Context, name, old, value string, ev audit.Event) error {
	return db.change(ctx, "record "+name, ev, func(t *tx) error {
		return t.must("UPDATE installation SET value = ? WHERE name = ? AND value = ?", value, name, old)
	})
}

// Retire notes that the store goes on elsewhere, with no event: its log was
// copied as it is and must not grow here.
func (db *DB) Retire(ctx context.Context, where, when string) error {
	err := db.write(ctx, func(t *tx) error {
		_, err := t.exec("INSERT INTO installation (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", where, when)
		return err
	})
	if err != nil {
		return fmt.Errorf("mark the old store: %w", err)
	}
	return nil
}

// OnRecord returns what the installation has on record under the name;
// store.ErrNotFound if nothing.
func (db *DB) OnRecord(ctx context.Context, name string) (string, error) {
	return get(ctx, db.read, name, "SELECT value FROM installation WHERE name = ?", []any{name}, func(r row) (v string, err error) {
		return v, r.Scan(&v)
	})
}
