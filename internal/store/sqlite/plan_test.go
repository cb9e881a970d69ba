package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
	"jit-gateway/internal/store/sqlstore"
	"jit-gateway/session"
)

// TestQueriesUseIndexes: what is asked while somebody waits never reads a
// whole table, however large the store has become.
func TestQueriesUseIndexes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.db")
	file := openAt(t, path)
	spy := &spyDriver{}
	sql.Register("spy", spy)
	traced, err := sql.Open("spy", path)
	if err != nil {
		t.Fatal(err)
	}
	defer traced.Close()
	traced.SetMaxOpenConns(1)
	ctx, now := t.Context(), time.Now()
	db, err := sqlstore.NewReader(ctx, sqlstore.Options{Read: traced, Dialect: dialect})
	if err != nil {
		t.Fatal(err)
	}
	spy.seen = nil
	for _, err := range []error{
		ignore(db.UserByName(ctx, "a")), ignore(db.UserBySubject(ctx, "i", "s")), ignore(db.UserBySCIM(ctx, "s")), ignore(db.Keys(ctx, "U1")),
		ignore(db.InviteByHash(ctx, []byte{1})), ignore(db.Factors(ctx, "U1")), ignore(db.FactorAttempts(ctx, "U1")),
		ignore(db.ListRequests(ctx, approval.RequestFilter{State: approval.Pending})), ignore(db.ListRequests(ctx, approval.RequestFilter{UserID: "U1"})),
		ignore(db.ListGrants(ctx, approval.GrantFilter{States: []approval.GrantState{approval.Active, approval.Waiting}})),
		ignore(db.ListGrants(ctx, approval.GrantFilter{UserID: "U1", States: []approval.GrantState{approval.Active}, Target: "web01"})),
		ignore(db.ListSessions(ctx, session.Filter{State: session.Open})), ignore(db.ListSessions(ctx, session.Filter{State: session.Open, Gateway: "g"})),
		ignore(db.ListSessions(ctx, session.Filter{GrantID: "G1"})), ignore(db.OpenSessions(ctx, "G1")),
		ignore(db.LiveCredentials(ctx, session.CredentialFilter{})), ignore(db.LiveCredentials(ctx, session.CredentialFilter{SessionID: "S1"})),
		ignore(db.DeadInstances(ctx, now)), ignore(db.TokensFor(ctx, "a", "b", now)), ignore(db.TokensOf(ctx, "G1")),
		ignore(db.PageSession(ctx, "p")), ignore(db.Link(ctx, []byte{1}, now)),
		ignore(db.FindEvents(ctx, audit.Filter{Grant: "G1"})), ignore(db.FindEvents(ctx, audit.Filter{Session: "S1", Types: []audit.Type{audit.SessionEnded}})),
		ignore(db.FindEvents(ctx, audit.Filter{User: "U1"})), ignore(db.FindEvents(ctx, audit.Filter{Request: "R1"})), ignore(db.FactorFailures(ctx, "U1", now)),
		ignore(db.PastSessions(ctx, "U1", now, 10)), ignore(db.PastRequests(ctx, "U1", now, 10)), ignore(db.PastVotes(ctx, "U1", now, 10)), ignore(db.PastGrants(ctx, "U1", now, 10)),
		ignore(db.Findings(ctx, store.FindingFilter{Open: true})), ignore(db.Findings(ctx, store.FindingFilter{Request: "R1"})),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(spy.seen) < 30 {
		t.Fatalf("only %d queries were seen", len(spy.seen))
	}
	for _, q := range spy.seen {
		plan, err := steps(file.read, q)
		if err != nil {
			t.Fatalf("%s: %v", q.text, err)
		}
		if slices.ContainsFunc(plan, readsAll) {
			t.Errorf("%s\nreads a whole table:\n  %s", q.text, strings.Join(plan, "\n  "))
		}
	}
}

// steps is how SQLite would answer the query.
func steps(db *sql.DB, q query) (plan []string, err error) {
	rows, err := db.Query("EXPLAIN QUERY PLAN "+q.text, q.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var skip int
		var step string
		if err := rows.Scan(&skip, &skip, &skip, &step); err != nil {
			return nil, err
		}
		plan = append(plan, step)
	}
	return plan, rows.Err()
}

// spyDriver is the driver, and remembers what it was asked.
type spyDriver struct {
	sqlite3.SQLiteDriver
	seen []query
}

type query struct {
	text string
	args []any
}

func (d *spyDriver) Open(name string) (driver.Conn, error) {
	c, err := d.SQLiteDriver.Open(name)
	if err != nil {
		return nil, err
	}
	return &spyConn{c.(*sqlite3.SQLiteConn), d}, nil
}

type spyConn struct {
	*sqlite3.SQLiteConn
	d *spyDriver
}

func (c *spyConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	q := query{text: text}
	for _, a := range args {
		q.args = append(q.args, a.Value)
	}
	c.d.seen = append(c.d.seen, q)
	return c.SQLiteConn.QueryContext(ctx, text, args)
}

// readsAll reports whether a step reads everything: not the rows of another
// step, and not the few of a partial index.
func readsAll(step string) bool {
	table, ok := strings.CutPrefix(step, "SCAN ")
	if !ok {
		return false
	}
	return table != "s" && table != "i" && !strings.Contains(step, "_open") && !strings.Contains(step, "_live") && !strings.Contains(step, "_pending")
}

// ignore drops the result, and the error that says that there is none.
func ignore[T any](_ T, err error) error {
	if err != nil && strings.Contains(err.Error(), store.ErrNotFound.Error()) {
		return nil
	}
	return err
}
