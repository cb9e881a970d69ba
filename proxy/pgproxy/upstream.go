package pgproxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"jit-gateway/internal/inventory"
)

// An upstream is one connection to a database, dialled and verified (step 7),
// then logged in (step 8).
type upstream struct {
	conn   net.Conn
	pid    uint32
	secret []byte
	// hello is what the server said between AuthenticationOk and its first
	// ReadyForQuery, which is included, without BackendKeyData: it goes to the
	// client as it is.
	hello   []byte
	early   []byte // came behind it already
	version string // server_version
}

const (
	dialTime  = 10 * time.Second
	maxHello  = 1 << 20
	maxServer = 1 << 16 // a message during login
)

// endpoint is how a target is dialled.
type endpoint struct {
	network, address, host string
	tls                    *tls.Config // nil: plain
}

// endpointOf works out how to reach the target.
func endpointOf(t *inventory.PostgresTarget) (endpoint, error) {
	e := endpoint{network: "tcp"}
	if strings.HasPrefix(t.Address, "/") {
		e.network, e.address, e.host = "unix", t.Address, "localhost"
		if st, err := os.Stat(t.Address); err != nil || st.IsDir() {
			e.address = strings.TrimSuffix(t.Address, "/") + "/.s.PGSQL.5432"
		}
		return e, nil // sockets have no TLS in PostgreSQL
	}
	host, port, err := net.SplitHostPort(t.Address)
	if err != nil {
		host, port = strings.Trim(t.Address, "[]"), "5432"
	}
	e.host, e.address = host, net.JoinHostPort(host, port)
	switch t.TLS {
	case "", "verify-full":
		e.tls = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, NextProtos: []string{"postgresql"}}
		if t.CAFile != "" {
			pem, err := os.ReadFile(t.CAFile)
			if err != nil {
				return e, fmt.Errorf("read the CA of the database: %w", err)
			}
			e.tls.RootCAs = x509.NewCertPool()
			if !e.tls.RootCAs.AppendCertsFromPEM(pem) {
				return e, fmt.Errorf("%s holds no certificate", t.CAFile)
			}
		}
	case "disable":
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return e, fmt.Errorf("the database %s is not on loopback: TLS cannot be disabled", e.address)
		}
	default:
		return e, fmt.Errorf("unknown TLS mode %q of the target", t.TLS)
	}
	return e, nil
}

// dial connects, and verifies the database's identity where it has one.
func (e endpoint) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTime}
	conn, err := d.DialContext(ctx, e.network, e.address)
	if err != nil {
		return nil, err
	}
	if e.tls == nil {
		return conn, nil
	}
	stop := abortOn(ctx, conn)
	defer stop()
	conn.SetDeadline(time.Now().Add(dialTime))
	secure, err := startTLS(ctx, conn, e.tls)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("verify the database %s: %w", e.address, err)
	}
	conn.SetDeadline(time.Time{})
	return secure, nil
}

