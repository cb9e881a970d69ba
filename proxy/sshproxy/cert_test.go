package sshproxy

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/testenv"
	"jit-gateway/proxy"
)

// robot is a client that has a key of its own and a certificate for it.
func (g *gateway) robot(cert *ssh.Certificate) func(args ...string) (string, string, int) {
	g.t.Helper()
	dir := testenv.Dir(g.t)
	if err := os.WriteFile(filepath.Join(dir, "cert.pub"), ssh.MarshalAuthorizedKey(cert), 0o600); err != nil {
		g.t.Fatal(err)
	}
	all, err := os.ReadFile(g.config())
	if err != nil {
		g.t.Fatal(err)
	}
	key := filepath.Join(g.dir, "robot")
	text := strings.ReplaceAll(string(all), "IdentityFile "+g.keyFile("alice"), "IdentityFile "+key+"\n  CertificateFile "+filepath.Join(dir, "cert.pub"))
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	return func(args ...string) (string, string, int) {
		g.t.Helper()
		// -F twice: the last one counts.
		return g.run("", "ssh", append([]string{"-F", filepath.Join(dir, "config")}, args...)...)
	}
}

func (g *gateway) admission(target string) approval.Admission {
	g.t.Helper()
	adm, err := g.svc.Admit(context.Background(), approval.AdmitInput{Caller: g.caller("alice"), Target: target, Login: "deploy"})
	if err != nil {
		g.t.Fatal(err)
	}
	return adm
}

