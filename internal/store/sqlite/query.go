package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

type ctx = context.Context

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

// list runs a query on the reader pool and scans each row.
func list[T any](c ctx, db *sql.DB, what, query string, args []any, scan func(row) (T, error)) ([]T, error) {
	rows, err := db.QueryContext(c, query, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, translate(err))
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		out = append(out, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return out, nil
}

// get runs a query that returns one row; store.ErrNotFound if there is none.
func get[T any](c ctx, db *sql.DB, what, query string, args []any, scan func(row) (T, error)) (T, error) {
	v, err := scan(db.QueryRowContext(c, query, args...))
	if err != nil {
		return v, fmt.Errorf("%s: %w", what, translate(err))
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
