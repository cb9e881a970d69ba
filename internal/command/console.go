package command

import (
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"jit-gateway/internal/dialogue"
)

const (
	keyInterrupt = 0x03
	maxTypeAhead = 4096 // bytes typed while nothing asks
	maxLine      = 4096 // bytes of one answer
)

// A console is one raw terminal shared by the prompt, the command that runs,
// and the questions of connections tunnelled beside it.
//
// One goroutine reads the keys and gives them to whoever holds the keyboard:
// a question, a command that wants raw keys (replay, watch), or the prompt
// under them. A question waits for the one before it, and for a command line
// that is half typed, so that nobody answers a question that they did not see.
type console struct {
	out   io.Writer
	clock func() time.Time
	kb    chan struct{} // capacity 1: held by the question or the command that has the keyboard

	mu      sync.Mutex
	cur     keySink   // holds the keyboard
	idle    *question // the prompt beneath
	stop    func()    // what Ctrl-C does when no question is open
	ahead   []byte
	readErr error
	changed chan struct{} // closed and replaced when idle changes
	cols    int
	rows    int
	status  bool // the cursor is on a status line
	since   time.Time
	history term.History
}

// keySink takes keys.
type keySink interface {
	key(b []byte)
	fail(err error)
}

func newConsole(in io.Reader, out io.Writer, cols, rows int, resize <-chan dialogue.Size, now func() time.Time) *console {
	c := &console{out: &crlf{w: out}, clock: now, kb: make(chan struct{}, 1), changed: make(chan struct{}), cols: cols, rows: rows, history: &recent{}}
	// Both goroutines end with the connection: In and resize are its.
	go c.pump(in)
	if resize != nil {
		go func() {
			for s := range resize {
				c.mu.Lock()
				c.cols, c.rows = s.Cols, s.Rows
				if c.idle != nil && s.Cols > 0 && s.Rows > 0 {
					_ = c.idle.term.SetSize(s.Cols, s.Rows)
				}
				c.mu.Unlock()
			}
		}()
	}
	return c
}

func (c *console) size() (cols, rows int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cols, c.rows
}

func (c *console) pump(in io.Reader) {
	buf := make([]byte, 1024)
	for {
		n, err := in.Read(buf)
		c.route(buf[:n])
		if err == nil {
			continue
		}
		c.mu.Lock()
		c.readErr = io.EOF
		cur, idle := c.cur, c.idle
		c.mu.Unlock()
		if cur != nil {
			cur.fail(io.EOF)
		}
		if idle != nil {
			idle.fail(io.EOF)
		}
		return
	}
}

// route gives keys away. Enter and Ctrl-C split the chunk: what follows them
// belongs to whoever asks next.
func (c *console) route(b []byte) {
	for len(b) > 0 {
		n := len(b)
		for i, k := range b {
			if k == keyInterrupt {
				n = max(i, 1)
				break
			}
			if k == '\r' || k == '\n' {
				n = i + 1
				break
			}
		}
		c.give(b[:n])
		b = b[n:]
	}
}

func (c *console) give(b []byte) {
	c.mu.Lock()
	cur, idle, stop := c.cur, c.idle, c.stop
	q, isQuestion := cur.(*question)
	if isQuestion && q.full() {
		cur, isQuestion = nil, false
		if b[0] == keyInterrupt {
			c.mu.Unlock()
			return
		}
	} else if cur != nil {
		idle = nil
	}
	if idle != nil && (idle.full() || q != nil) {
		idle = nil
	}
	if cur == nil && idle == nil && b[0] != keyInterrupt {
		if len(c.ahead)+len(b) <= maxTypeAhead {
			c.ahead = append(c.ahead, b...)
		}
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	switch {
	case cur != nil && isQuestion && b[0] == keyInterrupt:
		cur.fail(dialogue.ErrInterrupted)
	case cur != nil:
		cur.key(b)
	case b[0] == keyInterrupt && idle != nil:
		idle.fail(dialogue.ErrInterrupted)
	case b[0] == keyInterrupt:
		c.mu.Lock()
		c.ahead = nil
		c.mu.Unlock()
		if stop != nil {
			stop()
		}
	default:
		idle.key(b)
	}
}

// onInterrupt sets what Ctrl-C does while a command runs.
func (c *console) onInterrupt(stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop = stop
}

// readCommand asks for a command line: the prompt beneath everything.
func (c *console) readCommand(ctx context.Context, prompt string) (string, error) {
	q := c.newQuestion(prompt)
	q.term.History = c.history
	c.mu.Lock()
	c.clearStatus()
	c.idle = q
	ahead, readErr := c.ahead, c.readErr
	c.ahead = nil
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.idle = nil
		c.notify()
		c.mu.Unlock()
	}()
	c.route(ahead)
	if readErr != nil {
		q.fail(readErr)
	}
	return q.read(ctx, true)
}

