package testenv

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSHDOptions says what kind of host a test needs. Only Dir and Name are
// required; the zero rest is a host that trusts no certificate and no key.
type SSHDOptions struct {
	Dir    string // for its keys, configuration, homes and log; made if missing
	Name   string // the target's name, and what the host calls itself
	Logins []string
	Port   int // 0: a free one

	UserCAs []ssh.PublicKey // TrustedUserCAKeys
	// Principals is the AuthorizedPrincipalsFile of each login; nil: the one
	// line login@Name. An empty map turns the file off: the plain login counts.
	Principals     map[string][]string
	AuthorizedKeys map[string][]ssh.PublicKey

	HostCA         ssh.Signer // signs a host certificate
	HostPrincipals []string   // of that certificate; nil: Name

	Config   []string // further lines for sshd_config; first value wins, and these come first
	Detached bool
}

// SSHD is a running OpenSSH server.
type SSHD struct {
	Name    string
	Addr    string // 127.0.0.1:port
	Port    int
	Dir     string
	HostKey ssh.PublicKey
	Logins  []string

	opts SSHDOptions
	proc *Process
}

// NewSSHD starts a host that ends with the test. A nil Dir gets one.
func NewSSHD(t testing.TB, o SSHDOptions) *SSHD {
	t.Helper()
	if o.Dir == "" {
		o.Dir = Dir(t)
	}
	s, err := StartSSHD(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", s.Name, s.Log())
		}
	})
	return s
}

// StartSSHD starts a host and returns once it answers.
func StartSSHD(ctx context.Context, o SSHDOptions) (*SSHD, error) {
	if o.Logins == nil {
		o.Logins = []string{"deploy", "admin"}
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	s := &SSHD{Name: o.Name, Dir: dir, Logins: o.Logins, opts: o}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("prepare sshd %s: %w", o.Name, err)
	}
	// A port is free only until somebody takes it, so try more than one.
	for try := 1; ; try++ {
		if s.Port = o.Port; s.Port == 0 {
			if s.Port, err = FreePort(); err != nil {
				return nil, err
			}
		}
		s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port))
		if err = s.Start(ctx); err == nil || o.Port != 0 || try == 3 {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("start sshd %s: %w\n%s", o.Name, err, s.Log())
	}
	return s, nil
}

// Start starts the host again, on the same port, after Stop.
func (s *SSHD) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	p, err := Command{
		Name: "sshd " + s.Name,
		// An absolute path: sshd executes itself again for each connection.
		Args:     []string{"/usr/sbin/sshd", "-D", "-e", "-f", s.path("sshd_config"), "-o", fmt.Sprintf("Port=%d", s.Port)},
		Env:      wrapperEnv(s.Dir),
		Dir:      "/",
		Log:      s.path("sshd.log"),
		Detached: s.opts.Detached,
	}.Start()
	if err != nil {
		return err
	}
	if err := waitTCP(ctx, p, s.Addr, "SSH-2.0-"); err != nil {
		p.Stop(syscall.SIGTERM)
		return err
	}
	s.proc = p
	return nil
}

// Stop ends the host and every session on it.
func (s *SSHD) Stop() error { return s.proc.Stop(syscall.SIGTERM) }

// PID is the listener's process.
func (s *SSHD) PID() int { return s.proc.PID }

// Home is the home directory of a login.
func (s *SSHD) Home(login string) string { return s.path("home/" + login) }

// Log is what sshd has said so far.
func (s *SSHD) Log() string {
	b, _ := os.ReadFile(s.path("sshd.log"))
	return string(b)
}

// KnownHost is a known_hosts line that pins the host key for the address.
func (s *SSHD) KnownHost() string {
	return fmt.Sprintf("[127.0.0.1]:%d %s", s.Port, AuthorizedKey(s.HostKey))
}

func (s *SSHD) path(name string) string { return filepath.Join(s.Dir, name) }

// TrustUserCAs replaces the CAs; sshd reads the file at each login.
func (s *SSHD) TrustUserCAs(cas ...ssh.PublicKey) error {
	var b strings.Builder
	for _, k := range cas {
		b.WriteString(AuthorizedKey(k) + "\n")
	}
	return os.WriteFile(s.path("user_ca"), []byte(b.String()), 0o644)
}
