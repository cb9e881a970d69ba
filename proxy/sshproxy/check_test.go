package sshproxy

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/testenv"
)

// findings are those of a check of web01, changed by f, by what was looked at.
func (g *gateway) findings(standing bool, f func(*inventory.SSHTarget)) map[string]Finding {
	g.t.Helper()
	t, ok := g.inv.Target("web01")
	if !ok {
		g.t.Fatal("no web01")
	}
	s := *t.SSH
	if f != nil {
		f(&s)
	}
	t.SSH = &s
	list, err := g.server.Check(g.t.Context(), t, standing)
	if err != nil {
		g.t.Fatal(err)
	}
	out := map[string]Finding{}
	for _, v := range list {
		g.t.Logf("%v %s: %s | %s", v.OK, v.What, v.Detail, v.Fix)
		if !v.OK && v.Fix == "" {
			g.t.Errorf("%s: %s: no word how to mend it", v.What, v.Detail)
		}
		if old, twice := out[v.What]; twice && !old.OK {
			v = old
		}
		out[v.What] = v
	}
	return out
}

// wantBad checks that a finding is bad, and what it says.
func wantBad(t *testing.T, found map[string]Finding, what, detail, fix string) {
	t.Helper()
	f, ok := found[what]
	if !ok || f.OK || !strings.Contains(f.Detail, detail) || !strings.Contains(f.Fix, fix) {
		t.Errorf("%s is %+v, want %q and %q", what, f, detail, fix)
	}
}

func wantOK(t *testing.T, found map[string]Finding, what ...string) {
	t.Helper()
	for _, w := range what {
		if f, ok := found[w]; !ok || !f.OK {
			t.Errorf("%s is %+v, want it good", w, f)
		}
	}
}

// A check of a good host finds nothing, and never logs in (G1).
func TestG1CheckNeverLogsIn(t *testing.T) {
	g := newGateway(t, gatewayOptions{})
	found := g.findings(true, nil)
	wantOK(t, found, "address", "host key", "user CA", "login deploy", "login admin", "standing access", "not seen from outside")
	for what, f := range found {
		if !f.OK {
			t.Errorf("%s: %+v", what, f)
		}
	}
	if log := g.hosts["web01"].Log(); strings.Contains(log, "Accepted publickey") || !strings.Contains(log, `Accepted certificate ID "check/web01"`) {
		t.Errorf("the host's log: %s", log)
	}
	probes := 0
	for _, e := range g.events(audit.CredentialMinted) {
		if e.Detail["kind"] != "ssh_probe" || e.Detail["serial"] == "" || e.Target != "web01" || e.Session != "" {
			t.Errorf("%+v", e)
		}
		probes++
	}
	if probes != 4 { // per login its principal, and for standing the plain one
		t.Errorf("%d probes in the log, want 4", probes)
	}
	if _, err := g.server.Check(t.Context(), inventory.Target{Name: "orders"}, false); err == nil {
		t.Error("a database was checked as a host")
	}
}

