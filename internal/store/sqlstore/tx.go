package sqlstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/id"
	"jit-gateway/internal/store"
)

// tx is what a change may do. It is valid while the change's function runs.
type tx struct {
	w      *writer
	edge   *audit.Edge
	leaves []recentLeaf // the events of the transaction
}

// exec runs a statement and returns how many rows it changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	s, err := t.w.stmt(query)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(t.w.ctx, t.w.db.dialect.texts(args)...)
	if err != nil {
		return 0, t.w.db.dialect.translate(t.w.saw(err))
	}
	return r.RowsAffected()
}

// one runs a query that returns one row; store.ErrNotFound if there is none.
func (t *tx) one(dest []any, query string, args ...any) error {
	s, err := t.w.stmt(query)
	if err != nil {
		return err
	}
	err = s.QueryRowContext(t.w.ctx, t.w.db.dialect.texts(args)...).Scan(dest...)
	return t.w.db.dialect.translate(t.w.saw(err))
}

// all runs a query of one text column.
func (t *tx) all(query string, args ...any) (out []string, err error) {
	s, err := t.w.stmt(query)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(t.w.ctx, t.w.db.dialect.texts(args)...)
	if err != nil {
		return nil, t.w.db.dialect.translate(t.w.saw(err))
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, t.w.saw(rows.Err())
}

// must runs an update that is conditional: store.ErrConflict if no row fits.
func (t *tx) must(query string, args ...any) error {
	n, err := t.exec(query, args...)
	if err == nil && n == 0 {
		err = store.ErrConflict
	}
	return err
}

// found runs a statement on a row that must exist: store.ErrNotFound if not.
func (t *tx) found(query string, args ...any) error {
	n, err := t.exec(query, args...)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return err
}

// append adds the event to the log: the last act of every change.
func (t *tx) append(e audit.Event) (audit.Event, error) {
	if e.Type == "" {
		return e, errors.New("a change of the store came without its audit event")
	}
	e.Seq = t.edge.Size()
	if e.ID == "" {
		e.ID = id.New(id.Event)
	}
	if e.Time.IsZero() {
		e.Time = t.w.db.now()
	}
	e.Time = e.Time.UTC().Round(0)
	if e.Outcome == "" {
		e.Outcome = audit.Success
	}
	leaf, err := audit.Encode(e)
	if err != nil {
		return e, err
	}
	if len(leaf) > audit.MaxLeaf {
		return e, fmt.Errorf("the audit event %s has %d bytes, more than %d", e.Type, len(leaf), audit.MaxLeaf)
	}
	stored := t.edge.Append(tlog.RecordHash(leaf))
	flat := make([]byte, 0, len(stored)*tlog.HashSize)
	for _, h := range stored {
		flat = append(flat, h[:]...)
	}
	_, err = t.exec(`INSERT INTO events (seq, time, type, user_id, target, request_id, grant_id, session_id, leaf, hashes)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		e.Seq, ns(e.Time), string(e.Type), e.User, e.Target, e.Request, e.Grant, e.Session, string(leaf), flat)
	if err != nil {
		return e, fmt.Errorf("append the audit event %s: %w", e.Type, err)
	}
	l := recentLeaf{Leaf: audit.Leaf{Seq: e.Seq, Data: leaf}}
	if !t.w.db.dialect.Shared {
		l.event = asDecoded(e)
	}
	t.leaves = append(t.leaves, l)
	t.w.db.sawEvent(e.Time)
	return e, nil
}

// first is the first event of the transaction, if it has one.
func (t *tx) first() *audit.Leaf {
	if len(t.leaves) == 0 {
		return nil
	}
	return &t.leaves[0].Leaf
}

// change is write for a change with one event, which is appended after fn.
// what says what was attempted.
func (db *DB) change(ctx ctx, what string, ev audit.Event, fn func(*tx) error) error {
	err := db.write(ctx, func(t *tx) error {
		if err := fn(t); err != nil {
			return err
		}
		_, err := t.append(ev)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// lost tells a conditional update that changed nothing why: the row is not
// there, or it does not fit.
func (t *tx) lost(query string, args ...any) error {
	var one int
	if err := t.one([]any{&one}, query, args...); err != nil {
		return err
	}
	return store.ErrConflict
}

// ns is how times are kept; the zero time is 0.
func ns(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// at is the inverse of ns.
func at(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// Nanoseconds and Time are how times are kept, for the search index.
func Nanoseconds(t time.Time) int64 { return ns(t) }

// Time is the inverse of Nanoseconds.
func Time(n int64) time.Time { return at(n) }

// blob keeps an absent value as an empty one: columns are NOT NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode a document for the store: %w", err)
	}
	return string(b), nil
}

func decode[T any](doc string) (T, error) {
	var v T
	if err := json.Unmarshal([]byte(doc), &v); err != nil {
		return v, fmt.Errorf("a document in the store cannot be read: %w", err)
	}
	return v, nil
}