func TestCertificateForAGrant(t *testing.T) {
	tunnels := tunnelHandler{got: make(chan proxy.Identity, 2)}
	g := newGateway(t, gatewayOptions{hosts: []string{"web01", "web02"},
		targets: func(g *gateway, ts []inventory.Target) []inventory.Target {
			return append(ts, inventory.Target{Name: "orders", Kind: inventory.Postgres, Postgres: &inventory.PostgresTarget{
				Address: "127.0.0.1:1", Database: "orders", Roles: []string{"ro"}, Identity: "static", Static: map[string]string{"ro": "env:X"}, TLS: "disable"}})
		},
		options: func(o *Options) { o.Tunnel = func(inventory.Kind) proxy.Handler { return tunnels } },
	})
	ran := make(chan []string, 10)
	g.serveCommands(func(_ context.Context, inv dialogue.Invocation) int {
		ran <- inv.Args
		fmt.Fprintln(inv.Out, inv.User.Name)
		return 0
	})
	key, err := testenv.WriteKey(filepath.Join(g.dir, "robot"), "robot")
	if err != nil {
		t.Fatal(err)
	}
	one := g.grant("alice", "web01", "deploy", time.Hour)
	g.grant("alice", "web02", "deploy", time.Hour)
	cert, err := g.auth.GatewayCert(g.admission("web01"), key.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	robot := g.robot(cert)
	if out, errs, st := robot("web01", "echo in"); st != 0 || out != "in\n" {
		t.Fatalf("%q %q %d", out, errs, st)
	}
	if r := g.closed(1)[0]; r.GrantID != one.ID {
		t.Errorf("the session is under grant %s", r.GrantID)
	}
	passed := g.events(audit.LoginPassed)
	if e := passed[len(passed)-1]; e.Grant != one.ID || e.Detail["certificate"] != fmt.Sprint(cert.Serial) || e.Detail["fingerprint"] != ssh.FingerprintSHA256(key.PublicKey()) {
		t.Errorf("%+v", e)
	}

	// Another live grant of the same user stays closed, and nothing is asked.
	filed := len(g.events(audit.RequestFiled))
	if _, errs, st := robot("web02", "true"); st != 255 || !strings.Contains(errs, "for grant "+one.ID+" alone") {
		t.Errorf("another grant: %q %d", errs, st)
	}
	if _, errs, st := robot("-l", "admin", "web01", "true"); st != 255 {
		t.Errorf("another login: %q %d", errs, st)
	}
	if n := len(g.events(audit.RequestFiled)); n != filed {
		t.Error("a certificate asked for a grant")
	}
	if _, errs, st := robot("-W", "orders:5432", "jit-gateway"); st == 0 || !strings.Contains(errs, "SSH hosts alone") || len(tunnels.got) != 0 {
		t.Errorf("a database: %q %d", errs, st)
	}
	// Nor does it open the host by itself, although the host trusts that CA.
	direct := []string{"-o", "ProxyJump=none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-p", fmt.Sprint(g.hosts["web01"].Port)}
	for _, login := range []string{"deploy", "gateway/alice"} {
		if _, errs, st := robot(append(direct, "-o", "HostName=127.0.0.1", "-l", login, "web01", "true")...); st != 255 || !strings.Contains(errs, "Permission denied") {
			t.Errorf("the host let %s in: %q %d", login, errs, st)
		}
	}

	// Commands.
	if out, errs, st := robot("jit-gateway", "whoami"); st != 0 || out != "alice\n" {
		t.Errorf("whoami: %q %q %d", out, errs, st)
	}
	<-ran
	for _, line := range []string{"request web02", "approve R1", "cert web01", "token orders", ""} {
		args := []string{"jit-gateway"}
		if line != "" {
			args = append(args, line)
		}
		if _, errs, st := robot(args...); st != 2 || !strings.Contains(errs, "no commands but whoami") {
			t.Errorf("%q: %q %d", line, errs, st)
		}
	}
	if len(ran) != 0 || len(g.events(audit.CommandRefused)) != 5 {
		t.Errorf("%d commands ran, %d were refused", len(ran), len(g.events(audit.CommandRefused)))
	}

	// The end of its grant is its end; the other grant goes on.
	if _, err := g.svc.Release(t.Context(), g.caller("alice"), one.ID); err != nil {
		t.Fatal(err)
	}
	if _, errs, st := robot("web01", "true"); st != 255 || !strings.Contains(errs, "grant "+one.ID+" has ended") {
		t.Errorf("after the grant: %q %d", errs, st)
	}
	cert2, err := g.auth.GatewayCert(g.admission("web02"), key.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	robot = g.robot(cert2)
	if _, errs, st := robot("web02", "true"); st != 0 {
		t.Errorf("%q %d", errs, st)
	}
	// So is a disabled user.
	alive := func(state identity.State, typ audit.Type) {
		u, err := g.db.User(t.Context(), g.users["alice"].ID)
		if err != nil {
			t.Fatal(err)
		}
		u.State = state
		if err := g.db.UpdateUser(t.Context(), u, audit.Event{Type: typ, Outcome: audit.Success, Actor: audit.Gateway, User: u.ID}); err != nil {
			t.Fatal(err)
		}
	}
	alive(identity.Disabled, audit.UserDisabled)
	if _, errs, st := robot("jit-gateway", "whoami"); st != 255 || !strings.Contains(errs, "disabled") {
		t.Errorf("disabled: %q %d", errs, st)
	}
	alive(identity.Active, audit.UserEnabled)
	three := g.grant("alice", "web02", "deploy", time.Hour) // disabling has ended the others
	if cert2, err = g.auth.GatewayCert(g.admission("web02"), key.PublicKey()); err != nil {
		t.Fatal(err)
	}
	robot = g.robot(cert2)
	if _, errs, st := robot("web02", "true"); st != 0 {
		t.Errorf("%q %d", errs, st)
	}
	// And the end of the key that it stands for.
	alice := ssh.FingerprintSHA256(g.keys["alice"].PublicKey())
	if err := g.db.RemoveKey(t.Context(), g.users["alice"].ID, alice, audit.Event{Type: audit.KeyRemoved, Outcome: audit.Success, User: g.users["alice"].ID, Detail: map[string]string{"fingerprint": alice}}); err != nil {
		t.Fatal(err)
	}
	if _, _, st := robot("web02", "true"); st != 255 {
		t.Error("a certificate outlives the key that it stands for")
	}
	if g, err := g.db.Grant(t.Context(), three.ID); err != nil || !g.Live(time.Now()) {
		t.Errorf("%v %v", g.State, err)
	}
}

// Every certificate that is not exactly one of ours is refused.
func TestForgedCertificates(t *testing.T) {
	g := newGateway(t, gatewayOptions{rules: []policy.Rule{autoRule(nil)}})
	key, err := testenv.WriteKey(filepath.Join(g.dir, "robot"), "robot")
	if err != nil {
		t.Fatal(err)
	}
	g.grant("alice", "web01", "deploy", time.Hour)
	adm := g.admission("web01")
	good, err := g.auth.GatewayCert(adm, key.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	if d, err := g.auth.VerifyGatewayCert(good, "alice"); err != nil || d.Grant != adm.Grant().ID || d.KeyFingerprint != adm.KeyFingerprint() {
		t.Fatalf("%+v %v", d, err)
	}
	other := testenv.NewSigner(t)
	forge := func(f func(c *ssh.Certificate)) *ssh.Certificate {
		c := *good
		c.Extensions = map[string]string{"grant@jit-gateway": good.Extensions["grant@jit-gateway"], "key@jit-gateway": good.Extensions["key@jit-gateway"]}
		f(&c)
		return &c
	}
	session, err := g.auth.ProbeCert(adm.Target(), "deploy", ca.ProbeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]*ssh.Certificate{
		"another CA":            forge(func(c *ssh.Certificate) { c.SignCert(rand.Reader, other) }),
		"another CA, our name":  forge(func(c *ssh.Certificate) { c.SignCert(rand.Reader, other); c.SignatureKey = good.SignatureKey }),
		"CA is a certificate":   forge(func(c *ssh.Certificate) { c.SignatureKey = good }),
		"host certificate":      forge(func(c *ssh.Certificate) { c.CertType = ssh.HostCert }),
		"longer":                forge(func(c *ssh.Certificate) { c.ValidBefore += 3600 }),
		"for ever":              forge(func(c *ssh.Certificate) { c.ValidBefore = ssh.CertTimeInfinity }),
		"expired":               forge(func(c *ssh.Certificate) { c.ValidBefore = uint64(time.Now().Unix()) }),
		"not yet":               forge(func(c *ssh.Certificate) { c.ValidAfter = uint64(time.Now().Unix()) + 60 }),
		"no principal":          forge(func(c *ssh.Certificate) { c.ValidPrincipals = nil }),
		"two principals":        forge(func(c *ssh.Certificate) { c.ValidPrincipals = []string{"gateway/alice", "root"} }),
		"another user":          forge(func(c *ssh.Certificate) { c.ValidPrincipals = []string{"gateway/bob"} }),
		"critical option":       forge(func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"force-command": "x"} }),
		"another grant":         forge(func(c *ssh.Certificate) { c.Extensions["grant@jit-gateway"] = "G0" }),
		"no grant":              forge(func(c *ssh.Certificate) { delete(c.Extensions, "grant@jit-gateway") }),
		"one extension more":    forge(func(c *ssh.Certificate) { c.Extensions["permit-pty"] = "" }),
		"another key":           forge(func(c *ssh.Certificate) { c.Key = other.PublicKey() }),
		"a certificate for key": forge(func(c *ssh.Certificate) { c.Key = good }),
		"of a host login":       session,
	} {
		if _, err := g.auth.VerifyGatewayCert(c, "alice"); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	if _, err := g.auth.VerifyGatewayCert(good, "bob"); err == nil {
		t.Error("good for another user")
	}
	for what, pub := range map[string]ssh.PublicKey{"a certificate": good, "nothing": nil} {
		if _, err := g.auth.GatewayCert(adm, pub); err == nil {
			t.Errorf("signed over %s", what)
		}
	}
	if _, err := g.auth.GatewayCert(approval.Admission{}, key.PublicKey()); err == nil {
		t.Error("signed without an admission")
	}

	// On the wire, one that others signed is refused, and the log says so.
	if _, errs, st := g.robot(forge(func(c *ssh.Certificate) { c.SignCert(rand.Reader, other) }))("jit-gateway", "whoami"); st != 255 || !strings.Contains(errs, "does not accept your certificate: another CA has signed it") {
		t.Errorf("%q %d", errs, st)
	}
	said := func() bool {
		return slices.ContainsFunc(g.events(audit.LoginFailed), func(e audit.Event) bool {
			return e.Detail["name"] == "alice" && strings.Contains(e.Reason, "another CA")
		})
	}
	for end := time.Now().Add(10 * time.Second); !said() && time.Now().Before(end); { // it is written when the client has gone
		time.Sleep(20 * time.Millisecond)
	}
	if !said() {
		t.Error("no event says that a login failed")
	}
	// A stranger's certificate does not hide the registered key behind it.
	text, err := os.ReadFile(g.keyFile("alice"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(g.dir, "robot"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	company := &ssh.Certificate{Key: g.keys["alice"].PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"alice"}, ValidBefore: ssh.CertTimeInfinity}
	if err := company.SignCert(rand.Reader, other); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(g.dir, "robot.pub"))
	if _, errs, st := g.robot(company)("web01", "true"); st != 0 {
		t.Errorf("a company's certificate hides the key: %q %d", errs, st)
	}
}
