package pgproxy

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/session"
)

// start runs a client in the background.
func (w *world) start(cmd *exec.Cmd) (wait func() (string, error)) {
	w.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	w.must(cmd.Start())
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	w.Cleanup(func() { cmd.Process.Kill() })
	return func() (string, error) {
		select {
		case err := <-done:
			return out.String(), err
		case <-time.After(20 * time.Second):
			w.Fatalf("%s does not end\n%s", cmd, out.String())
			return "", nil
		}
	}
}

// running waits until the database runs a statement like that.
func (w *world) running(like string) {
	w.Helper()
	w.eventually("the database runs "+like, func() bool {
		return w.value("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '"+like+"'") != "0"
	})
}

func TestG3RunningStatementEndsWithTheGrant(t *testing.T) {
	w := newWorld(t, plain(nil))
	w.must(w.pg.Exec(w.ctx, "orders", `CREATE OR REPLACE FUNCTION stubborn() RETURNS void LANGUAGE plpgsql AS $$
		BEGIN LOOP BEGIN PERFORM pg_sleep(1); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$`))
	for _, c := range []struct{ name, target, role, sql, like string }{
		{"update", "orders", "orders_rw", "UPDATE orders SET quantity = quantity + 1000 WHERE id = 1 AND pg_sleep(30) IS NOT NULL", "UPDATE orders SET quantity%"},
		{"static", "legacy", "orders_static", "UPDATE orders SET quantity = quantity + 1000 WHERE id = 1 AND pg_sleep(30) IS NOT NULL", "UPDATE orders SET quantity%"},
		{"trap", "orders", "orders_rw", "SELECT stubborn()", "SELECT stubborn%"},
		{"copyout", "orders", "orders_ro", "COPY (SELECT repeat('x', 100), generate_series(1, 1000000000)) TO STDOUT", "COPY (SELECT repeat%"},
		{"idle", "orders", "orders_ro", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := *w
			w.TB = t
			user := "u" + c.name
			token, g := w.token(user, c.target, c.role, time.Hour)
			cmd := w.client(user, token, c.target, "psql", "-X", "-At", "-o", "/dev/null")
			in, err := cmd.StdinPipe()
			w.must(err)
			if c.sql != "" {
				in.Write([]byte(c.sql + ";\n"))
			}
			wait := w.start(cmd)
			if c.like != "" {
				w.running(c.like)
			} else {
				w.eventually("the session begins", func() bool { return len(w.sessions.Live()) == 1 })
				time.Sleep(100 * time.Millisecond)
			}
			pids := w.value("SELECT coalesce(string_agg(pid::text, ','), '0') FROM pg_stat_activity WHERE (usename LIKE 'jit\\_t%' OR usename = 'orders_static') AND application_name = 'psql'")
			begin := time.Now()
			_, err = w.svc.Release(w.ctx, approval.Caller{UserID: g.UserID, Source: "127.0.0.1", Via: "ssh", KeyFingerprint: "SHA256:" + user}, g.ID)
			w.must(err)
			for w.value("SELECT count(*) FROM pg_stat_activity WHERE pid IN ("+pids+")") != "0" {
				if time.Since(begin) > 15*time.Second {
					t.Fatal("the backend is still there")
				}
			}
			t.Logf("backend gone at most %v after the release was asked for", time.Since(begin).Round(100*time.Microsecond))
			if c.sql == "" {
				in.Write([]byte("SELECT 1;\n")) // psql looks at the socket now
			}
			in.Close()
			out, err := wait()
			if c.name != "copyout" && !strings.Contains(out, "released") { // psql shows the FATAL that interrupts a COPY after its data only
				t.Errorf("psql said %q (%v)", out, err)
			}
			w.settled()
			if v := w.value("SELECT quantity FROM orders WHERE id = 1"); v != "40" {
				t.Errorf("the row is %s", v)
			}
			w.noRoles()
		})
	}
	var dead, alive int
	for ev, err := range audit.Tail(w.ctx, w.db, -1) {
		w.must(err)
		switch ev.Type {
		case audit.CredentialDead:
			dead++
			if ev.Detail["after_end_ms"] == "" && ev.Session != "" {
				t.Errorf("the after-check has no time: %v", ev.Detail)
			}
		case audit.CredentialAlive:
			alive++
			t.Errorf("still alive: %s %v", ev.Reason, ev.Detail)
		}
		if last, _ := w.db.LastSeq(w.ctx); ev.Seq == last {
			break
		}
	}
	if dead < 5 {
		t.Errorf("%d after-checks", dead)
	}
}

