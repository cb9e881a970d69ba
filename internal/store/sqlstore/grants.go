package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

func (t *tx) createGrant(g approval.Grant) error {
	g.Version = 1
	text, err := encode(g)
	if err != nil {
		return err
	}
	if _, err := t.exec("INSERT INTO grants (id, request_id, user_id, state, approved_at, activated_at, start_at, end_at, version, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		g.ID, g.RequestID, g.UserID, string(g.State), ns(g.ApprovedAt), ns(g.ActivatedAt), ns(g.Start), ns(g.End), g.Version, text); err != nil {
		return fmt.Errorf("keep grant %s: %w", g.ID, err)
	}
	for _, target := range g.Targets {
		if _, err := t.exec("INSERT INTO grant_targets (grant_id, target) VALUES (?, ?)", g.ID, target); err != nil {
			return fmt.Errorf("keep grant %s: %w", g.ID, err)
		}
	}
	return nil
}

// Grant implements approval.Grants.
func (db *DB) Grant(ctx context.Context, id string) (approval.Grant, error) {
	return get(ctx, db.read, fmt.Sprintf("grant %q", id), "SELECT doc FROM grants WHERE id = ?", []any{id}, doc[approval.Grant])
}

// ListGrants implements approval.Grants.
func (db *DB) ListGrants(ctx context.Context, f approval.GrantFilter) ([]approval.Grant, error) {
	var w where
	w.is("user_id", f.UserID)
	in(&w, "state", f.States)
	if len(f.States) > 0 && !slices.Contains(f.States, approval.Ended) {
		w.add("state <> 'ended'") // so that the partial index is used
	}
	if f.Target != "" {
		w.add("id IN (SELECT grant_id FROM grant_targets WHERE target = ?)", f.Target)
	}
	if !f.Since.IsZero() {
		w.add("approved_at >= ?", ns(f.Since))
	}
	return list(ctx, db.read, "list grants", "SELECT doc FROM grants"+w.String()+" ORDER BY approved_at DESC, rowid DESC LIMIT ?", append(w.args, limit(f.Limit)), doc[approval.Grant])
}

// UpdateGrant implements approval.Grants.
func (db *DB) UpdateGrant(ctx context.Context, g approval.Grant, ev audit.Event) error {
	return db.change(ctx, "update grant "+g.ID, ev, func(t *tx) error { return t.updateGrant(g) })
}

func (t *tx) updateGrant(g approval.Grant) error {
	var text string
	if err := t.one([]any{&text}, "SELECT doc FROM grants WHERE id = ?", g.ID); err != nil {
		return err
	}
	old, err := decode[approval.Grant](text)
	switch {
	case err != nil:
		return err
	case old.Version != g.Version:
		return store.ErrConflict
	case old.Digest() != g.Digest() || old.Hash != g.Hash:
		return errors.New("what was approved cannot be changed")
	case old.State == approval.Ended && g.State != approval.Ended:
		return errors.New("a grant that ended cannot be opened again")
	}
	g.Version++
	if text, err = encode(g); err != nil {
		return err
	}
	return t.must("UPDATE grants SET state = ?, activated_at = ?, start_at = ?, end_at = ?, version = ?, doc = ? WHERE id = ? AND version = ?",
		string(g.State), ns(g.ActivatedAt), ns(g.Start), ns(g.End), g.Version, text, g.ID, old.Version)
}
