package fleet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"jit-gateway/internal/testenv"
)

// balance starts haproxy: round robin over the gateways that say that they are
// ready, with the PROXY protocol.
func (f *Fleet) balance() {
	f.t.Helper()
	f.SSHPort, f.PostgresPort = f.port(), f.port()
	var b strings.Builder
	b.WriteString("global\n  maxconn 1000\ndefaults\n  mode tcp\n  timeout connect 2s\n  timeout client 1h\n  timeout server 1h\n  timeout check 2s\n  retries 3\n  option redispatch\n")
	for _, l := range []struct {
		name string
		port int
		of   func(*Gateway) int
	}{{"ssh", f.SSHPort, func(g *Gateway) int { return g.SSHPort }}, {"postgres", f.PostgresPort, func(g *Gateway) int { return g.PostgresPort }}} {
		fmt.Fprintf(&b, "listen %s\n  bind 127.0.0.1:%d\n  balance roundrobin\n  option httpchk GET /readyz\n", l.name, l.port)
		for _, g := range f.Gateways {
			fmt.Fprintf(&b, "  server %s 127.0.0.1:%d source 127.0.0.2 send-proxy-v2 check port %d inter 100ms fall 1 rise 1\n", g.Name, l.of(g), g.MetricsPort)
		}
	}
	path := f.Path("haproxy.cfg")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		f.t.Fatal(err)
	}
	p, err := testenv.Command{Name: "haproxy", Args: []string{"/usr/sbin/haproxy", "-db", "-f", path}, Dir: f.Dir, Log: f.Path("haproxy.log")}.Start()
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { p.Stop(syscall.SIGTERM) })
	for range 200 {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", f.SSHPort))
		if err == nil {
			c.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	log, _ := os.ReadFile(f.Path("haproxy.log"))
	f.t.Fatalf("haproxy does not listen:\n%s", log)
}

// Via is a way to the gateways: one of them, or the balancer.
type Via struct {
	f                     *Fleet
	name                  string
	sshPort, postgresPort int
}

// Direct goes to one gateway.
func (g *Gateway) Direct() Via { return Via{g.f, g.Name, g.SSHPort, g.PostgresPort} }

// Balanced goes to whichever haproxy picks.
func (f *Fleet) Balanced() Via { return Via{f, "balancer", f.SSHPort, f.PostgresPort} }

// config is the user's ssh_config for this way.
func (v Via) config(user string) string {
	path := v.f.Path("ssh_config." + user + "." + v.name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	raw, err := os.ReadFile(v.f.SSHConfig(user))
	if err != nil {
		v.f.t.Fatal(err)
	}
	text := strings.ReplaceAll(string(raw), fmt.Sprintf("Port %d\n", v.f.Stack.SSHPort), fmt.Sprintf("Port %d\n    ConnectTimeout 5\n", v.sshPort))
	text = strings.ReplaceAll(text, v.f.SSHConfig(user), path)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		v.f.t.Fatal(err)
	}
	return path
}

// SSH is an ssh command line of the user's.
func (v Via) SSH(ctx context.Context, user string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ssh", append([]string{"-F", v.config(user), "-o", "BatchMode=yes"}, args...)...)
}

// Run runs an ssh command line and returns its stdout.
func (v Via) Run(ctx context.Context, user, stdin string, args ...string) (string, error) {
	cmd := v.SSH(ctx, user, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s on %s: ssh %s: %w\n%s", user, v.name, strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// WithCode runs a command that wants a code.
func (v Via) WithCode(ctx context.Context, user string, args ...string) (string, error) {
	code, err := v.f.Code(user)
	if err != nil {
		return "", err
	}
	return v.Run(ctx, user, code+"\n", args...)
}

// Psql runs one statement with a session token.
func (v Via) Psql(ctx context.Context, user, token, sql string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-c", sql)
	cmd.Env = append(os.Environ(), "PGHOST=127.0.0.1", fmt.Sprint("PGPORT=", v.postgresPort), "PGUSER="+user, "PGDATABASE=orders",
		"PGPASSWORD="+token, "PGSSLMODE=verify-full", "PGSSLROOTCERT="+v.f.Path("ca.pem"), "PGCONNECT_TIMEOUT=10")
	return cmd
}

// PgDump dumps one table into a file.
func (v Via) PgDump(ctx context.Context, user, token, file, table string) *exec.Cmd {
	cmd := v.Psql(ctx, user, token, "")
	dump := exec.CommandContext(ctx, "pg_dump", "-f", file, "-t", table)
	dump.Env = cmd.Env
	return dump
}

// SCP copies a file to a host.
func (v Via) SCP(ctx context.Context, user, from, to string) *exec.Cmd {
	return exec.CommandContext(ctx, "scp", "-q", "-F", v.config(user), "-o", "BatchMode=yes", from, to)
}

// Session is a client that stays until it is ended.
type Session struct {
	Started time.Time
	cmd     *exec.Cmd
	in      io.WriteCloser
	done    chan struct{}
	mu      sync.Mutex
	said    bytes.Buffer
	ended   time.Time
	err     error
}

// Open starts a client that prints "up" when it is through, and waits for that.
func (f *Fleet) Open(cmd *exec.Cmd) *Session {
	f.t.Helper()
	s := &Session{Started: time.Now(), cmd: cmd, done: make(chan struct{})}
	var err error
	if s.in, err = cmd.StdinPipe(); err != nil {
		f.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	cmd.Stderr = writer{s}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	up := make(chan struct{})
	go func() {
		first := true
		for sc := bufio.NewScanner(out); sc.Scan(); {
			if first && strings.Contains(sc.Text(), "up") {
				first = false
				close(up)
			}
			fmt.Fprintln(writer{s}, sc.Text())
		}
		err := cmd.Wait()
		s.mu.Lock()
		s.ended, s.err = time.Now(), err
		s.mu.Unlock()
		close(s.done)
	}()
	select {
	case <-up:
	case <-s.done:
		f.t.Fatalf("%s did not come through: %v\n%s", strings.Join(cmd.Args, " "), s.err, s.Said())
	case <-time.After(30 * time.Second):
		cmd.Process.Kill()
		f.t.Fatalf("%s does not come through\n%s", strings.Join(cmd.Args, " "), s.Said())
	}
	return s
}

// Shell opens a session on a host that lasts until it is ended.
func (v Via) Shell(user, host string) *Session {
	v.f.t.Helper()
	return v.f.Open(v.SSH(context.Background(), user, host, "echo up; sleep 600"))
}

type writer struct{ s *Session }

func (w writer) Write(b []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.said.Write(b)
}

// Said is everything that the client printed.
func (s *Session) Said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

// Alive reports whether the client still runs.
func (s *Session) Alive() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// EndsWithin waits for the client's end and returns how long after since it
// was; ok is false if it goes on.
func (s *Session) EndsWithin(d time.Duration, since time.Time) (took time.Duration, ok bool) {
	select {
	case <-s.done:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.ended.Sub(since), true
	case <-time.After(d):
		return d, false
	}
}

// Quit ends the client from its own side.
func (s *Session) Quit() {
	s.in.Close()
	if s.Alive() {
		s.cmd.Process.Kill()
	}
	<-s.done
}

// Grants gives the user a grant on a target by a rule that needs no approver:
// asked for on one way and activated on another.
func (f *Fleet) Grants(ctx context.Context, user, target, duration string, ask, activate Via) (string, error) {
	out, err := ask.Run(ctx, user, "", "jit-gateway", "request", target, "--no-wait", "--for", duration, "--reason", "work")
	if err != nil {
		return "", err
	}
	return activate.Activate(ctx, user, strings.TrimSpace(out))
}

// Activate opens the window of an approved request and returns the grant's id.
func (v Via) Activate(ctx context.Context, user, request string) (string, error) {
	out, err := v.WithCode(ctx, user, "jit-gateway", "activate", request, "--json")
	if err != nil {
		return "", err
	}
	var g struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(out), &g); err != nil {
		return "", fmt.Errorf("read what activate printed: %w", err)
	}
	return g.ID, nil
}

// Store runs a query on the gateways' database, past every gateway.
func (f *Fleet) Store(sql string) string {
	f.t.Helper()
	v, err := f.Database().Value(context.Background(), StoreDatabase, sql)
	if err != nil {
		f.t.Fatalf("%s: %v", sql, err)
	}
	return v
}
