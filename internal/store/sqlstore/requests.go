package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// CreateRequest implements approval.Requests.
func (db *DB) CreateRequest(ctx context.Context, r approval.Request, ev audit.Event) error {
	return db.change(ctx, "file request "+r.ID, ev, func(t *tx) error {
		r.Version = 1
		text, err := encode(r)
		if err != nil {
			return err
		}
		if _, err := t.exec("INSERT INTO requests (id, user_id, state, filed_at, expires_at, version, doc) VALUES (?, ?, ?, ?, ?, ?, ?)",
			r.ID, r.UserID, string(r.State), ns(r.FiledAt), ns(r.ExpiresAt), r.Version, text); err != nil {
			return err
		}
		for _, target := range r.Targets {
			if _, err := t.exec("INSERT INTO request_targets (request_id, target) VALUES (?, ?)", r.ID, target); err != nil {
				return err
			}
		}
		return nil
	})
}

// Request implements approval.Requests.
func (db *DB) Request(ctx context.Context, id string) (approval.Request, error) {
	return get(ctx, db.read, fmt.Sprintf("request %q", id), "SELECT doc FROM requests WHERE id = ?", []any{id}, doc[approval.Request])
}

// ListRequests implements approval.Requests.
func (db *DB) ListRequests(ctx context.Context, f approval.RequestFilter) ([]approval.Request, error) {
	var w where
	w.is("user_id", f.UserID)
	w.is("state", string(f.State))
	if f.State == approval.Pending {
		w.add("state = 'pending'") // a literal, so that the partial index is used
	}
	if f.Target != "" {
		w.add("id IN (SELECT request_id FROM request_targets WHERE target = ?)", f.Target)
	}
	if !f.Since.IsZero() {
		w.add("filed_at >= ?", ns(f.Since))
	}
	return list(ctx, db.read, "list requests", "SELECT doc FROM requests"+w.String()+" ORDER BY filed_at DESC, rowid DESC LIMIT ?", append(w.args, limit(f.Limit)), doc[approval.Request])
}

// UpdateRequest implements approval.Requests.
func (db *DB) UpdateRequest(ctx context.Context, r approval.Request, g *approval.Grant, ev audit.Event) error {
	return db.change(ctx, "update request "+r.ID, ev, func(t *tx) error {
		var text string
		if err := t.one([]any{&text}, "SELECT doc FROM requests WHERE id = ?", r.ID); err != nil {
			return err
		}
		old, err := decode[approval.Request](text)
		switch {
		case err != nil:
			return err
		case old.Version != r.Version || old.State != approval.Pending:
			return store.ErrConflict
		case old.Digest() != r.Digest():
			return errors.New("what was filed cannot be changed")
		}
		r.Version++
		if text, err = encode(r); err != nil {
			return err
		}
		if err := t.must("UPDATE requests SET state = ?, version = ?, doc = ? WHERE id = ? AND version = ? AND state = 'pending'",
			string(r.State), r.Version, text, r.ID, old.Version); err != nil {
			return err
		}
		if err := t.votes(r); err != nil {
			return err
		}
		if g == nil {
			return nil
		}
		return t.createGrant(*g)
	})
}

// votes rewrites what is searched of a request's votes.
func (t *tx) votes(r approval.Request) error {
	if _, err := t.exec("DELETE FROM request_votes WHERE request_id = ?", r.ID); err != nil {
		return err
	}
	for _, v := range r.Votes {
		if _, err := t.exec("INSERT INTO request_votes (request_id, user_id, filed_at, at) VALUES (?, ?, ?, ?)", r.ID, v.UserID, ns(r.FiledAt), ns(v.At)); err != nil {
			return err
		}
	}
	return nil
}
