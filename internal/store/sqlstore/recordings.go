package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
	"jit-gateway/session"
)

// AddRecording keeps what is known of a sealed recording. It follows from an
// event that is in the log already, so it has none of its own; a second one
// of the same session changes nothing.
func (db *DB) AddRecording(ctx context.Context, r store.Recording) error {
	if r.Hold != nil || r.Object != nil || r.Deletion != nil {
		return errors.New("a recording begins without hold, object and deletion")
	}
	text, err := encode(r)
	if err != nil {
		return err
	}
	err = db.write(ctx, func(t *tx) error {
		_, err := t.exec(`INSERT INTO recordings (session, sealed_at, retain_until, held, stored_at, object_held, ordered_at, done_at, doc)
			VALUES (?, ?, ?, 0, 0, 0, 0, 0, ?) ON CONFLICT (session) DO NOTHING`, r.Session, ns(r.SealedAt), ns(r.RetainUntil), text)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep recording %s: %w", r.Session, err)
	}
	return nil
}

// Recording returns one.
func (db *DB) Recording(ctx context.Context, session string) (store.Recording, error) {
	return get(ctx, db.read, fmt.Sprintf("recording %q", session), "SELECT doc FROM recordings WHERE session = ?", []any{session}, doc[store.Recording])
}

// Recordings lists recordings, oldest seal first.
func (db *DB) Recordings(ctx context.Context, f store.RecordingFilter) ([]store.Recording, error) {
	var w where
	if f.Local {
		w.add("stored_at = 0 AND ordered_at = 0")
	}
	if !f.Due.IsZero() {
		w.add("retain_until > 0 AND retain_until < ? AND held = 0 AND ordered_at = 0", ns(f.Due))
	}
	if f.Held {
		w.add("held = 1")
	}
	if f.Ordered {
		w.add("ordered_at > 0 AND done_at = 0")
	}
	if f.Unequal {
		w.add("stored_at > 0 AND held <> object_held AND ordered_at = 0")
	}
	if f.Present {
		w.add("ordered_at = 0")
	}
	if f.Deleted {
		w.add("ordered_at > 0")
	}
	if f.After != "" {
		w.add("(sealed_at, session) > (SELECT sealed_at, session FROM recordings WHERE session = ?)", f.After)
	}
	return list(ctx, db.read, "list recordings", "SELECT doc FROM recordings"+w.String()+" ORDER BY sealed_at, session LIMIT ?", append(w.args, limit(f.Limit)), doc[store.Recording])
}

// changeRecording reads a row, lets fn change it, and writes it back. Without
// an event is only what carries out a decision that has one.
func (db *DB) changeRecording(ctx context.Context, what, id string, ev *audit.Event, fn func(*store.Recording) error) error {
	err := db.write(ctx, func(t *tx) error {
		var text string
		if err := t.one([]any{&text}, "SELECT doc FROM recordings WHERE session = ?", id); err != nil {
			return err
		}
		r, err := decode[store.Recording](text)
		if err != nil {
			return err
		}
		if err := fn(&r); err != nil {
			return err
		}
		if text, err = encode(r); err != nil {
			return err
		}
		var stored, ordered, done time.Time
		held, objectHeld := number(r.Hold != nil), 0
		if r.Object != nil {
			stored, objectHeld = r.Object.StoredAt, number(r.Object.Held)
		}
		if r.Deletion != nil {
			ordered, done = r.Deletion.OrderedAt, r.Deletion.DoneAt
		}
		if err := t.found("UPDATE recordings SET retain_until = ?, held = ?, stored_at = ?, object_held = ?, ordered_at = ?, done_at = ?, doc = ? WHERE session = ?",
			ns(r.RetainUntil), held, ns(stored), objectHeld, ns(ordered), ns(done), text, id); err != nil {
			return err
		}
		if err := t.flag(id, r); err != nil {
			return err
		}
		if ev == nil {
			return nil
		}
		_, err = t.append(*ev)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, id, err)
	}
	return nil
}

// flag lets lists of sessions show that a recording is held, or deleted.
func (t *tx) flag(id string, r store.Recording) error {
	var text string
	if err := t.one([]any{&text}, "SELECT doc FROM sessions WHERE id = ?", id); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return nil // a recording can outlive the row of its session
		}
		return err
	}
	row, err := decode[session.Row](text)
	if err != nil {
		return err
	}
	was := strings.Join(row.Flags, " ")
	for name, on := range map[string]bool{session.FlagHeld: r.Hold != nil, session.FlagRecordingDeleted: r.Deletion != nil} {
		row.Flags = slices.DeleteFunc(row.Flags, func(f string) bool { return f == name })
		if on {
			row.Flags = append(row.Flags, name)
		}
	}
	slices.Sort(row.Flags)
	if strings.Join(row.Flags, " ") == was {
		return nil
	}
	if text, err = encode(row); err != nil {
		return err
	}
	return t.found("UPDATE sessions SET doc = ? WHERE id = ?", text, id)
}