func TestCheckAddress(t *testing.T) {
	g := newGateway(t, gatewayOptions{options: func(o *Options) { o.DialTime = 2 * time.Second }})
	listen := func(f func(net.Conn)) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go f(c)
			}
		}()
		return ln.Addr().String()
	}
	silent := listen(func(c net.Conn) { io.Copy(io.Discard, c); c.Close() })
	web := listen(func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 400 Bad\x1b[2J Request\r\n\r\n"); c.Close() })
	rude := listen(func(c net.Conn) { c.Close() })
	old := listen(func(c net.Conn) {
		fmt.Fprint(c, "SSH-2.0-old\r\n")
		io.CopyN(io.Discard, c, 100)
		c.Close()
	})
	for addr, want := range map[string]string{"127.0.0.1:1": "connection refused", "no-such-host.invalid": "is not known", silent: "says nothing", web: `is not SSH: it says "HTTP/1.1 400 Bad`, rude: "hangs up at once"} {
		found := g.findings(true, func(s *inventory.SSHTarget) { s.Address = addr })
		wantBad(t, found, "address", want, "in the gateway's configuration, targets, web01")
		if len(found) != 1 || strings.Contains(found["address"].Detail, "\x1b") {
			t.Errorf("%s: %+v", addr, found)
		}
	}
	wantBad(t, g.findings(false, func(s *inventory.SSHTarget) { s.Address = old }), "key exchange", "handshake failed", "sshd_config")
}

func TestCheckHostKey(t *testing.T) {
	hostCA, otherCA := testenv.NewSigner(t), testenv.NewSigner(t)
	other := testenv.AuthorizedKey(testenv.NewSigner(t).PublicKey())
	var wrong *testenv.SSHD
	g := newGateway(t, gatewayOptions{targets: func(g *gateway, ts []inventory.Target) []inventory.Target {
		wrong = testenv.NewSSHD(t, testenv.SSHDOptions{Dir: filepath.Join(g.dir, "w"), Name: "web03", HostCA: hostCA, HostPrincipals: []string{"other.example"}})
		return ts
	}})
	host := g.hosts["web01"]
	var ecdsa string // a key of a kind that the host has none of
	for _, key := range g.auth.OuterSigners() {
		if key.PublicKey().Type() == ssh.KeyAlgoECDSA256 {
			ecdsa = testenv.AuthorizedKey(key.PublicKey())
		}
	}
	for _, c := range []struct {
		pins, cas   []string
		detail, fix string
		wrong       bool
	}{
		{[]string{other}, nil, "not the configured one: it shows ssh-ed25519 " + ssh.FingerprintSHA256(host.HostKey), testenv.AuthorizedKey(host.HostKey), false},
		{nil, nil, "trusts nobody on first use; it shows ssh-ed25519 " + ssh.FingerprintSHA256(host.HostKey), "ssh_host_ed25519_key.pub", false},
		{[]string{ecdsa}, nil, "no host key of the configured kind", testenv.AuthorizedKey(host.HostKey), false},
		{nil, []string{testenv.AuthorizedKey(otherCA.PublicKey())}, "signed by " + ssh.FingerprintSHA256(hostCA.PublicKey()), "host_cas: [\"" + testenv.AuthorizedKey(hostCA.PublicKey()), true},
		{nil, []string{testenv.AuthorizedKey(hostCA.PublicKey())}, "a certificate for [other.example]", "host_name: other.example", true},
	} {
		found := g.findings(true, func(s *inventory.SSHTarget) {
			s.HostKeys, s.HostCAs = c.pins, c.cas
			if c.wrong {
				s.Address = wrong.Addr
			}
		})
		wantBad(t, found, "host key", c.detail, c.fix)
		if _, ok := found["login deploy"]; ok {
			t.Error("a host that was not verified was asked about logins")
		}
	}
	if n := len(g.events(audit.CredentialMinted)); n != 0 {
		t.Errorf("%d probes signed for hosts that were not verified", n)
	}
	found := g.findings(false, func(s *inventory.SSHTarget) {
		s.Address, s.HostKeys, s.HostCAs, s.HostName = wrong.Addr, nil, []string{testenv.AuthorizedKey(hostCA.PublicKey())}, "other.example"
	})
	wantOK(t, found, "host key")
	wantBad(t, found, "user CA", "not trusted", testenv.AuthorizedKey(g.auth.UserCAKey()))
}

func TestCheckLogins(t *testing.T) {
	var h, plain *testenv.SSHD
	g := newGateway(t, gatewayOptions{targets: func(g *gateway, ts []inventory.Target) []inventory.Target {
		cas := []ssh.PublicKey{g.auth.UserCAKey()}
		h = testenv.NewSSHD(t, testenv.SSHDOptions{Dir: filepath.Join(g.dir, "h"), Name: "web01", UserCAs: cas, Logins: []string{"deploy", "admin", "ops", "app", "pw"},
			Principals: map[string][]string{"deploy": {"deploy@web01"}, "admin": {"admin"}, "ops": {"ops@web02"}, "app": {"app@web01", "app"}, "pw": {"pw@web01"}},
			// The first value counts, and a Match block ends at the next one.
			Config: []string{"Match User pw", "PubkeyAuthentication no", "PasswordAuthentication yes", "KbdInteractiveAuthentication yes", "Match all"}})
		plain = testenv.NewSSHD(t, testenv.SSHDOptions{Dir: filepath.Join(g.dir, "p"), Name: "web01", UserCAs: cas, Principals: map[string][]string{}})
		ts[0].SSH.Address, ts[0].SSH.HostKeys = h.Addr, []string{testenv.AuthorizedKey(h.HostKey), testenv.AuthorizedKey(plain.HostKey)}
		ts[0].SSH.Logins = []string{"deploy", "admin", "ops", "app", "pw", "nobody-here"}
		return ts
	}})
	found := g.findings(true, nil)
	wantOK(t, found, "address", "host key", "user CA", "login deploy")
	wantBad(t, found, "login admin", "the plain admin is", "/etc/ssh/auth_principals/admin needs the line: admin@web01")
	wantBad(t, found, "login ops", "not for this login", "needs the line: ops@web01")
	wantBad(t, found, "login nobody-here", "not for this login", "getent passwd nobody-here")
	wantBad(t, found, "login app", "also accepts the plain principal app", "must not have the line: app")
	wantBad(t, found, "login pw", "takes no keys", "PubkeyAuthentication yes")
	wantBad(t, found, "password login", "offered to pw", "PasswordAuthentication no")
	if !found["not seen from outside"].OK {
		t.Error("nothing says what cannot be seen")
	}
	if _, ok := g.findings(false, nil)["password login"]; ok {
		t.Error("other ways in without --standing")
	}

	// Bound to addresses that are not the gateway's.
	g.server.o.Egress = []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")}
	wantBad(t, g.findings(false, nil), "login deploy", "192.0.2.7", "egress")
	wantBad(t, g.findings(false, nil), "login admin", "the plain admin is", "admin@web01")
	g.server.o.Egress = nil

	// A host without AuthorizedPrincipalsFile.
	at := func(s *inventory.SSHTarget) { s.Address, s.Logins = plain.Addr, []string{"deploy"} }
	wantBad(t, g.findings(false, at), "login deploy", "the plain deploy is", "AuthorizedPrincipalsFile /etc/ssh/auth_principals/%u")
	found = g.findings(false, func(s *inventory.SSHTarget) { at(s); s.Principals = "plain" })
	wantOK(t, found, "user CA", "login deploy", "principals")
	if !strings.Contains(found["principals"].Detail, "warning") {
		t.Errorf("no warning: %+v", found["principals"])
	}
	wantBad(t, g.findings(false, func(s *inventory.SSHTarget) { s.Logins, s.Principals = []string{"deploy"}, "plain" }), "login deploy", "deploy@web01 is", "principals: scoped")

	// The CA is gone.
	if err := h.TrustUserCAs(testenv.NewSigner(t).PublicKey()); err != nil {
		t.Fatal(err)
	}
	found = g.findings(false, nil)
	wantBad(t, found, "user CA", "not trusted", testenv.AuthorizedKey(g.auth.UserCAKey()))
	wantBad(t, found, "login deploy", "see user CA", "deploy@web01")
	for _, log := range []string{h.Log(), plain.Log()} {
		if strings.Contains(log, "Accepted publickey") {
			t.Errorf("a check logged in: %s", log)
		}
	}
}

func TestCheckConfiguredKeyAndVia(t *testing.T) {
	var hop, old *testenv.SSHD
	g := newGateway(t, gatewayOptions{targets: func(g *gateway, ts []inventory.Target) []inventory.Target {
		k, err := testenv.WriteKey(filepath.Join(g.dir, "service"), "service")
		if err != nil {
			t.Fatal(err)
		}
		keys := map[string][]ssh.PublicKey{"deploy": {k.PublicKey()}}
		hop = testenv.NewSSHD(t, testenv.SSHDOptions{Dir: filepath.Join(g.dir, "hop"), Name: "web08", AuthorizedKeys: keys})
		old = testenv.NewSSHD(t, testenv.SSHDOptions{Dir: filepath.Join(g.dir, "old"), Name: "web07", AuthorizedKeys: keys})
		return append(ts, inventory.Target{Name: "web08", Kind: inventory.SSH, SSH: &inventory.SSHTarget{Address: hop.Addr, Logins: []string{"deploy"}, HostKeys: []string{testenv.AuthorizedKey(hop.HostKey)}, Key: "file:service"}})
	}})
	g.server.o.Secrets = func(ref string) (string, error) {
		b, err := os.ReadFile(filepath.Join(g.dir, strings.TrimPrefix(ref, "file:")))
		return string(b), err
	}
	via := func(s *inventory.SSHTarget) { s.Via = "web08" }
	wantOK(t, g.findings(false, via), "via web08", "address", "host key", "user CA", "login deploy", "login admin")
	if err := hop.Stop(); err != nil {
		t.Fatal(err)
	}
	wantBad(t, g.findings(false, via), "via web08", "connection refused", "target check web08")
	if err := hop.Start(t.Context()); err != nil {
		t.Fatal(err)
	}

	byKey := func(s *inventory.SSHTarget) {
		s.Address, s.HostKeys, s.Key = old.Addr, []string{testenv.AuthorizedKey(old.HostKey)}, "file:service"
	}
	found := g.findings(false, byKey)
	wantOK(t, found, "login deploy")
	wantBad(t, found, "login admin", "does not accept the configured key", "~admin/.ssh/authorized_keys")
	wantBad(t, g.findings(false, func(s *inventory.SSHTarget) { byKey(s); s.Key = "file:none" }), "login deploy", "cannot be read", "key: file:PATH")
	if strings.Contains(old.Log(), "Accepted publickey") {
		t.Error("a check logged in with the configured key")
	}
}
