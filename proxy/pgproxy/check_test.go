package pgproxy

import (
	"fmt"
	"strings"
	"testing"
)

func (w *world) findings(standing bool) map[string]Finding {
	w.Helper()
	all, err := w.srv.Check(w.ctx, target(w.pg), standing)
	w.must(err)
	out := map[string]Finding{}
	for _, f := range all {
		if old, ok := out[f.What]; !ok || old.OK {
			out[f.What] = f
		}
	}
	return out
}

func TestCheck(t *testing.T) {
	w := newWorld(t, plain(nil))
	before := w.findings(false)
	for _, what := range []string{"connection", "administrator's attributes", "functions", "allowed roles", "role orders_ro", "role orders_rw", "prepared transactions", "make and drop a session role"} {
		if f, ok := before[what]; !ok || !f.OK {
			t.Errorf("%s: %+v", what, f)
		}
	}
	if d := before["role orders_ro"].Detail; d != "read-only" {
		t.Errorf("orders_ro is %q", d)
	}
	if d := before["role orders_rw"].Detail; !strings.HasPrefix(d, "can write") {
		t.Errorf("orders_rw is %q", d)
	}
	if f := before["pg_hba.conf"]; f.OK || !strings.Contains(f.Fix, "+jit_sessions all reject") {
		t.Errorf("pg_hba.conf unread: %+v", f)
	}

	// Too strong, too open, missing: each is told.
	undo := func(sql string) { t.Cleanup(func() { w.must(w.pg.Exec(w.ctx, "orders", sql)) }) }
	for _, c := range []struct{ do, undo, what string }{
		{"ALTER ROLE jit_gateway CREATEROLE", "ALTER ROLE jit_gateway NOCREATEROLE", "administrator's attributes"},
		{"GRANT orders_ro TO jit_gateway", "REVOKE orders_ro FROM jit_gateway", "administrator's memberships"},
		{"ALTER FUNCTION jit_gateway.drop_role(text) RESET search_path", "ALTER FUNCTION jit_gateway.drop_role(text) SET search_path = pg_catalog, pg_temp", "functions"},
		{"GRANT jit_gateway_owner TO orders_static", "REVOKE jit_gateway_owner FROM orders_static", "members of jit_gateway_owner"},
		{"INSERT INTO jit_gateway.allowed_roles VALUES ('pg_monitor')", "DELETE FROM jit_gateway.allowed_roles WHERE name = 'pg_monitor'", "allowed roles"},
		{"ALTER ROLE orders_ro LOGIN", "ALTER ROLE orders_ro NOLOGIN", "role orders_ro"},
		{"GRANT pg_execute_server_program TO orders_rw", "REVOKE pg_execute_server_program FROM orders_rw", "role orders_rw"},
	} {
		w.must(w.pg.Exec(w.ctx, "orders", c.do))
		f := w.findings(false)[c.what]
		w.must(w.pg.Exec(w.ctx, "orders", c.undo))
		if f.OK || f.Fix == "" {
			t.Errorf("after %s, %s: %+v", c.do, c.what, f)
		}
	}

	// With the right to read it, pg_hba.conf is judged.
	w.must(w.pg.Exec(w.ctx, "orders", "GRANT SELECT ON pg_hba_file_rules TO jit_gateway; GRANT EXECUTE ON FUNCTION pg_hba_file_rules() TO jit_gateway"))
	undo("REVOKE SELECT ON pg_hba_file_rules FROM jit_gateway; REVOKE EXECUTE ON FUNCTION pg_hba_file_rules() FROM jit_gateway")
	if f := w.findings(false)["pg_hba.conf for +jit_sessions"]; f.OK || !strings.Contains(f.Detail, "around the gateway") {
		t.Errorf("open pg_hba.conf: %+v", f)
	}
	w.must(w.pg.SetHBA(w.ctx, strings.Split(strings.TrimSpace(SetupHBA(target(w.pg), "127.0.0.1/32")), "\n")...))
	t.Cleanup(func() { w.must(w.pg.SetHBA(w.ctx)) })
	if f := w.findings(true)["pg_hba.conf for +jit_sessions"]; !f.OK {
		t.Errorf("closed pg_hba.conf: %+v", f)
	}
	// A session role is a member of the approved role: a line for that one
	// lets it in as well.
	w.must(w.pg.SetHBA(w.ctx, strings.Split("host all +orders_rw 127.0.0.9/32 scram-sha-256\n"+strings.TrimSpace(SetupHBA(target(w.pg), "127.0.0.1/32")), "\n")...))
	if f := w.findings(false)["pg_hba.conf for +jit_sessions"]; f.OK || !strings.Contains(f.Detail, "+orders_rw 127.0.0.9") {
		t.Errorf("pg_hba.conf that is open to the role's members: %+v", f)
	}
	f := w.findings(true)["standing access"]
	if f.OK || !strings.Contains(f.Detail, "can log in") {
		t.Errorf("standing access: %+v", f)
	}
}

func TestSetupRunsTwice(t *testing.T) {
	pg := database(t)
	sql, err := SetupSQL(target(pg))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		pg.MustExec(t, "orders", sql)
	}
}

