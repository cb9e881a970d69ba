package pgproxy

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/dialogue"
	"jit-gateway/proxy"
)

var _ proxy.Handler = (*Server)(nil)

// noDeadline is as poor a connection as an SSH channel.
type noDeadline struct{ net.Conn }

func (c noDeadline) SetDeadline(time.Time) error      { return net.ErrClosed }
func (c noDeadline) SetReadDeadline(time.Time) error  { return net.ErrClosed }
func (c noDeadline) SetWriteDeadline(time.Time) error { return net.ErrClosed }

// tunnelTo is the far end of ssh -L for the user; it returns the port.
func (w *world) tunnelTo(c approval.Caller, term proxy.Terminal) string {
	w.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	u, err := w.db.User(w.ctx, c.UserID)
	w.must(err)
	t, _ := w.inv.Target("orders")
	var jobs sync.WaitGroup
	jobs.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			jobs.Go(func() {
				w.srv.Serve(w.ctx, proxy.Identity{User: u, Caller: c, Terminal: term}, t, "", noDeadline{conn})
			})
		}
	})
	w.Cleanup(func() { ln.Close(); jobs.Wait() })
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

// lateDialogue is made at first use: the options come before the world is whole.
type lateDialogue struct{ d *dialogue.Dialogue }

func (l *lateDialogue) Admit(ctx context.Context, t dialogue.Terminal, in approval.AdmitInput) (approval.Admission, error) {
	return l.d.Admit(ctx, t, in)
}

func newTunnelWorld(t *testing.T, rule policy.Rule) *world {
	late := &lateDialogue{}
	w := newWorld(t, rule, func(o *Options) { o.Dialogue = late })
	d, err := dialogue.New(dialogue.Options{Approvals: w.svc, MFA: w.mfa, Users: w.db, Feed: w.db})
	w.must(err)
	late.d = d
	return w
}

func TestTunnel(t *testing.T) {
	w := newTunnelWorld(t, plain(nil))
	c := w.user("alice")
	port := w.tunnelTo(c, nil)
	psql := func(user, db string) (string, error) {
		cmd := w.client(user, "", db, "psql", "-X", "-w", "-Atc", "SELECT current_user")
		cmd.Env = append(cmd.Env, "PGPORT="+port, "PGSSLMODE=prefer", "PGSSLNEGOTIATION=postgres", "PGSSLROOTCERT=")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := psql("orders_ro", "orders")
	if err == nil || !strings.Contains(out, "FATAL") || !strings.Contains(out, "HINT:  Run: ssh jit-gateway request orders") {
		t.Errorf("without a grant psql said %q", out)
	}
	g := w.activate(c, "alice", "orders", "orders_ro", time.Hour)
	for _, p := range [][2]string{{"orders_ro", "orders"}, {"alice", "orders"}, {"alice", "alice"}, {"orders_ro", "shop/orders"}} {
		if out, err := psql(p[0], p[1]); err != nil || out != "orders_ro\n" {
			t.Errorf("as %s to %s psql said %q (%v)", p[0], p[1], out, err)
		}
	}
	if out, err := psql("orders_rw", "orders"); err == nil {
		t.Errorf("a role without a grant: %q", out)
	}
	if out, err := psql("postgres", "orders"); err == nil || !strings.Contains(out, "no role") {
		t.Errorf("a role that the target has not: %q", out)
	}
	if out, err := psql("orders_ro", "template1"); err == nil || !strings.Contains(out, "not reachable") {
		t.Errorf("a database that the target has not: %q", out)
	}
	// The end reaches a tunnel too, where transports have no deadlines.
	cmd := w.client("orders_ro", "", "orders", "psql", "-X", "-c", "SELECT pg_sleep(30)")
	cmd.Env = append(cmd.Env, "PGPORT="+port, "PGSSLMODE=disable", "PGSSLNEGOTIATION=postgres")
	wait := w.start(cmd)
	w.running("SELECT pg_sleep(30)%")
	_, err = w.svc.Release(w.ctx, c, g.ID)
	w.must(err)
	if out, _ := wait(); !strings.Contains(out, "released") {
		t.Errorf("psql said %q", out)
	}
	w.settled()
	w.noRoles()
}

// A rule that does not allow tunnels admits none.
func TestTunnelNeedsTheRule(t *testing.T) {
	w := newTunnelWorld(t, plain(func(r *policy.Rule) { r.Tunnel = false }))
	c, _ := w.grant("alice", "orders", "orders_ro", time.Hour)
	cmd := w.client("orders_ro", "", "orders", "psql", "-X", "-w", "-c", "SELECT 1")
	cmd.Env = append(cmd.Env, "PGPORT="+w.tunnelTo(c, nil), "PGSSLMODE=disable", "PGSSLNEGOTIATION=postgres")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "does not allow") {
		t.Errorf("psql said %s", out)
	}
}

// asked is a person at the ssh session's terminal.
type asked struct {
	mu      sync.Mutex
	answers []string
	said    []string
}

func (a *asked) Say(_ context.Context, text string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.said = append(a.said, text)
	return nil
}

func (a *asked) Ask(_ context.Context, prompt string, _ bool) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.said = append(a.said, prompt)
	if len(a.answers) == 0 {
		return "", dialogue.ErrInterrupted
	}
	answer := a.answers[0]
	a.answers = a.answers[1:]
	return answer, nil
}

func (a *asked) Alive(context.Context) error { return nil }

// Where the ssh session has a terminal the questions are asked there, and the
// database client is told what it waits for.
func TestTunnelAsksInTheSSHSession(t *testing.T) {
	w := newTunnelWorld(t, plain(nil))
	c := w.user("alice")
	term := &asked{answers: []string{"looking for an order", "30m", w.code("alice")}}
	port := w.tunnelTo(c, term)
	cmd := w.client("orders_ro", "", "orders", "psql", "-X", "-w", "-Atc", "SELECT 'in'")
	cmd.Env = append(cmd.Env, "PGPORT="+port, "PGSSLMODE=disable", "PGSSLNEGOTIATION=postgres")
	out := w.run(cmd)
	term.mu.Lock()
	defer term.mu.Unlock()
	if !strings.Contains(out, "\nin\n") || !strings.Contains(out, "NOTICE:  Answer in your ssh session: Reason") {
		t.Errorf("psql said %q; the terminal saw %q", out, term.said)
	}
	w.settled()
}
