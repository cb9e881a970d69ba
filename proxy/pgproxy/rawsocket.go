package pgproxy

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// The system calls of the relay go past the scheduler. A socket of package
// net does not block, so there is nothing to hand our thread's work on for;
// but with syscall.Read and net.Conn.Write the runtime watches each call, and
// for calls of some 20 µs, as writes to loopback are, its watcher never rests
// and moves work between threads for nothing: a sixth of the gateway's CPU time
// in small transactions (docs/benchmarks.md).

// readNow reads what is there; syscall.EAGAIN if nothing is.
func readNow(fd uintptr, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// writeSocket writes all of b; it waits, within the connection's write
// deadline, while the socket takes no more.
func writeSocket(raw syscall.RawConn, b []byte) error {
	var failed error
	err := raw.Write(func(fd uintptr) bool {
		for len(b) > 0 {
			n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
			switch {
			case errno == syscall.EINTR:
			case errno == syscall.EAGAIN:
				return false
			case errno != 0:
				failed = &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", errno)}
				return true
			case n == 0:
				failed = io.ErrUnexpectedEOF
				return true
			default:
				b = b[n:]
			}
		}
		return true
	})
	if failed != nil {
		return failed
	}
	return err
}
