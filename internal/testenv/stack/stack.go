package stack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"jit-gateway/internal/testenv"
)

// Options says what to set up. Dir and Gateway are required.
type Options struct {
	Dir     string   // everything lives below it; made if missing
	Gateway string   // path of the gateway's program
	Env     []string // of the gateway's process, in addition
	// NoHosts and NoDatabase leave out what a story does not need.
	NoHosts    bool
	NoDatabase bool
	Users      []User // DefaultUsers if nil
	Rules      string // YAML list; DefaultRules if empty
	Detached   bool   // goes on after this process
	// Extra is more of the configuration, in YAML, once the ports are known.
	Extra    func(*Stack) (string, error)
	Progress func(format string, args ...any) // told what is being done; may be nil

	// For benchmarks: lines that win in the hosts' sshd_config and in
	// postgresql.conf, no TLS between gateway and database, and the
	// gateway's limits (a YAML mapping; "{drain: 5s}" if empty).
	SSHDConfig    []string
	PostgresConf  []string
	PlainDatabase bool
	Limits        string
}

// User is somebody with a key, groups and a second factor.
type User struct {
	Name  string
	Group string
}

// DefaultUsers are the people of the demo.
var DefaultUsers = []User{{"alice", "engineers"}, {"bob", "approvers"}, {"carol", "auditors"}}

// Stack is a gateway and its surroundings. Its fields are saved in state.json,
// so that another process can use it and stop it.
type Stack struct {
	Dir     string
	Backing string // where hosts and database are: below Dir, unless other users cannot get there
	Program string // the gateway's

	SSHPort, PostgresPort, WebPort, MetricsPort int

	GatewayPID testenv.PID
	Others     []testenv.PID // sshd and PostgreSQL
	Secrets    map[string]string
	Installed  time.Time

	opts  Options
	proc  *testenv.Process
	hosts []*testenv.SSHD
	db    *testenv.Postgres
	codes Codes
}

// Up sets everything up and returns once it answers. What had been started is
// stopped again if it fails.
func Up(ctx context.Context, o Options) (_ *Stack, err error) {
	if o.Users == nil {
		o.Users = DefaultUsers
	}
	if o.Rules == "" {
		o.Rules = DefaultRules
	}
	if o.Limits == "" {
		o.Limits = "{drain: 5s}"
	}
	if o.Progress == nil {
		o.Progress = func(string, ...any) {}
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Stack{Dir: dir, Program: o.Gateway, Secrets: map[string]string{}, Installed: time.Now().UTC(), opts: o}
	s.codes = Codes{path: s.path("codes.json")}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Down())
		}
	}()
	if err := s.directories(); err != nil {
		return nil, err
	}
	if err := s.backends(ctx); err != nil {
		return nil, err
	}
	if err := s.install(ctx); err != nil {
		return nil, err
	}
	if err := s.StartGateway(ctx); err != nil {
		return nil, err
	}
	if err := s.trust(ctx); err != nil {
		return nil, err
	}
	for _, u := range o.Users {
		o.Progress("%s enrols a key and a second factor, with a one-time code", u.Name)
		if err := s.enroll(ctx, u); err != nil {
			return nil, fmt.Errorf("enrol %s: %w", u.Name, err)
		}
	}
	return s, s.Save()
}

// path is a path below the stack's directory.
func (s *Stack) path(name string) string { return filepath.Join(s.Dir, name) }

func (s *Stack) directories() error {
	for _, d := range []string{s.Dir, s.path("keys")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	s.Backing = s.path("targets")
	if os.Geteuid() == 0 && !testenv.Reachable(s.Dir) {
		// Hosts' logins and PostgreSQL are other users, which may not walk
		// here: as in a clone below /root.
		sum := sha256.Sum256([]byte(s.Dir))
		s.Backing = filepath.Join(os.TempDir(), "jit-demo-"+hex.EncodeToString(sum[:6]))
		if err := os.RemoveAll(s.Backing); err != nil {
			return err
		}
	}
	return os.MkdirAll(s.Backing, 0o755)
}

// backends starts the hosts and the database.
func (s *Stack) backends(ctx context.Context) error {
	if !s.opts.NoHosts {
		for _, name := range []string{"web01", "web02"} {
			s.opts.Progress("%s is a real sshd on a loopback port, with the logins deploy and admin", name)
			h, err := testenv.StartSSHD(ctx, testenv.SSHDOptions{Dir: filepath.Join(s.Backing, name), Name: name,
				Logins: []string{"deploy", "admin"}, Config: s.opts.SSHDConfig, Detached: s.opts.Detached})
			if err != nil {
				return err
			}
			s.hosts = append(s.hosts, h)
			if err := s.remember(h.PID()); err != nil {
				return err
			}
		}
	}
	if s.opts.NoDatabase {
		return nil
	}
	s.opts.Progress("orders is a database in a real PostgreSQL 15 of its own")
	db, err := testenv.StartPostgres(ctx, testenv.PostgresOptions{Dir: filepath.Join(s.Backing, "postgres"), Conf: s.opts.PostgresConf, Detached: s.opts.Detached})
	if err != nil {
		return err
	}
	s.db = db
	if err := s.remember(db.PID()); err != nil {
		return err
	}
	return s.prepareDatabase(ctx)
}

func (s *Stack) remember(pid int) error {
	p, err := testenv.FindPID(pid)
	if err != nil {
		return err
	}
	s.Others = append(s.Others, p)
	return s.Save()
}

// Host is one of the hosts, for tests that look behind the gateway.
func (s *Stack) Host(name string) *testenv.SSHD {
	for _, h := range s.hosts {
		if h.Name == name {
			return h
		}
	}
	return nil
}

// Database is the database server, for tests that look behind the gateway.
func (s *Stack) Database() *testenv.Postgres { return s.db }
