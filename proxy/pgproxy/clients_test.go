package pgproxy

import (
	"strings"
	"testing"
	"time"
)

func TestPsqlThroughSessionRole(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	out := w.psql("alice", token, "SELECT current_user, session_user ~ '^jit_', count(*) FROM orders", "UPDATE orders SET shipped = true WHERE id = 2")
	if out != "orders_rw|t|6\nUPDATE 1\n" {
		t.Errorf("psql printed %q", out)
	}
	var said []string
	for _, e := range w.events("alice") {
		if e.Op == "query" {
			said = append(said, e.Statement)
		}
	}
	if len(said) != 2 || !strings.HasPrefix(said[0], "SELECT current_user") {
		t.Errorf("recorded %q", said)
	}
	if n := w.value("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'jit\\_%\\_s%' AND rolcanlogin"); n != "0" {
		t.Errorf("%s session roles are left", n)
	}
}

func TestStatic(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "legacy", "orders_static", time.Hour)
	cmd := w.client("alice", token, "legacy", "psql", "-X", "-Atc", "SELECT current_user")
	if out := w.run(cmd); out != "orders_static\n" {
		t.Errorf("psql printed %q", out)
	}
}
