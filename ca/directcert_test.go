package ca_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/clock"
	"jit-gateway/internal/testenv/world"
)

// A certificate for the host itself exists only where a rule says so, and
// where the gateway is not needed for anything else that the rule wants.
func TestG4DirectCertificatesAreRareAndNarrow(t *testing.T) {
	mint := func(t *testing.T, change func(*policy.Rule), login string, f func(w *world.World, g approval.Grant, cert *ssh.Certificate, err error)) {
		t.Helper()
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			w := world.New(t, world.Options{Dir: dir, Clock: clock.Simulated(), Rule: change})
			w.Run(false)
			defer w.Close()
			g := w.Grant("web01", login, 10*time.Minute)
			cert, err := w.Authority.DirectCert(w.Admit(g), newKey(t).PublicKey())
			f(w, g, cert, err)
		})
	}
	direct := func(r *policy.Rule) { r.Direct = true }
	mint(t, direct, "deploy", func(w *world.World, g approval.Grant, cert *ssh.Certificate, err error) {
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%s %s %s %s", cert.ValidPrincipals, cert.KeyId, cert.CriticalOptions, cert.Extensions); got !=
			"[deploy@web01] direct/alice/"+g.ID+" map[source-address:192.0.2.7] map[permit-pty: permit-user-rc:]" {
			t.Errorf("got %s", got)
		}
		if left := time.Until(time.Unix(int64(cert.ValidBefore), 0)); left > 2*time.Minute {
			t.Errorf("it lives for %s", left)
		}
		if _, err := w.Authority.VerifyGatewayCert(cert, "alice"); err == nil {
			t.Error("it opens the gateway, too")
		}
		// Near the end the end counts, and after it there is none.
		time.Sleep(9 * time.Minute)
		if cert, err = w.Authority.DirectCert(w.Admit(g), newKey(t).PublicKey()); err != nil || int64(cert.ValidBefore) > g.End.Unix() {
			t.Errorf("%v, valid past the grant", err)
		}
		adm := w.Admit(g)
		time.Sleep(time.Minute)
		if _, err := w.Authority.DirectCert(adm, newKey(t).PublicKey()); err == nil {
			t.Error("signed after the grant's end")
		}
		if _, err := w.Authority.DirectCert(approval.Admission{}, newKey(t).PublicKey()); err == nil {
			t.Error("signed without an admission")
		}
	})
	forced := func(r *policy.Rule) {
		r.Direct, r.Channels = true, &policy.Channels{ForceCommand: "uptime", Agent: true, Local: []string{"db:5432"}}
	}
	mint(t, forced, "deploy", func(_ *world.World, _ approval.Grant, cert *ssh.Certificate, err error) {
		if err != nil || cert.CriticalOptions["force-command"] != "uptime" {
			t.Fatalf("%v %v", cert, err)
		}
		if _, ok := cert.Extensions["permit-port-forwarding"]; ok {
			t.Error("a host cannot tell destinations apart: forwarding must stay closed")
		}
	})
	channels := func(f func(c *policy.Channels)) func(*policy.Rule) {
		return func(r *policy.Rule) {
			c := policy.DefaultChannels()
			f(&c)
			r.Direct, r.Channels = true, &c
		}
	}
	for want, change := range map[string]func(*policy.Rule){
		"past the gateway (direct: true)": func(*policy.Rule) {},
		"restricts":                       channels(func(c *policy.Channels) { c.Shell = false }),
		"the host does not know that":     channels(func(c *policy.Channels) { c.Exec = false }),
		"restricts what may":              channels(func(c *policy.Channels) { c.ExecPatterns = []string{"uptime"} }),
		"may be done on web01":            channels(func(c *policy.Channels) { c.SFTP = "read" }),
		"done on web01, and the host":     channels(func(c *policy.Channels) { c.SFTPPaths = []string{"/srv"} }),
		"recorded in a way of its own":    func(r *policy.Rule) { r.Direct, r.Recording.Strict = true, true },
		"past the gateway nothing is":     func(r *policy.Rule) { r.Direct, r.Recording.Input = true, true },
		"wants sessions recorded":         func(r *policy.Rule) { r.Direct, r.Recording.Content = true, true },
		"wants a code for each session":   func(r *policy.Rule) { r.Direct, r.Factor.Per = true, "session" },
	} {
		mint(t, change, "deploy", func(_ *world.World, _ approval.Grant, _ *ssh.Certificate, err error) {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("want %q, got %v", want, err)
			}
		})
	}
}
