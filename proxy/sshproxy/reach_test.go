package sshproxy

import (
	"net"
	"strings"
	"testing"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/inventory"
)

// A target that takes the connection and then says nothing costs a bounded
// wait, and one that answers at only one of its addresses is reached there.
func TestSilentTargetsAndSeveralAddresses(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	g := newGateway(t, gatewayOptions{
		targets: func(g *gateway, ts []inventory.Target) []inventory.Target {
			at := func(name, addr string) inventory.Target {
				s := *ts[0].SSH
				s.Address = addr
				s.Principals = "plain"
				return inventory.Target{Name: name, Kind: inventory.SSH, SSH: &s}
			}
			_, port, _ := net.SplitHostPort(ts[0].SSH.Address)
			// localhost is ::1 first, where nobody listens.
			return append(ts, at("web02", silent.Addr().String()), at("web03", "localhost:"+port))
		},
		options: func(o *Options) { o.DialTime = 3 * time.Second },
	})
	g.grant("alice", "web02", "deploy", time.Hour)
	g.grant("alice", "web03", "deploy", time.Hour)
	start := time.Now()
	if _, errs, st := g.run("", "ssh", "web02", "true"); st != 255 || !strings.Contains(errs, "web02: it did not answer within 3s") {
		t.Errorf("%q %d", errs, st)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("after %s", d)
	}
	// The host knows itself as web01, and takes the gateway's word for nothing
	// else: that it was reached is what its refusal shows.
	if _, errs, st := g.run("", "ssh", "web03", "true"); st != 255 || !strings.Contains(errs, "does not accept the gateway's certificate") {
		t.Errorf("%q %d", errs, st)
	}
	if !strings.Contains(g.hosts["web01"].Log(), "Connection from 127.0.0.1") {
		t.Error("it was not reached at its second address")
	}
}

// Under a rule with an oldest age for the second factor, a grant goes silent
// only for so long after a code, and a code renews it.
func TestFactorWithinMinutes(t *testing.T) {
	t.Parallel()
	r := autoRule(nil)
	r.Factor.MaxAge = policy.Duration(6 * time.Second)
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{r}})
	gr := g.grant("alice", "web01", "deploy", time.Hour)
	batch := func() (string, string, int) { return g.run("", "ssh", "-o", "BatchMode=yes", "web01", "echo in") }
	if out, errs, st := batch(); st != 0 || out != "in\n" {
		t.Fatalf("fresh: %q %q %d", out, errs, st)
	}
	time.Sleep(time.Until(gr.Factor.At.Add(6200 * time.Millisecond)))
	if out, errs, st := batch(); st != 255 || out != "" || !strings.Contains(errs, "Without a terminal, run: ssh jit-gateway activate "+gr.ID) {
		t.Fatalf("stale: %q %q %d", out, errs, st)
	}
	p, expect := g.terminal("ssh", "web01", "echo in; sleep 0.2")
	expect(`Code: `)
	p.Line(g.code("alice"))
	expect(`in\r`)
	if out, errs, st := batch(); st != 0 || out != "in\n" {
		t.Errorf("renewed: %q %q %d", out, errs, st)
	}
}
