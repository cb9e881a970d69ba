//go:build postgres16

package pgproxy

import (
	"context"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"jit-gateway/internal/testenv"
)

// What PostgreSQL 16 and later have alone. `make test-postgres` runs these, and
// the package's other tests, against such servers, with the set-up's functions
// and without, and with the libpq of version 18.

func TestServerIsNew(t *testing.T) {
	pg := database(t)
	out, err := exec.Command(testenv.PostgresBin+"/postgres", "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	v, err := pg.Value(t.Context(), "postgres", "current_setting('server_version_num')::int >= 160000")
	if err != nil || v != "true" {
		t.Errorf("the server is %s: %v", out, err)
	}
}

// Without the functions the gateway's login has CREATEROLE, which reaches the
// approved roles and those that it made, and no further.
func TestG4CreateroleReachesNoFurther(t *testing.T) {
	w := newWorld(t, plain(nil))
	tg := target(w.pg)
	for _, sql := range []string{
		"ALTER ROLE postgres PASSWORD 'mine'", "ALTER ROLE orders_static PASSWORD 'mine'", "DROP ROLE orders_static",
		"GRANT pg_execute_server_program TO CURRENT_USER", "GRANT orders_static TO CURRENT_USER", "GRANT postgres TO CURRENT_USER",
		"CREATE ROLE jit_x SUPERUSER", "CREATE ROLE jit_x IN ROLE pg_write_server_files", "SET ROLE orders_rw",
		"SELECT * FROM orders", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres' LIMIT 1",
	} {
		err := w.cleaner.admins.with(w.ctx, tg, "orders", func(c *adminConn) error { return c.exec(w.ctx, sql) })
		if e := protocolError(err); e == nil || e.Code != "42501" && e.Code != "0LP01" {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// target check knows what the way without functions needs, and each fix that
// it prints mends what it found.
func TestCheckCreaterole(t *testing.T) {
	w := newWorld(t, plain(nil))
	for what, f := range w.findings(false) {
		if what != "pg_hba.conf" && !f.OK { // which the gateway may not read
			t.Errorf("%s: %+v", what, f)
		}
	}
	for _, c := range []struct{ do, what, contains string }{
		{"REVOKE ADMIN OPTION FOR orders_rw FROM jit_gateway", "session roles", "no ADMIN on orders_rw"},
		{"REVOKE ADMIN OPTION FOR jit_sessions FROM jit_gateway", "session roles", "no ADMIN on jit_sessions"},
		{"ALTER ROLE jit_gateway CREATEDB", "administrator's attributes", "CREATEDB"},
		{"REVOKE pg_signal_backend FROM jit_gateway", "end a session", "may not end"},
	} {
		w.must(w.pg.Exec(w.ctx, "orders", c.do))
		f := w.findings(false)[c.what]
		if f.OK || !strings.Contains(f.Detail, c.contains) {
			t.Errorf("after %s, %s: %+v", c.do, c.what, f)
		}
		if !f.OK {
			w.must(w.pg.Exec(w.ctx, "orders", f.Fix))
		}
		after := w.findings(false)
		for _, what := range slices.Sorted(maps.Keys(after)) {
			if what != "pg_hba.conf" && !after[what].OK {
				t.Fatalf("after %s and then %s, %s: %+v", c.do, f.Fix, what, after[what])
			}
		}
	}
}

// What a role owns in its own name goes to the approved role in whichever
// database it lies.
func TestRoleLeavesObjectsInAnotherDatabase(t *testing.T) {
	w := newWorld(t, plain(nil))
	if !createrole {
		sql, err := SetupSQL(target(w.pg))
		w.must(err)
		w.must(w.pg.Exec(w.ctx, "postgres", sql))
	}
	w.must(w.pg.Exec(w.ctx, "postgres", "CREATE SCHEMA elsewhere; GRANT ALL ON SCHEMA elsewhere TO PUBLIC"))
	t.Cleanup(func() { w.must(w.pg.Exec(context.Background(), "postgres", "DROP SCHEMA elsewhere CASCADE")) })
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	w.run(w.client("alice", token, "orders/postgres", "psql", "-X", "-At", "-c", "SET ROLE NONE", "-c", "CREATE TABLE elsewhere.escaped (i int)"))
	w.settled()
	w.noRoles()
	v, err := w.pg.Value(w.ctx, "postgres", "SELECT tableowner FROM pg_tables WHERE tablename = 'escaped'")
	if err != nil || v != "orders_rw" {
		t.Errorf("the table belongs to %q: %v", v, err)
	}
}
