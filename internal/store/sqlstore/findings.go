package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// RaiseFinding keeps a finding; store.ErrExists if its ID is there.
func (db *DB) RaiseFinding(ctx context.Context, f store.Finding, ev audit.Event) error {
	return db.change(ctx, "keep finding "+f.ID, ev, func(t *tx) error {
		text, err := encode(f)
		if err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO findings (id, code, user_id, request_id, raised_at, acked_at, doc) VALUES (?, ?, ?, ?, ?, ?, ?)",
			f.ID, f.Code, f.UserID, f.Request, ns(f.RaisedAt), ns(f.AckedAt), text)
		return err
	})
}

// Finding returns one finding.
func (db *DB) Finding(ctx context.Context, id string) (store.Finding, error) {
	return get(ctx, db.read, fmt.Sprintf("finding %q", id), "SELECT doc FROM findings WHERE id = ?", []any{id}, doc[store.Finding])
}

// Findings lists findings, newest first.
func (db *DB) Findings(ctx context.Context, f store.FindingFilter) ([]store.Finding, error) {
	var w where
	w.is("code", f.Code)
	w.is("user_id", f.UserID)
	if f.Request != "" {
		w.add("request_id = ? AND request_id <> ''", f.Request) // the second so that the partial index is used
	}
	if f.Open {
		w.add("acked_at = 0")
	}
	if !f.Since.IsZero() {
		w.add("raised_at >= ?", ns(f.Since))
	}
	return list(ctx, db.read, "list findings", "SELECT doc FROM findings"+w.String()+" ORDER BY raised_at DESC, rowid DESC LIMIT ?", append(w.args, limit(f.Limit)), doc[store.Finding])
}

// AckFinding notes who looked at a finding; store.ErrConflict if somebody has.
func (db *DB) AckFinding(ctx context.Context, id, by, note string, when time.Time, ev audit.Event) error {
	return db.change(ctx, "acknowledge finding "+id, ev, func(t *tx) error {
		var text string
		if err := t.one([]any{&text}, "SELECT doc FROM findings WHERE id = ?", id); err != nil {
			return err
		}
		f, err := decode[store.Finding](text)
		switch {
		case err != nil:
			return err
		case !f.AckedAt.IsZero():
			return store.ErrConflict
		}
		f.AckedBy, f.AckNote, f.AckedAt = by, note, when
		if text, err = encode(f); err != nil {
			return err
		}
		return t.must("UPDATE findings SET acked_at = ?, doc = ? WHERE id = ? AND acked_at = 0", ns(when), text, id)
	})
}

// CreateAdminAct keeps what waits for a second administrator.
func (db *DB) CreateAdminAct(ctx context.Context, a store.AdminAct, ev audit.Event) error {
	return db.change(ctx, "ask a second administrator", ev, func(t *tx) error {
		a.State = store.ActWaiting
		text, err := encode(a)
		if err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO admin_acts (id, state, created_at, expires_at, doc) VALUES (?, ?, ?, ?, ?)", a.ID, string(a.State), ns(a.CreatedAt), ns(a.ExpiresAt), text)
		return err
	})
}

// AdminAct returns one act.
func (db *DB) AdminAct(ctx context.Context, id string) (store.AdminAct, error) {
	return get(ctx, db.read, fmt.Sprintf("administrator's act %q", id), "SELECT doc FROM admin_acts WHERE id = ?", []any{id}, doc[store.AdminAct])
}

// AdminActs lists acts, newest first; an empty state lists all.
func (db *DB) AdminActs(ctx context.Context, state store.ActState, n int) ([]store.AdminAct, error) {
	var w where
	w.is("state", string(state))
	return list(ctx, db.read, "list administrators' acts", "SELECT doc FROM admin_acts"+w.String()+" ORDER BY created_at DESC, rowid DESC LIMIT ?", append(w.args, limit(n)), doc[store.AdminAct])
}

// DecideAdminAct ends the waiting of an act: a.ID, a.State, a.DecidedBy,
// a.DecidedAt and a.Note count. Of two at once, one wins; an act that has
// expired by DecidedAt can only become expired. store.ErrConflict otherwise.
func (db *DB) DecideAdminAct(ctx context.Context, a store.AdminAct, ev audit.Event) error {
	return db.change(ctx, "decide an administrator's act", ev, func(t *tx) error {
		var text string
		if err := t.one([]any{&text}, "SELECT doc FROM admin_acts WHERE id = ?", a.ID); err != nil {
			return err
		}
		old, err := decode[store.AdminAct](text)
		switch {
		case err != nil:
			return err
		case a.State == store.ActWaiting || a.State == "":
			return errors.New("a decision is needed")
		case old.State != store.ActWaiting,
			a.State != store.ActExpired && !a.DecidedAt.Before(old.ExpiresAt):
			return store.ErrConflict
		}
		old.State, old.DecidedBy, old.DecidedAt, old.Note = a.State, a.DecidedBy, a.DecidedAt, a.Note
		if text, err = encode(old); err != nil {
			return err
		}
		return t.must("UPDATE admin_acts SET state = ?, doc = ? WHERE id = ? AND state = 'waiting'", string(old.State), text, a.ID)
	})
}