// A schema that was there before, with a trigger of somebody's in it, would
// run that as the superuser who sets the gateway up.
func TestSetupRefusesAnotherOwnersSchema(t *testing.T) {
	pg, ctx := database(t), t.Context()
	sql, err := SetupSQL(target(pg))
	if err != nil {
		t.Fatal(err)
	}
	pg.MustExec(t, "postgres", "CREATE DATABASE squatted")
	defer pg.MustExec(t, "postgres", "DROP DATABASE squatted")
	pg.MustExec(t, "squatted", `CREATE SCHEMA jit_gateway AUTHORIZATION orders_rw; CREATE TABLE jit_gateway.allowed_roles (name name PRIMARY KEY);
		CREATE FUNCTION jit_gateway.mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE public.mine (); RETURN NEW; END $$;
		CREATE TRIGGER mine BEFORE INSERT ON jit_gateway.allowed_roles FOR EACH ROW EXECUTE FUNCTION jit_gateway.mine()`)
	if err := pg.Exec(ctx, "squatted", sql); err == nil || !strings.Contains(err.Error(), "belongs to somebody else") {
		t.Errorf("the set-up in a squatted schema: %v", err)
	}
}

// The functions do for the gateway's login what it needs, and nothing else.
func TestG4GatewayLoginIsWeak(t *testing.T) {
	w := newWorld(t, plain(nil))
	until := "now() + interval '1 minute'"
	for _, sql := range []string{
		"SELECT jit_gateway.create_role('jit_t_0123456789', 'pg_execute_server_program', 'SCRAM-SHA-256$1:YQ==$YQ==:YQ==', " + until + ")",
		"SELECT jit_gateway.create_role('jit_t_0123456789', 'postgres', 'SCRAM-SHA-256$1:YQ==$YQ==:YQ==', " + until + ")",
		"SELECT jit_gateway.create_role('jit_t_0123456789', 'orders_ro', 'a password', " + until + ")",
		"SELECT jit_gateway.create_role('mallory', 'orders_ro', 'SCRAM-SHA-256$1:YQ==$YQ==:YQ==', " + until + ")",
		"SELECT jit_gateway.drop_role('postgres')", "SELECT jit_gateway.drop_role('orders_rw')", "SELECT jit_gateway.disable_role('orders_static')",
		"SELECT jit_gateway.terminate_role('postgres')", "CREATE ROLE x", "SET ROLE jit_gateway_owner", "SELECT * FROM orders",
		"INSERT INTO jit_gateway.allowed_roles VALUES ('postgres')", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
	} {
		err := w.cleaner.admins.with(w.ctx, target(w.pg), "orders", func(c *adminConn) error {
			_, err := c.query(w.ctx, sql)
			return err
		})
		if e := protocolError(err); e == nil || e.Code != "42501" && e.Code != "28P01" {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestAround(t *testing.T) {
	const one = "255.255.255.255"
	gw := hbaRule{"1", "hostssl", "all", "+s", "10.0.0.1", one, "scram-sha-256"}
	host, local := hbaRule{"2", "host", "all", "+s", "all", "", "reject"}, hbaRule{"3", "local", "all", "+s", "", "", "reject"}
	all, peer := hbaRule{"4", "host", "all", "all", "0.0.0.0", "0.0.0.0", "scram-sha-256"}, hbaRule{"5", "local", "all", "all", "", "", "peer"}
	line := func(users, address, mask, method string) hbaRule {
		return hbaRule{"6", "host", "all", users, address, mask, method}
	}
	v4, v6 := line("+s", "0.0.0.0", "0.0.0.0", "reject"), line("+s", "::", "::", "reject")
	for i, c := range []struct {
		rules  []hbaRule
		open   int
		closed bool
	}{
		{[]hbaRule{gw, host, local, all, peer}, 0, true},
		{[]hbaRule{gw, host, all, peer}, 1, false}, // local is open
		{[]hbaRule{gw, all, host, local}, 1, true},
		{[]hbaRule{all, gw, host, local}, 1, true},
		{[]hbaRule{gw}, 0, false},
		{[]hbaRule{line("+s", "10.0.0.0", "255.0.0.0", "scram-sha-256"), host, local}, 1, true},
		{[]hbaRule{line("+s", "10.0.0.4", "255.255.255.252", "scram-sha-256"), host, local}, 1, true},
		{[]hbaRule{line("+s", "fe80::", "ffff:ffff:ffff:ffff::", "scram-sha-256"), host, local}, 1, true},
		{[]hbaRule{line("+s", "10.0.0.1", one, "trust"), host, local}, 1, true},
		{[]hbaRule{line("+s", "fe80::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "scram-sha-256"), host, local}, 0, true},
		{[]hbaRule{line("+orders", "10.0.0.9", one, "scram-sha-256"), gw, host, local}, 1, true},
		{[]hbaRule{line("+others", "10.0.0.9", one, "scram-sha-256"), gw, host, local}, 0, true},
		{[]hbaRule{line("/^jit_", "10.0.0.9", one, "scram-sha-256"), gw, host, local}, 1, true},
		{[]hbaRule{line("/^app_", "10.0.0.9", one, "scram-sha-256"), gw, host, local}, 0, true},
		{[]hbaRule{gw, v4, local, line("all", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "trust")}, 1, false},
		{[]hbaRule{gw, v4, v6, local, all, peer}, 0, true},
	} {
		open, closed := around(c.rules, loginName{name: "+s", sample: "jit_gw_s000000000", groups: []string{"s", "orders"}})
		if len(open) != c.open || closed != c.closed {
			t.Errorf("case %d: %s", i, fmt.Sprint(open, closed))
		}
	}
}
