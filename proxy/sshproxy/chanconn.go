package sshproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/proxy"
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

// libraryBuffer is what the SSH library writes through: a packet that is
// larger arrives as so many bytes, and the rest at once.
const libraryBuffer = 4096

// promptly makes the library's writers write by themselves, each packet as a
// whole. A packet of the ciphers named here is never as long as the buffer, so
// that none is held: its length is 4 more than a multiple of 8.
func promptly(conn *proxy.Conn, sc ssh.Conn) {
	hold := 0
	if c, ok := sc.(ssh.AlgorithmsConnMetadata); ok {
		switch c.Algorithms().Write.Cipher {
		case ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305:
			hold = libraryBuffer
		}
	}
	conn.Prompt(hold)
}

// wholePackets writes to a channel inside a channel in pieces of which each
// fits, sealed, into one packet of the outer one: what is a little more than
// the largest packet would cost a second one.
type wholePackets struct{ w io.Writer }

// pieceMax is a packet's 32,768 bytes less 4 for the length, 16 for the tag,
// up to 20 for the padding and its length, 9 for the header of channel data.
const pieceMax = 32<<10 - 4 - 16 - 20 - 9

func (w wholePackets) Write(p []byte) (written int, err error) {
	for pieces := (len(p) + pieceMax - 1) / pieceMax; pieces > 0; pieces-- {
		n, err := w.w.Write(p[:len(p)/pieces]) // all alike: the last is not a crumb
		written += n
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// wholeReads reads as many bytes as fill whole pieces, if there are so many.
type wholeReads struct{ r io.Reader }

func (w wholeReads) Read(p []byte) (int, error) {
	if len(p) > pieceMax {
		p = p[:len(p)-len(p)%pieceMax]
	}
	return w.r.Read(p)
}

// A corker can make writes wait for each other: a socket of ours.
type corker interface {
	Cork()
	Uncork()
}

// together writes what is several packets so that they leave together: each
// system call wakes the peer, which has just gone to sleep.
type together struct {
	socket corker // nil: another handler has it
	w      io.Writer
}

func (t together) Write(p []byte) (int, error) {
	if t.socket != nil && len(p) > pieceMax {
		t.socket.Cork()
		defer t.socket.Uncork()
	}
	return t.w.Write(p)
}
