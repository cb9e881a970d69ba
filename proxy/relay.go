package proxy

import (
	"io"
	"net"
)

// Copy moves bytes from src to dst until src ends, through a pooled buffer
// that grows from 1 KiB to 256 KiB while reads fill it. tap, if not nil, sees
// every chunk before it is written (G2: record, then forward); its error ends
// the copy. io.EOF is not an error. It neither closes nor half-closes.
func Copy(dst io.Writer, src io.Reader, tap func([]byte) error) (int64, error) { panic("not yet") }

// GetBuffer returns a pooled buffer of at least n bytes (at most 256 KiB; the
// nearest of 1, 4, 16, 64, 256 KiB), PutBuffer gives it back.
func GetBuffer(n int) []byte { panic("not yet") }

// PutBuffer returns a buffer of GetBuffer to the pool. The caller MUST NOT
// use it afterwards.
func PutBuffer(b []byte) { panic("not yet") }

// Buffered wraps conn with 64 KiB of read-ahead, held only while there is
// something in it, and an asynchronous writer that coalesces small writes. A
// Write returns once its bytes are queued (at most 256 KiB are, then it
// waits); an error of the connection is returned by the next call. Close
// writes what is queued, for at most a second. Deadlines hold for both.
func Buffered(conn net.Conn) *Conn { panic("not yet") }

// Conn is a buffered net.Conn; see Buffered.
type Conn struct {
	net.Conn
}

// Flush waits until everything queued has been given to the kernel.
func (c *Conn) Flush() error { panic("not yet") }
