package pgproxy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"jit-gateway/approval/policy"
)

func TestPsqlThroughSessionRole(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	out := w.psql("alice", token, "SELECT current_user, session_user ~ '^jit_', count(*) FROM orders", "UPDATE orders SET shipped = true WHERE id = 2")
	if out != "orders_rw|t|6\nUPDATE 1\n" {
		t.Errorf("psql printed %q", out)
	}
	events := w.events("alice")
	if len(events) != 4 {
		t.Fatalf("%d events: %+v", len(events), events)
	}
	if e := events[2]; e.Op != "query" || e.Statement != "UPDATE orders SET shipped = true WHERE id = 2" {
		t.Errorf("statement recorded as %+v", e)
	}
	if e := events[3]; e.Op != "result" || e.Seq != events[2].Seq || e.Tag != "UPDATE 1" || e.Rows != 1 || e.TxStatus != "I" || e.Duration <= 0 {
		t.Errorf("outcome recorded as %+v", e)
	}
	w.noRoles()
}

// noRoles fails if a session role of this gateway is left.
func (w *world) noRoles() {
	w.Helper()
	if n := w.value("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'jit\\_" + w.srv.o.Installation + "\\_%'"); n != "0" {
		w.Errorf("%s session roles are left", n)
	}
}

func TestStatic(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "legacy", "orders_static", time.Hour)
	cmd := w.client("alice", token, "legacy", "psql", "-X", "-Atc", "SELECT current_user")
	if out := w.run(cmd); out != "orders_static\n" {
		t.Errorf("psql printed %q", out)
	}
	w.settled()
}

func TestChannelBindingRequired(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_ro", time.Hour)
	cmd := w.client("alice", token, "shop", "psql", "-X", "-Atc", "SELECT 1")
	cmd.Env = append(cmd.Env, "PGCHANNELBINDING=require")
	if out := w.run(cmd); out != "1\n" {
		t.Errorf("psql printed %q", out)
	}
}

func TestPgDumpAndRestore(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	file := filepath.Join(w.dir, "dump")
	w.run(w.client("alice", token, "orders", "pg_dump", "-Fc", "-f", file, "-n", "public"))
	if st, err := os.Stat(file); err != nil || st.Size() < 1000 {
		t.Fatalf("the dump is %v %v", st, err)
	}
	if out := w.run(w.client("alice", token, "orders", "pg_restore", "-l", file)); !strings.Contains(out, "TABLE DATA public orders") {
		t.Errorf("the dump lists %s", out)
	}
	var copied bool
	for _, e := range w.events("alice") {
		copied = copied || strings.HasPrefix(e.Tag, "COPY 6") && e.Bytes > 100
	}
	if !copied {
		t.Error("no COPY volume was recorded")
	}
}

func TestPgbenchInItsThreeModes(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	w.run(w.client("alice", token, "orders", "pgbench", "-i", "-q", "-s", "1", "orders"))
	for _, mode := range []string{"simple", "extended", "prepared"} {
		out := w.run(w.client("alice", token, "orders", "pgbench", "-n", "-c", "4", "-t", "20", "-M", mode, "orders"))
		if !strings.Contains(out, "number of transactions actually processed: 80/80") {
			t.Errorf("%s: %s", mode, out)
		}
	}
	events := w.events("alice")
	var bound bool
	for _, e := range events {
		bound = bound || e.Op == "execute" && strings.HasPrefix(e.Name, "P") && len(e.Params) > 0 && e.Params[0].Text != "" && strings.Contains(e.Statement, "$1")
	}
	if !bound {
		t.Errorf("no prepared statement with its text and values is among %d events", len(events))
	}
	w.noRoles()
	if v := w.value("SELECT tableowner FROM pg_tables WHERE tablename = 'pgbench_accounts'"); v != "orders_rw" {
		t.Errorf("the table belongs to %s", v)
	}
	w.must(w.pg.Exec(w.ctx, "orders", "DROP TABLE pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers"))
}

func TestCopyBothWays(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	rows := filepath.Join(w.dir, "rows")
	var b strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&b, "%d\t%s\n", i, strings.Repeat("x", i%200))
	}
	w.must(os.WriteFile(rows, []byte(b.String()), 0o644))
	back := filepath.Join(w.dir, "back")
	w.psql("alice", token, "CREATE TEMP TABLE c (i int, t text)", `\copy c FROM '`+rows+`'`, `\copy (SELECT * FROM c ORDER BY i) TO '`+back+`'`)
	got, err := os.ReadFile(back)
	w.must(err)
	if string(got) != b.String() {
		t.Errorf("%d bytes came back as %d", b.Len(), len(got))
	}
	var in, out bool
	for _, e := range w.events("alice") {
		in = in || e.Tag == "COPY 20000" && e.Bytes >= int64(b.Len())
		out = out || e.Tag == "COPY 20000" && e.Op == "result"
	}
	if !in || !out {
		t.Error("COPY is not on record with its rows and bytes")
	}
}

// What a session role makes while it has left its group stays, and belongs to
// the group when the role is gone.
func TestRoleLeavesItsObjectsBehind(t *testing.T) {
	w := newWorld(t, plain(nil))
	w.must(w.pg.Exec(w.ctx, "orders", "CREATE SCHEMA IF NOT EXISTS play; GRANT ALL ON SCHEMA play TO PUBLIC"))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	w.psql("alice", token, "SET ROLE NONE", "CREATE TABLE play.escaped (i int)", "SELECT lo_create(4711)")
	w.settled()
	w.noRoles()
	if v := w.value("SELECT tableowner FROM pg_tables WHERE tablename = 'escaped'"); v != "orders_rw" {
		t.Errorf("the table belongs to %q", v)
	}
	if v := w.value("SELECT lomowner::regrole FROM pg_largeobject_metadata WHERE oid = 4711"); v != "orders_rw" {
		t.Errorf("the large object belongs to %q", v)
	}
	w.must(w.pg.Exec(w.ctx, "orders", "DROP SCHEMA play CASCADE; SELECT lo_unlink(4711)"))
}

func TestSettingsOfTheRule(t *testing.T) {
	w := newWorld(t, plain(func(r *policy.Rule) {
		r.Postgres.StatementTimeout = policy.Duration(90 * time.Second)
		r.Postgres.Defaults = map[string]string{"work_mem": "5MB"}
	}))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	out := w.psql("alice", token, "SET statement_timeout = 0", "RESET ALL", "SHOW statement_timeout", "SHOW work_mem", "RESET ROLE", "SELECT current_user")
	if out != "SET\nRESET\n90s\n5MB\nRESET\norders_rw\n" {
		t.Errorf("psql printed %q", out)
	}
}
