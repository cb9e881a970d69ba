package pgproxy

import (
	"testing"
	"time"
)

// What the gateway's own connections prepare is planned once, and planned
// again after an error: the set-up may be run anew while they live.
func TestAdminStatementsArePlannedOnce(t *testing.T) {
	w := newWorld(t, plain(nil))
	tgt := target(w.pg)
	ask := func(c *adminConn, sql string) (string, error) { return c.one(w.ctx, sql) }
	planned := func(c *adminConn, sql string) string {
		t.Helper()
		n, err := c.one(w.ctx, "SELECT count(*) FROM pg_prepared_statements WHERE statement = $1", sql)
		w.must(err)
		return n
	}
	w.must(w.cleaner.admins.with(w.ctx, tgt, "orders", func(c *adminConn) error {
		const one, broken, temp = "SELECT 1", "SELECT 1 FROM nowhere", "SELECT * FROM pg_temp.shape"
		for range 3 {
			if got, err := ask(c, one); err != nil || got != "1" {
				t.Errorf("%q, %v", got, err)
			}
			if _, err := ask(c, broken); err == nil {
				t.Errorf("%s was answered", broken)
			}
		}
		if n := planned(c, one) + planned(c, broken); n != "10" {
			t.Errorf("planned: %s", n)
		}
		// The result of what was planned has another type now: one error, not one for ever.
		w.must(c.exec(w.ctx, "CREATE TEMP TABLE shape AS SELECT 1 AS a"))
		if got, err := ask(c, temp); err != nil || got != "1" {
			t.Errorf("%q, %v", got, err)
		}
		w.must(c.exec(w.ctx, "DROP TABLE pg_temp.shape; CREATE TEMP TABLE shape AS SELECT 'text'::text AS b"))
		if _, err := ask(c, temp); err == nil {
			t.Log("this server plans it anew by itself")
		}
		if got, err := ask(c, temp); err != nil || got != "text" {
			t.Errorf("after an error: %q, %v", got, err)
		}
		return c.exec(w.ctx, "DROP TABLE pg_temp.shape")
	}))
}

// A session over a login that goes on existing has nothing of the gateway's in
// it, though the gateway has asked there which backend it is.
func TestNothingIsPreparedInTheClientsSession(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "legacy", "orders_static", time.Hour)
	c, err := w.connect("alice", "legacy", token)
	w.must(err)
	defer c.Close(w.ctx)
	rows, err := c.PgConn().Exec(w.ctx, "SELECT count(*) FROM pg_prepared_statements").ReadAll()
	w.must(err)
	if n := string(rows[0].Rows[0][0]); n != "0" {
		t.Errorf("%s statements are prepared in a new session", n)
	}
}
