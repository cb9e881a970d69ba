package sshproxy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/testenv"
)

// A certificate for the host itself opens that login on that host, by a stock
// client past the gateway, and nothing else.
func TestDirectCertificate(t *testing.T) {
	direct, plain := autoRule(nil), autoRule(nil)
	direct.Name, direct.Direct, direct.Targets = "direct", true, []string{"web01", "web03"}
	g := newGateway(t, gatewayOptions{hosts: []string{"web01", "web02"}, rules: []policy.Rule{direct, plain},
		targets: func(g *gateway, ts []inventory.Target) []inventory.Target {
			third := ts[1]
			s := *third.SSH
			s.Principals = "plain"
			third.Name, third.SSH = "web03", &s
			return append(ts, third)
		}})
	key, err := testenv.WriteKey(filepath.Join(g.dir, "robot"), "robot")
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"web01", "web02", "web03"} {
		g.grant("alice", host, "deploy", time.Hour)
	}
	cert, err := g.auth.DirectCert(g.admission("web01"), key.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(g.dir, "robot-cert.pub"), ssh.MarshalAuthorizedKey(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	dial := func(host, login string) (string, string, int) {
		t.Helper()
		h := g.hosts[host]
		return g.run("", "ssh", "-i", filepath.Join(g.dir, "robot"), "-o", "IdentitiesOnly=yes", "-o", "ProxyJump=none", "-o", "HostName=127.0.0.1", "-p", fmt.Sprint(h.Port),
			"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-l", login, host, "echo as $USER")
	}
	if out, errs, st := dial("web01", "deploy"); st != 0 || out != "as deploy\n" {
		t.Errorf("%q %q %d", out, errs, st)
	}
	for _, other := range [][2]string{{"web01", "admin"}, {"web02", "deploy"}} {
		if out, errs, st := dial(other[0], other[1]); st != 255 || !strings.Contains(errs, "Permission denied") {
			t.Errorf("%v: %q %q %d", other, out, errs, st)
		}
	}
	// It is no login to the gateway, and no first factor there.
	if _, errs, st := g.robot(cert)("jit-gateway", "whoami"); st != 255 || !strings.Contains(errs, "for another name or another place") {
		t.Errorf("at the gateway: %q %d", errs, st)
	}
	for host, want := range map[string]string{"web02": "direct: true", "web03": "not scoped"} {
		if _, err := g.auth.DirectCert(g.admission(host), key.PublicKey()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", host, err)
		}
	}
}
