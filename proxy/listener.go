package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// Listener is for servers that accept themselves, such as the page's: what a
// listed balancer connects has the source that its PROXY v2 header names. A
// connection without that header, or with a broken one, fails at its first
// byte. From anybody else a header is no header.
func Listener(ln net.Listener, balancers []netip.Prefix) net.Listener {
	if len(balancers) == 0 {
		return ln
	}
	return &proxyListener{ln, &limits{balancers: balancers}}
}

type proxyListener struct {
	net.Listener
	limits *limits
}

// Accept does not wait for the header: a balancer that is slow to send it
// would hold up everybody.
func (l *proxyListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil || !l.limits.balancer(addrOf(conn.RemoteAddr())) {
		return conn, err
	}
	c := &headerConn{Conn: conn}
	c.header = sync.OnceValues(c.source)
	return c, nil
}

// headerConn begins with a header, which the first who asks reads: the server
// in the connection's own goroutine.
type headerConn struct {
	net.Conn
	header func() (net.Addr, error)
}

func (c *headerConn) source() (net.Addr, error) {
	source, err := readSource(c.Conn)
	if err != nil {
		c.Conn.Close()
		return c.Conn.RemoteAddr(), fmt.Errorf("a balancer's connection: %w", err)
	}
	if !source.IsValid() { // its own: a health check
		return c.Conn.RemoteAddr(), nil
	}
	return net.TCPAddrFromAddrPort(source), nil
}

func (c *headerConn) RemoteAddr() net.Addr {
	addr, _ := c.header()
	return addr
}

func (c *headerConn) Read(b []byte) (int, error) {
	if _, err := c.header(); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}
