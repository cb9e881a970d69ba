package proxy

import (
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	readAhead = size3 // as much as two of SSH's largest packets
	maxQueued = size4 // unwritten bytes beyond which writers wait
	linger    = time.Second
)

// Conn is a buffered net.Conn; see Buffered. Like any net.Conn it may be used
// from several goroutines.
type Conn struct {
	net.Conn
	raw syscall.RawConn // nil: only Read can tell that there is something

	rmu   sync.Mutex
	rbuf  []byte // pooled; nil while there is nothing in it
	rest  []byte // the unread part of rbuf
	reads sizer  // without raw

	wmu     sync.Mutex
	drained sync.Cond // queue became shorter, or empty, or an error
	queue   []byte    // pooled; nil while empty
	writing bool      // a flusher is at work
	werr    error     // sticky: queued bytes were lost
	closed  bool
}

// Buffered wraps conn with 64 KiB of read-ahead, held only while there is
// something in it, and an asynchronous writer that coalesces small writes:
// x/crypto/ssh reads and writes through 4 KiB buffers, which costs two system
// calls a packet on each layer.
//
// A Write returns once its bytes are queued (it waits while 256 KiB are); an
// error of the connection is returned by the next call. Close writes what is
// queued, for at most a second; Abort does not. Deadlines hold for both sides;
// a write that was late is lost, and every later one fails.
//
// An idle Conn over a socket holds no buffer and no goroutine.
func Buffered(conn net.Conn) *Conn {
	c := &Conn{Conn: conn}
	c.drained.L = &c.wmu
	if s, ok := conn.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	return c
}

func (c *Conn) Read(p []byte) (int, error) {
	c.rmu.Lock()
	defer c.rmu.Unlock()
	if len(c.rest) == 0 {
		if len(p) == 0 {
			return 0, nil
		}
		if len(p) >= readAhead {
			return c.Conn.Read(p)
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.rest)
	if c.rest = c.rest[n:]; len(c.rest) == 0 {
		PutBuffer(c.rbuf)
		c.rbuf, c.rest = nil, nil
	}
	return n, nil
}

// fill reads at least one byte ahead.
func (c *Conn) fill() error {
	if c.raw == nil {
		return c.fillBlind()
	}
	var n int
	var readErr error
	var buf []byte
	err := c.raw.Read(func(fd uintptr) bool {
		// Only here is a buffer needed: the poller waits without one.
		buf = GetBuffer(readAhead)
		for {
			n, readErr = syscall.Read(int(fd), buf)
			if readErr != syscall.EINTR {
				break
			}
		}
		if readErr == syscall.EAGAIN {
			PutBuffer(buf)
			buf = nil
			return false
		}
		return true
	})
	switch {
	case err != nil: // a deadline, or closed; nothing was read
		if buf != nil {
			PutBuffer(buf)
		}
		return err
	case readErr != nil:
		PutBuffer(buf)
		return &net.OpError{Op: "read", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: readErr}
	case n == 0:
		PutBuffer(buf)
		return io.EOF
	}
	c.rbuf, c.rest = buf, buf[:n]
	return nil
}

// fillBlind waits with a buffer in hand, whose size follows the traffic.
func (c *Conn) fillBlind() error {
	buf := get(min(c.reads.class, 3)) // up to readAhead
	for {
		n, err := c.Conn.Read(buf)
		if n > 0 { // an error that came along comes again
			if c.reads.class < 3 || n < len(buf) {
				c.reads.next(n)
			}
			c.rbuf, c.rest = buf, buf[:n]
			return nil
		}
		if err != nil {
			PutBuffer(buf)
			return err
		}
	}
}

func (c *Conn) Write(p []byte) (int, error) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	for done := 0; ; {
		for c.werr == nil && !c.closed && len(c.queue) >= maxQueued {
			c.drained.Wait()
		}
		if c.werr != nil {
			return done, c.werr
		}
		if c.closed {
			return done, net.ErrClosed
		}
		n := min(len(p)-done, maxQueued-len(c.queue))
		c.enqueue(p[done : done+n])
		if done += n; done == len(p) {
			return done, nil
		}
	}
}

// enqueue appends to the queue, and starts a flusher if there is none. It is a
// goroutine of its own for as long as there is something to write: by the time
// it runs, the other writes of the packet are mostly in the queue too.
func (c *Conn) enqueue(p []byte) {
	if len(p) == 0 {
		return
	}
	need := len(c.queue) + len(p)
	if c.queue == nil {
		c.queue = GetBuffer(need)[:0]
	} else if need > cap(c.queue) {
		bigger := append(GetBuffer(need)[:0], c.queue...)
		PutBuffer(c.queue)
		c.queue = bigger
	}
	c.queue = append(c.queue, p...)
	if !c.writing {
		c.writing = true
		go c.flush()
	}
}

// flush writes until the queue is empty. Close and Flush wait for it.
func (c *Conn) flush() {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	for len(c.queue) > 0 && c.werr == nil {
		buf := c.queue
		c.queue = nil
		c.drained.Broadcast()
		c.wmu.Unlock()
		_, err := c.Conn.Write(buf)
		PutBuffer(buf)
		c.wmu.Lock()
		if err != nil {
			c.werr = err
		}
	}
	if c.queue != nil {
		PutBuffer(c.queue)
		c.queue = nil
	}
	c.writing = false
	c.drained.Broadcast()
}

// Flush waits until everything queued has been given to the connection.
func (c *Conn) Flush() error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	for c.writing {
		c.drained.Wait()
	}
	return c.werr
}

// CloseWrite flushes, then half-closes.
func (c *Conn) CloseWrite() error {
	if err := c.Flush(); err != nil {
		return err
	}
	return closeWrite(c.Conn)
}

// Close writes what is queued, for at most a second, and closes.
func (c *Conn) Close() error {
	c.wmu.Lock()
	c.closed = true
	c.drained.Broadcast()
	if c.writing {
		late := time.AfterFunc(linger, func() { c.Conn.Close() })
		for c.writing {
			c.drained.Wait()
		}
		late.Stop()
	}
	c.wmu.Unlock()
	return c.Conn.Close()
}

// Abort closes at once; what is queued is lost.
func (c *Conn) Abort() error {
	err := c.Conn.Close() // first: it ends a write that hangs
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.closed = true
	c.drained.Broadcast()
	return err
}