// A client that goes away without a word leaves nothing running.
func TestG3StatementEndsWithItsClient(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_rw", time.Hour)
	cmd := w.client("alice", token, "orders", "psql", "-X", "-c", "UPDATE orders SET quantity = 1 WHERE id = 1 AND pg_sleep(30) IS NOT NULL")
	wait := w.start(cmd)
	w.running("UPDATE orders SET quantity = 1%")
	w.must(cmd.Process.Kill())
	wait()
	w.settled()
	if v := w.value("SELECT quantity FROM orders WHERE id = 1"); v != "40" {
		t.Errorf("the row is %s", v)
	}
	w.noRoles()
	// That the backend was ended by the gateway is not the database's failure.
	w.eventually("the session's row says who left", func() bool {
		rows, err := w.db.ListSessions(w.ctx, session.Filter{UserID: "Ualice"})
		w.must(err)
		return len(rows) == 1 && rows[0].Cause == "disconnected"
	})
}

func TestCancel(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_ro", time.Hour)
	cmd := w.client("alice", token, "orders", "psql", "-X", "-At", "-c", "SELECT pg_sleep(30)", "-c", "SELECT 'still here'")
	wait := w.start(cmd)
	w.running("SELECT pg_sleep(30)%")
	w.must(cmd.Process.Signal(os.Interrupt))
	out, _ := wait()
	if !strings.Contains(out, "canceling statement due to user request") {
		t.Errorf("psql said %q", out)
	}
	w.settled()
	var seen bool
	for _, e := range w.events("alice") {
		seen = seen || e.Op == "cancel" && e.Seq == 1
	}
	if !seen {
		t.Errorf("the cancel request is not on record: %+v", w.events("alice"))
	}
}

// A role that sets itself a password cannot come back with it: pg_hba.conf
// admits session roles from the gateway alone. (Here everybody is on
// loopback, so the line that refuses names the gateway's role instead.)
func TestG4RevokedTokenAndRoleAreDead(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, g := w.token("alice", "orders", "orders_rw", time.Hour)
	w.psql("alice", token, "SELECT 1")
	_, err := w.svc.Release(w.ctx, approval.Caller{UserID: g.UserID, Source: "127.0.0.1", Via: "ssh", KeyFingerprint: "SHA256:alice"}, g.ID)
	w.must(err)
	out, err := w.client("alice", token, "orders", "psql", "-X", "-c", "SELECT 1").CombinedOutput()
	if err == nil || !strings.Contains(string(out), `password authentication failed for user "alice"`) || !strings.Contains(string(out), "ssh jit-gateway token orders") {
		t.Errorf("psql said %s", out)
	}
	w.settled()
	w.noRoles()
}

// Crash: the session is gone, its row and its role are not.
func TestG9RecoveryDropsTheRole(t *testing.T) {
	w := newWorld(t, plain(nil))
	tgt := target(w.pg)
	role := roleName("crashed", "S0123456789ABCDEF")
	w.must(w.cleaner.admins.createRole(w.ctx, tgt, role, "orders_rw", "x", time.Now().Add(time.Hour)))
	// A backend of the role is at work.
	e, err := endpointOf(tgt.Postgres)
	w.must(err)
	conn, err := e.dial(w.ctx)
	w.must(err)
	defer conn.Close()
	_, err = login(w.ctx, conn, []param{{"user", role}, {"database", "orders"}}, "x")
	w.must(err)
	_, err = conn.Write(message('Q', []byte("SELECT pg_sleep(60)\x00")))
	w.must(err)
	c := session.Credential{Kind: KindRole, Name: role, Target: "orders", Detail: detailOf(tgt, "orders", "orders_rw")}
	if w.cleaner.Check(w.ctx, c) == nil {
		t.Fatal("the check does not see the role")
	}
	w.must(w.cleaner.Invalidate(w.ctx, c))
	w.must(w.cleaner.Check(w.ctx, c))
	w.must(w.cleaner.Invalidate(w.ctx, c)) // again: nothing to do
	if n := w.value("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND pid <> pg_backend_pid()"); n != "0" {
		t.Error("the backend is still there")
	}
}

