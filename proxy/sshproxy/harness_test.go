package sshproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/id"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/seal"
	"jit-gateway/internal/store/sqlite"
	"jit-gateway/internal/testenv"
	"jit-gateway/proxy"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// A gateway is the whole of it around the SSH handler: the real store,
// approval, sessions and recordings, with real sshd targets and stock clients.
type gateway struct {
	t        testing.TB
	dir      string
	addr     string
	port     string
	db       *sqlite.DB
	svc      *approval.Service
	mfa      *mfa.Verifier
	sessions *session.Manager
	rec      *recording.Dir
	auth     *ca.Authority
	inv      *inventory.Live
	server   *Server
	users    map[string]identity.User
	keys     map[string]ssh.Signer
	secrets  map[string]string // base32 TOTP
	hosts    map[string]*testenv.SSHD
	commands atomic.Pointer[func(context.Context, dialogue.Invocation) int]
	logs     *syncBuffer
	stop     func()
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

type gatewayOptions struct {
	rules   []policy.Rule // autoRule if none
	hosts   []string      // sshd targets; web01 if none
	sshd    []string      // further lines of their sshd_config
	targets func(g *gateway, ts []inventory.Target) []inventory.Target
	options func(*Options)
	session func(*session.Options)
	network bool // no sshd at all
}

// autoRule admits alice to everything, once she gave a code.
func autoRule(c *policy.Channels) policy.Rule {
	return policy.Rule{Name: "auto", Groups: []string{"sre"}, Auto: true, MaxDuration: policy.Duration(8 * time.Hour), Channels: c}
}

// everythingAllowed is a rule's most.
func everythingAllowed() *policy.Channels {
	return &policy.Channels{Shell: true, Exec: true, SFTP: "both", Agent: true, Env: []string{"*"}, Local: []string{"*"}, Remote: []string{"*"}}
}

func newGateway(t testing.TB, o gatewayOptions) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: testenv.Dir(t), users: map[string]identity.User{}, keys: map[string]ssh.Signer{}, secrets: map[string]string{},
		hosts: map[string]*testenv.SSHD{}, logs: &syncBuffer{}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	logger := slog.New(slog.NewTextHandler(g.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if len(o.rules) == 0 {
		o.rules = []policy.Rule{autoRule(nil)}
	}
	if len(o.hosts) == 0 && !o.network {
		o.hosts = []string{"web01"}
	}

	caDir := filepath.Join(g.dir, "ca")
	must(ca.Init(caDir))
	var err error
	g.auth, err = ca.Load(caDir, ca.Options{})
	must(err)
	var targets []inventory.Target
	for _, name := range o.hosts {
		h := testenv.NewSSHD(t, testenv.SSHDOptions{Dir: filepath.Join(g.dir, "host-"+name), Name: name, UserCAs: []ssh.PublicKey{g.auth.UserCAKey()}, Config: o.sshd})
		g.hosts[name] = h
		targets = append(targets, inventory.Target{Name: name, Kind: inventory.SSH, SSH: &inventory.SSHTarget{
			Address: h.Addr, Logins: []string{"deploy", "admin"}, HostKeys: []string{testenv.AuthorizedKey(h.HostKey)}}})
	}
	if o.targets != nil {
		targets = o.targets(g, targets)
	}
	g.inv, err = inventory.NewLive(targets)
	must(err)

	g.db, err = sqlite.Open(ctx, filepath.Join(g.dir, "store.db"), sqlite.Options{})
	must(err)
	box, err := seal.New(seal.GenerateKey())
	must(err)
	g.mfa, err = mfa.NewVerifier(mfa.Options{Store: g.db, Box: box, Now: time.Now, Issuer: "test"})
	must(err)
	set, err := policy.NewSet(o.rules)
	must(err)
	g.svc, err = approval.New(approval.Options{Users: g.db, Inventory: g.inv, Rules: func() *policy.Set { return set }, Requests: g.db, Grants: g.db, Log: g.db,
		Now: time.Now, Clock: func(context.Context) error { return nil }, Feed: g.db, Logger: logger})
	must(err)
	g.rec, err = recording.OpenDir(filepath.Join(g.dir, "recordings"), recording.DirOptions{})
	must(err)
	sopts := session.Options{Instance: id.New("I"), Store: g.db, Credentials: g.db, Instances: g.db, Grants: g.db, Log: g.db, Feed: g.db,
		Recordings: g.rec, Exclusive: true, Logger: logger}
	if o.session != nil {
		o.session(&sopts)
	}
	g.sessions, err = session.NewManager(sopts)
	must(err)
	dlg, err := dialogue.New(dialogue.Options{Approvals: g.svc, MFA: g.mfa, Users: g.db, Feed: g.db, Pulse: 200 * time.Millisecond})
	must(err)
	so := Options{Authority: g.auth, Sessions: g.sessions, Approvals: g.svc, Dialogue: dlg, Users: g.db, Inventory: g.inv, Feed: g.db, Audit: g.db, Log: logger,
		Commands: func(ctx context.Context, inv dialogue.Invocation) int {
			run := g.commands.Load()
			if run == nil {
				fmt.Fprintln(inv.Err, "no commands in this test")
				return 3
			}
			return (*run)(ctx, inv)
		}}
	if o.options != nil {
		o.options(&so)
	}
	g.server, err = New(so)
	must(err)

	g.addUser("alice", "sre")
	g.addUser("bob", "leads")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	g.addr = ln.Addr().String()
	_, g.port, _ = net.SplitHostPort(g.addr)
	for name, run := range map[string]func(context.Context) error{"approval": g.svc.Run, "session": g.sessions.Run, "sshproxy": g.server.Run,
		"accept": func(ctx context.Context) error {
			return proxy.Serve(ctx, ln, proxy.ServeOptions{Name: "ssh", RatePerSec: 1e6, Burst: 1e6, MaxPerSource: 4096, Handle: g.server.ServeConn, Log: logger})
		}} {
		wg.Go(func() {
			if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	g.stop = sync.OnceFunc(func() { cancel(); wg.Wait(); g.db.Close() })
	t.Cleanup(func() {
		g.stop()
		if t.Failed() {
			t.Logf("gateway log:\n%s", g.logs)
		}
	})
	g.sshConfig()
	return g
}

// serveCommands sets what the command interface does.
func (g *gateway) serveCommands(f func(context.Context, dialogue.Invocation) int) {
	g.commands.Store(&f)
}

// addUser registers a user with a key in dir/NAME_key and a TOTP factor.
func (g *gateway) addUser(name string, groups ...string) identity.User {
	g.t.Helper()
	ctx := context.Background()
	u := identity.User{ID: id.New(id.User), Name: name, Kind: identity.Human, State: identity.Active, Groups: groups, CreatedAt: time.Now().UTC()}
	ev := audit.Event{Outcome: audit.Success, Actor: audit.Gateway, User: u.ID}
	ev.Type = audit.UserAdded
	if err := g.db.CreateUser(ctx, u, ev); err != nil {
		g.t.Fatal(err)
	}
	k, err := testenv.WriteKey(g.keyFile(name), name)
	if err != nil {
		g.t.Fatal(err)
	}
	ev.Type = audit.KeyAdded
	if err := g.db.AddKey(ctx, identity.Key{Fingerprint: ssh.FingerprintSHA256(k.PublicKey()), UserID: u.ID, Authorized: testenv.AuthorizedKey(k.PublicKey()), CreatedAt: time.Now().UTC()}, ev); err != nil {
		g.t.Fatal(err)
	}
	e := g.mfa.BeginTOTP(name)
	code, err := testenv.TOTP(e.Secret, time.Now().Add(-30*time.Second))
	if err != nil {
		g.t.Fatal(err)
	}
	if _, _, err := g.mfa.ConfirmTOTP(ctx, u.ID, e, code, audit.Gateway); err != nil {
		g.t.Fatal(err)
	}
	u, err = g.db.User(ctx, u.ID)
	if err != nil {
		g.t.Fatal(err)
	}
	g.users[name], g.keys[name], g.secrets[name] = u, k, e.Secret
	return u
}

func (g *gateway) keyFile(name string) string { return filepath.Join(g.dir, name+"_key") }

func (g *gateway) privateKey(name string) any {
	g.t.Helper()
	pem, err := os.ReadFile(g.keyFile(name))
	if err != nil {
		g.t.Fatal(err)
	}
	k, err := ssh.ParseRawPrivateKey(pem)
	if err != nil {
		g.t.Fatal(err)
	}
	return k
}

func (g *gateway) caller(name string) approval.Caller {
	return approval.Caller{UserID: g.users[name].ID, KeyFingerprint: ssh.FingerprintSHA256(g.keys[name].PublicKey()), Source: "127.0.0.1", Via: "ssh"}
}

// grant gives a user a live grant, as if activated with a code just now.
func (g *gateway) grant(name, target, login string, d time.Duration) approval.Grant {
	g.t.Helper()
	ctx := context.Background()
	r, err := g.svc.File(ctx, g.caller(name), approval.Ask{Targets: []string{target}, Login: login, Reason: "a test", Duration: time.Hour})
	if err != nil {
		g.t.Fatal(err)
	}
	gr, err := g.db.Grant(ctx, r.GrantID)
	if err != nil {
		g.t.Fatal(err)
	}
	now := time.Now().UTC()
	gr.State, gr.ActivatedAt, gr.Start, gr.End = approval.Active, now, now, now.Add(d)
	gr.Factor = approval.FactorRecord{Kind: mfa.TOTP, FactorID: "test", At: now}
	c := g.caller(name)
	gr.Bindings = []approval.Binding{{KeyFingerprint: c.KeyFingerprint, Source: c.Source, FactorAt: now}}
	if err := g.db.UpdateGrant(ctx, gr, audit.Event{Type: audit.GrantActivated, Outcome: audit.Success, Actor: audit.Gateway, User: gr.UserID, Grant: gr.ID}); err != nil {
		g.t.Fatal(err)
	}
	return gr
}

// sshConfig writes what `ssh jit-gateway config` would print.
func (g *gateway) sshConfig() {
	var b strings.Builder
	fmt.Fprintf(&b, "Host jit-gateway\n  HostName 127.0.0.1\n  Port %s\n  User alice\n  IdentityFile %s\n  IdentitiesOnly yes\n  ControlPath none\n", g.port, g.keyFile("alice"))
	fmt.Fprintf(&b, "Host *\n  UserKnownHostsFile %s\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  PasswordAuthentication no\n  IdentityFile %s\n  IdentitiesOnly yes\n  IdentityAgent none\n",
		filepath.Join(g.dir, "known_hosts"), g.keyFile("alice"))
	fmt.Fprintf(&b, "Host web* db* far* nowhere*\n  ProxyJump jit-gateway\n  User deploy\n")
	var kh strings.Builder
	for _, k := range g.auth.OuterSigners() {
		fmt.Fprintf(&kh, "[127.0.0.1]:%s %s\n", g.port, testenv.AuthorizedKey(k.PublicKey()))
	}
	fmt.Fprintf(&kh, "@cert-authority * %s\n", testenv.AuthorizedKey(g.auth.HostCAKey()))
	for name, text := range map[string]string{"ssh_config": b.String(), "known_hosts": kh.String()} {
		if err := os.WriteFile(filepath.Join(g.dir, name), []byte(text), 0o600); err != nil {
			g.t.Fatal(err)
		}
	}
}

func (g *gateway) config() string { return filepath.Join(g.dir, "ssh_config") }

// cmd is a stock client under our configuration.
func (g *gateway) cmd(name string, args ...string) *exec.Cmd {
	switch name {
	case "ssh", "scp", "sftp":
		args = append([]string{"-F", g.config()}, args...)
	case "rsync":
		args = append([]string{"-e", "ssh -F " + g.config()}, args...)
	}
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), "HOME="+g.dir, "SSH_AUTH_SOCK=")
	c.WaitDelay = 10 * time.Second
	return c
}

// run runs a client and returns what it printed and its exit status.
func (g *gateway) run(stdin string, name string, args ...string) (stdout, stderr string, status int) {
	g.t.Helper()
	c := g.cmd(name, args...)
	c.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := runFor(c, 30*time.Second)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		g.t.Fatalf("%s: %v\n%s", c, err, errs.String())
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

func runFor(c *exec.Cmd, d time.Duration) error {
	if err := c.Start(); err != nil {
		return err
	}
	kill := time.AfterFunc(d, func() { c.Process.Kill() })
	defer kill.Stop()
	return c.Wait()
}
