package proxy

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func tcpPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	if a, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	b = <-accepted
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// plain hides the descriptor.
type plain struct{ net.Conn }

func TestBufferedCarriesEverything(t *testing.T) {
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"socket": func(c net.Conn) net.Conn { return c },
		"plain":  func(c net.Conn) net.Conn { return plain{c} },
	} {
		t.Run(name, func(t *testing.T) {
			x, y := tcpPair(t)
			a, b := Buffered(wrap(x)), Buffered(wrap(y))
			sent := make([]byte, 5<<20)
			rand.Read(sent)
			go func() {
				for p, n := sent, 1; len(p) > 0; n = n*3%70000 + 1 {
					n = min(n, len(p))
					if _, err := a.Write(p[:n]); err != nil {
						t.Error(err)
					}
					p = p[n:]
				}
				a.Close() // writes what is queued
			}()
			var got bytes.Buffer
			for buf, n := make([]byte, 100_000), 1; ; n = n*5%len(buf) + 1 {
				m, err := b.Read(buf[:n])
				got.Write(buf[:m])
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(got.Bytes(), sent) {
				t.Errorf("sent %d bytes, got %d that differ", len(sent), got.Len())
			}
		})
	}
}

// A socket that has more than was asked for is asked for more, for as long.
func TestReadAheadFollowsTheSocket(t *testing.T) {
	x, y := tcpPair(t)
	x.(*net.TCPConn).SetReadBuffer(1 << 20) // room for more than we ask for
	s := newSocket(x)
	var slow atomic.Bool
	go func() {
		for p, err := make([]byte, 1<<20), error(nil); err == nil; _, err = y.Write(p) {
			if slow.Load() {
				p = p[:1]
				time.Sleep(time.Millisecond)
			}
		}
	}()
	read := func() (asked int) {
		buf, _, err := s.read()
		if err != nil {
			t.Fatal(err)
		}
		PutBuffer(buf)
		return cap(buf)
	}
	x.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n := read(); n != readAhead {
		t.Errorf("asked for %d bytes at first", n)
	}
	for !s.full {
		time.Sleep(time.Millisecond) // the peer gets ahead
		read()
	}
	if n := read(); n != MaxBuffer {
		t.Errorf("asked for %d bytes of a socket that has more", n)
	}
	slow.Store(true)
	for s.full {
		read()
	}
	if n := read(); n != readAhead {
		t.Errorf("asked for %d bytes after a short read", n)
	}
}

func TestBufferedCoalesces(t *testing.T) {
	x, y := net.Pipe() // a pipe's write returns when it was read: nothing is coalesced below
	a := Buffered(x)
	defer a.Close()
	defer y.Close()
	for range 1000 {
		if _, err := a.Write([]byte("0123456789")); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 64<<10)
	reads, total := 0, 0
	for total < 10_000 {
		n, err := y.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		total += n
		reads++
	}
	if reads > 3 {
		t.Errorf("1,000 writes arrived in %d pieces", reads)
	}
}

func TestBufferedBoundsItsQueue(t *testing.T) {
	x, y := net.Pipe()
	defer y.Close()
	a := Buffered(x)
	wrote := make(chan int, 1)
	go func() {
		n, err := a.Write(make([]byte, 2<<20)) // nobody reads
		if !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the write that waited returned %v", err)
		}
		wrote <- n
	}()
	time.Sleep(20 * time.Millisecond)
	start := time.Now()
	a.Abort()
	if n := <-wrote; n > 3*maxQueued {
		t.Errorf("%d bytes were queued", n)
	}
	if d := time.Since(start); d > 500*time.Millisecond {
		t.Errorf("abort took %s", d)
	}
}

func TestBufferedCloseDoesNotWaitForEver(t *testing.T) {
	x, y := net.Pipe()
	defer y.Close()
	a := Buffered(x)
	a.Write([]byte("nobody reads this"))
	start := time.Now()
	a.Close()
	if d := time.Since(start); d < linger/2 || d > 3*linger {
		t.Errorf("close took %s, want about %s", d, linger)
	}
	if _, err := a.Write([]byte("x")); err == nil {
		t.Error("a write after close succeeded")
	}
}

func TestBufferedDeadlines(t *testing.T) {
	x, _ := tcpPair(t)
	a := Buffered(x)
	a.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := a.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
	done := make(chan error, 1)
	a.SetReadDeadline(time.Time{})
	go func() {
		_, err := a.Read(make([]byte, 10))
		done <- err
	}()
	time.Sleep(10 * time.Millisecond)
	a.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the read that waited returned %v", err)
	}
}

