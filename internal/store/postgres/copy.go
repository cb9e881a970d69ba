package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/mod/sumdb/tlog"

	"jit-gateway/internal/audit"
)

// Copied is what CopyFrom brought over.
type Copied struct {
	Tree    tlog.Tree        // the same before and after
	Rows    map[string]int64 // by table
	Already bool             // the database held this very log before: an earlier copy
}

// Source is a store that can be copied: package sqlite's.
type Source interface {
	audit.Log
	Raw() *sql.DB                                 // reads its tables
	Tables(ctx context.Context) ([]string, error) // without those that are made again
}

// CopyFrom fills the empty database that dsn names with another store's
// tables, in one transaction: all of it, or nothing. The copied log is hashed
// again and compared before anything is committed. Nobody may change the
// source meanwhile.
func CopyFrom(ctx context.Context, dsn string, source Source) (_ Copied, err error) {
	conf, err := parse(dsn)
	if err != nil {
		return Copied{}, err
	}
	if err := migrate(ctx, conf); err != nil {
		return Copied{}, err
	}
	for _, unlimited := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		conf.RuntimeParams[unlimited] = "0"
	}
	conn, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		return Copied{}, fmt.Errorf("connect to the new store: %w", hideConnect(err))
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tx, err := conn.Begin(ctx)
	if err != nil {
		return Copied{}, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) // does nothing after Commit
	if _, err := tx.Exec(ctx, beginChange); err != nil {
		return Copied{}, err
	}
	tables, err := tablesOf(ctx, tx)
	if err != nil {
		return Copied{}, err
	}
	if err := sameTables(ctx, source, tables); err != nil {
		return Copied{}, err
	}
	if err := empty(ctx, tx, tables); err != nil {
		if tree, same := sameLog(ctx, tx, source); same == nil && tree.N > 0 {
			return Copied{Tree: tree, Already: true}, nil
		}
		return Copied{}, err
	}
	out := Copied{Rows: map[string]int64{}}
	for _, t := range tables {
		n, err := t.copy(ctx, tx, source.Raw())
		if err != nil {
			return Copied{}, fmt.Errorf("copy table %s: %w", t.name, err)
		}
		out.Rows[t.name] = n
	}
	if out.Tree, err = sameLog(ctx, tx, source); err != nil {
		return Copied{}, err
	}
	if err := tx.Commit(ctx); err != nil {
		return Copied{}, fmt.Errorf("make the copy durable: %w", err)
	}
	return out, nil
}

// hideConnect keeps the connection string out of an error.
func hideConnect(err error) error {
	var c *pgconn.ConnectError
	if errors.As(err, &c) && c.Unwrap() != nil {
		return c.Unwrap()
	}
	return err
}

// table is one table of this store and its columns.
type table struct {
	name    string
	columns []string
}

// tablesOf lists the store's tables in an order in which each comes after
// those that it refers to, without what the copy makes itself: identity
// columns, and the search index, which is made again from the recordings.
func tablesOf(ctx context.Context, tx pgx.Tx) ([]table, error) {
	rows, err := tx.Query(ctx, `
		SELECT c.table_name::text, array_agg(c.column_name::text ORDER BY c.ordinal_position)
		FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE' AND c.is_identity = 'NO'
			AND c.table_name NOT IN ('goose_db_version', 'lines', 'indexed_sessions')
		GROUP BY c.table_name ORDER BY c.table_name`)
	if err != nil {
		return nil, fmt.Errorf("list the tables of the new store: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (t table, err error) { return t, r.Scan(&t.name, &t.columns) })
	if err != nil {
		return nil, fmt.Errorf("list the tables of the new store: %w", err)
	}
	rows, err = tx.Query(ctx, `
		SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
		WHERE contype = 'f' AND connamespace = current_schema()::regnamespace AND conrelid <> confrelid`)
	if err != nil {
		return nil, fmt.Errorf("list the references of the new store: %w", err)
	}
	type reference struct{ from, to string }
	refs, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (x reference, err error) { return x, r.Scan(&x.from, &x.to) })
	if err != nil {
		return nil, fmt.Errorf("list the references of the new store: %w", err)
	}
	var ordered []table
	for len(all) > 0 {
		n := slices.IndexFunc(all, func(t table) bool {
			return !slices.ContainsFunc(refs, func(r reference) bool {
				return r.from == t.name && slices.ContainsFunc(all, func(o table) bool { return o.name == r.to })
			})
		})
		if n < 0 {
			return nil, errors.New("the tables of the new store refer to each other in a circle")
		}
		ordered = append(ordered, all[n])
		all = slices.Delete(all, n, n+1)
	}
	return ordered, nil
}

// sameTables refuses a source that has a table or a column which this store
// has not: it would be lost.
func sameTables(ctx context.Context, source Source, tables []table) error {
	have, err := source.Tables(ctx)
	if err != nil {
		return err
	}
	for _, name := range have {
		n := slices.IndexFunc(tables, func(t table) bool { return t.name == name })
		if n < 0 {
			return fmt.Errorf("the old store has a table %s that the new one has not: nothing was changed", name)
		}
		rows, err := source.Raw().QueryContext(ctx, "SELECT * FROM "+name+" LIMIT 0")
		if err != nil {
			return err
		}
		columns, err := rows.Columns()
		if err := errors.Join(err, rows.Close()); err != nil {
			return err
		}
		slices.Sort(columns)
		mine := slices.Sorted(slices.Values(tables[n].columns))
		if !slices.Equal(columns, mine) {
			return fmt.Errorf("table %s has the columns %v in the old store and %v in the new one: nothing was changed", name, columns, mine)
		}
	}
	if len(have) != len(tables) {
		return fmt.Errorf("the old store has %d tables and the new one %d: nothing was changed", len(have), len(tables))
	}
	return nil
}

// empty refuses a database that holds anything. The clock's one row is there
// from the beginning.
func empty(ctx context.Context, tx pgx.Tx, tables []table) error {
	for _, t := range tables {
		if t.name == "clock" {
			continue
		}
		var some bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM "+pgx.Identifier{t.name}.Sanitize()+")").Scan(&some); err != nil {
			return fmt.Errorf("look into table %s: %w", t.name, err)
		}
		if some {
			return fmt.Errorf("the new store is not empty: its table %s has rows. Nothing was changed; give an empty database", t.name)
		}
	}
	_, err := tx.Exec(ctx, "DELETE FROM clock")
	return err
}

