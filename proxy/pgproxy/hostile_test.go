package pgproxy

import (
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"jit-gateway/internal/inventory"
)

// begun is a session in which the client says what it likes.
func (w *world) begun(user, token, db string) net.Conn {
	w.Helper()
	c, err := w.connect(user, db, token)
	w.must(err)
	conn, err := hijack(c)
	w.must(err)
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

// Malformed messages end their session with a FATAL, and no other.
func TestHostileClient(t *testing.T) {
	w := newWorld(t, plain(nil))
	token, _ := w.token("alice", "orders", "orders_ro", time.Hour)
	other := w.begun("alice", token, "orders")
	for name, b := range map[string][]byte{
		"negative length":  {'Q', 0x80, 0, 0, 0},
		"short length":     {'Q', 0, 0, 0, 3},
		"unknown type":     {'!', 0, 0, 0, 4},
		"second startup":   packet(protocol30, aliceStartup),
		"password":         message('p', []byte("x\x00")),
		"empty query":      message('Q'),
		"no terminator":    message('Q', []byte("SELECT 1")),
		"bind":             message('B', []byte("\x00\x00\x00\x00\x00\x01\xff\xff\xff\x00")),
		"parse":            message('P', []byte("\x00SELECT 1\x00\x00\x02\x00\x00\x00\x17")),
		"execute":          message('E', []byte("\x00\x00")),
		"describe":         message('D', []byte("Xname\x00")),
		"sync with a body": message('S', []byte("x")),
		"function":         message('F', []byte{0, 0}),
	} {
		conn := w.begun("alice", token, "orders")
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
		typ, body, err := readMessage(conn, 1<<20)
		e := errorFields(body)
		if err != nil || typ != 'E' || e.Severity != "FATAL" || e.Code != stateProtocol {
			t.Errorf("%s: %q %+v %v", name, typ, e, err)
		}
		conn.Close()
	}
	if _, err := other.Write(message('Q', []byte("SELECT 1\x00"))); err != nil {
		t.Fatal(err)
	}
	if typ, _, err := readMessage(other, 1<<20); err != nil || typ != 'T' {
		t.Errorf("another session: %q %v", typ, err)
	}
	other.Close()
	w.settled()
	w.noRoles()
}

// liar is a server that lets everybody in and then says what a test wants.
func liar(t testing.TB, say []byte) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				var head [4]byte
				if _, err := c.Read(head[:]); err != nil {
					return
				}
				rest := make([]byte, binary.BigEndian.Uint32(head[:])-4)
				c.Read(rest)
				c.Write(encode(&pgproto3.AuthenticationOk{}, &pgproto3.BackendKeyData{ProcessID: 7, SecretKey: []byte("abcd")}, &pgproto3.ReadyForQuery{TxStatus: 'I'}))
				for {
					typ, _, err := readMessage(c, 1<<20)
					if err != nil {
						return
					}
					if typ == 'S' { // the gateway asks which backend it is
						c.Write(encode(&pgproto3.DataRow{Values: [][]byte{[]byte("2026-11-22 00:00:00+00")}}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'I'}))
					}
					if typ == 'Q' {
						c.Write(say)
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

func TestHostileServer(t *testing.T) {
	for name, say := range map[string][]byte{
		"negative length": {'D', 0xff, 0xff, 0xff, 0xf0},
		"authentication":  encode(&pgproto3.AuthenticationCleartextPassword{}),
		"unknown type":    {'!', 0, 0, 0, 4},
		"ready":           {'Z', 0, 0, 0, 4},
		"huge":            {'E', 0x7f, 0xff, 0xff, 0xff, 'M', 'x'},
	} {
		t.Run(name, func(t *testing.T) {
			moreTargets = []inventory.Target{{Name: "liar", Kind: inventory.Postgres, Postgres: &inventory.PostgresTarget{Address: liar(t, say), Database: "liar",
				Roles: []string{"liar"}, TLS: "disable", Identity: "static", Static: map[string]string{"liar": "plain:x"}}}}
			defer func() { moreTargets = nil }()
			w := newWorld(t, plain(nil))
			token, _ := w.token("alice", "liar", "liar", time.Hour)
			conn := w.begun("alice", token, "liar")
			if _, err := conn.Write(message('Q', []byte("SELECT 1\x00"))); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 1000)
			n, _ := conn.Read(b)
			if strings.Contains(string(b[:n]), string(say)) {
				t.Errorf("%q was forwarded", b[:n])
			}
			if n > 0 && !strings.Contains(string(b[:n]), "FATAL") {
				t.Errorf("the client got %q", b[:n])
			}
			conn.Close()
			w.eventually("the session has ended", func() bool { return len(w.sessions.Live()) == 0 })
		})
	}
}

// Connections that say nothing cost a slot for the login time, and no more
// than the limit.
func TestIdleBeforeLogin(t *testing.T) {
	w := newWorld(t, plain(nil), func(o *Options) { o.LoginTime, o.MaxLogins = time.Second, 50 })
	token, _ := w.token("alice", "orders", "orders_ro", time.Hour)
	for range 100 {
		w.dial()
	}
	w.eventually("silent connections make room", func() bool {
		_, err := w.connect("alice", "orders", token)
		return err == nil
	})
}
