package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
	"jit-gateway/session"
)

// BeginSession implements session.Store.
func (db *DB) BeginSession(ctx context.Context, r session.Row, ev audit.Event) error {
	return db.change(ctx, "begin session "+r.ID, ev, func(t *tx) error {
		if err := t.room(r); err != nil {
			return err
		}
		text, err := encode(r)
		if err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO sessions (id, grant_id, user_id, target, gateway, state, cause, started_at, ended_at, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			r.ID, r.GrantID, r.UserID, r.Target, r.Gateway, string(r.State), r.Cause, ns(r.StartedAt), ns(r.EndedAt), text)
		return err
	})
}

// room looks whether the user may have one more session under the rule. Rules
// lie in the documents, and few sessions of a user are open.
func (t *tx) room(r session.Row) error {
	if r.Most <= 0 {
		return nil
	}
	docs, err := t.all("SELECT doc FROM sessions WHERE user_id = ? AND state = 'open'", r.UserID)
	if err != nil {
		return err
	}
	n := 0
	for _, text := range docs {
		other, err := decode[session.Row](text)
		if err != nil {
			return err
		}
		if other.Rule == r.Rule {
			n++
		}
	}
	if n >= r.Most {
		return store.ErrConflict
	}
	return nil
}

// EndSession implements session.Store: of two at once, one wins.
func (db *DB) EndSession(ctx context.Context, e session.End) error {
	return db.change(ctx, "end session "+e.Row.ID, e.Event, func(t *tx) error {
		if err := t.closeSession(e.Row); err != nil {
			return err
		}
		for _, d := range e.Dead {
			switch n, err := t.exec(credentialDead, ns(d.At), d.Credential); {
			case err != nil:
				return err
			case n == 0:
				continue // another gateway was faster, and told it
			}
			if _, err := t.append(d.Event); err != nil {
				return err
			}
		}
		for _, leaf := range e.Leaves {
			if _, err := t.append(leaf); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) closeSession(r session.Row) error {
	var text string
	if err := t.one([]any{&text}, "SELECT doc FROM sessions WHERE id = ?", r.ID); err != nil {
		return err
	}
	old, err := decode[session.Row](text)
	switch {
	case err != nil:
		return err
	case old.State != session.Open:
		return store.ErrConflict
	case r.State == session.Open:
		return errors.New("a session that ends cannot be open")
	}
	// Who used what, and where, was written at the beginning.
	r.GrantID, r.RequestID, r.UserID, r.User = old.GrantID, old.RequestID, old.UserID, old.User
	r.Target, r.Login, r.Protocol, r.Source = old.Target, old.Login, old.Protocol, old.Source
	r.Gateway, r.StartedAt = old.Gateway, old.StartedAt
	if text, err = encode(r); err != nil {
		return err
	}
	return t.must("UPDATE sessions SET state = ?, cause = ?, ended_at = ?, doc = ? WHERE id = ? AND state = 'open'", string(r.State), r.Cause, ns(r.EndedAt), text, r.ID)
}

// Session implements session.Store.
func (db *DB) Session(ctx context.Context, id string) (session.Row, error) {
	return get(ctx, db.read, fmt.Sprintf("session %q", id), "SELECT doc FROM sessions WHERE id = ?", []any{id}, doc[session.Row])
}

// ListSessions implements session.Store.
func (db *DB) ListSessions(ctx context.Context, f session.Filter) ([]session.Row, error) {
	var w where
	w.is("user_id", f.UserID)
	w.is("target", f.Target)
	w.is("grant_id", f.GrantID)
	w.is("state", string(f.State))
	if f.State == session.Open {
		w.add("state = 'open'") // a literal, so that the partial index is used
	}
	w.is("gateway", f.Gateway)
	w.is("cause", f.Cause)
	if !f.Since.IsZero() {
		w.add("started_at >= ?", ns(f.Since))
	}
	if !f.Until.IsZero() {
		w.add("started_at < ?", ns(f.Until))
	}
	if f.Flag != "" { // the last member of the document; in strings, quotes are escaped
		w.add("doc LIKE ?", `%"flags":[%"`+f.Flag+`"%]}`)
	}
	if f.Before != "" {
		w.add("(started_at, rowid) < (SELECT b.started_at, b.rowid FROM sessions b WHERE b.id = ?)", f.Before)
	}
	return list(ctx, db.read, "list sessions", "SELECT doc FROM sessions"+w.String()+" ORDER BY started_at DESC, rowid DESC LIMIT ?", append(w.args, limit(f.Limit)), doc[session.Row])
}

// OpenSessions counts the sessions that are open under a grant.
func (db *DB) OpenSessions(ctx context.Context, grantID string) (int, error) {
	return get(ctx, db.read, "count open sessions", "SELECT count(*) FROM sessions WHERE grant_id = ? AND state = 'open'", []any{grantID}, func(r row) (n int, err error) {
		return n, r.Scan(&n)
	})
}

// Beat implements session.Instances.
func (db *DB) Beat(ctx context.Context, instance string, when time.Time) error {
	err := db.write(ctx, func(t *tx) error {
		_, err := t.exec(`INSERT INTO instances (id, beat) VALUES (?, ?) ON CONFLICT (id)
			DO UPDATE SET beat = CASE WHEN instances.beat < excluded.beat THEN excluded.beat ELSE instances.beat END`, instance, ns(when))
		return err
	})
	if err != nil {
		return fmt.Errorf("say that gateway %s is alive: %w", instance, err)
	}
	return nil
}

// DeadInstances implements session.Instances. An instance that never beat is dead.
func (db *DB) DeadInstances(ctx context.Context, before time.Time) ([]string, error) {
	return list(ctx, db.read, "list dead gateways", `
		SELECT s.gateway FROM (
			SELECT gateway FROM sessions WHERE state = 'open'
			UNION
			SELECT s.gateway FROM credentials c JOIN sessions s ON s.id = c.session_id WHERE c.dead_at = 0
		) s LEFT JOIN instances i ON i.id = s.gateway
		WHERE coalesce(i.beat, 0) < ? ORDER BY s.gateway`, []any{ns(before)}, func(r row) (id string, err error) {
		return id, r.Scan(&id)
	})
}
