package testenv

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// PostgresBin holds the server's programs, which are not on the PATH: those of
// Debian's PostgreSQL 15, unless JIT_POSTGRES_BIN names another version's
// (testdata/tools/postgres.sh has some).
var PostgresBin = cmp.Or(os.Getenv("JIT_POSTGRES_BIN"), "/usr/lib/postgresql/15/bin")

// PostgresOptions says what kind of server a test needs. Only Dir is required.
type PostgresOptions struct {
	Dir      string
	Port     int      // 0: a free one
	Conf     []string // further lines for postgresql.conf; they win
	HBA      []string // lines before the default, which asks everybody on loopback for SCRAM
	Detached bool
}

// Postgres is a running PostgreSQL server with TLS.
type Postgres struct {
	Addr     string // 127.0.0.1:port
	Host     string // 127.0.0.1
	Port     int
	Dir      string
	User     string // superuser: postgres
	Password string
	CAFile   string // signs the server's certificate, for 127.0.0.1 and localhost

	opts PostgresOptions
	proc *Process
}

// NewPostgres starts a server that ends with the test. An empty Dir gets one.
func NewPostgres(t testing.TB, o PostgresOptions) *Postgres {
	t.Helper()
	if o.Dir == "" {
		o.Dir = Dir(t)
	}
	p, err := StartPostgres(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of PostgreSQL:\n%s", tail([]byte(p.Log())))
		}
	})
	return p
}

// StartPostgres makes a database cluster in o.Dir, unless one is there, and
// returns once it answers.
func StartPostgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	p := &Postgres{Host: "127.0.0.1", Dir: dir, User: "postgres", Password: "superuser", CAFile: filepath.Join(dir, "ca.pem"), opts: o}
	if err := p.initdb(ctx); err != nil {
		return nil, fmt.Errorf("prepare PostgreSQL: %w", err)
	}
	for try := 1; ; try++ {
		if p.Port = o.Port; p.Port == 0 {
			if p.Port, err = FreePort(); err != nil {
				return nil, err
			}
		}
		p.Addr = net.JoinHostPort(p.Host, strconv.Itoa(p.Port))
		if err = p.Start(ctx); err == nil || o.Port != 0 || try == 3 {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w\n%s", err, p.Log())
	}
	return p, nil
}

// Start starts the server again, on the same port, after Stop.
func (p *Postgres) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	proc, err := Command{
		Name:     "PostgreSQL",
		Args:     []string{PostgresBin + "/postgres", "-D", p.path("data"), "-c", fmt.Sprintf("port=%d", p.Port)},
		Dir:      p.path("data"),
		Log:      p.path("postgres.log"),
		User:     "postgres",
		Detached: p.opts.Detached,
	}.Start()
	if err != nil {
		return err
	}
	p.proc = proc
	for {
		if err = p.Exec(ctx, "postgres", "SELECT 1"); err == nil {
			return nil
		}
		select {
		case <-proc.Done():
			return fmt.Errorf("it ended before it answered: %w", proc.Err())
		case <-ctx.Done():
			proc.Stop(syscall.SIGQUIT)
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends the server and its sessions (a "fast" shutdown).
func (p *Postgres) Stop() error { return p.proc.Stop(syscall.SIGINT) }

// PID is the postmaster's process.
func (p *Postgres) PID() int { return p.proc.PID }

// Log is what the server has said so far.
func (p *Postgres) Log() string {
	b, _ := os.ReadFile(p.path("postgres.log"))
	return string(b)
}

// URL is the superuser's connection string, over TLS that is verified.
func (p *Postgres) URL(database string) string {
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=verify-full&sslrootcert=%s", p.User, p.Password, p.Addr, database, p.CAFile)
}

// Exec runs SQL, also several statements, as the superuser.
func (p *Postgres) Exec(ctx context.Context, database, sql string) error {
	c, err := pgx.Connect(ctx, p.URL(database))
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

// MustExec is Exec for tests.
func (p *Postgres) MustExec(t testing.TB, database, sql string) {
	t.Helper()
	if err := p.Exec(t.Context(), database, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Value runs a query as the superuser and returns its one value as text.
func (p *Postgres) Value(ctx context.Context, database, sql string, args ...any) (string, error) {
	c, err := pgx.Connect(ctx, p.URL(database))
	if err != nil {
		return "", err
	}
	defer c.Close(ctx)
	var v *string
	if err := c.QueryRow(ctx, "SELECT ("+sql+")::text", args...).Scan(&v); err != nil {
		return "", err
	}
	if v == nil {
		return "", nil
	}
	return *v, nil
}

// SetHBA replaces the first lines of pg_hba.conf and reloads.
func (p *Postgres) SetHBA(ctx context.Context, lines ...string) error {
	p.opts.HBA = lines
	if err := p.writeHBA(); err != nil {
		return err
	}
	return p.Exec(ctx, "postgres", "SELECT pg_reload_conf()")
}

func (p *Postgres) path(name string) string { return filepath.Join(p.Dir, name) }

func (p *Postgres) writeHBA() error {
	lines := append(append([]string{}, p.opts.HBA...), "host all all 127.0.0.1/32 scram-sha-256", "host replication all 127.0.0.1/32 scram-sha-256")
	return os.WriteFile(p.path("data/pg_hba.conf"), []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}

func (p *Postgres) initdb(ctx context.Context) error {
	if err := os.MkdirAll(p.path("data"), 0o755); err != nil {
		return err
	}
	var owner *syscall.Credential
	if os.Geteuid() == 0 {
		if !Reachable(p.Dir) {
			return fmt.Errorf("%s is closed to the user postgres", p.Dir)
		}
		var err error
		if owner, err = credential("postgres"); err != nil {
			return err
		}
	}
	give := func(path string, mode os.FileMode) error {
		if owner != nil {
			if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
				return err
			}
		}
		return os.Chmod(path, mode)
	}
	if err := give(p.path("data"), 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(p.path("data/PG_VERSION")); err != nil {
		if err := os.WriteFile(p.path("password"), []byte(p.Password+"\n"), 0o600); err != nil {
			return err
		}
		if err := give(p.path("password"), 0o600); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, PostgresBin+"/initdb", "-D", p.path("data"), "-U", p.User, "-A", "scram-sha-256",
			"--pwfile", p.path("password"), "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions")
		cmd.Dir = p.Dir
		cmd.Env = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("initdb: %w\n%s", err, out)
		}
		key, cert, ca, err := serverCertificate("127.0.0.1", "localhost")
		if err != nil {
			return err
		}
		if err := writeFiles(p.Dir, 0o644, map[string]string{"data/server.crt": string(cert), "data/server.key": string(key), "ca.pem": string(ca)}); err != nil {
			return err
		}
		if err := give(p.path("data/server.key"), 0o600); err != nil {
			return err
		}
	}
	conf := append([]string{
		"listen_addresses = '127.0.0.1'",
		"unix_socket_directories = ''", // their paths have a limit that a deep directory breaks
		"max_connections = 300",
		"ssl = on",
		"fsync = off", // a fixture that loses power is made anew
		"full_page_writes = off",
		"password_encryption = 'scram-sha-256'",
		"log_line_prefix = '%m [%p] %u@%d '",
	}, p.opts.Conf...)
	if err := os.WriteFile(p.path("data/postgresql.auto.conf"), []byte(strings.Join(conf, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	if err := give(p.path("data/postgresql.auto.conf"), 0o600); err != nil {
		return err
	}
	return p.writeHBA()
}