// number is how both databases keep a yes or no.
func number(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// HoldRecording puts a legal hold on a recording. Of a hold and a deletion at
// once, one wins: store.ErrConflict if it is held or its deletion is ordered.
func (db *DB) HoldRecording(ctx context.Context, session string, h store.Hold, ev audit.Event) error {
	return db.changeRecording(ctx, "hold recording", session, &ev, func(r *store.Recording) error {
		if r.Hold != nil || r.Deletion != nil {
			return store.ErrConflict
		}
		r.Hold = &h
		return nil
	})
}

// ReleaseRecording ends a legal hold; store.ErrConflict if there is none.
func (db *DB) ReleaseRecording(ctx context.Context, session string, ev audit.Event) error {
	return db.changeRecording(ctx, "release recording", session, &ev, func(r *store.Recording) error {
		if r.Hold == nil {
			return store.ErrConflict
		}
		r.Hold = nil
		return nil
	})
}

// StoreRecording notes a verified copy in the object store; store.ErrConflict
// if there is one, or deletion is ordered.
func (db *DB) StoreRecording(ctx context.Context, session string, o store.Object, ev audit.Event) error {
	return db.changeRecording(ctx, "note the stored copy of recording", session, &ev, func(r *store.Recording) error {
		if r.Object != nil || r.Deletion != nil {
			return store.ErrConflict
		}
		r.Object = &o
		return nil
	})
}

// ObjectHeld notes that the object store's legal hold was set or removed. The
// person's decision has its event already.
func (db *DB) ObjectHeld(ctx context.Context, session string, held bool) error {
	return db.changeRecording(ctx, "note the object hold of recording", session, nil, func(r *store.Recording) error {
		if r.Object == nil {
			return store.ErrConflict
		}
		r.Object.Held = held
		return nil
	})
}

// OrderDeletion is the decision after which a recording is not read any more.
// store.ErrConflict if it is held or its deletion was ordered already.
func (db *DB) OrderDeletion(ctx context.Context, session string, d store.Deletion, ev audit.Event) error {
	return db.changeRecording(ctx, "order the deletion of recording", session, &ev, func(r *store.Recording) error {
		if r.Hold != nil || r.Deletion != nil {
			return store.ErrConflict
		}
		d.DoneAt, d.LastError = time.Time{}, ""
		r.Deletion = &d
		return nil
	})
}

// DeletionDone notes that the bytes are gone; store.ErrConflict if that was
// noted, or was not ordered.
func (db *DB) DeletionDone(ctx context.Context, session string, when time.Time, ev audit.Event) error {
	return db.changeRecording(ctx, "note the deletion of recording", session, &ev, func(r *store.Recording) error {
		if r.Deletion == nil || !r.Deletion.DoneAt.IsZero() {
			return store.ErrConflict
		}
		r.Deletion.DoneAt, r.Deletion.LastError = when, ""
		return nil
	})
}

// DeletionFailed notes why the bytes are still there; it is tried again.
func (db *DB) DeletionFailed(ctx context.Context, session, why string, ev audit.Event) error {
	return db.changeRecording(ctx, "note the failed deletion of recording", session, &ev, func(r *store.Recording) error {
		if r.Deletion == nil || !r.Deletion.DoneAt.IsZero() {
			return store.ErrConflict
		}
		r.Deletion.LastError = why
		return nil
	})
}
