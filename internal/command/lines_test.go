package command

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLinesAskOnStderrAndLeaveTheRestOfStdin(t *testing.T) {
	in := strings.NewReader("because\r\n123456\nssh-ed25519 AAAA")
	var stderr bytes.Buffer
	l := &lines{in: &lineReader{r: in}, err: &stderr, now: time.Now}
	for _, want := range []string{"because", "123456"} {
		if got, err := l.Ask(t.Context(), "? ", true); err != nil || got != want {
			t.Fatalf("Ask = %q, %v; want %q", got, err, want)
		}
	}
	if rest, _ := io.ReadAll(in); string(rest) != "ssh-ed25519 AAAA" {
		t.Errorf("the rest of stdin is %q", rest)
	}
	if _, err := l.Ask(t.Context(), "? ", true); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestLinesSwitchTheEchoOffForCodesAlone(t *testing.T) {
	var switched []bool
	l := &lines{in: &lineReader{r: strings.NewReader("a\nb\n")}, err: io.Discard, now: time.Now, echo: func(on bool) { switched = append(switched, on) }}
	_, _ = l.Ask(t.Context(), "? ", true)
	if len(switched) != 0 {
		t.Errorf("echo was switched for a plain question: %v", switched)
	}
	_, _ = l.Ask(t.Context(), "? ", false)
	if len(switched) != 2 || switched[0] || !switched[1] {
		t.Errorf("echo %v, want off and on", switched)
	}
}

func TestLinesTooLong(t *testing.T) {
	l := &lines{in: &lineReader{r: strings.NewReader(strings.Repeat("x", maxLine+1))}, err: io.Discard, now: time.Now}
	if _, err := l.Ask(t.Context(), "? ", true); !errors.Is(err, errLineTooLong) {
		t.Errorf("got %v", err)
	}
}

func TestLinesWaitAndCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		var stderr bytes.Buffer
		l := &lines{in: &lineReader{r: r}, err: &stderr, now: time.Now}
		for range 30 {
			if err := l.Alive(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
		}
		if n := strings.Count(stderr.String(), "Still waiting"); n != 2 {
			t.Errorf("%d signs of life in 2:30: %q", n, stderr.String())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.Ask(ctx, "? ", true); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		if err := l.Alive(ctx); err == nil {
			t.Error("alive after the end")
		}
		// The read that was left over is the next question's.
		go func() { _, _ = io.WriteString(w, "late\n") }()
		if got, err := l.Ask(t.Context(), "? ", true); err != nil || got != "late" {
			t.Errorf("Ask = %q, %v", got, err)
		}
		w.Close()
	})
}
