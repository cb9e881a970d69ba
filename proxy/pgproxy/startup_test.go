package pgproxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
)

// raw is a client that says what it likes.
type raw struct {
	net.Conn
	t testing.TB
}

func (w *world) dial() *raw {
	w.Helper()
	c, err := net.Dial("tcp", w.addr)
	w.must(err)
	w.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return &raw{c, w}
}

// packet is a first packet: length, code, body.
func packet(code uint32, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(binary.BigEndian.AppendUint32(b, code), body...)
}

func (r *raw) send(b []byte) {
	r.t.Helper()
	if _, err := r.Write(b); err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) byte() byte {
	r.t.Helper()
	var b [1]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		r.t.Fatal(err)
	}
	return b[0]
}

func (r *raw) message() (byte, []byte) {
	r.t.Helper()
	typ, body, err := readMessage(r, 1<<20)
	if err != nil {
		r.t.Fatal(err)
	}
	return typ, body
}

// refused reads the error that must come.
func (r *raw) refused(code, part string) {
	r.t.Helper()
	typ, body := r.message()
	e := errorFields(body)
	if typ != 'E' || e.Code != code || e.Severity != "FATAL" || !strings.Contains(e.Message, part) {
		r.t.Errorf("got %q %+v, want %s %q", typ, e, code, part)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil {
		r.t.Error("the connection goes on")
	}
}

const aliceStartup = "user\x00alice\x00database\x00orders\x00\x00"

func TestStartup(t *testing.T) {
	w := newWorld(t, plain(nil))
	t.Run("GSSENC and SSL are both answered once", func(t *testing.T) {
		r := w.dial()
		r.send(packet(codeGSS, ""))
		if b := r.byte(); b != 'N' {
			t.Errorf("GSSENCRequest is answered %q", b)
		}
		r.send(packet(codeSSL, ""))
		if b := r.byte(); b != 'S' {
			t.Errorf("SSLRequest is answered %q", b)
		}
	})
	t.Run("twice", func(t *testing.T) {
		r := w.dial()
		r.send(packet(codeGSS, ""))
		r.byte()
		r.send(packet(codeGSS, ""))
		r.refused(stateUnsupported, "not supported")
	})
	t.Run("bytes before TLS", func(t *testing.T) {
		r := w.dial()
		r.send(append(packet(codeSSL, ""), packet(protocol30, aliceStartup)...))
		r.refused(stateProtocol, "unencrypted data")
	})
	t.Run("in pieces", func(t *testing.T) {
		r := w.dial()
		for _, b := range packet(protocol30, aliceStartup) {
			r.send([]byte{b})
			time.Sleep(time.Millisecond)
		}
		if typ, body := r.message(); typ != 'R' || binary.BigEndian.Uint32(body) != 10 || !bytes.Equal(body[4:], []byte("SCRAM-SHA-256\x00\x00")) {
			t.Errorf("got %q %q", typ, body)
		}
	})
	t.Run("a second startup message", func(t *testing.T) {
		r := w.dial()
		r.send(packet(protocol30, aliceStartup))
		r.message()
		r.send(packet(protocol30, "user\x00bob\x00\x00"))
		r.refused(stateProtocol, "")
	})
	t.Run("newer protocol and options", func(t *testing.T) {
		r := w.dial()
		r.send(packet(3<<16|9999, "user\x00alice\x00_pq_.grease\x00x\x00database\x00orders\x00\x00"))
		typ, body := r.message()
		if typ != 'v' || binary.BigEndian.Uint32(body) != protocol32 || binary.BigEndian.Uint32(body[4:]) != 1 || string(body[8:]) != "_pq_.grease\x00" {
			t.Errorf("got %q %q", typ, body)
		}
		if typ, _ := r.message(); typ != 'R' {
			t.Errorf("then %q", typ)
		}
	})
	for name, c := range map[string]struct {
		packet     []byte
		code, part string
	}{
		"replication":   {packet(protocol30, "user\x00alice\x00replication\x00database\x00\x00"), stateNotAllowed, "replication"},
		"replication 1": {packet(protocol30, "user\x00alice\x00replication\x001\x00\x00"), stateNotAllowed, "replication"},
		"protocol 2":    {packet(2<<16, "user\x00alice\x00\x00"), stateUnsupported, "2.0"},
		"no user":       {packet(protocol30, "database\x00orders\x00\x00"), stateNotAllowed, "no user"},
		"no terminator": {packet(protocol30, "user\x00alice\x00"), stateProtocol, "terminator"},
		"cut name":      {packet(protocol30, "user"), stateProtocol, "cut off"},
		"cut value":     {packet(protocol30, "user\x00alice"), stateProtocol, "cut off"},
		"trailing":      {packet(protocol30, "user\x00alice\x00\x00x"), stateProtocol, "goes on"},
		"too long":      {binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 100000), protocol30), stateProtocol, "length"},
		"too short":     {binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 7), protocol30), stateProtocol, "length"},
		"http":          {[]byte("GET / HTTP/1.1\r\n\r\n"), stateProtocol, "length"},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.TB = t
			r := w.dial()
			r.send(c.packet)
			r.refused(c.code, c.part)
		})
	}
}

