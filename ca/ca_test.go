package ca_test

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/ca"
	"jit-gateway/internal/clock"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/testenv/world"
)

func TestMain(m *testing.M) {
	if err := world.Warm(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func bubble(t *testing.T, test func(t *testing.T, w *world.World)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := world.New(t, world.Options{Dir: dir, Clock: clock.Simulated()})
		w.Run(false)
		test(t, w)
		w.Close()
	})
}

var from = ca.UserCertOptions{Session: "S1", SourceAddresses: []string{"192.0.2.1", "198.51.100.0/28"}}

func newKey(t *testing.T) *ca.SessionKey {
	t.Helper()
	k, err := ca.NewSessionKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestG1NothingIsMintedWithoutAdmission(t *testing.T) {
	bubble(t, func(t *testing.T, w *world.World) {
		g, d := w.Grant("web01", "deploy", time.Hour), w.Grant("orders", "orders_ro", time.Hour)
		web, orders := w.Admit(g), w.Admit(d)
		mint := func(adm approval.Admission) (errs []error) {
			_, err := w.Authority.UserCert(adm, newKey(t).PublicKey(), from)
			errs = append(errs, err)
			_, _, err = w.Authority.ClientCert(adm, adm.Login(), time.Minute)
			errs = append(errs, err)
			_, err = w.Tokens.Mint(t.Context(), adm, ca.TokenOptions{})
			return append(errs, err)
		}
		for i, err := range mint(approval.Admission{}) {
			if err == nil {
				t.Errorf("minting %d took no admission", i)
			}
		}
		// An admission is for one kind of target.
		if errs := mint(web); errs[0] != nil || errs[1] == nil || errs[2] == nil {
			t.Errorf("for an SSH host: %v", errs)
		}
		if errs := mint(orders); errs[0] == nil || errs[1] != nil || errs[2] != nil {
			t.Errorf("for a database: %v", errs)
		}
		time.Sleep(time.Hour)
		for _, adm := range []approval.Admission{web, orders} {
			for i, err := range mint(adm) {
				if err == nil {
					t.Errorf("minting %d took an admission whose window is over", i)
				}
			}
		}
	})
}

func TestG4UserCertificatesAreNarrow(t *testing.T) {
	bubble(t, func(t *testing.T, w *world.World) {
		g := w.Grant("web01", "deploy", 10*time.Minute)
		adm := w.Admit(g)
		o := from
		o.ForceCommand, o.Extensions = "uptime", []string{"permit-pty"}
		cert, err := w.Authority.UserCert(adm, newKey(t).PublicKey(), o)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		if got := fmt.Sprintf("%s %s %s %s", cert.ValidPrincipals, cert.KeyId, cert.CriticalOptions, cert.Extensions); got !=
			"[deploy@web01] S1/alice/"+g.ID+" map[force-command:uptime source-address:192.0.2.1,198.51.100.0/28] map[permit-pty:]" {
			t.Errorf("got %s", got)
		}
		if int64(cert.ValidAfter) != now.Add(-2*time.Minute).Unix() || int64(cert.ValidBefore) != now.Add(2*time.Minute).Unix() {
			t.Errorf("valid from %d to %d, now is %d", cert.ValidAfter, cert.ValidBefore, now.Unix())
		}
		check := &ssh.CertChecker{SupportedCriticalOptions: []string{"force-command", "source-address"}, Clock: time.Now}
		if err := check.CheckCert("deploy@web01", cert); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(cert.SignatureKey.Marshal(), w.Authority.UserCAKey().Marshal()) {
			t.Error("signed by another key")
		}
		// Near the end, the end counts, in whole seconds rounded down.
		time.Sleep(9*time.Minute + 500*time.Millisecond)
		cert, err = w.Authority.UserCert(adm, newKey(t).PublicKey(), from)
		if err != nil || int64(cert.ValidBefore) != g.End.Unix() {
			t.Errorf("valid until %d, the grant until %d (%v)", cert.ValidBefore, g.End.Unix(), err)
		}
		time.Sleep(58*time.Second + 600*time.Millisecond)
		if cert, err := w.Authority.UserCert(adm, newKey(t).PublicKey(), from); err == nil && int64(cert.ValidBefore) > g.End.Unix() {
			t.Errorf("valid until %d, past the end", cert.ValidBefore)
		}
	})
}

func TestUserCertificatesRefuseWhatIsTooWide(t *testing.T) {
	bubble(t, func(t *testing.T, w *world.World) {
		adm := w.Admit(w.Grant("web01", "deploy", 10*time.Minute))
		for want, o := range map[string]ca.UserCertOptions{
			"no source address": {},
			"not an address":    {SourceAddresses: []string{"everywhere"}},
			"no extension":      {SourceAddresses: from.SourceAddresses, Extensions: []string{"permit-everything"}},
		} {
			if _, err := w.Authority.UserCert(adm, newKey(t).PublicKey(), o); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("want %q, got %v", want, err)
			}
		}
	})
}