func TestBufferedIdleHoldsNothing(t *testing.T) {
	x, y := tcpPair(t)
	a := Buffered(x)
	before := runtime.NumGoroutine()
	go io.Copy(io.Discard, y)
	go a.Read(make([]byte, 1))
	a.Write(make([]byte, 200_000))
	if err := a.Flush(); err != nil {
		t.Fatal(err)
	}
	a.wmu.Lock()
	queue := a.queue
	a.wmu.Unlock()
	if queue != nil {
		t.Error("an empty queue holds a buffer")
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before+2; {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		time.Sleep(time.Millisecond)
	}
}

// A slowWriter takes a large chunk once the next one has been recorded.
type slowWriter struct {
	bytes.Buffer
	total    int64
	recorded *atomic.Int64
	t        *testing.T
}

func (w *slowWriter) Write(p []byte) (int, error) {
	n := int64(w.Len() + len(p))
	if r := w.recorded.Load(); r < n {
		w.t.Errorf("%d bytes were recorded, %d forwarded", r, n)
	}
	if len(p) > size3 && n < w.total {
		for start := time.Now(); w.recorded.Load() == n; runtime.Gosched() {
			if time.Since(start) > 10*time.Second {
				w.t.Errorf("nothing is read while bytes up to %d are written", n)
				break
			}
		}
	}
	if r := w.recorded.Load(); r > n+MaxBuffer {
		w.t.Errorf("%d bytes were taken while the %dth was written", r, n)
	}
	return w.Buffer.Write(p)
}

func TestCopyRecordsFirstAndFitsItsBuffer(t *testing.T) {
	const size = 3<<20 + 77
	var largest int
	var recorded atomic.Int64
	dst := &slowWriter{total: size, recorded: &recorded, t: t}
	sent := make([]byte, size)
	rand.Read(sent)
	n, err := Copy(dst, bytes.NewReader(sent), func(p []byte) error {
		recorded.Add(int64(len(p)))
		largest = max(largest, len(p))
		return nil
	})
	if err != nil || n != size || !bytes.Equal(dst.Bytes(), sent) || largest != MaxBuffer {
		t.Errorf("copied %d, %d arrived, in chunks up to %d, err %v", n, dst.Len(), largest, err)
	}
	dst.Reset()
	full := errors.New("disk full")
	if _, err := Copy(dst, bytes.NewReader([]byte("secret")), func([]byte) error { return full }); !errors.Is(err, full) || dst.Len() != 0 {
		t.Errorf("not recorded, yet %q was forwarded (err %v)", dst, err)
	}
	var s sizer
	for range 10 {
		s.next(sizes[s.class])
	}
	for range 40 {
		s.next(10)
	}
	if s.class != 0 {
		t.Errorf("a stream that became quiet holds %d bytes", sizes[s.class])
	}
}

// What was begun is written even if what follows cannot be recorded, and an
// error of a write is not lost, whoever did it.
func TestCopyEnds(t *testing.T) {
	var dst bytes.Buffer
	seen := 0
	full := errors.New("disk full")
	n, err := Copy(&dst, bytes.NewReader(make([]byte, 3<<20)), func(p []byte) error {
		if seen += len(p); seen > 2<<20 {
			return full
		}
		return nil
	})
	if !errors.Is(err, full) || n != int64(dst.Len()) || n == 0 || n > 2<<20 {
		t.Errorf("copied %d, %d arrived: %v", n, dst.Len(), err)
	}
	gone := errors.New("gone")
	for _, good := range []int64{0, 100_000, 1 << 20, 3<<20 - 1} {
		dst.Reset()
		n, err = Copy(&limitedWriter{&dst, good, gone}, bytes.NewReader(make([]byte, 3<<20)), nil)
		if !errors.Is(err, gone) || n != good || int64(dst.Len()) != good {
			t.Errorf("of %d bytes %d were copied, %d arrived: %v", good, n, dst.Len(), err)
		}
	}
}

// A limitedWriter takes left bytes, and then none.
type limitedWriter struct {
	io.Writer
	left int64
	err  error
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	n, _ := w.Writer.Write(p[:min(int64(len(p)), w.left)])
	if w.left -= int64(n); n < len(p) {
		return n, w.err
	}
	return n, nil
}

// BenchmarkConn carries packets as x/crypto writes them: 4 KiB, the rest, and
// the tag; against the bare socket.
func BenchmarkConn(b *testing.B) {
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"bare":     func(c net.Conn) net.Conn { return c },
		"buffered": func(c net.Conn) net.Conn { return Buffered(c) },
	} {
		b.Run(name, func(b *testing.B) {
			x, y := tcpPair(b)
			w, r := wrap(x), wrap(y)
			const size = 32 << 10
			done := make(chan struct{})
			go func() {
				defer close(done)
				buf, need := make([]byte, size), b.N*size
				for need > 0 {
					n, err := r.Read(buf[:min(4096, need)]) // bufio's
					if err != nil {
						b.Error(err)
						return
					}
					need -= n
				}
			}()
			p := make([]byte, size)
			b.SetBytes(size)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				w.Write(p[:4096])
				w.Write(p[4096 : size-16])
				w.Write(p[size-16:])
			}
			<-done
		})
	}
}

// A write beside the reader is the session's like any other: its panic comes
// to whoever contains the session.
func TestCopyHandsOnAPanic(t *testing.T) {
	src := bytes.NewReader(make([]byte, 4<<20))
	wrote := 0
	err := Contain(slog.New(slog.DiscardHandler), NewMetrics(prometheus.NewRegistry()), "copy", func() error {
		_, err := Copy(writerFunc(func(p []byte) (int, error) {
			if wrote += len(p); len(p) > size3 {
				panic("in the parser")
			}
			return len(p), nil
		}), src, nil)
		return err
	})
	p, ok := err.(*PanicError)
	if !ok || !strings.Contains(fmt.Sprint(p.Value), "in the parser") {
		t.Errorf("after %d bytes Copy returned %v", wrote, err)
	}
}