func startTLS(ctx context.Context, conn net.Conn, cfg *tls.Config) (net.Conn, error) {
	if _, err := conn.Write([]byte{0, 0, 0, 8, codeSSL >> 24, codeSSL >> 16 & 0xff, codeSSL >> 8 & 0xff, codeSSL & 0xff}); err != nil {
		return nil, err
	}
	var b [1]byte // exactly one: nothing that is not encrypted may follow it
	if _, err := conn.Read(b[:]); err != nil {
		return nil, err
	}
	if b[0] != 'S' {
		return nil, errors.New("it does not offer TLS")
	}
	c := tls.Client(conn, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// abortOn makes blocking calls on conn return when ctx is done.
func abortOn(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
}

// login starts a session on conn. password answers whatever the server asks.
func login(ctx context.Context, conn net.Conn, params []param, password string) (*upstream, error) {
	stop := abortOn(ctx, conn)
	defer stop()
	conn.SetDeadline(time.Now().Add(dialTime))
	if _, err := conn.Write(encodeStartup(params)); err != nil {
		return nil, err
	}
	u := &upstream{conn: conn}
	r := bufio.NewReaderSize(conn, 2048) // the greeting is twenty small messages
	var sc *scramClient
	proved, authenticated := false, false
	for {
		typ, body, err := readMessage(r, maxServer)
		if err != nil {
			return nil, err
		}
		switch {
		case typ == 'E':
			e := errorFields(body)
			return nil, &e
		case typ == 'N' && !authenticated:
		case typ == 'R' && !authenticated:
			if len(body) < 4 {
				return nil, errors.New("malformed authentication request")
			}
			answer, done, err := authenticate(conn, binary.BigEndian.Uint32(body), body[4:], params, password, &sc, &proved)
			if err != nil {
				return nil, err
			}
			if authenticated = done; answer != nil {
				if _, err := conn.Write(answer); err != nil {
					return nil, err
				}
			}
		case !authenticated:
			return nil, fmt.Errorf("the database sent a message of type %q before authentication", typ)
		case typ == 'K':
			if len(body) < 8 || len(body) > 4+maxCancelSecret {
				return nil, errors.New("malformed BackendKeyData")
			}
			u.pid, u.secret = binary.BigEndian.Uint32(body), bytes.Clone(body[4:])
		case typ == 'S' || typ == 'N' || typ == 'Z':
			if typ == 'S' {
				if name, value, ok := parameterStatus(body); ok && name == "server_version" {
					u.version = value
				}
			}
			if u.hello = append(u.hello, message(typ, body)...); len(u.hello) > maxHello {
				return nil, errors.New("the database says too much at the start")
			}
			if typ == 'Z' {
				if !stop() {
					return nil, context.Cause(ctx)
				}
				if n := r.Buffered(); n > 0 {
					u.early, _ = r.Peek(n)
				}
				return u, conn.SetDeadline(time.Time{})
			}
		default:
			return nil, fmt.Errorf("the database sent a message of type %q at the start", typ)
		}
	}
}

// authenticate answers one authentication request.
func authenticate(conn net.Conn, code uint32, body []byte, params []param, password string, sc **scramClient, proved *bool) (answer []byte, done bool, err error) {
	secure, _ := conn.(*tls.Conn)
	switch code {
	case 0: // AuthenticationOk
		if *sc != nil && !*proved {
			return nil, false, errors.New("the database did not prove that it knows the password")
		}
		return nil, true, nil
	case 3: // cleartext: only to a database whose certificate was verified
		if secure == nil && conn.RemoteAddr().Network() != "unix" {
			return nil, false, errors.New("the database asks for the password in clear, without TLS")
		}
		return message('p', []byte(password), []byte{0}), false, nil
	case 5: // md5
		if len(body) != 4 {
			return nil, false, errors.New("malformed md5 request")
		}
		var user string
		for _, p := range params {
			if p.name == "user" {
				user = p.value
			}
		}
		in := md5.Sum([]byte(password + user))
		out := md5.Sum(append([]byte(hex.EncodeToString(in[:])), body...))
		return message('p', []byte("md5"+hex.EncodeToString(out[:])), []byte{0}), false, nil
	case 10: // SASL
		offered := strings.Split(string(body), "\x00")
		mech, bind := "", []byte(nil)
		for _, m := range offered {
			switch {
			case m == mechSCRAMPlus && secure != nil:
				if certs := secure.ConnectionState().PeerCertificates; len(certs) > 0 && endPoint(certs[0]) != nil {
					mech, bind = m, endPoint(certs[0])
				}
			case m == mechSCRAM && mech == "":
				mech = m
			}
		}
		if mech == "" || *sc != nil {
			return nil, false, fmt.Errorf("the database offers no known SASL mechanism (%q)", offered)
		}
		*sc = newScramClient(password, bind)
		first := []byte((*sc).first())
		return message('p', []byte(mech), []byte{0}, binary.BigEndian.AppendUint32(nil, uint32(len(first))), first), false, nil
	case 11:
		if *sc == nil {
			return nil, false, errors.New("unexpected SASL message")
		}
		final, err := (*sc).final(string(body))
		return message('p', []byte(final)), false, err
	case 12:
		if *sc == nil {
			return nil, false, errors.New("unexpected SASL message")
		}
		*proved = true
		return nil, false, (*sc).check(string(body))
	}
	return nil, false, fmt.Errorf("the database asks for an authentication that the gateway does not know (%d)", code)
}

func parameterStatus(body []byte) (name, value string, ok bool) {
	name, rest, ok := cstring(body)
	if !ok {
		return "", "", false
	}
	value, _, ok = cstring(rest)
	return name, value, ok
}

// newReader reads what comes after the login, the early bytes first.
func newReader(u *upstream) *bufio.Reader {
	if len(u.early) > 0 {
		return bufio.NewReader(io.MultiReader(bytes.NewReader(u.early), u.conn))
	}
	return bufio.NewReaderSize(u.conn, 2048)
}

// randomSecret is 32 random bytes that no one types.
func randomSecret() string {
	raw := make([]byte, 32)
	rand.Read(raw)
	return hex.EncodeToString(raw)
}

// cancelUpstream sends a CancelRequest for the backend. The database answers
// nothing: it closes the connection when it has looked.
func (e endpoint) cancelUpstream(ctx context.Context, pid uint32, secret []byte) error {
	conn, err := e.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer abortOn(ctx, conn)()
	conn.SetDeadline(time.Now().Add(dialTime))
	b := binary.BigEndian.AppendUint32(nil, uint32(12+len(secret)))
	b = binary.BigEndian.AppendUint32(b, codeCancel)
	b = binary.BigEndian.AppendUint32(b, pid)
	if _, err := conn.Write(append(b, secret...)); err != nil {
		return err
	}
	var one [1]byte
	conn.Read(one[:]) // until it closes: then the signal is sent
	return nil
}
