// Package fleet is several gateways on one PostgreSQL store, each behind a
// network of its own to the store that a test can break, and all behind
// haproxy. The rest (hosts, people) is package stack's.
//
// Start reading at Up.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"jit-gateway/internal/testenv"
	"jit-gateway/internal/testenv/stack"
)

// Options of Up. Program is required.
type Options struct {
	Program string
	Names   []string // of the gateways: a, b, c if nil
	Users   []stack.User
	Rules   string
	Limits  string
	Env     []string // of every gateway
}

// Fleet is what Up made.
type Fleet struct {
	*stack.Stack
	Gateways []*Gateway
	// Ports of the balancer.
	SSHPort, PostgresPort, StatsPort int

	t    testing.TB
	o    Options
	wire *testenv.Wire // of the gateway that sets everything up
}

// Gateway is one of them.
type Gateway struct {
	Name    string
	Wire    *testenv.Wire // between it and the store
	Manager *Manager      // hears what it says of itself

	SSHPort, PostgresPort, WebPort, MetricsPort int

	f    *Fleet
	dir  string
	proc *testenv.Process
}

// StoreDatabase is where the gateways keep their state.
const StoreDatabase = "jit_store"

// Up sets everything up, and ends it with the test.
func Up(t testing.TB, o Options) *Fleet {
	t.Helper()
	if o.Names == nil {
		o.Names = []string{"a", "b", "c"}
	}
	f := &Fleet{t: t, o: o}
	ctx := t.Context()
	dir := testenv.Dir(t)
	var err error
	f.Stack, err = stack.Up(ctx, stack.Options{Dir: dir, Gateway: o.Program, Env: o.Env, Users: o.Users, Rules: o.Rules, Limits: o.Limits, Extra: f.extra})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, g := range f.Gateways {
			if err := g.Stop(); err != nil {
				t.Error(err)
			}
		}
		if err := f.Down(); err != nil {
			t.Error(err)
		}
	})
	// The stack's own gateway has done its part: people are enrolled, hosts trust.
	if err := f.StopGateway(); err != nil {
		t.Fatal(err)
	}
	for _, name := range o.Names {
		f.Gateways = append(f.Gateways, f.gateway(name))
	}
	for _, g := range f.Gateways {
		g.Start()
	}
	f.balance()
	return f
}

// extra points the stack's gateway to a new database of the stack's server.
func (f *Fleet) extra(s *stack.Stack) (string, error) {
	ctx := f.t.Context()
	if err := s.Database().Exec(ctx, "postgres", "CREATE DATABASE "+StoreDatabase); err != nil {
		return "", err
	}
	f.wire = testenv.NewWire(f.t, s.Database().Addr)
	path, err := f.dsn(s, "setup", f.wire)
	if err != nil {
		return "", err
	}
	return "node: setup\nproxy_from: [127.0.0.2/32]\nstore:\n  postgres:\n    dsn: file:" + path + "\n", nil
}