// A client of a gateway that stops is told so, and sees no torn connection.
func TestStoppingGatewaySaysSo(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_ro", time.Hour)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	defer ln.Close()
	ctx, stop := context.WithCancel(w.ctx)
	defer stop()
	over := make(chan struct{})
	go func() {
		defer close(over)
		if c, err := ln.Accept(); err == nil {
			w.srv.ServeConn(ctx, c)
		}
	}()
	w.addr = ln.Addr().String()
	c := w.talker("alice", token)
	c.say(1, mQuery("SELECT 1"))
	stop()
	typ, body, err := readMessage(c.r, 1<<20)
	if e := errorFields(body); err != nil || typ != 'E' || e.Severity != severityFatal || e.Code != stateAdmin || !strings.Contains(e.Message, "stopping") {
		t.Errorf("the client was told %q %+v (%v)", typ, e, err)
	}
	<-over
	w.noRoles()
}

// The end does not wait for who is stuck: a backend that hangs, a client that
// does not read, a login of the gateway's own that is refused. What could not
// be ended then is ended when it can.
func TestG3EndPassesWhatIsStuck(t *testing.T) {
	w := newWorld(t, plain(nil))
	update := mQuery("UPDATE orders SET quantity = quantity + 1000 WHERE id = 1 AND pg_sleep(60) IS NOT NULL")
	for name, c := range map[string]struct {
		msg, like  string
		stick, let func(pid int)
		reads      bool
	}{
		"a backend that hangs": {string(update), "UPDATE orders SET quantity%", func(pid int) { w.must(syscall.Kill(pid, syscall.SIGSTOP)) },
			func(pid int) { w.must(syscall.Kill(pid, syscall.SIGCONT)) }, true},
		"a client that does not read": {string(mQuery("SELECT repeat('x', 1000), generate_series(1, 1000000000)")), "SELECT repeat%", func(int) {}, func(int) {}, false},
		"no administrator": {string(update), "UPDATE orders SET quantity%", func(int) {
			w.must(w.pg.Exec(w.ctx, "orders", "ALTER ROLE jit_gateway NOLOGIN"))
			w.must(w.pg.Exec(w.ctx, "orders", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'jit_gateway'"))
		}, func(int) { w.must(w.pg.Exec(w.ctx, "orders", "ALTER ROLE jit_gateway LOGIN")) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.TB = t
			user := "u" + strings.ReplaceAll(name, " ", "")
			token, g := w.token(user, "orders", "orders_rw", time.Hour)
			s := w.talker(user, token)
			_, err := s.conn.Write([]byte(c.msg))
			w.must(err)
			w.running(c.like)
			pid, err := strconv.Atoi(w.value("SELECT pid FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '" + c.like + "'"))
			w.must(err)
			c.stick(pid)
			loose := sync.OnceFunc(func() { c.let(pid) })
			defer loose()
			_, err = w.svc.Release(w.ctx, approval.Caller{UserID: g.UserID, Source: "127.0.0.1", Via: "ssh", KeyFingerprint: "SHA256:" + user}, g.ID)
			w.must(err)
			if c.reads {
				typ, body, err := readMessage(s.r, 1<<20)
				if e := errorFields(body); err != nil || typ != 'E' || e.Code != stateAdmin {
					t.Errorf("while it is stuck the client was told %q %+v (%v)", typ, e, err)
				}
			}
			if name == "no administrator" { // the cancel needs none
				w.eventually("the statement is gone", func() bool {
					return w.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'UPDATE orders SET%' AND state = 'active'") == "0"
				})
			}
			loose()
			w.eventually("backend and role are gone", func() bool {
				return w.value("SELECT count(*) FROM pg_stat_activity WHERE pid = "+strconv.Itoa(pid)) == "0" &&
					w.value("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'jit\\_"+w.srv.o.Installation+"\\_%'") == "0"
			})
			if v := w.value("SELECT quantity FROM orders WHERE id = 1"); v != "40" {
				t.Errorf("the row is %s", v)
			}
		})
	}
}
