package pgproxy

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/testenv"
	"jit-gateway/session"
)

// guarded is a server set up as the gateway's own words say, with pg_hba lines
// that admit its roles from 127.0.0.1 alone.
func guarded(t *testing.T, w *world, change func(*inventory.PostgresTarget), conf ...string) (*testenv.Postgres, inventory.Target) {
	t.Helper()
	dir := testenv.Dir(t)
	spec := inventory.Target{Name: "guarded", Kind: inventory.Postgres, Postgres: &inventory.PostgresTarget{Database: "orders",
		Roles: []string{"orders_ro", "orders_rw"}, AdminUser: "jit_gateway", AdminPassword: "test:gateway", CAFile: filepath.Join(dir, "ca.pem")}}
	change(spec.Postgres)
	pg := testenv.NewPostgres(t, testenv.PostgresOptions{Dir: dir, Conf: conf})
	spec.Postgres.Address = pg.Addr
	w.must(pg.CreateOrders(w.ctx, "orders"))
	dynamic := spec
	p := *spec.Postgres
	p.Identity = ""
	dynamic.Postgres = &p
	sql, err := SetupSQL(dynamic)
	w.must(err)
	w.must(pg.Exec(w.ctx, "orders", sql))
	w.must(pg.Exec(w.ctx, "orders", "ALTER ROLE jit_gateway PASSWORD 'gateway-password'"))
	w.must(pg.SetHBA(w.ctx, strings.Split(strings.TrimSpace(SetupHBA(spec, "127.0.0.1/32")), "\n")...))
	w.must(w.inv.Swap(append(slices.Clone(w.inv.Targets()), spec)))
	return pg, spec
}

// from connects to the database itself, not to the gateway, from an address of
// this machine.
func from(ctx context.Context, source, url string) error {
	conf, err := pgx.ParseConfig(url)
	if err != nil {
		return err
	}
	conf.DialFunc = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: 10 * time.Second}).DialContext
	c, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		return err
	}
	return c.Close(ctx)
}

// A session role may set itself a password: PostgreSQL lets every role do
// that. It is worth nothing: the role comes in from the gateway alone, and
// when the session is over there is no such role.
func TestG4SessionRoleCannotComeBackDirectly(t *testing.T) {
	w := newWorld(t, plain(nil))
	pg, _ := guarded(t, w, func(*inventory.PostgresTarget) {})
	token, g := w.token("alice", "guarded", "orders_ro", time.Hour)
	c, err := w.connect("alice", "guarded", token)
	w.must(err)
	var role string
	w.must(c.QueryRow(w.ctx, "SELECT session_user").Scan(&role))
	_, err = c.Exec(w.ctx, "SET ROLE NONE; ALTER ROLE "+role+" PASSWORD 'mine'")
	w.must(err)
	url := "postgres://" + role + ":mine@" + pg.Addr + "/orders?sslmode=require"
	err = from(w.ctx, "127.0.0.2", url)
	if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "28000" || !strings.Contains(e.Message, "pg_hba.conf rejects") {
		t.Errorf("from another address than the gateway's: %v", err)
	}
	t.Logf("direct, with a password of its own: %v", err)
	// It cannot outlive the grant either: CONNECTION LIMIT and VALID UNTIL bind
	// where the address does not, and then the role is gone.
	_, err = w.svc.Revoke(w.ctx, approval.Caller{LocalAdmin: true, Via: "admin.sock"}, g.ID, "a test", mfa.Proof{})
	w.must(err)
	w.eventually("the role is gone", func() bool {
		n, err := pg.Value(w.ctx, "orders", "SELECT count(*) FROM pg_roles WHERE rolname = $1", role)
		w.must(err)
		return n == "0"
	})
	for _, source := range []string{"127.0.0.1", "127.0.0.2"} {
		if err := from(w.ctx, source, url); err == nil {
			t.Errorf("it came in from %s after the end", source)
		}
	}
}

