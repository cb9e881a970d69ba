package proxy

import (
	"context"
	"net"
	"sync"
)

// Queue hands the connections of Serve to a server that accepts by itself, such
// as net/http's, so that the page stands under the same limits and sees the
// same sources as every other listener: its Handle is Serve's, and it is the
// net.Listener of the other server.
type Queue struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// NewQueue makes a Queue; addr is where Serve listens.
func NewQueue(addr net.Addr) *Queue {
	return &Queue{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Handle waits until the other server has closed the connection, so that it
// counts as long as it lives.
func (q *Queue) Handle(ctx context.Context, conn net.Conn) {
	held := &heldConn{Conn: conn, ended: make(chan struct{})}
	defer held.Close()
	select {
	case q.conns <- held:
	case <-q.closed:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-held.ended:
	case <-ctx.Done():
	}
}

// Accept implements net.Listener.
func (q *Queue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return conn, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept, and refuses what comes. Connections that were accepted
// live on.
func (q *Queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr implements net.Listener.
func (q *Queue) Addr() net.Addr { return q.addr }

// heldConn says when it is closed.
type heldConn struct {
	net.Conn
	once  sync.Once
	ended chan struct{}
}

func (c *heldConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.ended) })
	return err
}
