package command

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"golang.org/x/term"

	"jit-gateway/internal/dialogue"
)

// A question is one line being typed.
type question struct {
	*keyPipe
	c      *console
	term   *term.Terminal
	prompt string

	mu    sync.Mutex
	dirty bool          // something is typed
	done  bool          // Enter was typed: further keys are for the next question
	clean chan struct{} // closed when dirty becomes false
}

func (c *console) newQuestion(prompt string) *question {
	q := &question{keyPipe: newKeyPipe(), c: c, prompt: prompt, clean: make(chan struct{})}
	q.term = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{q.keyPipe, c.out}, prompt)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cols > 0 && c.rows > 0 {
		_ = q.term.SetSize(c.cols, c.rows)
	}
	return q
}

func (q *question) key(b []byte) {
	q.mu.Lock()
	last := b[len(b)-1]
	q.done = last == '\r' || last == '\n'
	now := !q.done && last != 0x15 // Ctrl-U empties the line
	if q.dirty && !now {
		close(q.clean)
		q.clean = make(chan struct{})
	}
	q.dirty = now
	q.mu.Unlock()
	q.keyPipe.key(b)
}

func (q *question) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.done
}

// dirtyUntil returns nil for an empty line, else what is closed once it is.
func (q *question) dirtyUntil() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.dirty {
		return nil
	}
	return q.clean
}

func (q *question) read(ctx context.Context, echo bool) (string, error) {
	defer context.AfterFunc(ctx, func() { q.fail(context.Cause(ctx)) })()
	var line string
	var err error
	if echo {
		line, err = q.term.ReadLine()
	} else {
		line, err = q.term.ReadPassword(q.prompt)
	}
	if errors.Is(err, term.ErrPasteIndicator) {
		err = nil // pasted text is as good as typed text
	}
	if err != nil {
		if cause := q.cause(); cause != nil {
			err = cause
		}
		mark := "\n"
		if errors.Is(err, dialogue.ErrInterrupted) {
			mark = "^C\n"
		}
		_, _ = io.WriteString(q.c.out, mark)
		return "", err
	}
	return strings.TrimSpace(line), nil
}
