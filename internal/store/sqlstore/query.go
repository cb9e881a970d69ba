package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"jit-gateway/internal/store"
)

type ctx = context.Context

// binder remembers how queries are written for the database. They are
// constants of this package and lists of conditions, so they are few.
type binder struct {
	bind func(string) string
	mu   sync.RWMutex
	done map[string]string
}

func (b *binder) of(query string) string {
	if b.bind == nil {
		return query
	}
	b.mu.RLock()
	out, ok := b.done[query]
	b.mu.RUnlock()
	if ok {
		return out
	}
	out = b.bind(query)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done == nil || len(b.done) > 4096 {
		b.done = map[string]string{}
	}
	b.done[query] = out
	return out
}

// querier is a pool or a connection that speaks this package's SQL.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// pool is the pool that reads.
type pool struct {
	db   *sql.DB
	d    *Dialect
	bind *binder
}

func (p *pool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return p.db.QueryContext(ctx, p.bind.of(query), p.d.texts(args)...)
}

func (p *pool) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return p.db.QueryRowContext(ctx, p.bind.of(query), p.d.texts(args)...)
}

// texts makes the strings among args what the database can keep.
func (d *Dialect) texts(args []any) []any {
	if d.Text != nil {
		for i, a := range args {
			if s, ok := a.(string); ok {
				args[i] = d.Text(s)
			}
		}
	}
	return args
}

// bound is ctx with the time that one query may take.
func (d *Dialect) bound(c ctx) (ctx, context.CancelFunc) {
	if d.Timeout <= 0 {
		return c, func() {}
	}
	return context.WithTimeout(c, d.Timeout)
}

func (d *Dialect) translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return store.ErrNotFound
	case d.Translate != nil:
		return d.Translate(err)
	}
	return err
}

// where builds the conditions of a list. Placeholders are plain "?", in order.
type where struct {
	conds []string
	args  []any
}

func (w *where) add(cond string, args ...any) {
	w.conds = append(w.conds, cond)
	w.args = append(w.args, args...)
}

// is adds "column = value" unless the value is empty.
func (w *where) is(column, value string) {
	if value != "" {
		w.add(column+" = ?", value)
	}
}

// in adds "column IN (…)" unless there are no values.
func in[S ~string](w *where, column string, values []S) {
	if len(values) == 0 {
		return
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = string(v)
	}
	w.add(column+" IN (?"+strings.Repeat(", ?", len(values)-1)+")", args...)
}

func (w *where) String() string {
	if len(w.conds) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conds, " AND ")
}

// defaultLimit is how many rows a list has when none is asked for.
const defaultLimit = 100

func limit(n int) int {
	if n <= 0 {
		return defaultLimit
	}
	return n
}

// patience is how long a question is asked again: a server that restarted
// leaves a pool of connections that fail once each.
const patience = 2 * time.Second

// patient asks again while connections turn out to be lost. A question changes
// nothing.
func (p *pool) patient(c ctx, ask func(c ctx) error) error {
	c, cancel := p.d.bound(c)
	defer cancel()
	began := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := ask(c)
		if err == nil || p.d.Gone == nil || time.Since(began) > patience || c.Err() != nil || errors.Is(err, sql.ErrNoRows) || !p.d.Gone(err) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-c.Done():
			return err
		}
	}
}

// list runs a query on the reader pool and scans each row.
func list[T any](c ctx, p *pool, what, query string, args []any, scan func(row) (T, error)) (out []T, err error) {
	err = p.patient(c, func(c ctx) error {
		out = nil
		rows, err := p.QueryContext(c, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			v, err := scan(rows)
			if err != nil {
				return err
			}
			out = append(out, v)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, p.d.translate(err))
	}
	return out, nil
}

// get runs a query that returns one row; store.ErrNotFound if there is none.
func get[T any](c ctx, p *pool, what, query string, args []any, scan func(row) (T, error)) (v T, err error) {
	err = p.patient(c, func(c ctx) (err error) {
		v, err = scan(p.QueryRowContext(c, query, args...))
		return err
	})
	if err != nil {
		return v, fmt.Errorf("%s: %w", what, p.d.translate(err))
	}
	return v, nil
}

// row is a *sql.Row or *sql.Rows.
type row interface{ Scan(dest ...any) error }

// doc scans a row whose only column is a document.
func doc[T any](r row) (T, error) {
	var text string
	if err := r.Scan(&text); err != nil {
		var zero T
		return zero, err
	}
	return decode[T](text)
}
