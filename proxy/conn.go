package proxy

import (
	"net"
	"sync"
	"time"
)

const (
	readAhead = size4 // as much as two of SSH's largest packets
	maxQueued = size5 // unwritten bytes beyond which writers wait
	linger    = time.Second
	corkTime  = 5 * time.Millisecond // no longer do writes wait for others
	corkSkip  = 256                  // corks that do nothing after one that took longer
)

// Conn is a buffered net.Conn; see Buffered. Like any net.Conn it may be used
// from several goroutines.
type Conn struct {
	net.Conn
	sock *socket // nil: not a socket

	rmu   sync.Mutex
	rbuf  []byte // pooled; nil while there is nothing in it
	rest  []byte // the unread part of rbuf
	reads sizer  // without sock

	wmu     sync.Mutex
	drained sync.Cond // queue became shorter, or empty, or an error
	queue   []byte    // pooled; nil while empty
	writing bool      // somebody is at work who will empty the queue
	prompt  bool      // writers write themselves; see Prompt
	hold    int
	corked  bool
	skip    int         // corks to come that do nothing
	stall   *time.Timer // while corked; nil: never was
	werr    error       // sticky: queued bytes were lost
	closed  bool
}

// Buffered wraps conn with 64 KiB of read-ahead (256 where a socket has so
// much), held only while there is something in it, and a queue that coalesces small writes: x/crypto/ssh reads
// and writes through 4 KiB buffers, which costs two system calls a packet on
// each layer.
//
// A Write to a socket that takes it at once is done by the writer: a
// keystroke's answer waits for no other goroutine. What the socket does not
// take, and everything if conn is not a socket, is queued, and the Write
// returns (it waits while 256 KiB are queued); an error of the connection is
// then returned by the next call. Close writes what is queued, for at most a
// second; Abort does not. Deadlines hold for both sides; a write that was late
// is lost, and every later one fails.
//
// An idle Conn over a socket holds no buffer and no goroutine.
func Buffered(conn net.Conn) *Conn {
	c := &Conn{Conn: conn, sock: newSocket(conn)}
	c.prompt = c.sock != nil
	c.drained.L = &c.wmu
	return c
}

// Prompt is called when the writer is known. Writes are from now on done by
// the writer if nobody else is at it, even where that may block; and a write
// of exactly hold bytes waits for the next one, which the writer promises to
// follow at once, so that the two become one: bufio.Writer, in front of a
// packet that is larger than its buffer.
func (c *Conn) Prompt(hold int) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.prompt, c.hold = true, hold
}

// Cork makes writes wait for each other until Uncork, so that many packets
// leave by one system call, and whoever receives them is woken once. The
// writer promises to go on at once. It may not be able to: SSH has windows, of
// which the library does not tell, and the peer may need what waits here
// before it opens one. So the cork is out after a few milliseconds by itself,
// and stays out for a while.
//
// Several writers may cork: the first that is done writes for all.
func (c *Conn) Cork() {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	switch {
	case c.sock == nil: // a channel's packets are cut by who writes to it
		return
	case c.skip > 0:
		c.skip--
		return
	case c.stall == nil:
		c.stall = time.AfterFunc(corkTime, c.stalled)
	default:
		c.stall.Reset(corkTime)
	}
	c.corked = true
}

// Uncork writes what waited. An error is returned by the next Write.
func (c *Conn) Uncork() {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if !c.corked {
		return
	}
	c.corked = false
	c.stall.Stop()
	if len(c.queue) > 0 && !c.writing && c.werr == nil && !c.closed {
		c.writeNow(nil)
		c.drain()
	}
}

// stalled is called when the writer did not go on.
func (c *Conn) stalled() {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.corked {
		c.corked, c.skip = false, corkSkip
		c.drain()
	}
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
	if c.sock == nil {
		return c.fillBlind()
	}
	buf, n, err := c.sock.read()
	if err != nil {
		return err
	}
	c.rbuf, c.rest = buf, buf[:n]
	return nil
}

// fillBlind waits with a buffer in hand, whose size follows the traffic.
func (c *Conn) fillBlind() error {
	buf := get(min(c.reads.class, 4)) // up to readAhead
	for {
		n, err := c.Conn.Read(buf)
		if n > 0 { // an error that came along comes again
			if c.reads.class < 4 || n < len(buf) {
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
	done := 0
	if c.prompt && !c.writing && c.werr == nil && !c.closed {
		if c.corked && len(c.queue)+len(p) <= maxQueued || len(p) == c.hold && len(c.queue) == 0 {
			c.enqueue(p)
			return len(p), nil
		}
		done = c.writeNow(p)
	}
	for {
		for c.werr == nil && !c.closed && len(c.queue) >= maxQueued {
			c.drained.Wait()
		}
		switch {
		case c.werr != nil:
			return done, c.werr
		case done == len(p):
			c.drain()
			return done, nil
		case c.closed:
			return done, net.ErrClosed
		}
		n := min(len(p)-done, maxQueued-len(c.queue))
		c.enqueue(p[done : done+n])
		c.drain()
		done += n
	}
}

// writeNow writes what is held and p, and returns how much of p was written:
// what a socket takes without waiting, or all. Writes of others are queued
// meanwhile.
func (c *Conn) writeNow(p []byte) (done int) {
	var n int
	held := c.queue
	if c.sock != nil {
		n, c.werr = c.sock.write(held, p)
		if n < len(held) {
			c.queue = held[:copy(held, held[n:])]
			return 0
		}
		PutBuffer(held)
		c.queue = nil
		return n - len(held)
	}
	whole := p
	if len(held) > 0 {
		c.enqueue(p)
		whole = c.queue
	}
	c.queue, c.writing = nil, true
	c.wmu.Unlock()
	n, err := c.Conn.Write(whole)
	c.wmu.Lock()
	c.writing = false
	c.drained.Broadcast()
	if len(held) > 0 {
		PutBuffer(whole)
	}
	c.werr = err
	return max(0, n-len(held))
}

// enqueue appends to the queue.
func (c *Conn) enqueue(p []byte) {
	if len(p) == 0 {
		return
	}
	need := len(c.queue) + len(p)
	if c.corked {
		need = maxQueued
	}
	if c.queue == nil {
		c.queue = GetBuffer(max(need, c.hold+1))[:0] // more will follow what is held
	} else if need > cap(c.queue) {
		bigger := append(GetBuffer(need)[:0], c.queue...)
		PutBuffer(c.queue)
		c.queue = bigger
	}
	c.queue = append(c.queue, p...)
}

// drain starts a flusher if there is something to write and nobody does. It is
// a goroutine of its own for as long as there is something to write: by the
// time it runs, other writes are mostly in the queue too.
func (c *Conn) drain() {
	if len(c.queue) > 0 && !c.writing {
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
		var err error
		if c.sock != nil {
			err = c.sock.writeAll(buf)
		} else {
			_, err = c.Conn.Write(buf)
		}
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
	c.drain()
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
	c.drain()
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
