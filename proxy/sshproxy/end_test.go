package sshproxy

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/session"
)

// wait returns when the client has ended, or fails.
func wait(t *testing.T, c *exec.Cmd, d time.Duration) int {
	t.Helper()
	kill := time.AfterFunc(d, func() { c.Process.Kill() })
	defer kill.Stop()
	c.Wait()
	if c.ProcessState.ExitCode() < 0 {
		t.Fatalf("%s did not end within %s", c, d)
	}
	return c.ProcessState.ExitCode()
}

// upstreamProcesses counts processes with the marker on their command line.
func upstreamProcesses(marker string) int {
	out, _ := exec.Command("pgrep", "-fc", "sleep "+marker).Output()
	n := 0
	for _, ch := range strings.TrimSpace(string(out)) {
		n = n*10 + int(ch-'0')
	}
	return n
}

// G3: the end is exact, the user is told why, and the target's side is gone.
func TestG3ExpiryEndsSession(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	gr := g.grant("alice", "web01", "deploy", 4*time.Second)
	p, expect := g.terminal("ssh", "-tt", "web01")
	expect(`\$ `)
	marker := fmt.Sprintf("%d.5", 90000+time.Now().UnixNano()%10000)
	c := g.cmd("ssh", "web01", "echo up; exec sleep "+marker)
	var errs strings.Builder
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(gr.End))
	status := wait(t, c, 5*time.Second)
	late := time.Since(gr.End)
	if status != 255 || !strings.Contains(errs.String(), "jit-gateway: ") {
		t.Errorf("status %d, told %q", status, errs.String())
	}
	if late < 0 || late > 400*time.Millisecond {
		t.Errorf("the client ended %s after the grant", late)
	}
	expect(`jit-gateway: .*(ended|over|expired)`)
	if status, err := p.Exit(); err != nil || status != 255 {
		t.Errorf("shell: %d %v", status, err)
	}
	if strings.Contains(p.Screen(), "Broken pipe") {
		t.Errorf("the shell's client was cut rudely:\n%s", p.Screen())
	}
	for _, r := range g.closed(2) {
		if r.Cause != "expired" {
			t.Errorf("session ended as %q: %s", r.Cause, r.Reason)
		}
	}
	for i := 0; upstreamProcesses(marker) != 0; i++ {
		if i > 100 {
			t.Fatal("the command still runs on the target")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if dead := g.events(audit.CredentialDead); len(dead) != 2 {
		t.Errorf("%d after-checks", len(dead))
	}
	t.Logf("exec client gone %s after the end; told %q", late.Round(time.Millisecond), errs.String())
}

func TestReleaseRevocationDisabling(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	ctx := context.Background()
	run := func(end func(gr approval.Grant), cause string) {
		t.Helper()
		gr := g.grant("alice", "web01", "deploy", time.Hour)
		before := len(g.closed(0))
		marker := fmt.Sprintf("%d.7", 80000+time.Now().UnixNano()%10000)
		c := g.cmd("ssh", "web01", "echo up; sleep "+marker)
		var errs syncBuffer
		c.Stderr = &errs
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		end(gr)
		if st := wait(t, c, 5*time.Second); st != 255 {
			t.Errorf("%s: status %d", cause, st)
		}
		t.Logf("%s: client gone after %s", cause, time.Since(start).Round(time.Millisecond))
		if r := g.closed(before + 1)[0]; r.Cause != cause {
			t.Errorf("ended as %q, want %q", r.Cause, cause)
		}
		if !strings.Contains(errs.String(), "jit-gateway: ") {
			t.Errorf("%s: told %q", cause, errs.String())
		}
		for i := 0; upstreamProcesses(marker) != 0; i++ {
			if i > 100 {
				t.Fatalf("%s: the command still runs on the target", cause)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	run(func(gr approval.Grant) {
		if _, err := g.svc.Release(ctx, g.caller("alice"), gr.ID); err != nil {
			t.Fatal(err)
		}
	}, "released")
	run(func(gr approval.Grant) {
		rows, err := g.db.ListSessions(ctx, session.Filter{State: session.Open})
		if err != nil || len(rows) != 1 {
			t.Fatal(rows, err)
		}
		if err := g.sessions.Terminate(ctx, rows[0].ID, session.Termination{Cause: "terminated", Reason: "bob ended it: lunch", By: g.users["bob"].ID}); err != nil {
			t.Fatal(err)
		}
	}, "terminated")
	run(func(gr approval.Grant) {
		u, err := g.db.User(ctx, g.users["alice"].ID)
		if err != nil {
			t.Fatal(err)
		}
		u.State = identity.Disabled
		if err := g.db.UpdateUser(ctx, u, audit.Event{Type: audit.UserDisabled, Outcome: audit.Success, Actor: audit.Gateway, User: u.ID}); err != nil {
			t.Fatal(err)
		}
	}, "user_disabled")
	// The outer door is closed too.
	if _, errs, st := g.run("", "ssh", "jit-gateway", "whoami"); st != 255 || !strings.Contains(errs, "disabled") {
		t.Errorf("a disabled user: %d %q", st, errs)
	}
}

func TestIdleSessionsEnd(t *testing.T) {
	r := autoRule(nil)
	r.Session.IdleTimeout = policy.Duration(time.Second)
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{r}})
	g.grant("alice", "web01", "deploy", time.Hour)
	// A busy stream is never idle.
	if out, errs, st := g.run("", "ssh", "web01", "for i in 1 2 3 4 5 6; do echo $i; sleep 0.4; done"); st != 0 || !strings.HasSuffix(out, "6\n") {
		t.Fatalf("busy: %q %q %d", out, errs, st)
	}
	start := time.Now()
	if _, errs, st := g.run("", "ssh", "web01", "sleep 30"); st != 255 || time.Since(start) > 10*time.Second || !strings.Contains(errs, "jit-gateway: ") {
		t.Fatalf("idle: %q %d after %s", errs, st, time.Since(start))
	}
}

// Who reads slowly has not gone: what waits for them is no idle session.
func TestSlowReadersAreNotIdle(t *testing.T) {
	t.Parallel()
	r := autoRule(nil)
	r.Session.IdleTimeout = policy.Duration(4 * time.Second)
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{r}})
	g.grant("alice", "web01", "deploy", time.Hour)
	c := g.dialInner("web01", "deploy")
	defer c.Close()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	const size = 20 << 20 // more than all windows and buffers on the way
	if err := s.Start(fmt.Sprintf("head -c %d /dev/zero", size)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(6 * time.Second)
	if n, err := io.Copy(io.Discard, out); n != size || err != nil {
		t.Errorf("%d of %d bytes, %v", n, size, err)
	}
}

func TestUserIsToldOfWatchers(t *testing.T) {
	r := autoRule(nil)
	r.Session.TellWatched = true
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{r}})
	g.grant("alice", "web01", "deploy", time.Hour)
	_, expect := g.terminal("ssh", "web01")
	expect(`\$ `)
	rows, err := g.db.ListSessions(context.Background(), session.Filter{State: session.Open})
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	if _, err := g.db.Append(context.Background(), audit.Event{Type: audit.SessionWatched, Outcome: audit.Success, Actor: audit.Actor{Name: "bob"}, Session: rows[0].ID}); err != nil {
		t.Fatal(err)
	}
	expect(`jit-gateway: bob watches this session`)
}