func TestHostSigners(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := ca.Init(dir); err != nil {
		t.Fatal(err)
	}
	load := func() *ca.Authority {
		a, err := ca.Load(dir, ca.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := load()
	web := inventory.Target{Name: "web01", Aliases: []string{"www"}}
	signers := func(a *ca.Authority, t2 inventory.Target, name string) []ssh.Signer {
		s, err := a.HostSigners(t2, name)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	var kinds []string
	check := &ssh.CertChecker{IsHostAuthority: func(k ssh.PublicKey, _ string) bool {
		return bytes.Equal(k.Marshal(), a.HostCAKey().Marshal())
	}}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 22}
	for _, s := range signers(a, web, "Web01.") {
		kinds = append(kinds, s.PublicKey().Type())
		if _, ok := s.PublicKey().(*ssh.Certificate); !ok {
			continue
		}
		// Verbatim as requested, and by the names that HostKeyAlias may give.
		for _, name := range []string{"Web01.", "web01", "www"} {
			if err := check.CheckHostKey(name+":22", addr, s.PublicKey()); err != nil {
				t.Errorf("%s for %s: %v", s.PublicKey().Type(), name, err)
			}
		}
		if err := check.CheckHostKey("db01:22", addr, s.PublicKey()); err == nil {
			t.Error("the certificate is good for another host")
		}
	}
	if got, want := strings.Join(kinds, " "), "ssh-ed25519-cert-v01@openssh.com ecdsa-sha2-nistp256-cert-v01@openssh.com ssh-ed25519 ecdsa-sha2-nistp256"; got != want {
		t.Errorf("got %s", got)
	}
	plain := func(s []ssh.Signer) string {
		return string(s[2].PublicKey().Marshal()) + string(s[3].PublicKey().Marshal())
	}
	first := plain(signers(a, web, "web01"))
	if plain(signers(load(), web, "www")) != first {
		t.Error("the keys changed with a restart")
	}
	if plain(signers(a, inventory.Target{Name: "web02"}, "web02")) == first {
		t.Error("two targets have the same keys")
	}
	for _, bad := range []string{"", "*", "web?1", "a,b", "a b", "a\x00", "a\nb", strings.Repeat("a", 400), `a"b`} {
		if _, err := a.HostSigners(web, bad); err == nil {
			t.Errorf("a certificate for %q was signed", bad)
		}
	}
}

// OpenSSH itself must be able to read what is signed.
func TestOpenSSHReadsTheCertificates(t *testing.T) {
	bubbleCert := make(chan []byte, 1)
	bubble(t, func(t *testing.T, w *world.World) {
		cert, err := w.Authority.UserCert(w.Admit(w.Grant("web01", "deploy", 10*time.Minute)), newKey(t).PublicKey(), from)
		if err != nil {
			t.Fatal(err)
		}
		b := ssh.MarshalAuthorizedKey(cert)
		go func() { bubbleCert <- b }()
	})
	path := filepath.Join(t.TempDir(), "key-cert.pub")
	if err := os.WriteFile(path, <-bubbleCert, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ssh-keygen", "-L", "-f", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"user certificate", "deploy@web01", "source-address 192.0.2.1,198.51.100.0/28", "Extensions: (none)"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("ssh-keygen does not show %q:\n%s", want, out)
		}
	}
}

func TestX509(t *testing.T) {
	bubble(t, func(t *testing.T, w *world.World) {
		g := w.Grant("orders", "orders_ro", time.Hour)
		adm := w.Admit(g)
		c, serial, err := w.Authority.ClientCert(adm, "orders_ro", 5*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AddCert(w.Authority.ClientCA())
		if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: time.Now()}); err != nil {
			t.Error(err)
		}
		if c.Leaf.Subject.CommonName != "orders_ro" || c.Leaf.Subject.OrganizationalUnit[0] != g.ID || serial == "" || time.Until(c.Leaf.NotAfter) != 5*time.Minute {
			t.Errorf("got %s %s until %s", c.Leaf.Subject, serial, c.Leaf.NotAfter)
		}
		if _, _, err := w.Authority.ClientCert(adm, "orders_rw", time.Minute); err == nil {
			t.Error("a certificate for another role was signed")
		}
		time.Sleep(58 * time.Minute)
		if c, _, err := w.Authority.ClientCert(adm, "orders_ro", 5*time.Minute); err != nil || c.Leaf.NotAfter.After(g.End) {
			t.Errorf("valid past the grant's end (%v)", err)
		}

		page, err := w.Authority.PageTLS([]string{"gw.example", "192.0.2.1", "[::1]"})
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(w.Authority.PageCA())
		for _, name := range []string{"gw.example", "192.0.2.1", "::1"} {
			if _, err := page.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: time.Now()}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		// psql breaks on Ed25519 certificates.
		if page.Leaf.PublicKeyAlgorithm != x509.ECDSA {
			t.Errorf("the page's key is %s", page.Leaf.PublicKeyAlgorithm)
		}
		if _, err := page.Leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: time.Now()}); err == nil {
			t.Error("the CA of client certificates is good for the page")
		}
	})
}

