package sshproxy

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/testenv"
)

// leadsRule needs bob.
func leadsRule() policy.Rule {
	return policy.Rule{Name: "leads", Groups: []string{"sre"}, Approve: []policy.Quorum{{Groups: []string{"leads"}}}, MaxDuration: policy.Duration(time.Hour), DefaultDuration: policy.Duration(30 * time.Minute)}
}

// pending waits for the one pending request.
func (g *gateway) pending() approval.Request {
	g.t.Helper()
	for range 500 {
		rs, err := g.db.ListRequests(context.Background(), approval.RequestFilter{State: approval.Pending})
		if err != nil {
			g.t.Fatal(err)
		}
		if len(rs) == 1 {
			return rs[0]
		}
		time.Sleep(20 * time.Millisecond)
	}
	g.t.Fatal("no request came")
	return approval.Request{}
}

func (g *gateway) code(name string) string {
	g.t.Helper()
	c, err := testenv.TOTP(g.secrets[name], time.Now())
	if err != nil {
		g.t.Fatal(err)
	}
	return c
}

// approve approves as bob, with a code.
func (g *gateway) approve(r approval.Request, d time.Duration) {
	g.t.Helper()
	ctx := context.Background()
	p, err := g.mfa.VerifyTOTP(ctx, g.users["bob"].ID, g.code("bob"), audit.Actor{ID: g.users["bob"].ID})
	if err != nil {
		g.t.Fatal(err)
	}
	if _, err := g.svc.Approve(ctx, g.caller("bob"), r.ID, approval.ApproveOptions{Duration: d, Digest: r.Digest()}, p); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) terminal(name string, args ...string) (*testenv.PTY, func(string) string) {
	g.t.Helper()
	p := testenv.NewPTY(g.t, g.cmd(name, args...))
	return p, func(pattern string) string {
		g.t.Helper()
		s, err := p.Expect(pattern)
		if err != nil {
			g.t.Fatal(err)
		}
		return s
	}
}

// G1: nothing is minted before the approval and the code.
func TestG1InBandRequest(t *testing.T) {
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{leadsRule()}})
	p, expect := g.terminal("ssh", "deploy@web01", "echo I am $USER; sleep 0.2")
	expect(`no access yet`)
	expect(`Reason:`)
	p.Line("nginx 502s, INC-4211")
	expect(`How long|For how long`)
	p.Line("")
	r := g.pending()
	expect(r.ID)
	if n := len(g.events(audit.CredentialIntended)); n != 0 {
		t.Fatalf("%d credentials before the approval", n)
	}
	time.Sleep(500 * time.Millisecond) // some pulses
	g.approve(r, 10*time.Minute)
	expect(`Approved by bob for 10 min`)
	expect(`Code:`)
	if n := len(g.events(audit.CredentialIntended)) + len(g.events(audit.CredentialMinted)); n != 0 {
		t.Fatalf("%d credentials before the code", n)
	}
	p.Line(g.code("alice"))
	expect(`I am deploy`)
	if status, err := p.Exit(); err != nil || status != 0 {
		t.Fatalf("exit %d, %v", status, err)
	}
	t.Logf("the terminal:\n%s", p.Screen())
	if strings.Contains(p.Screen(), g.code("alice")) {
		t.Error("the code was echoed")
	}
	// The second time there is nothing to ask.
	out, errs, st := g.run("", "ssh", "-o", "BatchMode=yes", "deploy@web01", "echo silent")
	if out != "silent\n" || st != 0 || errs != "" {
		t.Errorf("second connection: %q %q %d", out, errs, st)
	}
}

func TestInBandDenied(t *testing.T) {
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{leadsRule()}})
	p, expect := g.terminal("ssh", "deploy@web01")
	expect(`Reason:`)
	p.Line("curiosity")
	expect(`ow long`)
	p.Line("5m")
	r := g.pending()
	proof, err := g.mfa.VerifyTOTP(context.Background(), g.users["bob"].ID, g.code("bob"), audit.Actor{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.svc.Deny(context.Background(), g.caller("bob"), r.ID, "not today", proof); err != nil {
		t.Fatal(err)
	}
	expect(`not today`)
	if status, err := p.Exit(); err != nil || status != 255 {
		t.Fatalf("exit %d, %v", status, err)
	}
	if n := len(regexp.MustCompile(`not today`).FindAllString(p.Screen(), -1)); n != 1 {
		t.Errorf("told %d times:\n%s", n, p.Screen())
	}
}

// Ctrl-C stops waiting; the request stays, and the same command resumes it.
func TestInBandInterruptedAndResumed(t *testing.T) {
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{leadsRule()}})
	p, expect := g.terminal("ssh", "deploy@web01", "echo in")
	expect(`Reason:`)
	p.Line("maintenance")
	expect(`ow long`)
	p.Line("")
	r := g.pending()
	p.Send("\x03")
	if _, err := p.Exit(); err != nil {
		t.Fatal(err)
	}
	g.approve(r, 0)
	p, expect = g.terminal("ssh", "deploy@web01", "echo in; sleep 0.2")
	expect(`Code:`)
	p.Line(g.code("alice"))
	expect(`in\r`)
}

// Without a terminal it fails at once, and says what to run.
func TestInBandWithoutATerminal(t *testing.T) {
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{leadsRule()}})
	for _, args := range [][]string{{"deploy@web01", "true"}, {"-o", "BatchMode=yes", "deploy@web01", "true"}} {
		start := time.Now()
		c := g.cmd("setsid", append([]string{"-w", "ssh", "-F", g.config()}, args...)...)
		out, err := c.CombinedOutput()
		if err == nil || time.Since(start) > 10*time.Second {
			t.Fatalf("%v: %v after %s: %s", args, err, time.Since(start), out)
		}
		want := "ssh -t jit-gateway"
		if len(args) > 2 {
			want = "Without a terminal, run: ssh jit-gateway request web01 --login deploy"
		}
		if !strings.Contains(string(out), want) {
			t.Errorf("%v does not say what to run: %s", args, out)
		}
	}
}

func TestInBandThroughAskpass(t *testing.T) {
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{leadsRule()}})
	ask := filepath.Join(g.dir, "askpass")
	script := "#!/bin/sh\ncase \"$1\" in *Reason*) echo automated;; *ow\\ long*) echo 10m;; *Code*) cat " + g.dir + "/code;; esac\n"
	if err := os.WriteFile(ask, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(g.dir, "code"), []byte(g.code("alice")), 0o600); err != nil {
		t.Fatal(err)
	}
	c := g.cmd("ssh", "deploy@web01", "echo asked")
	c.Env = append(c.Env, "SSH_ASKPASS="+ask, "SSH_ASKPASS_REQUIRE=force")
	done := make(chan struct{})
	var out []byte
	var err error
	go func() { out, err = c.CombinedOutput(); close(done) }()
	g.approve(g.pending(), 0)
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		c.Process.Kill()
		<-done
	}
	if err != nil || !strings.Contains(string(out), "asked\n") {
		t.Fatalf("%v: %s", err, out)
	}
}
