package sshproxy

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/agent"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/testenv"
	"jit-gateway/recording"

	"crypto/ed25519"
)

// startAgent runs an agent with alice's key and another one.
func (g *gateway) startAgent() string {
	g.t.Helper()
	ring := agent.NewKeyring()
	_, extra, _ := ed25519.GenerateKey(nil)
	for _, k := range []agent.AddedKey{{PrivateKey: g.privateKey("alice"), Comment: "alice"}, {PrivateKey: extra, Comment: "another"}} {
		if err := ring.Add(k); err != nil {
			g.t.Fatal(err)
		}
	}
	sock := filepath.Join(g.dir, "agent.sock")
	ln, err := net.Listen("unix", sock)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { agent.ServeAgent(ring, c); c.Close() }()
		}
	}()
	return sock
}

func TestAgentForwarding(t *testing.T) {
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{autoRule(everythingAllowed())}, hosts: []string{"web01"}})
	g.grant("alice", "web01", "deploy", time.Hour)
	sock := g.startAgent()
	fwd := []string{"-o", "IdentityAgent=" + sock, "-o", "ForwardAgent=" + sock}
	out, errs, st := g.run("", "ssh", append(fwd, "web01", "ssh-add -l; ssh-add -D 2>&1; ssh-add -l")...)
	if st != 0 || strings.Count(out, "alice") != 2 || strings.Count(out, "another") != 2 {
		t.Fatalf("%q %q %d", out, errs, st)
	}

	// The target rides on the agent to log in to the gateway as alice.
	known := filepath.Join(g.hosts["web01"].Home("deploy"), "kh")
	ride := "ssh -v -o StrictHostKeyChecking=no -o UserKnownHostsFile=" + known + " -p " + g.port + " alice@127.0.0.1 whoami"
	out, errs, st = g.run("", "ssh", append(fwd, "web01", ride)...)
	if st == 0 {
		t.Fatalf("the target logged in with the user's agent: %q %q", out, errs)
	}
	findings := g.events(audit.FindingRaised)
	if len(findings) == 0 || findings[0].Detail["code"] != "ridden_agent" || findings[0].Target != "web01" {
		t.Errorf("findings: %+v", findings)
	}
	for _, e := range g.events(audit.LoginPassed) {
		if strings.Contains(e.Detail["client"], "ride") {
			t.Error("logged in")
		}
	}
	denied := false
	for _, f := range payloads[recording.Forward](g.recorded(g.closed(2)[0].ID)) {
		denied = denied || f.Type == "agent" && f.Denied && strings.Contains(f.Dest, "to log in as alice")
	}
	if !denied {
		t.Error("the refusal is not in the recording")
	}

	// Signing for something else works: the other key for git's own signatures.
	out, errs, st = g.run("", "ssh", append(fwd, "web01", "ssh-add -L | head -1 > k.pub; echo text > t; ssh-keygen -Y sign -f k.pub -n file t && cat t.sig")...)
	if st != 0 || !strings.Contains(out, "BEGIN SSH SIGNATURE") {
		t.Errorf("sign: %q %q %d", out, errs, st)
	}
}

func TestAgentRefusedByDefault(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	g.grant("alice", "web01", "deploy", time.Hour)
	sock := g.startAgent()
	out, _, _ := g.run("", "ssh", "-o", "IdentityAgent="+sock, "-o", "ForwardAgent="+sock, "web01", "ssh-add -l 2>&1; echo $SSH_AUTH_SOCK")
	if !strings.Contains(out, "Could not open a connection") {
		t.Errorf("%q", out)
	}
	p := testenv.NewPTY(t, g.cmd("ssh", "-o", "IdentityAgent="+sock, "-o", "ForwardAgent="+sock, "web01"))
	if _, err := p.Expect(`the rule allows no agent forwarding`); err != nil {
		t.Error(err)
	}
}
