package pgproxy

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A pump moves one direction of a session: read a chunk, look at it, forward
// it. On sockets the read and the write happen inside one RawConn.Read
// callback, so that a chunk costs one read and one write: after a short read
// it waits for the next edge instead of asking the kernel again. While it
// waits it holds no buffer.
type pump struct {
	src, dst net.Conn
	scan     scanner
	look     func(p *pump, chunk []byte) (carry int, err error) // scan, with what else has to happen
	carry    [headerSize]byte
	carried  int
	n        atomic.Int64 // bytes read
	full     bool         // reads of a connection that is no socket fill small buffers

	waiting atomic.Bool // behind a short read: an end of stream may have come with it
	ended   atomic.Bool // nudge has seen it

	// wmu is held while a chunk is looked at and forwarded; who wants to put
	// a message of its own between two of the server's takes it.
	wmu    sync.Mutex
	closed bool // under wmu: nothing more is forwarded

	out syscall.RawConn // of dst, if it is a socket
}

const (
	chunkSize = 64 << 10
	smallRead = 2 << 10
)

// chunks are buffers with room for a carried header in front.
var chunks = sync.Pool{New: func() any { b := make([]byte, headerSize+chunkSize); return &b }}

var errClosed = errors.New("the session has ended")

// run pumps until the stream ends (nil) or something fails.
func (p *pump) run() error {
	err := p.pump()
	if errors.Is(err, io.EOF) || p.ended.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

func (p *pump) pump() error {
	if sc, ok := p.dst.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			p.out = raw
		}
	}
	if sc, ok := p.src.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			return p.socket(raw)
		}
	}
	return p.stream()
}

func (p *pump) socket(raw syscall.RawConn) error {
	var failed error
	err := raw.Read(func(fd uintptr) bool {
		buf := chunks.Get().(*[]byte)
		defer chunks.Put(buf)
		for {
			n, err := readNow(fd, (*buf)[headerSize:])
			switch {
			case err == syscall.EINTR:
				continue
			case err == syscall.EAGAIN:
				p.waiting.Store(false)
				return false
			case err != nil:
				failed = os.NewSyscallError("read", err)
				return true
			case n <= 0:
				failed = io.EOF
				return true
			}
			if failed = p.chunk(*buf, n); failed != nil {
				return true
			}
			if n < chunkSize {
				p.waiting.Store(true)
				return false
			}
		}
	})
	if failed != nil {
		return failed
	}
	return err
}

// stream is for connections that are no sockets: TLS, SSH channels. It waits
// with a small buffer and takes a large one while reads fill it.
func (p *pump) stream() error {
	small := make([]byte, headerSize+smallRead)
	for {
		if err := p.fill(small); err != nil {
			return err
		}
		for p.full {
			buf := chunks.Get().(*[]byte)
			err := p.fill(*buf)
			chunks.Put(buf)
			if err != nil {
				return err
			}
		}
	}
}

func (p *pump) fill(buf []byte) error {
	n, err := p.src.Read(buf[headerSize:])
	p.full = n == len(buf)-headerSize || n > smallRead
	if n > 0 {
		if err := p.chunk(buf, n); err != nil {
			return err
		}
	}
	return err
}

// chunk looks at n bytes behind the room for the header, and forwards them.
func (p *pump) chunk(buf []byte, n int) error {
	p.n.Add(int64(n))
	from := headerSize - p.carried
	copy(buf[from:], p.carry[:p.carried])
	b := buf[from : headerSize+n]

	p.wmu.Lock()
	defer p.wmu.Unlock()
	if p.closed {
		return errClosed
	}
	carry, err := p.look(p, b)
	if err != nil {
		return err
	}
	p.carried = copy(p.carry[:], b[len(b)-carry:])
	b = b[:len(b)-carry]
	if len(p.scan.cuts) == 0 {
		return p.write(b)
	}
	at := 0
	for _, c := range p.scan.cuts {
		if err := p.write(b[at:c.from]); err != nil {
			return err
		}
		if err := p.write(c.with); err != nil {
			return err
		}
		at = c.to
	}
	clear(p.scan.cuts)
	return p.write(b[at:])
}

func (p *pump) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if p.out == nil {
		_, err := p.dst.Write(b)
		return err
	}
	return writeSocket(p.out, b)
}

// nudge finds an end of stream that came in the same instant as the last
// data: the edge is spent then, and the pump would wait for another. Called
// now and then from outside, it costs one system call after the last data.
func (p *pump) nudge() {
	if !p.waiting.Swap(false) {
		return
	}
	sc, ok := p.src.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	gone := false
	if raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		gone = n == 0 && err == nil || err != nil && err != syscall.EAGAIN && err != syscall.EINTR
	}) == nil && gone {
		p.ended.Store(true)
		p.src.SetReadDeadline(time.Unix(1, 0))
	}
}

// inject writes a message of our own, if the stream is between two messages
// and its writer is not held up. last ends the direction.
func (p *pump) inject(b []byte, last bool, wait time.Duration) bool {
	until := time.Now().Add(wait)
	for !p.wmu.TryLock() {
		if time.Now().After(until) {
			return false
		}
		time.Sleep(200 * time.Microsecond)
	}
	defer p.wmu.Unlock()
	if p.closed {
		return false
	}
	p.closed = last
	if !p.scan.whole() {
		return false
	}
	p.dst.SetWriteDeadline(time.Now().Add(wait))
	_, err := p.dst.Write(b)
	if !last {
		p.dst.SetWriteDeadline(time.Time{})
	}
	return err == nil
}
