package testenv

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Wire is a TCP proxy before a server: a network that a test breaks.
type Wire struct {
	Addr string // where it listens
	ln   net.Listener
	wg   sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	mute  chan struct{}            // not nil: nothing passes until it is closed
	from  func([]byte) (drop bool) // looks at what the gateway sends: true breaks the connection after it was passed on
	late  bool                     // and after the server has answered
	eat   net.Conn                 // whose next answer is not passed on
}

// NewWire makes a wire to an address; it ends with the test.
func NewWire(t testing.TB, to string) *Wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{Addr: ln.Addr().String(), ln: ln, conns: map[net.Conn]bool{}}
	w.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			w.mu.Lock()
			w.conns[c], w.conns[s] = true, true
			w.mu.Unlock()
			w.wg.Go(func() { w.pump(s, c, true) })
			w.wg.Go(func() { w.pump(c, s, false) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		w.Heal()
		w.Cut()
		w.wg.Wait()
	})
	return w
}

func (w *Wire) pump(dst, src net.Conn, fromGateway bool) {
	defer dst.Close()
	defer src.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			w.mu.Lock()
			mute, look := w.mute, w.from
			w.mu.Unlock()
			if mute != nil {
				<-mute
			}
			if !fromGateway && w.eats(src) {
				return
			}
			drop := fromGateway && look != nil && look(buf[:n])
			if drop && w.eatAnswer(dst) {
				drop = false
			}
			if _, werr := dst.Write(buf[:n]); werr != nil {
				return
			}
			if drop {
				src.Close() // the server has it, and the gateway will not know
				io.Copy(io.Discard, dst)
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// eatAnswer has the connection broken by the server's answer, if late.
func (w *Wire) eatAnswer(server net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.late {
		w.eat = server
	}
	return w.late
}

func (w *Wire) eats(server net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.eat == server
}

// Cut breaks every connection.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		c.Close()
	}
	w.conns = map[net.Conn]bool{}
}

// Silence lets nothing pass, and breaks nothing: a partition.
func (w *Wire) Silence() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mute = make(chan struct{})
}

// Heal ends Silence: what was held up passes.
func (w *Wire) Heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mute != nil {
		close(w.mute)
		w.mute = nil
	}
}

// Spy shows look each piece that clients send. Where it returns true the piece
// is passed on and the connection broken, if late by the server's answer.
func (w *Wire) Spy(late bool, look func([]byte) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.from, w.late = look, late
}
