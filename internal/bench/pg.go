package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"jit-gateway/internal/testenv"
	"jit-gateway/internal/testenv/stack"
)

// pgWorld is one database and the ways to it: all without TLS, which pgbench
// over loopback would measure more than anything else.
type pgWorld struct {
	*place
	*runner
	db                              *testenv.Postgres
	ends                            map[*path]endpoint
	direct, bouncer, fresh, gateway *path
}

// An endpoint is where a path begins, and as whom.
type endpoint struct {
	port           int
	user, password string
}

const (
	benchLogin    = "bench" // the standing login that people have without a gateway
	benchPassword = "bench-only-password"
	benchScale    = "10" // of pgbench: a million accounts
)

// Postgres measures the PostgreSQL cells and prints their table.
func Postgres(ctx context.Context, o Options) (err error) {
	r := &runner{Options: o, began: time.Now()}
	before := load()
	w, err := newPGWorld(ctx, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	for p := range w.ends { // a path that does not work shows here, in words
		c, err := w.connect(ctx, p)
		if err != nil {
			return fmt.Errorf("the path %s does not work: %w", p.name, err)
		}
		c.Close(ctx)
	}
	if err := r.measure(ctx, w.cells()); err != nil {
		return err
	}
	r.heading(fmt.Sprintf("PostgreSQL, no TLS, pgbench for %d s", o.Seconds), before,
		[][]string{{o.Gateway, "version"}, {testenv.PostgresBin + "/postgres", "--version"}, {pgbouncerProgram, "--version"}, {"go", "version"}})
	write(o.Out, [3]string{w.direct.name, w.bouncer.name, w.gateway.name}, r.result)
	r.footing()
	return r.verdict()
}

func newPGWorld(ctx context.Context, r *runner) (w *pgWorld, err error) {
	p, err := newPlace(ctx, r, stack.Options{NoHosts: true, PlainDatabase: true, PostgresConf: []string{
		"max_connections = 1000", "shared_buffers = '512MB'", "synchronous_commit = off", "max_wal_size = '4GB'",
		"jit = off", "autovacuum = off", "log_min_messages = fatal"}})
	if err != nil {
		return nil, err
	}
	w = &pgWorld{place: p, runner: r, db: p.stack.Database()}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if err := w.fill(ctx); err != nil {
		return nil, fmt.Errorf("fill the database: %w", err)
	}
	if _, err := p.stack.Grant(ctx, "alice", "bob", "orders_rw@orders", grantFor, "benchmark"); err != nil {
		return nil, err
	}
	token, err := p.stack.Token(ctx, "alice", "orders_rw@orders")
	if err != nil {
		return nil, err
	}
	w.direct = &path{name: "direct"}
	w.gateway = &path{name: "gateway", pids: []int{p.stack.GatewayPID.ID}, cpu: processCPU(p.stack.GatewayPID.ID)}
	w.bouncer, w.fresh = &path{name: "pgbouncer"}, &path{name: "pgbouncer, fresh"}
	w.ends = map[*path]endpoint{
		w.direct:  {w.db.Port, benchLogin, benchPassword},
		w.gateway: {p.stack.PostgresPort, "alice", token},
	}
	if err := w.startBouncer(ctx, w.bouncer, ""); err != nil {
		return nil, err
	}
	return w, w.startBouncer(ctx, w.fresh, "server_lifetime = 0")
}

// fill makes pgbench's tables, a table to read in bulk and one to write to,
// which the gateway's role and the standing login may use alike.
func (w *pgWorld) fill(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "pgbench", "-h", w.db.Host, "-p", fmt.Sprint(w.db.Port), "-U", w.db.User, "-i", "-q", "-s", benchScale, "orders")
	cmd.Env = append(os.Environ(), "PGPASSWORD="+w.db.Password, "PGSSLMODE=disable")
	if err := run(cmd); err != nil {
		return err
	}
	return w.db.Exec(ctx, "orders", fmt.Sprintf(`
CREATE TABLE bulk AS SELECT i AS id, md5(i::text) a, md5((i*7)::text) b, md5((i*13)::text) c FROM generate_series(1,%d) i;
CREATE UNLOGGED TABLE sink (LIKE bulk);
CREATE ROLE %s LOGIN PASSWORD '%s' IN ROLE orders_rw;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA public TO orders_rw;
ANALYZE`, w.Rows, benchLogin, benchPassword))
}

// Debian's place for it, which is on root's PATH alone.
const pgbouncerProgram = "/usr/sbin/pgbouncer"

// startBouncer starts pgbouncer in session mode, the mode that lets clients do
// what the gateway lets them do. It knows the login by its SCRAM verifier and
// passes the client's proof on.
func (w *pgWorld) startBouncer(ctx context.Context, p *path, extra string) error {
	dir := filepath.Join(w.stack.Backing, strings.ReplaceAll(p.name, ", ", "-"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	verifier, err := w.db.Value(ctx, "postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = '"+benchLogin+"'")
	if err != nil {
		return err
	}
	port, err := testenv.FreePort()
	if err != nil {
		return err
	}
	users, config := filepath.Join(dir, "users"), filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = session
max_client_conn = 2000
default_pool_size = 400
listen_backlog = 1024
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
%s
`, w.db.Port, port, users, extra)
	if err := errors.Join(os.WriteFile(users, []byte(fmt.Sprintf("%q %q\n", benchLogin, verifier)), 0o644), os.WriteFile(config, []byte(text), 0o644)); err != nil {
		return err
	}
	proc, err := testenv.Command{Name: p.name, Args: []string{pgbouncerProgram, config}, Dir: dir, Log: filepath.Join(dir, "log"), User: "postgres"}.Start()
	if err != nil {
		return err
	}
	w.undo = append(w.undo, func() error { return proc.Stop(syscall.SIGINT) })
	p.pids, p.cpu = []int{proc.PID}, processCPU(proc.PID)
	w.ends[p] = endpoint{port, benchLogin, benchPassword}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(30 * time.Millisecond) {
		c, err := w.connect(ctx, p)
		if err == nil {
			return c.Close(ctx)
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			return fmt.Errorf("start pgbouncer: %w\n%s", err, log)
		}
	}
}