func (c *console) notify() { // with mu held
	close(c.changed)
	c.changed = make(chan struct{})
}

// hold waits for the keyboard and gives it to sink.
func (c *console) hold(ctx context.Context, sink keySink) (release func(), err error) {
	select {
	case c.kb <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	told := false
	c.mu.Lock()
	for c.idle != nil {
		changed, idle := c.changed, c.idle
		clean := idle.dirtyUntil()
		if clean == nil {
			break
		}
		c.mu.Unlock()
		if !told {
			told = true
			_, _ = idle.term.Write([]byte("Another connection has a question: finish this line first.\n"))
		}
		select {
		case <-changed:
		case <-clean:
		case <-ctx.Done():
			<-c.kb
			return nil, context.Cause(ctx)
		}
		c.mu.Lock()
	}
	c.cur = sink
	c.clearStatus()
	if c.idle != nil {
		_, _ = io.WriteString(c.out, "\r\x1b[K")
	}
	ahead, readErr := c.ahead, c.readErr
	c.ahead = nil
	c.mu.Unlock()
	c.route(ahead)
	if readErr != nil {
		sink.fail(readErr)
	}
	return func() {
		c.mu.Lock()
		c.cur = nil
		if c.idle != nil {
			_, _ = c.idle.term.Write(nil) // draws prompt and line again
		}
		c.mu.Unlock()
		<-c.kb
	}, nil
}

// Say implements dialogue.Terminal.
func (c *console) Say(ctx context.Context, text string) error {
	_, err := c.Write([]byte(strings.TrimSuffix(text, "\n") + "\n"))
	return err
}

// Write shows output above whatever is being typed.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clearStatus()
	q, _ := c.cur.(*question)
	if q == nil && c.cur == nil {
		q = c.idle
	}
	if q != nil {
		return q.term.Write(p)
	}
	return c.out.Write(p)
}

// Ask implements dialogue.Terminal.
func (c *console) Ask(ctx context.Context, prompt string, echo bool) (string, error) {
	q := c.newQuestion(prompt)
	release, err := c.hold(ctx, q)
	if err != nil {
		return "", err
	}
	defer release()
	return q.read(ctx, echo)
}

// Alive implements dialogue.Terminal: a line that counts the time, gone with
// the next text. Beneath a prompt nothing is shown.
func (c *console) Alive(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cur != nil || c.idle != nil {
		return nil
	}
	if c.readErr != nil {
		return c.readErr
	}
	if !c.status {
		c.status, c.since = true, c.clock()
	}
	_, err := io.WriteString(c.out, "\r\x1b[K… "+clockText(c.clock().Sub(c.since)))
	return err
}

func (c *console) clearStatus() { // with mu held
	if c.status {
		c.status = false
		_, _ = io.WriteString(c.out, "\r\x1b[K")
	}
}

// keys gives the keyboard to a command that wants raw keys, until release,
// which also ends a read that is under way.
func (c *console) keys(ctx context.Context) (r io.Reader, release func(), err error) {
	p := newKeyPipe()
	letGo, err := c.hold(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	return p, func() { p.fail(io.EOF); letGo() }, nil
}
