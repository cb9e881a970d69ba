package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// A packet conn remembers each write that reached it.
type packetConn struct {
	net.Conn
	mu     sync.Mutex
	writes [][]byte
	block  chan struct{} // nil: writes return at once
}

func (p *packetConn) Write(b []byte) (int, error) {
	p.mu.Lock()
	p.writes = append(p.writes, bytes.Clone(b))
	block := p.block
	p.mu.Unlock()
	if block != nil {
		<-block
	}
	return len(b), nil
}

func (p *packetConn) sizes() (out []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.writes {
		out = append(out, len(w))
	}
	return out
}

// A packet that comes in two pieces leaves as one, and is on its way when the
// writer's second call returns.
func TestPromptWritesPacketsWhole(t *testing.T) {
	below := &packetConn{}
	c := Buffered(below)
	c.Prompt(4096)
	p := bytes.Repeat([]byte("x"), 30_000)
	c.Write(p[:4096])
	if got := below.sizes(); len(got) != 0 {
		t.Fatalf("a held piece was written: %v", got)
	}
	c.Write(p[4096:])
	c.Write(p[:40])
	if got := below.sizes(); len(got) != 2 || got[0] != 30_000 || got[1] != 40 {
		t.Errorf("written as %v", got)
	}
	c.Write(p[:4096])
	if err := c.Flush(); err != nil || len(below.sizes()) != 3 {
		t.Errorf("a held piece is not flushed: %v %v", err, below.sizes())
	}
	if c.queue != nil {
		t.Error("an empty queue holds a buffer")
	}
}

// The same over a socket, one that is full half of the time.
func TestPromptOverASocket(t *testing.T) {
	x, y := tcpPair(t)
	x.(*net.TCPConn).SetWriteBuffer(16 << 10)
	a := Buffered(x)
	a.Prompt(4096)
	var want, got bytes.Buffer
	done := make(chan error, 1)
	go func() {
		buf := make([]byte, 10_000)
		for i := 0; ; i++ {
			n, err := y.Read(buf)
			got.Write(buf[:n])
			if err != nil {
				done <- err
				return
			}
			if i%20 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	p := make([]byte, 40_000)
	for i := range 60 {
		for j := range p {
			p[j] = byte(i + j)
		}
		n := 4096 + i*587
		for _, piece := range [][]byte{p[:4096], p[4096:n], p[:17]} {
			want.Write(piece)
			if _, err := a.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
	}
	a.Write(p[:4096])
	want.Write(p[:4096])
	a.Close() // writes what is held
	if err := <-done; err != io.EOF || !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("%v: %d of %d bytes, or others", err, got.Len(), want.Len())
	}
}

// While a writer waits for a connection that takes nothing, others queue
// behind it in order, and closing does not wait for ever.
func TestPromptQueuesBehindAWriter(t *testing.T) {
	below := &packetConn{block: make(chan struct{})}
	c := Buffered(below)
	c.Prompt(0)
	first := make(chan error, 1)
	go func() { _, err := c.Write([]byte("first")); first <- err }()
	for len(below.sizes()) == 0 {
		time.Sleep(time.Millisecond)
	}
	for _, s := range []string{"second ", "third"} {
		if _, err := c.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	close(below.block)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := string(bytes.Join(below.writes, []byte("|"))); got != "first|second third" {
		t.Errorf("written as %q", got)
	}

	x, y := net.Pipe()
	defer y.Close()
	c = Buffered(x)
	c.Prompt(0)
	go func() { _, err := c.Write([]byte("nobody reads this")); first <- err }()
	time.Sleep(10 * time.Millisecond)
	start := time.Now()
	c.Close()
	if err := <-first; !errors.Is(err, io.ErrClosedPipe) || time.Since(start) > 3*linger {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("a write after close succeeded")
	}
}

// What is written with the cork in waits, in order, and leaves with it.
func TestCork(t *testing.T) {
	x, y := tcpPair(t)
	a := Buffered(x)
	a.Prompt(4096)
	a.Cork()
	a.stall.Stop() // this test's writer is never late
	p := bytes.Repeat([]byte("x"), 30_000)
	for range 3 {
		a.Write(p[:4096])
		a.Write(p[4096:])
	}
	if len(a.queue) != 90_000 {
		t.Fatalf("%d bytes wait", len(a.queue))
	}
	a.Uncork()
	a.Write([]byte("end"))
	if a.queue != nil || a.writing {
		t.Errorf("%d bytes wait after the cork is out", len(a.queue))
	}
	got := make([]byte, 90_003)
	if _, err := io.ReadFull(y, got); err != nil || string(got[90_000:]) != "end" {
		t.Errorf("%v: …%q", err, got[90_000:])
	}
}

// A writer that cannot go on, as when SSH's window is used up, does not keep
// from the peer what it waits for; and does not try again at once.
func TestCorkGivesWay(t *testing.T) {
	x, y := tcpPair(t)
	a := Buffered(x)
	a.Cork()
	a.Write([]byte("first"))
	got := make([]byte, 5)
	if _, err := io.ReadFull(y, got); err != nil || string(got) != "first" {
		t.Fatalf("%q %v", got, err)
	}
	a.Uncork()
	for i := range corkSkip {
		if a.Cork(); a.corked {
			t.Fatalf("corked again at once, %d", i)
		}
		a.Uncork()
	}
	if a.Cork(); !a.corked {
		t.Error("never corked again")
	}
	a.Write([]byte("last"))
	a.Close() // writes what waits
	if rest, err := io.ReadAll(y); err != nil || string(rest) != "last" {
		t.Errorf("%q %v", rest, err)
	}
}

// Several writers that cork, and one that does not, over a socket that is
// full now and then.
func TestCorkSharedByWriters(t *testing.T) {
	x, y := tcpPair(t)
	x.(*net.TCPConn).SetWriteBuffer(16 << 10)
	a := Buffered(x)
	a.Prompt(4096)
	const each, size = 200, 10_000
	var writers sync.WaitGroup
	var library sync.Mutex // a connection has one writer at a time
	for who := range 3 {
		writers.Go(func() {
			p := bytes.Repeat([]byte{byte(who)}, size)
			for i := range each {
				if who > 0 && i%8 == 0 {
					a.Cork()
				}
				library.Lock()
				a.Write(p)
				library.Unlock()
				if who > 0 && i%8 == 7 {
					a.Uncork()
				}
			}
		})
	}
	go func() { writers.Wait(); a.Close() }()
	buf := make([]byte, size)
	var from [3]int
	for {
		_, err := io.ReadFull(y, buf)
		if err == io.EOF {
			break
		}
		if err != nil || !bytes.Equal(buf, bytes.Repeat(buf[:1], size)) {
			t.Fatalf("writes are mixed up: %v", err)
		}
		from[buf[0]]++
	}
	if from != [3]int{each, each, each} {
		t.Errorf("arrived: %v", from)
	}
}
