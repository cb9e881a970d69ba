package mfa_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity/oidc"
	"jit-gateway/internal/testenv/idp"
)

const audience = "jit-gateway.example"

// machines is a bench with a CI system, and alice as its machine.
type machines struct {
	*bench
	idp *idp.IdP
	m   *mfa.Machines
	n   int
}

func newMachines(t *testing.T) *machines {
	t.Helper()
	b := newBench(t)
	now := func() time.Time { return b.now }
	w := &machines{bench: b, idp: idp.Start(t, now)}
	p, err := oidc.NewProvider(oidc.ProviderOptions{Issuer: w.idp.URL, CAFile: w.idp.CAFile, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	issuers := oidc.Issuers{w.idp.URL: {Provider: p, Audience: audience}}
	if w.m, err = mfa.NewMachines(b.v, mfa.MachineOptions{VerifyToken: issuers.Verify, Once: b.db}); err != nil {
		t.Fatal(err)
	}
	return w
}

// job is the claims of a good token.
func (w *machines) job() map[string]any {
	w.n++
	c := w.idp.Standard(audience)
	c["sub"], c["jti"], c["repository_id"], c["environment"] = "repo:acme/shop:environment:prod", fmt.Sprintf("jti-%d", w.n), "4711", "prod"
	return c
}

func (w *machines) add(n mfa.NewBinding) mfa.Factor {
	w.Helper()
	f, err := w.m.Add(w.ctx, "Ualice", n, actor)
	if err != nil {
		w.Fatal(err)
	}
	return f
}

func (w *machines) verify(raw string) (mfa.Proof, error) {
	return w.m.VerifyJobToken(w.ctx, "Ualice", raw, actor)
}

func TestJobToken(t *testing.T) {
	w := newMachines(t)
	if _, err := w.verify(w.idp.Sign(w.job())); !errors.Is(err, mfa.ErrNoSuchProof) {
		t.Errorf("without a factor: %v", err)
	}
	f := w.add(mfa.NewBinding{Issuer: w.idp.URL, Claims: map[string]string{"repository_id": "4711", "environment": "prod"}})
	raw := w.idp.Sign(w.job())
	p, err := w.verify(raw + "\n")
	if err != nil || !p.Valid() || p.Kind() != mfa.JobToken || p.UserID() != "Ualice" || p.FactorID() != f.ID || !p.At().Equal(w.now) || strings.Contains(p.Evidence(), raw) {
		t.Fatalf("%+v, %v", p, err)
	}
	for _, want := range []string{`"jti":"jti-2"`, `"repository_id":"4711"`, w.idp.URL} {
		if !strings.Contains(p.Evidence(), want) {
			t.Errorf("the evidence %s has no %s", p.Evidence(), want)
		}
	}
	if _, err := w.verify(raw); !errors.Is(err, mfa.ErrUsedProof) {
		t.Errorf("the same again: %v", err)
	}
	if got := w.m.BindingText(f); got != w.idp.URL+" environment=prod repository_id=4711" {
		t.Error(got)
	}
	// Numbers and truth values are what they look like.
	n := w.add(mfa.NewBinding{Issuer: w.idp.URL, Claims: map[string]string{"project_id": "12345678", "ref_protected": "true"}})
	c := w.job()
	c["repository_id"], c["project_id"], c["ref_protected"] = "other", 12345678, true
	if p, err := w.verify(w.idp.Sign(c)); err != nil || p.FactorID() != n.ID {
		t.Errorf("%+v, %v", p, err)
	}
	if w.idp.KeyFetches != 1 {
		t.Errorf("the keys were fetched %d times", w.idp.KeyFetches)
	}
	if err := w.m.Remove(w.ctx, "Ualice", f.ID, actor); err != nil {
		t.Fatal(err)
	}
	if _, err := w.verify(w.idp.Sign(w.job())); !errors.Is(err, mfa.ErrNotAccepted) {
		t.Errorf("after its removal: %v", err)
	}
}

// TestG1JobTokensOfOthers: each is a token that somebody might have who has
// the machine's key and not its job.
func TestG1JobTokensOfOthers(t *testing.T) {
	w := newMachines(t)
	w.add(mfa.NewBinding{Issuer: w.idp.URL, Claims: map[string]string{"repository_id": "4711", "environment": "prod"}})
	set := func(k string, v any) func(map[string]any) {
		return func(c map[string]any) { c[k] = v }
	}
	drop := func(k string) func(map[string]any) { return func(c map[string]any) { delete(c, k) } }
	for name, change := range map[string]func(map[string]any){
		"another audience":         set("aud", "sts.amazonaws.com"),
		"a further audience":       set("aud", []string{audience, "sts.amazonaws.com"}),
		"no audience":              drop("aud"),
		"another issuer":           set("iss", "https://evil.example"),
		"another repository":       set("repository_id", "666"),
		"a repository as a number": set("repository_id", 4711.5),
		"repositories":             set("repository_id", []string{"4711"}),
		"no repository":            drop("repository_id"),
		"another environment":      set("environment", "staging"),
		"expired":                  set("exp", w.now.Add(-time.Second).Unix()),
		"issued long ago": func(c map[string]any) {
			c["iat"], c["exp"] = w.now.Add(-11*time.Minute).Unix(), w.now.Add(time.Hour).Unix()
		},
		"issued at no time":    drop("iat"),
		"issued in the future": set("iat", w.now.Add(2*time.Minute).Unix()),
		"not yet valid":        set("nbf", w.now.Add(time.Hour).Unix()),
		"no jti":               drop("jti"),
		"an empty jti":         set("jti", ""),
		"a long jti":           set("jti", strings.Repeat("x", 600)),
	} {
		c := w.job()
		change(c)
		if p, err := w.verify(w.idp.Sign(c)); !errors.Is(err, mfa.ErrNotAccepted) || p.Valid() {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	for name, raw := range map[string]string{"unsigned": idp.Unsigned(w.job()), "nothing": "", "no token": "x.y.z", "too long": strings.Repeat("a", 1<<20)} {
		if p, err := w.verify(raw); !errors.Is(err, mfa.ErrNotAccepted) || p.Valid() {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	evs, err := w.db.FindEvents(w.ctx, audit.Filter{Limit: 1})
	if err != nil || evs[0].Type != audit.FactorFailed || evs[0].User != "Ualice" || evs[0].Detail["kind"] != string(mfa.JobToken) {
		t.Errorf("%+v, %v", evs, err)
	}
	// All of that locks nobody out.
	if _, err := w.verify(w.idp.Sign(w.job())); err != nil {
		t.Error(err)
	}
	// Of eight at once one wins; and afterwards, for as long as the token lives, none.
	raw, won := w.idp.Sign(w.job()), atomic.Int32{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := w.verify(raw); err == nil {
				won.Add(1)
			} else if !errors.Is(err, mfa.ErrUsedProof) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d won", won.Load())
	}
	w.now = w.now.Add(4 * time.Minute)
	if _, err := w.verify(raw); !errors.Is(err, mfa.ErrUsedProof) {
		t.Errorf("four minutes later: %v", err)
	}
	// It is alice's alone.
	if _, err := w.m.VerifyJobToken(w.ctx, "Ubob", w.idp.Sign(w.job()), actor); !errors.Is(err, mfa.ErrNoSuchProof) {
		t.Error(err)
	}
}

func TestBindingsThatAreNone(t *testing.T) {
	w := newMachines(t)
	_, root := newCA(t)
	for _, n := range []mfa.NewBinding{
		{}, {Issuer: w.idp.URL}, {Claims: map[string]string{"repository_id": "1"}}, {Issuer: w.idp.URL, Claims: map[string]string{"repository": "acme/shop"}},
		{Issuer: w.idp.URL, Claims: map[string]string{"sub": "repo:acme/shop", "ref": "refs/heads/main"}}, {Issuer: w.idp.URL, Claims: map[string]string{"repository_id": ""}},
		{Issuer: w.idp.URL, Claims: map[string]string{"repository_id": "1", "jti": "x"}}, {Issuer: w.idp.URL, Claims: map[string]string{"repository_id": "1", "aud": "x"}},
		{Roots: root}, {SAN: "DNS:ci"}, {Roots: "x", SAN: "DNS:ci"}, {Roots: root, SAN: "ci"}, {Roots: root, SAN: "IP:127.0.0.1"}, {Roots: root, SAN: "URI:"},
		{Issuer: w.idp.URL, Claims: map[string]string{"repository_id": "1"}, Roots: root, SAN: "DNS:ci"},
	} {
		if _, err := w.m.Add(w.ctx, "Ualice", n, actor); err == nil {
			t.Errorf("%+v was accepted", n)
		}
	}
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t *testing.T) (authority, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "machines"}, NotBefore: time.Unix(0, 0), NotAfter: time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}, certPEM(der)
}

func certPEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func (a authority) issue(t *testing.T, pub any, change func(*x509.Certificate)) string {
	t.Helper()
	spiffe, _ := url.Parse("spiffe://example.org/ci/deploy")
	c := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Date(2026, 11, 22, 11, 0, 0, 0, time.UTC), NotAfter: time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC),
		URIs: []*url.URL{spiffe}, DNSNames: []string{"ci.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if change != nil {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, pub, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return certPEM(der)
}

const grantHash = "5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456"

// TestG1ClientCertificate: with openssl, as a job does it, and with what is
// not the machine's.
func TestG1ClientCertificate(t *testing.T) {
	w := newMachines(t)
	ca, root := newCA(t)
	f := w.add(mfa.NewBinding{Roots: root, SAN: "URI:spiffe://example.org/ci/deploy"})
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := ca.issue(t, pub, nil)
	challenge := func(user, digest string) string {
		c, err := w.m.Challenge(user, digest)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	sign := func(c, chain string) string {
		return c + "\n" + chain + base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte(c+"\n"))) + "\n"
	}
	verify := func(answer string) (mfa.Proof, error) {
		return w.m.VerifyCertificate(w.ctx, "Ualice", grantHash, []byte(answer), actor)
	}
	answer := sign(challenge("Ualice", grantHash), good)
	p, err := verify(answer)
	if err != nil || p.Kind() != mfa.MTLS || p.FactorID() != f.ID || p.Digest() != grantHash || !strings.Contains(p.Evidence(), "jit-gateway-challenge-1:") {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err := verify(answer); !errors.Is(err, mfa.ErrUsedProof) {
		t.Errorf("the same again: %v", err)
	}
	other, _ := newCA(t)
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := challenge("Ualice", grantHash)
	late := challenge("Ualice", grantHash)
	old := ca.issue(t, pub, func(c *x509.Certificate) { c.NotAfter = w.now.Add(-time.Minute) })
	for name, answer := range map[string]string{
		"another authority":     sign(c, other.issue(t, pub, nil)),
		"another name":          sign(c, ca.issue(t, pub, func(c *x509.Certificate) { c.URIs = nil })),
		"for servers":           sign(c, ca.issue(t, pub, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })),
		"expired":               sign(c, old),
		"not yet valid":         sign(c, ca.issue(t, pub, func(c *x509.Certificate) { c.NotBefore = w.now.Add(time.Minute) })),
		"another key":           c + "\n" + good + base64.StdEncoding.EncodeToString(ed25519.Sign(stranger, []byte(c+"\n"))),
		"another text":          c + "\n" + good + base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte("x"))),
		"another grant":         sign(challenge("Ualice", strings.Repeat("0", 64)), good),
		"another machine":       sign(challenge("Ubob", grantHash), good),
		"a challenge of nobody": sign("jit-gateway-challenge-1:e30.e30", good),
		"no challenge":          sign("", good),
		"no certificate":        c + "\n" + base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte(c+"\n"))),
		"no signature":          c + "\n" + good,
		"the private key too":   sign(c, good+string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}))),
		"too long":              sign(c, strings.Repeat(good, 200)),
		"nothing":               "",
	} {
		if p, err := verify(answer); !errors.Is(err, mfa.ErrNotAccepted) || p.Valid() {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	// The root's own certificate sent along proves nothing, an intermediate is taken.
	if _, err := verify(sign(c, good+root)); err != nil {
		t.Errorf("with its chain: %v", err)
	}
	w.now = w.now.Add(2 * time.Minute)
	if _, err := verify(sign(late, good)); !errors.Is(err, mfa.ErrNotAccepted) {
		t.Errorf("too late: %v", err)
	}
}

// TestCertificateWithOpenSSL follows docs/identities.md to the letter.
func TestCertificateWithOpenSSL(t *testing.T) {
	w := newMachines(t)
	ca, root := newCA(t)
	w.add(mfa.NewBinding{Roots: root, SAN: "DNS:ci.example"})
	dir := t.TempDir()
	for kind, gen := range map[string]string{"rsa": "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", "ec": "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"} {
		run := func(script string) []byte {
			t.Helper()
			cmd := exec.Command("sh", "-ec", script)
			cmd.Dir = dir
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v", script, err)
			}
			return out
		}
		block, _ := pem.Decode(run(gen + " -out client.key 2>/dev/null && openssl pkey -in client.key -pubout"))
		pub, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		c, err := w.m.Challenge("Ualice", grantHash)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"challenge": c + "\n", "client.pem": ca.issue(t, pub, nil)} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		answer := run("cat challenge client.pem; openssl dgst -sha256 -sign client.key challenge | openssl base64 -A")
		if p, err := w.m.VerifyCertificate(w.ctx, "Ualice", grantHash, answer, actor); err != nil || !p.Valid() {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func FuzzCertificateAnswer(f *testing.F) {
	f.Add("jit-gateway-challenge-1:e30.e30\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\nAAAA")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		challenge, chain, sig, err := mfa.ParseAnswer([]byte(s))
		if err == nil && (len(chain) == 0 || len(sig) == 0 || strings.Contains(challenge, "-----BEGIN ")) {
			t.Errorf("%q has the parts %q, %d, %x", s, challenge, len(chain), sig)
		}
	})
}
