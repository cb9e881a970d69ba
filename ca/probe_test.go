package ca_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/ca"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/testenv/world"
)

// A probe takes no admission, so it must not be a credential: nobody has its
// key, each has another, and what holds it refuses to sign.
func TestG1ProbesOpenNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world.World) {
		host := inventory.Target{Name: "web01", Kind: inventory.SSH, SSH: &inventory.SSHTarget{Logins: []string{"deploy"}}}
		seen := map[string]bool{}
		for range 50 {
			c, err := w.Authority.ProbeCert(host, "deploy", ca.ProbeOptions{SourceAddresses: []string{"192.0.2.1"}})
			if err != nil {
				t.Fatal(err)
			}
			if seen[string(c.Key.Marshal())] || seen[fmt.Sprint(c.Serial)] {
				t.Fatal("a key or serial came twice")
			}
			seen[string(c.Key.Marshal())], seen[fmt.Sprint(c.Serial)] = true, true
			if !bytes.Equal(c.SignatureKey.Marshal(), w.Authority.UserCAKey().Marshal()) {
				t.Fatal("signed by another CA than sessions")
			}
			if got := fmt.Sprint(c.ValidPrincipals, c.CriticalOptions, c.Extensions, int64(c.ValidBefore)-time.Now().Unix()); got != "[deploy@web01] map[source-address:192.0.2.1] map[] 60" {
				t.Fatal(got)
			}
		}
		for _, c := range []struct{ form, login, want string }{
			{"", "deploy", "[deploy]"}, {"plain", "deploy", "[deploy@web01]"}, {"", "root", ""},
		} {
			host.SSH = &inventory.SSHTarget{Logins: []string{"deploy"}, Principals: c.form}
			cert, err := w.Authority.ProbeCert(host, c.login, ca.ProbeOptions{OtherPrincipal: true})
			if c.want == "" {
				if err == nil {
					t.Error("a probe for a login that the target does not have")
				}
				continue
			}
			if err != nil || fmt.Sprint(cert.ValidPrincipals) != c.want || host.SSH.Principals != c.form {
				t.Errorf("%+v: %v %v", c, cert, err)
			}
		}
		cert, err := w.Authority.ProbeCert(host, "deploy", ca.ProbeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p := ca.NewProbe(cert)
		if sig, err := p.Sign(nil, []byte("x")); sig != nil || err == nil || !p.Accepted {
			t.Errorf("a probe signed: %v %v", sig, err)
		}
		if _, err := w.Authority.ProbeCert(inventory.Target{Name: "orders"}, "deploy", ca.ProbeOptions{}); err == nil {
			t.Error("a probe for a database")
		}
		if _, err := w.Authority.ProbeCert(host, "deploy", ca.ProbeOptions{SourceAddresses: []string{"nonsense"}}); err == nil {
			t.Error("a probe with a source that is no address")
		}
	})
}

// The check of points agrees with keys that were made from private ones.
func TestOnCurve(t *testing.T) {
	off := 0
	for range 200 {
		pub, _, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		if !ca.OnCurve(pub) {
			t.Fatalf("%x is a real key", pub)
		}
		pub[0]++ // the neighbour is on the curve as often as not
		if !ca.OnCurve(pub) {
			off++
		}
	}
	if off < 50 || off > 150 {
		t.Errorf("%d of 200 neighbours are off the curve, about 100 should be", off)
	}
	if _, err := ssh.NewPublicKey(ca.NobodysKey()); err != nil || !ca.OnCurve(ca.NobodysKey()) {
		t.Error(err)
	}
}
