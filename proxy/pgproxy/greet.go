package pgproxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
)

// A greeting is a connection after its first packets: a client that wants a
// session, or a cancel request.
type greeting struct {
	conn     net.Conn // TLS, where it was asked for
	secure   bool
	endPoint []byte // of the certificate that the client saw; nil without TLS
	start    *startup
	cancel   *cancelRequest
}

// greet reads what may come before a session: any of SSLRequest and
// GSSENCRequest once, or a TLS ClientHello, then exactly one StartupMessage
// or CancelRequest. The caller has set a deadline. The returned greeting has
// a conn to answer on, also with an error.
func (s *Server) greet(ctx context.Context, conn net.Conn) (greeting, error) {
	g := greeting{conn: conn}
	var sslAsked, gssAsked bool
	for {
		var head [8]byte
		if _, err := io.ReadFull(g.conn, head[:]); err != nil {
			return g, err
		}
		if head[0] == 0x16 && !g.secure && !sslAsked && !gssAsked { // TLS handshake record: direct TLS
			if err := s.handshake(ctx, &g, head[:]); err != nil {
				return g, err
			}
			if p := g.conn.(*tls.Conn).ConnectionState().NegotiatedProtocol; p != "postgresql" {
				return g, fatal(stateProtocol, "direct TLS connections must ask for the protocol \"postgresql\" (ALPN)")
			}
			continue
		}
		n, code := int(int32(binary.BigEndian.Uint32(head[:]))), binary.BigEndian.Uint32(head[4:])
		if n < 8 || n > maxStartup {
			return g, fatal(stateProtocol, "the first packet has the impossible length %d", n)
		}
		body := make([]byte, n-8)
		if _, err := io.ReadFull(g.conn, body); err != nil {
			return g, err
		}
		switch {
		case code == codeSSL && !sslAsked && !g.secure && n == 8:
			sslAsked = true
			if s.tls == nil {
				if _, err := g.conn.Write([]byte{'N'}); err != nil {
					return g, err
				}
				continue
			}
			if pending(g.conn) {
				return g, fatal(stateProtocol, "unencrypted data came behind the request for TLS: somebody is between the client and the gateway")
			}
			if _, err := g.conn.Write([]byte{'S'}); err != nil {
				return g, err
			}
			if err := s.handshake(ctx, &g, nil); err != nil {
				return g, err
			}
		case code == codeGSS && !gssAsked && !g.secure && n == 8:
			gssAsked = true
			if _, err := g.conn.Write([]byte{'N'}); err != nil {
				return g, err
			}
		case code == codeCancel:
			var err error
			g.cancel, err = parseCancel(body)
			return g, err
		default:
			var err error
			g.start, err = parseStartup(code, body)
			return g, err
		}
	}
}

// handshake turns g.conn into TLS. head has been read from it already.
func (s *Server) handshake(ctx context.Context, g *greeting, head []byte) error {
	if s.tls == nil {
		return errors.New("direct TLS, and no certificate is configured")
	}
	raw := g.conn
	if head != nil {
		raw = &replayed{Conn: raw, head: append([]byte(nil), head...)}
	}
	c := tls.Server(raw, s.tls)
	defer s.shown.Delete(raw)
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	g.conn, g.secure = c, true
	if leaf, ok := s.shown.Load(raw); ok {
		g.endPoint = endPoint(leaf.(*x509.Certificate))
	}
	return nil
}

// tlsConfig is the configuration of this port, made from the one given: it
// remembers which certificate each connection was shown, for the channel
// binding. Session tickets are off: a resumed session shows none.
func (s *Server) tlsConfig(base *tls.Config) (*tls.Config, error) {
	c := base.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.NextProtos = []string{"postgresql"}
	c.SessionTicketsDisabled = true
	given, certs := c.GetCertificate, c.Certificates
	if given == nil && len(certs) == 0 {
		return nil, errors.New("pgproxy: the TLS configuration has no certificate")
	}
	for _, cert := range certs {
		leaf, err := leafOf(&cert)
		if err != nil {
			return nil, err
		}
		if leaf.PublicKeyAlgorithm == x509.Ed25519 || endPoint(leaf) == nil {
			return nil, errors.New("pgproxy: the certificate of the PostgreSQL port must be ECDSA or RSA: clients cannot bind to an Ed25519 one")
		}
	}
	c.Certificates = nil
	c.GetCertificate = func(h *tls.ClientHelloInfo) (cert *tls.Certificate, err error) {
		if given != nil {
			cert, err = given(h)
		}
		if cert == nil && err == nil && len(certs) > 0 {
			cert = &certs[0]
			for i := range certs {
				if h.SupportsCertificate(&certs[i]) == nil {
					cert = &certs[i]
					break
				}
			}
		}
		if cert == nil || err != nil {
			return cert, err
		}
		leaf, err := leafOf(cert)
		if err != nil {
			return nil, err
		}
		s.shown.Store(h.Conn, leaf)
		return cert, nil
	}
	return c, nil
}

func leafOf(c *tls.Certificate) (*x509.Certificate, error) {
	if c.Leaf != nil {
		return c.Leaf, nil
	}
	if len(c.Certificate) == 0 {
		return nil, errors.New("pgproxy: an empty certificate")
	}
	return x509.ParseCertificate(c.Certificate[0])
}

// replayed gives back what was read to find out what the first packet is.
type replayed struct {
	net.Conn
	head []byte
}

func (r *replayed) Read(p []byte) (int, error) {
	if len(r.head) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.head)
	r.head = r.head[n:]
	return n, nil
}

// pending reports whether bytes wait to be read that should not be there yet
// (the class of CVE-2021-23214). On a connection that is no socket TLS itself
// refuses them.
func pending(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	var n int
	if err := raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, _ = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	}); err != nil {
		return false
	}
	return n > 0
}

// sourceOf is the client's address without port, and whether it is this machine.
func sourceOf(c net.Conn) (source string, loopback bool) {
	switch a := c.RemoteAddr().(type) {
	case *net.UnixAddr:
		return "local", true
	case nil:
		return "", false
	default:
		ap, err := netip.ParseAddrPort(a.String())
		if err != nil {
			return a.String(), false
		}
		ip := ap.Addr().Unmap()
		return ip.WithZone("").String(), ip.IsLoopback()
	}
}
