package command

import (
	"io"
	"sync"
)

// A keyPipe carries keys from the console's reader to whoever holds the
// keyboard. It never blocks the reader: beyond maxLine waiting bytes keys are
// dropped, as a terminal's line discipline does.
type keyPipe struct {
	mu   sync.Mutex
	cond *sync.Cond
	buf  []byte
	err  error
}

func newKeyPipe() *keyPipe {
	p := &keyPipe{}
	p.cond = sync.NewCond(&p.mu)
	return p
}

func (p *keyPipe) key(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil && len(p.buf)+len(b) <= maxLine {
		p.buf = append(p.buf, b...)
		p.cond.Broadcast()
	}
}

// fail ends the pipe; the first error counts. Keys before it are still read,
// unless it was an interruption or a cancellation.
func (p *keyPipe) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
		if err != io.EOF {
			p.buf = nil
		}
		p.cond.Broadcast()
	}
}

func (p *keyPipe) cause() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *keyPipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.buf) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		p.cond.Wait()
	}
	n := copy(b, p.buf)
	p.buf = p.buf[n:]
	return n, nil
}

// recent is the prompt's history: command lines, never answers.
type recent struct{ lines []string }

const maxHistory = 100

func (h *recent) Add(line string) {
	if line == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	if len(h.lines) == maxHistory {
		h.lines = h.lines[1:]
	}
	h.lines = append(h.lines, line)
}

func (h *recent) Len() int { return len(h.lines) }

func (h *recent) At(i int) string { return h.lines[len(h.lines)-1-i] }

// crlf writes every line end as a terminal in raw mode wants it.
type crlf struct {
	mu sync.Mutex
	w  io.Writer
}

func (c *crlf) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]byte, 0, len(p)+8)
	for i, b := range p {
		if b == '\n' && (i == 0 || p[i-1] != '\r') {
			out = append(out, '\r')
		}
		out = append(out, b)
	}
	if _, err := c.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}
