package proxy

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// A socket makes the system calls of a Conn past the scheduler. A socket of
// package net does not block, so there is nothing to hand our thread's work on
// for; but with syscall.Read and net.Conn.Write the runtime watches each call,
// and for calls of some 20 µs, as writes to loopback are, its watcher never
// rests and moves work between threads for nothing: an eighth of the gateway's
// CPU time in bulk transfers (docs/benchmarks.md).
//
// One goroutine may read and one may write at a time: Conn sees to that. What
// the callbacks need is kept here, so that a call allocates nothing.
type socket struct {
	net.Conn
	raw syscall.RawConn

	buf     []byte // pooled; what read returns
	full    bool   // the last read had as much as it asked for: there may be more
	got     int
	readErr error
	onRead  func(fd uintptr) bool

	iov      [2]syscall.Iovec
	wait     bool // for a socket that takes no more
	sent     int
	writeErr error
	onWrite  func(fd uintptr) bool
}

// newSocket returns nil if conn is none.
func newSocket(conn net.Conn) *socket {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	s := &socket{Conn: conn, raw: raw}
	s.onRead, s.onWrite = s.readReady, s.writeReady
	return s
}

// read waits until there is something to read, and returns it in a pooled
// buffer: none is held while waiting.
func (s *socket) read() (buf []byte, n int, err error) {
	s.got, s.readErr = 0, nil
	err = s.raw.Read(s.onRead)
	buf, n = s.buf, s.got
	s.buf = nil
	switch {
	case err != nil: // a deadline, or closed; nothing was read
	case s.readErr != nil:
		err = s.wrap("read", s.readErr)
	case n == 0:
		err = io.EOF
	default:
		return buf, n, nil
	}
	if buf != nil {
		PutBuffer(buf)
	}
	return nil, 0, err
}

func (s *socket) readReady(fd uintptr) bool {
	size := readAhead
	if s.full {
		size = MaxBuffer
	}
	s.buf = GetBuffer(size)
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(s.buf))), uintptr(len(s.buf)))
		switch errno {
		case 0:
			s.got = int(n)
			s.full = s.got >= readAhead // also of a larger buffer
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			PutBuffer(s.buf)
			s.buf = nil
			return false
		default:
			s.readErr = errno
			return true
		}
	}
}

// write writes as much of a and then b as the socket takes at once.
func (s *socket) write(a, b []byte) (int, error) { return s.send(a, b, false) }

// writeAll waits, within the connection's write deadline, while the socket
// takes no more.
func (s *socket) writeAll(b []byte) error {
	_, err := s.send(nil, b, true)
	return err
}

func (s *socket) send(a, b []byte, wait bool) (int, error) {
	s.sent, s.writeErr, s.wait = 0, nil, wait
	for i, p := range [2][]byte{a, b} {
		s.iov[i] = syscall.Iovec{Base: unsafe.SliceData(p)}
		s.iov[i].SetLen(len(p))
	}
	err := s.raw.Write(s.onWrite)
	s.iov = [2]syscall.Iovec{}
	if s.writeErr != nil {
		err = s.wrap("write", s.writeErr)
	}
	return s.sent, err
}

func (s *socket) writeReady(fd uintptr) bool {
	for s.iov[0].Len+s.iov[1].Len > 0 {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&s.iov[0])), 2)
		switch errno {
		case 0:
			s.sent += int(n)
			for i := range s.iov {
				m := min(uint64(n), uint64(s.iov[i].Len))
				if s.iov[i].SetLen(int(uint64(s.iov[i].Len) - m)); s.iov[i].Len > 0 { // never past the end
					s.iov[i].Base = (*byte)(unsafe.Add(unsafe.Pointer(s.iov[i].Base), m))
				}
				n -= uintptr(m)
			}
		case syscall.EINTR:
		case syscall.EAGAIN:
			return !s.wait
		default:
			s.writeErr = errno
			return true
		}
	}
	return true
}

func (s *socket) wrap(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: os.NewSyscallError(op, err)}
}