func TestG8KeyFilesThatOthersMayReadAreRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := ca.Init(dir); err != nil {
		t.Fatal(err)
	}
	if err := ca.Init(dir); err == nil {
		t.Error("a second init replaced the keys")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 9 {
		t.Fatalf("%d key files, %v", len(files), err)
	}
	for _, f := range files {
		public := strings.HasSuffix(f, ".crt")
		if err := os.Chmod(f, 0o640); err != nil {
			t.Fatal(err)
		}
		if _, err := ca.Load(dir, ca.Options{}); (err == nil) != public {
			t.Errorf("%s with mode 0640: %v", filepath.Base(f), err)
		}
		if err := os.Chmod(f, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for name, broken := range map[string][]byte{"empty": nil, "cut": b[:len(b)/2], "foreign": []byte("-----BEGIN X-----\nAAAA\n-----END X-----\n")} {
			os.WriteFile(f, broken, 0o600)
			if _, err := ca.Load(dir, ca.Options{}); err == nil {
				t.Errorf("%s, %s, was loaded", filepath.Base(f), name)
			}
		}
		os.WriteFile(f, b, 0o600)
	}
	// One kind of key in another's place.
	user, _ := os.ReadFile(filepath.Join(dir, "page_ca.key"))
	os.WriteFile(filepath.Join(dir, "user_ca.key"), user, 0o600)
	if _, err := ca.Load(dir, ca.Options{}); err == nil {
		t.Error("an ECDSA key was loaded as the user CA")
	}
}

func TestG8TokensAreStoredAsVerifiers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world.World) {
		g := w.Grant("orders", "orders_ro", time.Hour)
		tok, err := w.Tokens.Mint(t.Context(), w.Admit(g), ca.TokenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		any, err := w.Tokens.Mint(t.Context(), w.Admit(g), ca.TokenOptions{AnySource: true})
		if err != nil || any == tok || !ca.IsToken(tok) {
			t.Fatalf("%q %q %v", tok, any, err)
		}
		salt, n, vs, err := w.Tokens.Candidates(t.Context(), "alice", "orders")
		if err != nil || len(vs) != 2 || n != 4096 || len(salt) != 16 {
			t.Fatalf("%d verifiers, %d iterations, %d bytes of salt, %v", len(vs), n, len(salt), err)
		}
		if vs[1].Source != w.Caller.Source || vs[0].Source != "" || vs[0].Login != "orders_ro" || vs[0].GrantID != g.ID {
			t.Errorf("the verifiers are %+v", vs)
		}
		// Strangers look the same: a salt that stays, and nobody to match.
		for _, who := range [][2]string{{"mallory", "orders"}, {"alice", "nowhere"}} {
			s1, n1, vs, err := w.Tokens.Candidates(t.Context(), who[0], who[1])
			s2, _, _, _ := w.Tokens.Candidates(t.Context(), who[0], who[1])
			if err != nil || n1 != n || len(vs) != 0 || len(s1) != len(salt) || !bytes.Equal(s1, s2) || bytes.Equal(s1, salt) {
				t.Errorf("%s: %x %x %d %v", who, s1, s2, len(vs), err)
			}
		}
		for _, f := range []string{"jit.db", "jit.db-wal"} {
			b, err := os.ReadFile(filepath.Join(w.Dir, f))
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{tok, tok[7:50], any[7:50]} {
				if bytes.Contains(b, []byte(secret)) {
					t.Errorf("%s holds a token", f)
				}
			}
		}
	})
}

func TestSessionKeyIsGoneOnceDestroyed(t *testing.T) {
	k := newKey(t)
	s, err := k.Signer(nil)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := s.Sign(nil, []byte("x"))
	if err != nil || k.PublicKey().Verify([]byte("x"), sig) != nil {
		t.Fatalf("sign: %v", err)
	}
	k.Destroy()
	if _, err := s.Sign(nil, []byte("x")); err == nil || !k.Destroyed() {
		t.Errorf("it still signs (%v)", err)
	}
}
