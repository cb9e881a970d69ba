package sshproxy

import (
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

// Never trust on first use: a host that cannot show the pinned key or a good
// certificate gets nothing, not even the gateway's certificate.
func TestUpstreamIdentity(t *testing.T) {
	hostCA := testenv.NewSigner(t)
	var certHost, wrongName *testenv.SSHD
	change := func(name string, ts []inventory.Target, f func(*inventory.SSHTarget)) inventory.Target {
		c := *ts[0].SSH
		f(&c)
		return inventory.Target{Name: name, Kind: inventory.SSH, SSH: &c}
	}
	g := newGateway(t, gatewayOptions{targets: func(g *gateway, ts []inventory.Target) []inventory.Target {
		certHost = testenv.NewSSHD(t, testenv.SSHDOptions{Dir: filepath.Join(g.dir, "c"), Name: "web02", HostCA: hostCA, UserCAs: []ssh.PublicKey{g.auth.UserCAKey()}})
		wrongName = testenv.NewSSHD(t, testenv.SSHDOptions{Dir: filepath.Join(g.dir, "w"), Name: "web03", HostCA: hostCA, HostPrincipals: []string{"other"}, UserCAs: []ssh.PublicKey{g.auth.UserCAKey()}})
		ca := testenv.AuthorizedKey(hostCA.PublicKey())
		return append(ts,
			change("web02", ts, func(c *inventory.SSHTarget) { c.Address, c.HostKeys, c.HostCAs = certHost.Addr, nil, []string{ca} }),
			change("web03", ts, func(c *inventory.SSHTarget) { c.Address, c.HostKeys, c.HostCAs = wrongName.Addr, nil, []string{ca} }),
			change("web04", ts, func(c *inventory.SSHTarget) {
				c.HostKeys = []string{testenv.AuthorizedKey(testenv.NewSigner(t).PublicKey())}
			}),
			change("web05", ts, func(c *inventory.SSHTarget) { c.Address = "127.0.0.1:1" }),
			change("web06", ts, func(c *inventory.SSHTarget) { c.Logins = []string{"admin", "deploy"} }), // wrong principal: web06, not web01
		)
	}})
	for name, want := range map[string]string{
		"web02": "", "web03": "host certificate", "web04": "host key changed", "web05": "connection refused", "web06": "does not accept the gateway's certificate",
	} {
		g.grant("alice", name, "deploy", time.Hour)
		minted := len(g.events(audit.CredentialMinted))
		out, errs, st := g.run("", "ssh", name, "echo in")
		switch {
		case want == "" && (st != 0 || out != "in\n"):
			t.Errorf("%s: %q %q %d", name, out, errs, st)
		case want != "" && (st != 255 || out != "" || !strings.Contains(errs, want)):
			t.Errorf("%s: %q %q %d, want %q", name, out, errs, st, want)
		}
		if n := len(g.events(audit.CredentialMinted)) - minted; n != 0 && name != "web02" && name != "web06" {
			t.Errorf("%s: %d credentials minted for a host that was not verified", name, n)
		}
	}
	for _, r := range g.closed(5) {
		if r.Target != "web02" && r.Cause != "upstream_failed" {
			t.Errorf("%s ended as %q: %s", r.Target, r.Cause, r.Reason)
		}
	}
}

func TestConfiguredKeyAndVia(t *testing.T) {
	var hop, far, old *testenv.SSHD
	g := newGateway(t, gatewayOptions{
		targets: func(g *gateway, ts []inventory.Target) []inventory.Target {
			k, err := testenv.WriteKey(filepath.Join(g.dir, "service"), "service")
			if err != nil {
				t.Fatal(err)
			}
			keys := map[string][]ssh.PublicKey{"deploy": {k.PublicKey()}}
			hop = testenv.NewSSHD(t, testenv.SSHDOptions{Dir: filepath.Join(g.dir, "hop"), Name: "web08", AuthorizedKeys: keys})
			far = testenv.NewSSHD(t, testenv.SSHDOptions{Dir: filepath.Join(g.dir, "far"), Name: "far01", UserCAs: []ssh.PublicKey{g.auth.UserCAKey()}})
			old = testenv.NewSSHD(t, testenv.SSHDOptions{Dir: filepath.Join(g.dir, "old"), Name: "web07", AuthorizedKeys: keys})
			target := func(name string, h *testenv.SSHD) inventory.Target {
				return inventory.Target{Name: name, Kind: inventory.SSH, SSH: &inventory.SSHTarget{Address: h.Addr, Logins: []string{"deploy"}, HostKeys: []string{testenv.AuthorizedKey(h.HostKey)}}}
			}
			h, f, o := target("web08", hop), target("far01", far), target("web07", old)
			h.SSH.Key, o.SSH.Key, f.SSH.Via = "file:service", "file:service", "web08"
			return append(ts, h, f, o)
		},
		options: func(o *Options) {
			o.Secrets = func(ref string) (string, error) { return "", os.ErrNotExist }
		},
	})
	g.server.o.Secrets = func(ref string) (string, error) {
		b, err := os.ReadFile(filepath.Join(g.dir, strings.TrimPrefix(ref, "file:")))
		return string(b), err
	}
	g.grant("alice", "web07", "deploy", time.Hour)
	g.grant("alice", "far01", "deploy", time.Hour)
	if out, errs, st := g.run("", "ssh", "web07", "echo by key"); st != 0 || out != "by key\n" {
		t.Errorf("%q %q %d", out, errs, st)
	}
	said := false
	for _, e := range g.events(audit.CredentialMinted) {
		said = said || e.Detail["kind"] == "configured_key" && e.Target == "web07"
	}
	if !said {
		t.Error("no event says that a configured key was used")
	}
	if out, errs, st := g.run("", "ssh", "far01", "echo far"); st != 0 || out != "far\n" {
		t.Errorf("via: %q %q %d", out, errs, st)
	}
	if !strings.Contains(hop.Log(), "Accepted publickey for deploy") {
		t.Error("the hop was not used")
	}
}