// copy brings the rows of one table over, and counts them on both sides.
func (t table) copy(ctx context.Context, tx pgx.Tx, from *sql.DB) (int64, error) {
	quoted := make([]string, len(t.columns))
	for i, c := range t.columns {
		quoted[i] = `"` + c + `"`
	}
	// In the order in which they came to be: rowid breaks ties of order.
	rows, err := from.QueryContext(ctx, "SELECT "+strings.Join(quoted, ", ")+" FROM "+t.name+order(ctx, from, t.name))
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	src := &rowSource{rows: rows, n: len(t.columns)}
	n, err := tx.CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, src)
	if err != nil {
		return 0, err
	}
	var want int64
	if err := from.QueryRowContext(ctx, "SELECT count(*) FROM "+t.name).Scan(&want); err != nil {
		return 0, err
	}
	if n != want {
		return 0, fmt.Errorf("%d rows arrived of %d", n, want)
	}
	return n, nil
}

// order is by rowid, where the table has one.
func order(ctx context.Context, db *sql.DB, name string) string {
	rows, err := db.QueryContext(ctx, "SELECT rowid FROM "+name+" LIMIT 0")
	if err != nil {
		return ""
	}
	rows.Close()
	return " ORDER BY rowid"
}

// rowSource gives database/sql's rows to COPY.
type rowSource struct {
	rows   *sql.Rows
	n      int
	values []any
	err    error
}

func (s *rowSource) Next() bool {
	if s.err != nil || !s.rows.Next() {
		return false
	}
	s.values = make([]any, s.n)
	dest := make([]any, s.n)
	for i := range dest {
		dest[i] = &s.values[i]
	}
	if s.err = s.rows.Scan(dest...); s.err != nil {
		return false
	}
	for i, v := range s.values {
		if text, ok := v.(string); ok {
			s.values[i] = storable(text)
		}
	}
	return true
}

func (s *rowSource) Values() ([]any, error) { return s.values, nil }
func (s *rowSource) Err() error             { return errors.Join(s.err, s.rows.Err()) }

// sameLog hashes the leaves of the copy again, compares the tree with the
// source's, and looks that the newest checkpoint came along.
func sameLog(ctx context.Context, tx pgx.Tx, source audit.Log) (tlog.Tree, error) {
	want, err := source.Tree(ctx)
	if err != nil {
		return tlog.Tree{}, err
	}
	var edge audit.Edge
	rows, err := tx.Query(ctx, "SELECT seq, leaf FROM events ORDER BY seq")
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("read the copied audit log: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var seq int64
		var leaf string
		if err := rows.Scan(&seq, &leaf); err != nil {
			return tlog.Tree{}, fmt.Errorf("read the copied audit log: %w", err)
		}
		if seq != edge.Size() {
			return tlog.Tree{}, fmt.Errorf("the copied audit log has event %d where %d belongs", seq, edge.Size())
		}
		edge.Append(tlog.RecordHash([]byte(leaf)))
	}
	if err := rows.Err(); err != nil {
		return tlog.Tree{}, fmt.Errorf("read the copied audit log: %w", err)
	}
	got := edge.Tree()
	if got != want {
		return got, fmt.Errorf("the copied audit log has %d events and root %s, the old one %d and %s: nothing was changed; `jit-gateway audit verify` on the old store tells whether it is intact", got.N, got.Hash, want.N, want.Hash)
	}
	last, err := source.LastCheckpoint(ctx)
	if err != nil {
		return got, err
	}
	var note string
	err = tx.QueryRow(ctx, "SELECT coalesce((SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1), '')").Scan(&note)
	if err != nil || note != last.Note {
		return got, errors.Join(errors.New("the newest checkpoint did not come along: nothing was changed"), err)
	}
	return got, nil
}
