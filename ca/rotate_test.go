package ca

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/inventory"
)

func authority(t *testing.T) (*Authority, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ca")
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	return load(t, dir, ""), dir
}

func load(t *testing.T, dir, passphrase string) *Authority {
	t.Helper()
	a, err := Load(dir, Options{Passphrase: passphrase})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func line(k ssh.PublicKey) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k))) }

func lines(ks []ssh.PublicKey) string {
	var out []string
	for _, k := range ks {
		out = append(out, line(k))
	}
	return strings.Join(out, "\n")
}

var web01 = inventory.Target{Name: "web01", Kind: inventory.SSH, SSH: &inventory.SSHTarget{Address: "192.0.2.1", Logins: []string{"deploy"}}}

func TestRotationHasOverlap(t *testing.T) {
	a, dir := authority(t)
	first := a.UserCAKey()
	if _, err := a.Retire(UserCA); !errors.Is(err, ErrStep) {
		t.Errorf("the only CA was retired: %v", err)
	}
	if err := a.Activate(UserCA); !errors.Is(err, ErrStep) {
		t.Errorf("nothing was activated: %v", err)
	}
	must(t, a.Rotate(UserCA))
	if err := a.Rotate(UserCA); !errors.Is(err, ErrStep) {
		t.Errorf("a second next CA: %v", err)
	}
	both := a.UserCAKeys()
	if len(both) != 2 || line(a.UserCAKey()) != line(first) {
		t.Fatalf("after rotate: %d published, %s signs", len(both), line(a.UserCAKey()))
	}
	// Hosts can be asked about the next one before it signs anything.
	for next, want := range map[bool]ssh.PublicKey{false: both[0], true: both[1]} {
		c, err := a.ProbeCert(web01, "deploy", ProbeOptions{Next: next})
		must(t, err)
		if line(c.SignatureKey) != line(want) {
			t.Errorf("next %v: the other CA signed", next)
		}
	}
	must(t, a.Activate(UserCA))
	if line(a.UserCAKey()) != line(both[1]) || lines(a.UserCAKeys()) != line(both[1])+"\n"+line(first) {
		t.Fatal("after activate the next one does not sign, or the previous one is not accepted")
	}
	if !a.signedByUs(first) {
		t.Error("what the previous one signed is refused already")
	}
	if err := a.Rotate(UserCA); !errors.Is(err, ErrStep) {
		t.Errorf("a third generation: %v", err)
	}
	if b := load(t, dir, ""); lines(b.UserCAKeys()) != lines(a.UserCAKeys()) {
		t.Error("a restart sees other CAs")
	}
	what, err := a.Retire(UserCA)
	must(t, err)
	if !strings.Contains(what, ssh.FingerprintSHA256(first)) || a.signedByUs(first) || len(a.UserCAKeys()) != 1 {
		t.Errorf("retired %q, %d are left", what, len(a.UserCAKeys()))
	}
	if left, err := filepath.Glob(filepath.Join(dir, "user_ca*")); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	revoked, err := a.Revoked()
	must(t, err)
	if lines(revoked) != line(first) {
		t.Errorf("revoked: %s", lines(revoked))
	}
}

func TestRotationOfEveryCA(t *testing.T) {
	a, dir := authority(t)
	for _, which := range []string{HostCA, ClientCA, PageCA} {
		must(t, a.Rotate(which))
		must(t, a.Activate(which))
	}
	if len(a.HostCAKeys()) != 2 || strings.Count(string(a.ClientCAs()), "BEGIN CERT") != 2 || strings.Count(string(a.PageCA()), "BEGIN CERT") != 2 {
		t.Error("not both generations are published")
	}
	c, err := a.PageTLS([]string{"jit-gateway"})
	must(t, err)
	if c.Leaf.CheckSignatureFrom(a.PageIssuer()) != nil || !strings.HasPrefix(a.PageIssuer().Subject.CommonName, "jit-gateway page CA 2") {
		t.Errorf("the page's certificate is from %s", c.Leaf.Issuer)
	}
	for _, which := range []string{HostCA, ClientCA, PageCA} {
		_, err := a.Retire(which)
		must(t, err)
	}
	if len(a.HostCAKeys()) != 1 || strings.Count(string(a.ClientCAs()), "BEGIN CERT") != 1 {
		t.Error("not retired")
	}
	load(t, dir, "")
	if err := a.Rotate("moon"); err == nil {
		t.Error("there is no such CA")
	}
}

// Whatever step of a rotation is the last one before the power goes, the next
// start finds a CA that signs and is published.
func TestRotationSurvivesCrashes(t *testing.T) {
	for _, which := range []string{UserCA, PageCA} {
		names, err := files(which)
		must(t, err)
		for cut := range 2 * len(names) {
			a, dir := authority(t)
			must(t, a.Rotate(which))
			before := slices.Concat([]byte(lines(a.UserCAKeys())+"\n"), a.PageCA())
			// The first steps of Activate, as it does them.
			n := 0
			for i := len(names) - 1; i >= 0 && n < cut; i-- {
				must(t, a.link(names[i], generation(names[i], previous)))
				n++
			}
			for i := len(names) - 1; i >= 0 && n < cut; i-- {
				must(t, os.Rename(filepath.Join(dir, generation(names[i], next)), filepath.Join(dir, names[i])))
				n++
			}
			b := load(t, dir, "")
			if err := b.Activate(which); err != nil && !errors.Is(err, ErrStep) {
				t.Errorf("%s, after %d steps: %v", which, cut, err)
			}
			after := string(slices.Concat([]byte(lines(b.UserCAKeys())+"\n"), b.PageCA()))
			for _, block := range strings.Split(strings.TrimSpace(string(before)), "\n") {
				if !strings.Contains(after, block) {
					t.Fatalf("%s, after %d steps: a generation was lost", which, cut)
				}
			}
			if string(before) == after {
				t.Errorf("%s, after %d steps: the old one signs still", which, cut)
			}
		}
	}
}