// dsn writes the way to the store through a wire.
func (f *Fleet) dsn(s *stack.Stack, name string, w *testenv.Wire) (path string, err error) {
	path = filepath.Join(s.Dir, "store-"+name+".dsn")
	text := fmt.Sprintf("postgres://postgres:%s@%s/%s?sslmode=verify-full&sslrootcert=%s\n", s.Database().Password, w.Addr, StoreDatabase, s.Database().CAFile)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// gateway writes one more configuration, with the same keys.
func (f *Fleet) gateway(name string) *Gateway {
	f.t.Helper()
	g := &Gateway{Name: name, f: f, dir: filepath.Join(f.Dir, "gateway-"+name), Wire: testenv.NewWire(f.t, f.Database().Addr), Manager: f.manager(name)}
	for _, p := range []*int{&g.SSHPort, &g.PostgresPort, &g.WebPort, &g.MetricsPort} {
		*p = f.port()
	}
	raw, err := os.ReadFile(f.Config())
	if err != nil {
		f.t.Fatal(err)
	}
	path, err := f.dsn(f.Stack, name, g.Wire)
	if err != nil {
		f.t.Fatal(err)
	}
	text := strings.NewReplacer("data_dir: gateway\n", "data_dir: gateway-"+name+"\n", "node: setup", "node: "+name, "store-setup.dsn", filepath.Base(path),
		fmt.Sprintf("ssh: \"127.0.0.1:%d\"", f.Stack.SSHPort), fmt.Sprintf("ssh: \"127.0.0.1:%d\"", g.SSHPort),
		fmt.Sprintf("postgres: \"127.0.0.1:%d\"", f.Stack.PostgresPort), fmt.Sprintf("postgres: \"127.0.0.1:%d\"", g.PostgresPort),
		fmt.Sprintf("web: \"127.0.0.1:%d\"", f.WebPort), fmt.Sprintf("web: \"127.0.0.1:%d\"", g.WebPort),
		fmt.Sprintf("metrics: \"127.0.0.1:%d\"", f.MetricsPort), fmt.Sprintf("metrics: \"127.0.0.1:%d\"", g.MetricsPort)).Replace(string(raw))
	if err := os.WriteFile(g.Config(), []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
	if err := os.MkdirAll(g.dir, 0o700); err != nil {
		f.t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", f.Path("gateway/keys"), g.dir).CombinedOutput(); err != nil {
		f.t.Fatalf("deploy the keys: %v\n%s", err, out)
	}
	return g
}

// Path is a path below the fleet's directory.
func (f *Fleet) Path(name string) string { return filepath.Join(f.Dir, name) }

func (f *Fleet) port() int {
	p, err := testenv.FreePort()
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

// Gateway returns the one of that name.
func (f *Fleet) Gateway(name string) *Gateway {
	for _, g := range f.Gateways {
		if g.Name == name {
			return g
		}
	}
	f.t.Fatalf("there is no gateway %s", name)
	return nil
}

// Config is the path of the gateway's configuration.
func (g *Gateway) Config() string { return g.f.Path("jit-gateway-" + g.Name + ".yaml") }

// Log is what the gateway has said.
func (g *Gateway) Log() string {
	b, _ := os.ReadFile(g.f.Path("gateway-" + g.Name + ".log"))
	return string(b)
}

// ClockFile holds how far the gateway's clock is off, as a duration, if the
// program looks there (JIT_TEST_CLOCK).
func (g *Gateway) ClockFile() string { return g.f.Path("clock-" + g.Name) }

// Start starts the gateway and returns once it is ready.
func (g *Gateway) Start() {
	g.f.t.Helper()
	if err := g.start(); err != nil {
		g.f.t.Fatal(err)
	}
}

func (g *Gateway) start() error {
	p, err := testenv.Command{Name: "gateway " + g.Name, Args: g.Manager.command(g.f.o.Program, "--config", g.Config(), "serve"),
		Env: slices.Concat([]string{"JIT_TEST_CLOCK=" + g.ClockFile()}, g.Manager.env(), g.f.o.Env), Dir: g.f.Dir, Log: g.f.Path("gateway-" + g.Name + ".log")}.Start()
	if err != nil {
		return err
	}
	g.proc = p
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if g.Ready() {
			return nil
		}
		select {
		case <-p.Done():
			return fmt.Errorf("gateway %s ended (%v):\n%s", g.Name, p.Err(), tail(g.Log()))
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("gateway %s does not become ready:\n%s", g.Name, tail(g.Log()))
		}
	}
}

// Fails starts the gateway, which must not come up, and returns why.
func (g *Gateway) Fails() string {
	g.f.t.Helper()
	if err := g.start(); err == nil {
		g.f.t.Fatalf("gateway %s came up", g.Name)
	}
	g.Kill()
	return tail(g.Log())
}

func tail(s string) string { return s[max(0, len(s)-3000):] }

// Ready asks the gateway whether it serves.
func (g *Gateway) Ready() bool {
	c := http.Client{Timeout: 2 * time.Second}
	resp, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", g.MetricsPort))
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Signal sends the gateway a signal.
func (g *Gateway) Signal(sig syscall.Signal) error { return g.proc.Signal(sig) }

// Stop ends it with SIGTERM, as a service manager does.
func (g *Gateway) Stop() error { return g.end(syscall.SIGTERM) }

// Kill ends it as a crash does.
func (g *Gateway) Kill() error { return g.end(syscall.SIGKILL) }

func (g *Gateway) end(sig syscall.Signal) error {
	if g.proc == nil {
		return nil
	}
	select {
	case <-g.proc.Done():
	default:
		if err := g.proc.Signal(sig); err != nil {
			return err
		}
	}
	select {
	case <-g.proc.Done():
		g.proc = nil
		return nil
	case <-time.After(45 * time.Second):
		_ = g.proc.Signal(syscall.SIGQUIT) // says where it is
		time.Sleep(time.Second)
		g.f.t.Logf("the log of gateway %s:\n%s", g.Name, g.Log())
		return errors.Join(fmt.Errorf("gateway %s did not end", g.Name), g.proc.Stop(syscall.SIGKILL))
	}
}

// Local runs an administrator's command on the gateway's machine.
func (g *Gateway) Local(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, g.f.o.Program, append([]string{"--config", g.Config()}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("on %s: jit-gateway %s: %w\n%s", g.Name, strings.Join(args, " "), err, out)
	}
	return string(out), err
}
