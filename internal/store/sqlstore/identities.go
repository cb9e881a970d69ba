package sqlstore

import (
	"context"
	"fmt"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// UserByUserName finds the user whom the SCIM client calls that, in lower case.
func (db *DB) UserByUserName(ctx context.Context, userName string) (identity.User, error) {
	if userName == "" {
		return identity.User{}, fmt.Errorf("user without a user name: %w", store.ErrNotFound)
	}
	return get(ctx, db.read, fmt.Sprintf("user with user name %q", userName), userColumns+" WHERE u.user_name = ? AND u.user_name <> ''", []any{userName}, scanUser)
}

const scimGroupColumns = "SELECT id, name, external_id, created_at, updated_at, version FROM scim_groups"

func scanSCIMGroup(r row) (g store.SCIMGroup, err error) {
	var created, updated int64
	err = r.Scan(&g.ID, &g.Name, &g.ExternalID, &created, &updated, &g.Version)
	g.CreatedAt, g.UpdatedAt = at(created), at(updated)
	return g, err
}

// CreateSCIMGroup keeps a new group, with version 1; store.ErrExists if the name or id is taken.
func (db *DB) CreateSCIMGroup(ctx context.Context, g store.SCIMGroup, ev audit.Event) error {
	return db.change(ctx, fmt.Sprintf("add group %q", g.Name), ev, func(t *tx) error {
		_, err := t.exec("INSERT INTO scim_groups (id, name, external_id, created_at, updated_at, version) VALUES (?, ?, ?, ?, ?, 1)",
			g.ID, g.Name, g.ExternalID, ns(g.CreatedAt), ns(g.UpdatedAt))
		return err
	})
}

// SCIMGroup returns a group.
func (db *DB) SCIMGroup(ctx context.Context, id string) (store.SCIMGroup, error) {
	return get(ctx, db.read, fmt.Sprintf("group %q", id), scimGroupColumns+" WHERE id = ?", []any{id}, scanSCIMGroup)
}

// SCIMGroups lists all, by name.
func (db *DB) SCIMGroups(ctx context.Context) ([]store.SCIMGroup, error) {
	return list(ctx, db.read, "list groups", scimGroupColumns+" ORDER BY name", nil, scanSCIMGroup)
}

// UpdateSCIMGroup is conditional on g.Version and increments it: store.ErrConflict.
func (db *DB) UpdateSCIMGroup(ctx context.Context, g store.SCIMGroup, ev audit.Event) error {
	return db.change(ctx, fmt.Sprintf("update group %q", g.Name), ev, func(t *tx) error {
		n, err := t.exec("UPDATE scim_groups SET name = ?, external_id = ?, updated_at = ?, version = version + 1 WHERE id = ? AND version = ?",
			g.Name, g.ExternalID, ns(g.UpdatedAt), g.ID, g.Version)
		if err != nil || n > 0 {
			return err
		}
		return t.lost("SELECT 1 FROM scim_groups WHERE id = ?", g.ID)
	})
}

// DeleteSCIMGroup forgets a group: of two at once, one finds it.
func (db *DB) DeleteSCIMGroup(ctx context.Context, id string, ev audit.Event) error {
	return db.change(ctx, "remove a group", ev, func(t *tx) error {
		return t.found("DELETE FROM scim_groups WHERE id = ?", id)
	})
}

// UseOnce takes a key that is good for one use until a time, and forgets those
// whose time is over: store.ErrConflict if it was used, or its time is over.
func (db *DB) UseOnce(ctx context.Context, key string, until, now time.Time, ev audit.Event) error {
	return db.change(ctx, "use once", ev, func(t *tx) error {
		if !now.Before(until) {
			return store.ErrConflict
		}
		if _, err := t.exec("DELETE FROM once WHERE until <= ?", ns(now)); err != nil {
			return err
		}
		n, err := t.exec("INSERT INTO once (key, until) VALUES (?, ?) ON CONFLICT (key) DO NOTHING", key, ns(until))
		if err == nil && n == 0 {
			err = store.ErrConflict
		}
		return err
	})
}
