package testenv

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"crypto/rand"

	"golang.org/x/crypto/ssh"
)

func TestSSHDTakesCertificatesOnly(t *testing.T) {
	t.Parallel()
	userCA, hostCA := NewSigner(t), NewSigner(t)
	host := NewSSHD(t, SSHDOptions{Name: "web01", UserCAs: []ssh.PublicKey{userCA.PublicKey()}, HostCA: hostCA})
	dir := t.TempDir()
	key, err := WriteKey(filepath.Join(dir, "id"), "alice")
	if err != nil {
		t.Fatal(err)
	}
	cert := &ssh.Certificate{Key: key.PublicKey(), CertType: ssh.UserCert, KeyId: "s/alice/g", ValidPrincipals: []string{"deploy@web01"},
		ValidAfter: uint64(time.Now().Add(-time.Minute).Unix()), ValidBefore: uint64(time.Now().Add(time.Minute).Unix()),
		Permissions: ssh.Permissions{Extensions: map[string]string{"permit-pty": ""}}}
	if err := cert.SignCert(rand.Reader, userCA); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "id-cert.pub"), string(ssh.MarshalAuthorizedKey(cert)))
	write(t, filepath.Join(dir, "known_hosts"), "@cert-authority web01 "+AuthorizedKey(hostCA.PublicKey())+"\n")
	args := func(more ...string) []string {
		return append([]string{"-F", "none", "-p", strconv.Itoa(host.Port), "-i", filepath.Join(dir, "id"), "-o", "BatchMode=yes",
			"-o", "HostKeyAlias=web01", "-o", "UserKnownHostsFile=" + filepath.Join(dir, "known_hosts"), "-o", "StrictHostKeyChecking=yes"}, more...)
	}
	out, err := exec.Command("ssh", args("deploy@127.0.0.1", "whoami; hostname; pwd; echo err >&2; exit 7")...).Output()
	if err == nil || exitCode(err) != 7 {
		t.Fatalf("exit status of the remote command: got %v, want 7", err)
	}
	if want := "deploy\nweb01\n" + host.Home("deploy") + "\n"; string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
	if out, err := exec.Command("ssh", args("admin@127.0.0.1", "true")...).CombinedOutput(); exitCode(err) != 255 {
		t.Errorf("a certificate for deploy let admin in: %v %s", err, out)
	}
	p := NewPTY(t, exec.Command("ssh", args("deploy@127.0.0.1")...))
	expect(t, p, `deploy@web01:~\$ `)
	must(t, p.Line("tty; exit 3"))
	expect(t, p, `/dev/pts/\d+`)
	if code, err := p.Exit(); err != nil || code != 3 {
		t.Errorf("shell in a terminal: exit status %d, %v", code, err)
	}
	f := filepath.Join(dir, "file")
	write(t, f, "carried\n")
	scp := []string{"-q", "-F", "none", "-P", strconv.Itoa(host.Port), "-i", filepath.Join(dir, "id"), "-o", "HostKeyAlias=web01",
		"-o", "UserKnownHostsFile=" + filepath.Join(dir, "known_hosts"), f, "deploy@127.0.0.1:copy"}
	if out, err := exec.Command("scp", scp...).CombinedOutput(); err != nil {
		t.Fatalf("scp: %v %s", err, out)
	}
	if b, err := os.ReadFile(filepath.Join(host.Home("deploy"), "copy")); err != nil || string(b) != "carried\n" {
		t.Errorf("copied file: %q, %v", b, err)
	}
}

func TestSSHDStopsWithItsSessions(t *testing.T) {
	t.Parallel()
	key := NewSigner(t)
	host := NewSSHD(t, SSHDOptions{Name: "web01", AuthorizedKeys: map[string][]ssh.PublicKey{"deploy": {key.PublicKey()}}})
	c, err := ssh.Dial("tcp", host.Addr, &ssh.ClientConfig{User: "deploy", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(host.HostKey)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s.Stdout = &out
	if err := s.Start("sleep 1000"); err != nil {
		t.Fatal(err)
	}
	children := Descendants(host.PID())
	if len(children) < 2 {
		t.Errorf("a session has %d processes, want at least two", len(children))
	}
	if err := host.Stop(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for _, p := range children {
		for p.Alive() {
			if time.Now().After(deadline) {
				t.Fatalf("%s outlived its sshd", p.Command())
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if err := host.Start(t.Context()); err != nil {
		t.Errorf("start again on the same port: %v", err)
	}
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	pg := NewPostgres(t, PostgresOptions{})
	if err := pg.CreateOrders(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	v, err := pg.Value(t.Context(), "orders", "SELECT count(*) FROM orders")
	if err != nil || v != "6" {
		t.Errorf("orders: %q, %v", v, err)
	}
	cmd := exec.Command("psql", "-XAtc", "select ssl from pg_stat_ssl where pid = pg_backend_pid()", pg.URL("orders"))
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "t" {
		t.Errorf("psql over verified TLS: %q, %v", out, err)
	}
	must(t, pg.Stop())
	must(t, pg.Start(t.Context()))
	if v, err := pg.Value(t.Context(), "orders", "SELECT count(*) FROM orders"); err != nil || v != "6" {
		t.Errorf("orders after a restart: %q, %v", v, err)
	}
}

// The values of RFC 6238, appendix B, cut to six digits.
func TestTOTP(t *testing.T) {
	secret := "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" // 12345678901234567890
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"} {
		if got, err := TOTP(secret, time.Unix(at, 0)); err != nil || got != want {
			t.Errorf("at %d: got %q, %v, want %q", at, got, err, want)
		}
	}
}

func TestPTYReportsWhatItSaw(t *testing.T) {
	p := NewPTY(t, exec.Command("sh", "-c", `printf 'name? '; read n; echo "hello $n"; stty size; exit 4`))
	must(t, p.Resize(132, 43))
	expect(t, p, `name\? `)
	must(t, p.Line("bob"))
	expect(t, p, `hello bob\r\n43 132`)
	if _, err := p.Expect("never"); err == nil {
		t.Error("a program that ended showed what it never said")
	}
	if code, err := p.Exit(); code != 4 || err != nil {
		t.Errorf("exit status %d, %v", code, err)
	}
}

func expect(t *testing.T, p *PTY, pattern string) {
	t.Helper()
	if _, err := p.Expect(pattern); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func exitCode(err error) int {
	if e, ok := err.(*exec.ExitError); ok {
		return e.ExitCode()
	}
	return -1
}