// client_cert: the database knows the gateway's CA, and each session logs in
// with a certificate that lives two minutes.
func TestG4ClientCertificateLogin(t *testing.T) {
	w := newWorld(t, plain(nil))
	ca := filepath.Join(testenv.Dir(t), "client-ca.pem")
	w.must(os.WriteFile(ca, w.auth.ClientCAs(), 0o644))
	pg, spec := guarded(t, w, func(p *inventory.PostgresTarget) { p.Identity = "client_cert" }, "ssl_ca_file = '"+ca+"'")

	// A server that cannot show that it is the target gets no certificate to see.
	p := *spec.Postgres
	p.CAFile = w.caFile
	spec.Name, spec.Postgres = "impostor", &p
	w.must(w.inv.Swap(append(slices.Clone(w.inv.Targets()), spec)))
	foreign, other := w.token("bob", "impostor", "orders_ro", time.Hour)
	if _, err := w.connect("bob", "impostor", foreign); err == nil {
		t.Error("a server with another CA was believed")
	}
	made, err := w.db.LiveCredentials(w.ctx, session.CredentialFilter{})
	w.must(err)
	for _, c := range made {
		if c.Kind == KindCert {
			t.Errorf("a certificate was made for a server that was not verified: %s", c.Name)
		}
	}
	w.must(pg.Exec(w.ctx, "orders", "ALTER ROLE orders_ro LOGIN; ALTER ROLE orders_rw LOGIN"))
	token, g := w.token("alice", "guarded", "orders_ro", time.Hour)
	c, err := w.connect("alice", "guarded", token)
	w.must(err)
	var user, dn, pid string
	w.must(c.QueryRow(w.ctx, "SELECT session_user, client_dn, pid::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()").Scan(&user, &dn, &pid))
	if user != "orders_ro" || !strings.Contains(dn, "/CN=orders_ro") || !strings.Contains(dn, "/OU="+g.ID) {
		t.Errorf("logged in as %s with %s", user, dn)
	}
	// Nobody else comes in as that role: not without a certificate, not from
	// elsewhere.
	for _, source := range []string{"127.0.0.1", "127.0.0.2"} {
		if err := from(w.ctx, source, "postgres://orders_ro@"+pg.Addr+"/orders?sslmode=require"); err == nil {
			t.Errorf("orders_ro came in from %s without a certificate", source)
		}
	}
	// The end ends the backend, whose login goes on existing.
	done := make(chan error, 1)
	go func() {
		_, err := c.Exec(w.ctx, "SELECT pg_sleep(60)")
		done <- err
	}()
	w.eventually("the statement runs", func() bool {
		n, err := pg.Value(w.ctx, "orders", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'")
		w.must(err)
		return n == "1"
	})
	_, err = w.svc.Revoke(w.ctx, approval.Caller{LocalAdmin: true, Via: "admin.sock"}, g.ID, "a test", mfa.Proof{})
	w.must(err)
	if e, ok := errors.AsType[*pgconn.PgError](<-done); !ok || e.Code != "57P01" {
		t.Errorf("the statement ended with %v", e)
	}
	w.settled()
	if n, err := pg.Value(w.ctx, "orders", "SELECT count(*) FROM pg_stat_activity WHERE pid::text = $1", pid); err != nil || n != "0" {
		t.Errorf("the backend is there still: %s, %v", n, err)
	}
	dead := map[string]bool{}
	w.eventually("certificate and backend are checked to be dead", func() bool {
		events, err := w.db.Events(w.ctx, -1, 10_000)
		w.must(err)
		for _, e := range events {
			if e.Type == audit.CredentialDead {
				dead[e.Detail["kind"]] = true
			}
		}
		return dead[KindBackend]
	})
	list, err := w.db.LiveCredentials(w.ctx, session.CredentialFilter{})
	w.must(err)
	for _, c := range list {
		if c.GrantID == other.ID {
			continue // bob's, which goes on
		}
		if c.Kind != KindCert || time.Until(c.ExpiresAt) > certLife {
			t.Errorf("%s %s is not known to be dead", c.Kind, c.Name)
		}
	}
}
