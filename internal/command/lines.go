package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// lines is the Terminal of a command without one: questions go to stderr,
// answers come from stdin, so that stdout is the result alone. It is also the
// Terminal of a local terminal that is not raw because stdout goes elsewhere;
// then echo can be switched off for codes.
type lines struct {
	in   *lineReader
	err  io.Writer
	echo func(on bool) // may be nil
	now  func() time.Time

	mu    sync.Mutex
	since time.Time
	told  time.Time
}

// stillWaiting is how often a wait without a terminal says so.
const stillWaiting = time.Minute

func (l *lines) Say(ctx context.Context, text string) error {
	l.mu.Lock()
	l.since = time.Time{}
	l.mu.Unlock()
	_, err := io.WriteString(l.err, strings.TrimSuffix(text, "\n")+"\n")
	return err
}

func (l *lines) Ask(ctx context.Context, prompt string, echo bool) (string, error) {
	if _, err := io.WriteString(l.err, prompt); err != nil {
		return "", err
	}
	if !echo && l.echo != nil {
		l.echo(false)
		defer l.echo(true)
	}
	line, err := l.in.line(ctx)
	if err != nil || !echo && l.echo != nil {
		_, _ = io.WriteString(l.err, "\n")
	}
	return strings.TrimSpace(line), err
}

func (l *lines) Alive(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if l.since.IsZero() {
		l.since, l.told = now, now
	}
	if now.Sub(l.told) < stillWaiting {
		return nil
	}
	l.told = now
	_, err := fmt.Fprintf(l.err, "Still waiting (%s).\n", clockText(now.Sub(l.since)))
	return err
}

var errLineTooLong = fmt.Errorf("a line of more than %d bytes", maxLine)

// A lineReader reads lines of a stream whose reads cannot be cancelled: after a
// cancelled wait the read goes on, its line is the next question's, and it
// ends when the owner of the Invocation closes the stream.
type lineReader struct {
	r       io.Reader
	pending chan lineOrErr // a read under way; questions come one at a time
}

type lineOrErr struct {
	line string
	err  error
}

func (l *lineReader) line(ctx context.Context) (string, error) {
	if l.r == nil {
		return "", io.EOF
	}
	if l.pending == nil {
		ch := make(chan lineOrErr, 1)
		l.pending = ch
		go func() {
			// Byte by byte: what follows the line belongs to the command (a
			// public key, a file of targets).
			line, err := readLine(l.r)
			ch <- lineOrErr{line, err}
		}()
	}
	select {
	case got := <-l.pending:
		l.pending = nil
		return got.line, got.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func readLine(r io.Reader) (string, error) {
	var buf bytes.Buffer
	var b [1]byte
	for {
		n, err := r.Read(b[:])
		switch {
		case n == 1 && b[0] == '\n':
			return strings.TrimSuffix(buf.String(), "\r"), nil
		case n == 1:
			if buf.WriteByte(b[0]); buf.Len() > maxLine {
				return "", errLineTooLong
			}
		}
		switch {
		case errors.Is(err, io.EOF) && buf.Len() > 0:
			return buf.String(), nil // the last line needs no line break
		case err != nil:
			return "", io.EOF // whatever it was, nobody answers any more
		}
	}
}

// clockText is a span as 0:07 or 1:02:03.
func clockText(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	if s < 3600 {
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}
