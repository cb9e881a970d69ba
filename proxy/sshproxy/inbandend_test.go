package sshproxy

import (
	"strings"
	"testing"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
)

// ask begins an in-band request on a terminal, up to where it waits.
func (g *gateway) ask(name string, args ...string) (p interface {
	Line(string) error
	Send(string) error
	Exit() (int, error)
	Screen() string
	Close()
}, expect func(string) string) {
	g.t.Helper()
	pty, expect := g.terminal(name, args...)
	expect(`Reason:`)
	pty.Line("maintenance")
	expect(`ow long`)
	pty.Line("")
	expect(`Waiting`)
	return pty, expect
}

// Three wrong codes end it, with a sentence; nothing was minted, the approval
// stays, and the same command goes on from there.
func TestInBandWrongCodes(t *testing.T) {
	t.Parallel()
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{leadsRule()}})
	p, expect := g.ask("ssh", "web01", "echo in")
	g.approve(g.pending(), 0)
	for _, wrong := range []string{"000000", "", "123"} {
		expect(`Code: `)
		p.Line(wrong)
	}
	if status, err := p.Exit(); err != nil || status != 255 {
		t.Errorf("exit %d, %v", status, err)
	}
	if s := p.Screen(); !strings.Contains(s, "rong") || strings.Count(s, "Code: ") != 3 {
		t.Errorf("the terminal:\n%s", s)
	}
	if n := len(g.events(audit.CredentialIntended)); n != 0 {
		t.Errorf("%d credentials after three wrong codes", n)
	}
	p, expect = g.terminal("ssh", "web01", "echo in; sleep 0.2")
	expect(`Code: `)
	p.Line(g.code("alice"))
	expect(`in\r`)
}

// A request that nobody answers expires, and the one who waits is told; then
// the same command asks again.
func TestInBandExpires(t *testing.T) {
	t.Parallel()
	r := leadsRule()
	r.RequestLifetime = policy.Duration(1500 * time.Millisecond)
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{r}})
	p, expect := g.ask("ssh", "web01", "echo in")
	expect(`expired: nobody answered`)
	if status, err := p.Exit(); err != nil || status != 255 {
		t.Errorf("exit %d, %v", status, err)
	}
	p, expect = g.terminal("ssh", "web01", "echo in")
	expect(`Reason:`)
	p.Send("\x03")
}

// A client that is gone leaves its request open; nothing waits for it any
// more, and the same command resumes it. Meanwhile the wait satisfies a
// client that wants to hear from its server.
func TestInBandClientGoesAway(t *testing.T) {
	t.Parallel()
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{leadsRule()}})
	p, _ := g.ask("ssh", "-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2", "web01", "echo in")
	time.Sleep(3500 * time.Millisecond)
	if s := p.Screen(); strings.Contains(s, "not responding") || strings.Contains(s, "closed") {
		t.Fatalf("the wait did not survive:\n%s", s)
	}
	r := g.pending()
	p.Close() // hangs up
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		g.server.mu.Lock()
		n := len(g.server.outers)
		g.server.mu.Unlock()
		if n == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the gateway still waits for a client that is gone")
		}
	}
	if got := g.pending(); got.ID != r.ID {
		t.Errorf("request %s became %s", r.ID, got.ID)
	}
	p2, expect := g.terminal("ssh", "web01", "echo in; sleep 0.2")
	expect(r.ID)
	g.approve(r, 0)
	expect(`Code: `)
	p2.Line(g.code("alice"))
	expect(`in\r`)
}
