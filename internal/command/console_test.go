package command

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"jit-gateway/internal/dialogue"
)

// screenBuf is what the console wrote.
type screenBuf struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screenBuf) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screenBuf) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newTestConsole(t *testing.T) (*console, *io.PipeWriter, *screenBuf) {
	t.Helper()
	r, w := io.Pipe()
	out := &screenBuf{}
	c := newConsole(r, out, 80, 24, nil, time.Now)
	t.Cleanup(func() { w.Close() })
	return c, w, out
}

func keys(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Error(err)
	}
}

func TestConsoleAsksAndHidesCodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, w, out := newTestConsole(t)
		go keys(t, w, "nginx 502s\r123456\r")
		got, err := c.Ask(t.Context(), "Reason: ", true)
		if err != nil || got != "nginx 502s" {
			t.Fatalf("Ask = %q, %v", got, err)
		}
		got, err = c.Ask(t.Context(), "Code: ", false)
		if err != nil || got != "123456" {
			t.Fatalf("Ask = %q, %v", got, err)
		}
		if s := out.String(); !strings.Contains(s, "Reason: ") || !strings.Contains(s, "nginx 502s") || strings.Contains(s, "123456") {
			t.Errorf("screen %q", s)
		}
		w.Close()
	})
}

func TestConsoleInterrupts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, w, _ := newTestConsole(t)
		// At a question.
		go keys(t, w, "abc\x03")
		if _, err := c.Ask(t.Context(), "? ", true); !errors.Is(err, dialogue.ErrInterrupted) {
			t.Errorf("Ask at Ctrl-C: %v", err)
		}
		// At the prompt.
		go keys(t, w, "req\x03")
		if _, err := c.readCommand(t.Context(), "> "); !errors.Is(err, dialogue.ErrInterrupted) {
			t.Errorf("readCommand at Ctrl-C: %v", err)
		}
		// While a command runs.
		ctx, stop := context.WithCancelCause(t.Context())
		c.onInterrupt(func() { stop(dialogue.ErrInterrupted) })
		go keys(t, w, "\x03")
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), dialogue.ErrInterrupted) {
			t.Errorf("cause %v", context.Cause(ctx))
		}
		// The end of input.
		w.Close()
		if _, err := c.Ask(t.Context(), "? ", true); !errors.Is(err, io.EOF) {
			t.Errorf("Ask at the end: %v", err)
		}
		if _, err := c.readCommand(t.Context(), "> "); !errors.Is(err, io.EOF) {
			t.Errorf("readCommand at the end: %v", err)
		}
	})
}

// A question of a tunnelled connection must not take keys that were meant for
// a command line, and a command line must not take an answer.
func TestConsoleQuestionWaitsForHalfTypedLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, w, out := newTestConsole(t)
		line := make(chan string)
		go func() {
			got, err := c.readCommand(t.Context(), "gw> ")
			if err != nil {
				t.Error(err)
			}
			line <- got
		}()
		keys(t, w, "targ")
		synctest.Wait()
		answer := make(chan string)
		go func() {
			got, err := c.Ask(t.Context(), "Reason: ", true)
			if err != nil {
				t.Error(err)
			}
			answer <- got
		}()
		synctest.Wait()
		if s := out.String(); strings.Contains(s, "Reason") || !strings.Contains(s, "finish this line first") {
			t.Fatalf("screen %q", s)
		}
		keys(t, w, "ets\r")
		if got := <-line; got != "targets" {
			t.Errorf("line %q", got)
		}
		synctest.Wait()
		keys(t, w, "because\r")
		if got := <-answer; got != "because" {
			t.Errorf("answer %q", got)
		}
		w.Close()
	})
}

func TestConsoleQuestionTakesOverAnEmptyPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, w, out := newTestConsole(t)
		line := make(chan string)
		go func() {
			got, _ := c.readCommand(t.Context(), "gw> ")
			line <- got
		}()
		synctest.Wait()
		answer := make(chan string)
		go func() {
			got, _ := c.Ask(t.Context(), "Code: ", false)
			answer <- got
		}()
		synctest.Wait()
		keys(t, w, "424242\r")
		if got := <-answer; got != "424242" {
			t.Errorf("answer %q", got)
		}
		synctest.Wait()
		if s := out.String(); strings.Count(s, "gw> ") < 2 {
			t.Errorf("the prompt was not drawn again: %q", s)
		}
		keys(t, w, "exit\r")
		if got := <-line; got != "exit" {
			t.Errorf("line %q", got)
		}
		w.Close()
	})
}

func TestConsoleCancelledQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, w, _ := newTestConsole(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.Ask(ctx, "? ", true); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ask: %v", err)
		}
		w.Close()
	})
}

func TestConsoleShowsThatItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, w, out := newTestConsole(t)
		for range 3 {
			if err := c.Alive(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
		}
		_ = c.Say(t.Context(), "Approved.")
		if s := out.String(); !strings.Contains(s, "0:10") || !strings.HasSuffix(s, "\r\x1b[KApproved.\r\n") {
			t.Errorf("screen %q", s)
		}
		w.Close()
		synctest.Wait()
		if err := c.Alive(t.Context()); err == nil {
			t.Error("nobody is there, and Alive says nothing")
		}
	})
}