func (w *world) clientTLS() *tls.Config {
	w.Helper()
	pem, err := os.ReadFile(w.caFile)
	w.must(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

func TestDirectTLS(t *testing.T) {
	w := newWorld(t, plain(nil))
	for alpn, want := range map[string]bool{"postgresql": true, "": false} {
		cfg := w.clientTLS()
		if alpn != "" {
			cfg.NextProtos = []string{alpn}
		}
		c := tls.Client(w.dial().Conn, cfg)
		w.must(c.Handshake())
		r := &raw{c, t}
		if !want {
			r.refused(stateProtocol, "ALPN")
			continue
		}
		r.send(packet(protocol30, aliceStartup))
		if typ, body := r.message(); typ != 'R' || !strings.HasPrefix(string(body[4:]), "SCRAM-SHA-256-PLUS\x00SCRAM-SHA-256\x00") {
			t.Errorf("got %q %q", typ, body)
		}
	}
}

func TestTLSIsRequiredFromElsewhere(t *testing.T) {
	w := newWorld(t, plain(nil))
	client, server := net.Pipe() // its address is not loopback
	done := make(chan struct{})
	go func() { defer close(done); w.srv.ServeConn(w.ctx, server) }()
	r := &raw{client, t}
	r.send(packet(protocol30, aliceStartup))
	r.refused(stateNotAllowed, "TLS is required")
	<-done
}

// Wrong, expired, revoked and foreign tokens, unknown users and targets look
// alike, up to the salt that stays the same.
func TestG10LoginFailuresLookAlike(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_ro", time.Hour)
	foreign, _ := w.token("bob", "orders", "orders_ro", time.Hour)
	seen := map[string]bool{}
	for _, c := range []struct{ user, db, password string }{
		{"alice", "orders", "wrong"}, {"alice", "orders", foreign}, {"nobody", "orders", token}, {"alice", "nothing", token}, {"alice", "legacy", token},
	} {
		_, err := w.connect(c.user, c.db, c.password)
		e, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || e.Code != "28P01" || e.Severity != "FATAL" {
			t.Errorf("%v: %v", c, err)
			continue
		}
		seen[strings.NewReplacer(c.user, "U", c.db, "D").Replace(e.Message+"|"+e.Hint)] = true
	}
	if len(seen) != 1 {
		t.Errorf("the answers differ: %v", seen)
	}
	salts := map[string]bool{}
	for range 2 {
		r := w.dial()
		r.send(packet(protocol30, "user\x00nobody\x00database\x00orders\x00\x00"))
		r.message()
		first := "n,,n=,r=0123456789abcdef"
		r.send(message('p', []byte("SCRAM-SHA-256\x00"), binary.BigEndian.AppendUint32(nil, uint32(len(first))), []byte(first)))
		_, body := r.message()
		_, salt, _ := strings.Cut(string(body[4:]), ",")
		salts[salt] = true
	}
	if len(salts) != 1 {
		t.Errorf("an unknown user's salt changes: %v", salts)
	}
	var n int
	evs, err := w.db.Events(w.ctx, -1, 1000)
	w.must(err)
	for _, ev := range evs {
		if ev.Type == audit.LoginFailed && ev.Outcome == audit.Denied {
			n++
		}
	}
	if n != 5 {
		t.Errorf("%d failures were audited", n)
	}
}

// connect is pgx, in clear on loopback.
func (w *world) connect(user, db, password string, options ...string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig("postgres://127.0.0.1/?sslmode=disable&" + strings.Join(options, "&"))
	w.must(err)
	ta, err := net.ResolveTCPAddr("tcp", w.addr)
	w.must(err)
	cfg.Host, cfg.Port, cfg.User, cfg.Database, cfg.Password = "127.0.0.1", uint16(ta.Port), user, db, password
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	c, err := pgx.ConnectConfig(ctx, cfg)
	if err == nil {
		w.Cleanup(func() { c.Close(context.Background()) })
	}
	return c, err
}

// The clock is the test's, so that a slow machine does not earn new attempts.
func TestFailedLoginsAreLimited(t *testing.T) {
	var passed atomic.Int64
	begin := time.Now()
	w := newWorld(t, plain(nil), func(o *Options) {
		o.Now = func() time.Time { return begin.Add(time.Duration(passed.Load())) }
	})
	attempt := func() string {
		_, err := w.connect("nobody", "orders", "wrong")
		e, ok := errors.AsType[*pgconn.PgError](err)
		if !ok {
			t.Fatal(err)
		}
		return e.Code
	}
	for n := range failBurst {
		if code := attempt(); code != stateAuth {
			t.Fatalf("failure %d: %s", n+1, code)
		}
	}
	if code := attempt(); code != stateTooMany {
		t.Errorf("after %d failures: %s", failBurst, code)
	}
	passed.Add(int64(failEvery))
	if code := attempt(); code != stateAuth {
		t.Errorf("%s later: %s", failEvery, code)
	}
}

// A client that speaks 3.2 gets a long cancel key, and can cancel with it.
func TestProtocol32CancelKey(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_ro", time.Hour)
	c, err := w.connect("alice", "orders", token, "max_protocol_version=3.2")
	w.must(err)
	if n := len(c.PgConn().SecretKey()); n != 32 {
		t.Errorf("the key has %d bytes", n)
	}
	var pid uint32
	w.must(c.QueryRow(w.ctx, "SELECT pg_backend_pid()").Scan(&pid))
	if pid != c.PgConn().PID() {
		t.Errorf("the pid is %d, the backend's is %d", c.PgConn().PID(), pid)
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.Exec(w.ctx, "SELECT pg_sleep(30)")
		done <- err
	}()
	w.running("SELECT pg_sleep(30)%")
	// A wrong key does nothing, in whatever number.
	for range 50 {
		r := w.dial()
		r.send(packet(codeCancel, string(binary.BigEndian.AppendUint32(nil, pid))+"wrong key"))
		io.Copy(io.Discard, r)
	}
	select {
	case err := <-done:
		t.Fatalf("a wrong key cancelled: %v", err)
	default:
	}
	w.must(c.PgConn().CancelRequest(w.ctx))
	if e, ok := errors.AsType[*pgconn.PgError](<-done); !ok || e.Code != "57014" {
		t.Errorf("the statement ended with %v", e)
	}
}

func TestSettingsReachTheServer(t *testing.T) {
	w := newWorld(t, plain(func(r *policy.Rule) { r.Postgres.Defaults = map[string]string{"TimeZone": "UTC"} }))
	token, _ := w.token("alice", "orders", "orders_ro", time.Hour)
	c, err := w.connect("alice", "orders/postgres", token, "application_name=reports", "options=-c%20geqo%3Doff%20-c%20role%3Dnone", "timezone=Europe/Berlin")
	w.must(err)
	var app, geqo, tz, db, user string
	w.must(c.QueryRow(w.ctx, "SELECT current_setting('application_name'), current_setting('geqo'), current_setting('TimeZone'), current_database(), current_user").Scan(&app, &geqo, &tz, &db, &user))
	if app != "reports" || geqo != "off" || tz != "UTC" || db != "postgres" || user != "orders_ro" {
		t.Error(app, geqo, tz, db, user)
	}
	if _, err := w.connect("alice", "orders/template1", token); err == nil || !strings.Contains(err.Error(), "not reachable") {
		t.Errorf("a database that the target has not: %v", err)
	}
}
