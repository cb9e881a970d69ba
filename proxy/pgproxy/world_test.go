package pgproxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/id"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/seal"
	"jit-gateway/internal/store/sqlite"
	"jit-gateway/internal/testenv"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// world is a gateway with everything real: store, approval service, session
// manager, recordings, and a PostgreSQL 15 that is set up as docs/postgres-setup.md says.
type world struct {
	testing.TB
	ctx      context.Context
	pg       *testenv.Postgres
	dir      string
	db       *sqlite.DB
	inv      *inventory.Live
	svc      *approval.Service
	mfa      *mfa.Verifier
	auth     *ca.Authority
	tokens   *ca.Tokens
	recs     *recording.Dir
	sessions *session.Manager
	cleaner  *RoleCleaner
	srv      *Server
	addr     string
	port     string
	caFile   string
	log      *bytes.Buffer
	logMu    *sync.Mutex
}

// shared is one PostgreSQL for all tests of the package: to start one takes a second.
var shared struct {
	sync.Once
	pg  *testenv.Postgres
	dir string
	err error
}

// createrole has the tests use no functions, but a login with CREATEROLE: the
// way of version 16 and later in docs/postgres-setup.md.
var createrole = os.Getenv("JIT_POSTGRES_CREATEROLE") != ""

const createroleSQL = `CREATE ROLE jit_sessions NOLOGIN;
CREATE ROLE jit_gateway LOGIN CREATEROLE;
GRANT pg_signal_backend TO jit_gateway;
GRANT jit_sessions, orders_ro, orders_rw TO jit_gateway WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;`

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.pg != nil {
		shared.pg.Stop()
		os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

func database(t testing.TB) *testenv.Postgres {
	t.Helper()
	shared.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("/tmp", "pgproxy"); shared.err != nil {
			return
		}
		os.Chmod(shared.dir, 0o755)
		ctx := context.Background()
		if shared.pg, shared.err = testenv.StartPostgres(ctx, testenv.PostgresOptions{Dir: shared.dir, Conf: []string{"max_connections = 600"}}); shared.err != nil {
			return
		}
		if shared.err = shared.pg.CreateOrders(ctx, "orders"); shared.err != nil {
			return
		}
		sql := createroleSQL
		if !createrole {
			if sql, shared.err = SetupSQL(target(shared.pg)); shared.err != nil {
				return
			}
		}
		for _, q := range []string{sql, "ALTER ROLE jit_gateway PASSWORD 'gateway-password'",
			"CREATE ROLE orders_static LOGIN PASSWORD 'static-password' IN ROLE orders_rw"} {
			if shared.err = shared.pg.Exec(ctx, "orders", q); shared.err != nil {
				return
			}
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.pg
}

func target(pg *testenv.Postgres) inventory.Target {
	return inventory.Target{Name: "orders", Kind: inventory.Postgres, Aliases: []string{"shop"}, Postgres: &inventory.PostgresTarget{
		Address: pg.Addr, Database: "orders", Databases: []string{"postgres"}, Roles: []string{"orders_ro", "orders_rw"}, CAFile: pg.CAFile,
		AdminUser: "jit_gateway", AdminPassword: "test:gateway",
	}}
}

func staticTarget(pg *testenv.Postgres) inventory.Target {
	return inventory.Target{Name: "legacy", Kind: inventory.Postgres, Postgres: &inventory.PostgresTarget{
		Address: pg.Addr, Database: "orders", Roles: []string{"orders_static"}, CAFile: pg.CAFile, Identity: "static",
		Static: map[string]string{"orders_static": "test:static"},
	}}
}

// moreTargets are what single tests add.
var moreTargets []inventory.Target

func secrets(ref string) (string, error) {
	if v, ok := strings.CutPrefix(ref, "plain:"); ok {
		return v, nil
	}
	switch ref {
	case "test:gateway":
		return "gateway-password", nil
	case "test:static":
		return "static-password", nil
	}
	return "", fmt.Errorf("no secret %q", ref)
}

// plain lets everybody have every database at once.
func plain(change func(*policy.Rule)) policy.Rule {
	r := policy.Rule{Name: "databases", Groups: []string{"sre"}, Kinds: []string{"postgres"}, MaxDuration: policy.Duration(8 * time.Hour), Auto: true, Tunnel: true}
	if change != nil {
		change(&r)
	}
	return r
}

// redacting keeps the values of statements that match out of the record.
func redacting(patterns ...string) policy.Rule {
	return plain(func(r *policy.Rule) { r.Recording.RedactParams = patterns })
}

func newWorld(t testing.TB, rule policy.Rule, changes ...func(*Options)) *world {
	t.Helper()
	w := &world{TB: t, ctx: context.Background(), pg: database(t), dir: t.TempDir(), log: &bytes.Buffer{}, logMu: &sync.Mutex{}}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	w.db, err = sqlite.Open(w.ctx, filepath.Join(w.dir, "store.db"), sqlite.Options{})
	check(err)
	t.Cleanup(func() {
		if err := w.db.Close(); err != nil {
			t.Error(err)
		}
	})
	w.inv, err = inventory.NewLive(append([]inventory.Target{target(w.pg), staticTarget(w.pg)}, moreTargets...))
	check(err)
	set, err := policy.NewSet([]policy.Rule{rule})
	check(err)
	w.svc, err = approval.New(approval.Options{Users: w.db, Inventory: w.inv, Rules: func() *policy.Set { return set }, Requests: w.db, Grants: w.db, Log: w.db,
		Clock: func(context.Context) error { return nil }, Now: time.Now, Feed: w.db, History: w.db, Findings: w.db})
	check(err)
	box, err := seal.New(seal.GenerateKey())
	check(err)
	w.mfa, err = mfa.NewVerifier(mfa.Options{Store: w.db, Box: box, Now: time.Now})
	check(err)
	check(ca.Init(filepath.Join(w.dir, "ca")))
	w.auth, err = ca.Load(filepath.Join(w.dir, "ca"), ca.Options{})
	check(err)
	w.tokens = ca.NewTokens(w.auth, w.db, time.Now)
	w.recs, err = recording.OpenDir(filepath.Join(w.dir, "recordings"), recording.DirOptions{Reserve: -1})
	check(err)
	logger := slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.cleaner = NewRoleCleaner(secrets)
	w.sessions, err = session.NewManager(session.Options{Instance: "I1", Store: w.db, Credentials: w.db, Instances: w.db, Grants: w.db, Log: w.db, Feed: w.db,
		Recordings: w.recs, Tokens: w.tokens, Cleaners: w.cleaner.Cleaners(), Exclusive: true, Logger: logger})
	check(err)

	cert, err := w.auth.PageTLS([]string{"localhost", "127.0.0.1"})
	check(err)
	w.caFile = filepath.Join(w.dir, "ca.pem")
	check(os.WriteFile(w.caFile, w.auth.PageCA(), 0o644))
	o := Options{Inventory: w.inv, Approvals: w.svc, Sessions: w.sessions, Tokens: w.tokens, Log: w.db, Cleaner: w.cleaner,
		TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Authority: w.auth, Secrets: secrets, Installation: "t" + strings.ToLower(id.Short("", 6)), Logger: logger}
	for _, c := range changes {
		c(&o)
	}
	w.srv, err = New(o)
	check(err)

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	w.addr = ln.Addr().String()
	_, w.port, _ = net.SplitHostPort(w.addr)
	run, stop := context.WithCancel(w.ctx)
	var jobs, conns sync.WaitGroup
	jobs.Go(func() { w.sessions.Run(run) })
	jobs.Go(func() { w.svc.Run(run) })
	jobs.Go(func() { w.srv.Run(run) })
	jobs.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { w.srv.ServeConn(run, c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		stop()
		conns.Wait()
		jobs.Wait()
		if t.Failed() {
			w.logMu.Lock()
			defer w.logMu.Unlock()
			t.Logf("the gateway's log:\n%s", w.log)
		}
	})
	return w
}

// Write takes the log.
func (w *world) Write(p []byte) (int, error) {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	return w.log.Write(p)
}

// grant makes a user with a live grant.
func (w *world) grant(name, target, role string, d time.Duration) (approval.Caller, approval.Grant) {
	w.Helper()
	c := w.user(name)
	return c, w.activate(c, name, target, role, d)
}

var codes = map[string]string{}

func (w *world) user(name string) approval.Caller {
	w.Helper()
	u := identity.User{ID: "U" + name, Name: name, Kind: identity.Human, State: identity.Active, Groups: []string{"sre"}, CreatedAt: time.Now()}
	w.must(w.db.CreateUser(w.ctx, u, audit.Event{Type: audit.UserAdded, Outcome: audit.Success}))
	k := identity.Key{Fingerprint: "SHA256:" + name, UserID: u.ID, Authorized: "ssh-ed25519 " + name, CreatedAt: time.Now()}
	w.must(w.db.AddKey(w.ctx, k, audit.Event{Type: audit.KeyAdded, Outcome: audit.Success}))
	e := w.mfa.BeginTOTP(name)
	code, err := totp.GenerateCode(e.Secret, time.Now())
	w.must(err)
	_, _, err = w.mfa.ConfirmTOTP(w.ctx, u.ID, e, code, audit.Gateway)
	w.must(err)
	codes[name] = e.Secret
	return approval.Caller{UserID: u.ID, KeyFingerprint: k.Fingerprint, Source: "127.0.0.1", Via: "ssh"}
}

func (w *world) activate(c approval.Caller, name, target, role string, d time.Duration) approval.Grant {
	w.Helper()
	r, err := w.svc.File(w.ctx, c, approval.Ask{Targets: []string{target}, Login: role, Reason: "a test", Duration: d})
	w.must(err)
	p, err := w.mfa.VerifyTOTP(w.ctx, c.UserID, w.code(name), audit.Actor{ID: c.UserID, Name: name})
	w.must(err)
	g, err := w.svc.Activate(w.ctx, c, r.GrantID, p)
	w.must(err)
	return g
}

// code is one that was not used yet: the enrolment took the one before.
func (w *world) code(name string) string {
	w.Helper()
	code, err := totp.GenerateCode(codes[name], time.Now().Add(30*time.Second))
	w.must(err)
	return code
}

// token makes a user with a live grant, and a session token for it.
func (w *world) token(name, target, role string, d time.Duration) (string, approval.Grant) {
	w.Helper()
	c, g := w.grant(name, target, role, d)
	adm, err := w.svc.Admit(w.ctx, approval.AdmitInput{Caller: c, Target: target, Login: role})
	w.must(err)
	tok, err := w.tokens.Mint(w.ctx, adm, ca.TokenOptions{})
	w.must(err)
	return tok, g
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// client is a stock client's command with the environment that it needs.
func (w *world) client(user, token, db string, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "PGHOST=localhost", "PGPORT="+w.port, "PGUSER="+user, "PGPASSWORD="+token, "PGDATABASE="+db,
		"PGSSLMODE=verify-full", "PGSSLROOTCERT="+w.caFile, "PGCONNECT_TIMEOUT=20", "PSQLRC=/dev/null")
	if lib := os.Getenv("JIT_LIBPQ_18"); lib != "" { // TLS without SSLRequest, and the newest protocol
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+lib, "PGSSLNEGOTIATION=direct", "PGMINPROTOCOLVERSION=3.2")
	}
	return cmd
}

func (w *world) run(cmd *exec.Cmd) string {
	w.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// psql runs SQL as stock psql does.
func (w *world) psql(user, token string, sql ...string) string {
	w.Helper()
	args := []string{"-X", "-At", "-v", "ON_ERROR_STOP=1"}
	for _, s := range sql {
		args = append(args, "-c", s)
	}
	return w.run(w.client(user, token, "orders", "psql", args...))
}

// events are the SQL events of the only (or newest) session with the user.
func (w *world) events(user string) []recording.SQL {
	w.Helper()
	w.settled()
	rows, err := w.db.ListSessions(w.ctx, session.Filter{UserID: "U" + user})
	w.must(err)
	if len(rows) == 0 {
		w.Fatalf("%s has no session", user)
	}
	r, err := w.recs.Open(rows[0].ID)
	w.must(err)
	defer r.Close()
	var out []recording.SQL
	for ev, err := range r.Events() {
		w.must(err)
		switch p := ev.Payload.(type) {
		case recording.SQL:
			out = append(out, p)
		case *recording.SQL:
			out = append(out, *p)
		}
	}
	return out
}

// settled waits until every session has been finished.
func (w *world) settled() {
	w.Helper()
	w.eventually("all sessions have ended", func() bool { return len(w.sessions.Live()) == 0 })
}

func (w *world) eventually(what string, ok func() bool) {
	w.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.Fatalf("never: %s", what)
}

// value asks the database directly.
func (w *world) value(sql string, args ...any) string {
	w.Helper()
	v, err := w.pg.Value(w.ctx, "orders", sql, args...)
	w.must(err)
	return v
}
