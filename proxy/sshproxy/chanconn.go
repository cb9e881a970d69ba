package sshproxy

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// A chanConn is an SSH channel as a net.Conn, for the connection inside. It
// has the outer connection's addresses, and says when the other side is gone
// even while nobody waits for data: the library's own reader finds out.
type chanConn struct {
	ssh.Channel
	local, remote net.Addr
	once          sync.Once
}

func (c *chanConn) LocalAddr() net.Addr  { return c.local }
func (c *chanConn) RemoteAddr() net.Addr { return c.remote }

func (c *chanConn) Close() error {
	err := errors.New("closed already")
	c.once.Do(func() { err = c.Channel.Close() })
	return err
}

// Deadlines do not exist on channels; who needs one closes the channel.
func (c *chanConn) SetDeadline(time.Time) error      { return errNoDeadline }
func (c *chanConn) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (c *chanConn) SetWriteDeadline(time.Time) error { return errNoDeadline }

var errNoDeadline = errors.New("SSH channels have no deadlines")

// errClientGone is the cause of contexts whose connection ended.
var errClientGone = errors.New("the client has gone")

// A watchedConn cancels a context when a read fails: the SSH library reads
// all the time, so a client that leaves while we wait for an approver is seen
// at once.
type watchedConn struct {
	net.Conn
	gone context.CancelCauseFunc
}

func (w *watchedConn) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.gone(errClientGone)
	}
	return n, err
}