func TestKRLAsOpenSSHReadsIt(t *testing.T) {
	a, _ := authority(t)
	dir := t.TempDir()
	put := func(name string, b []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, b, 0o600))
		return path
	}
	cert := func(signer ssh.Signer, serial uint64) string {
		t.Helper()
		pub, _, err := ed25519.GenerateKey(nil)
		must(t, err)
		key, err := ssh.NewPublicKey(pub)
		must(t, err)
		c := &ssh.Certificate{Key: key, Serial: serial, CertType: ssh.UserCert, ValidPrincipals: []string{"deploy"}, ValidBefore: ssh.CertTimeInfinity}
		must(t, c.SignCert(rand.Reader, signer))
		return put("cert.pub", ssh.MarshalAuthorizedKey(c))
	}
	revoked := func(krl []byte, key string) bool {
		t.Helper()
		out, err := exec.Command("ssh-keygen", "-Q", "-f", put("krl", krl), key).CombinedOutput()
		if text := string(out); strings.Contains(text, "REVOKED") {
			return true
		} else if err != nil || !strings.Contains(text, "ok") {
			t.Fatalf("ssh-keygen: %v: %s", err, text)
		}
		return false
	}
	krl, err := a.KRL(nil)
	must(t, err)
	if revoked(krl, cert(a.userCA(), 7)) {
		t.Error("an empty list revokes")
	}
	krl, err = a.KRL([]RevokedCert{{9}, {7}, {7}})
	must(t, err)
	for serial, want := range map[uint64]bool{7: true, 8: false, 9: true} {
		if got := revoked(krl, cert(a.userCA(), serial)); got != want {
			t.Errorf("serial %d: revoked %v", serial, got)
		}
	}
	old := a.userCA()
	must(t, a.Rotate(UserCA))
	must(t, a.Activate(UserCA))
	_, err = a.Retire(UserCA)
	must(t, err)
	krl, err = a.KRL(nil)
	must(t, err)
	if !revoked(krl, cert(old, 1)) {
		t.Error("certificates of a retired CA are not revoked")
	}
	if revoked(krl, cert(a.userCA(), 1)) {
		t.Error("certificates of the CA in use are")
	}
}

func TestG8KeyFilesUnderAPassphrase(t *testing.T) {
	a, dir := authority(t)
	must(t, a.Rotate(UserCA))
	all := lines(a.UserCAKeys())
	const pass, other = "correct horse battery", "another long passphrase"
	if _, err := Encrypt(dir, "", "short"); err == nil {
		t.Error("a short passphrase was taken")
	}
	n, err := Encrypt(dir, "", pass)
	must(t, err)
	if n != len(secretFiles)+1 {
		t.Errorf("%d files were sealed", n)
	}
	for _, f := range append(slices.Clone(secretFiles), generation(userCAFile, next)) {
		raw, err := os.ReadFile(filepath.Join(dir, f))
		must(t, err)
		if !strings.Contains(string(raw), "BEGIN SEALED") {
			t.Errorf("%s is plain", f)
		}
	}
	for what, p := range map[string]string{"no passphrase": "", "another one": other} {
		if _, err := Load(dir, Options{Passphrase: p}); err == nil || strings.Contains(err.Error(), pass) {
			t.Errorf("%s: %v", what, err)
		}
	}
	b := load(t, dir, pass)
	if lines(b.UserCAKeys()) != all {
		t.Error("other keys came out than went in")
	}
	must(t, b.Activate(UserCA)) // a renamed file opens under its new name
	must(t, b.Rotate(HostCA))   // a new one is sealed as well
	if raw, err := os.ReadFile(filepath.Join(dir, generation(hostCAFile, next))); err != nil || !strings.Contains(string(raw), "BEGIN SEALED") {
		t.Errorf("a new key is plain: %v", err)
	}
	// One key is not taken for another.
	swapped, err := os.ReadFile(filepath.Join(dir, hostCAFile))
	must(t, err)
	own, err := os.ReadFile(filepath.Join(dir, userCAFile))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, userCAFile), swapped, 0o600))
	if _, err := Load(dir, Options{Passphrase: pass}); err == nil {
		t.Error("the host CA was taken for the user CA")
	}
	must(t, os.WriteFile(filepath.Join(dir, userCAFile), own, 0o600))
	// Another passphrase, interrupted half way.
	box, err := openKEK(dir, other)
	must(t, err)
	half := &Authority{dir: dir}
	half.kek, err = openKEK(dir, pass)
	must(t, err)
	root, err := half.readBlock(rootFile, secretBlock, true)
	must(t, err)
	must(t, replace(dir, rootFile, sealedPrefix+secretBlock, box.Seal(root, sealName(rootFile))))
	_, err = Encrypt(dir, pass, other)
	must(t, err)
	load(t, dir, other)
}
