package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"jit-gateway/internal/testenv"
)

// show prints the story: chapters, what the teller says, and commands with
// what came back.
type show struct {
	color   bool
	chapter int
}

func newShow() *show { return &show{color: term.IsTerminal(int(os.Stdout.Fd()))} }

func (s *show) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// title begins a chapter.
func (s *show) title(text string) {
	s.chapter++
	line := fmt.Sprintf("── %d. %s ", s.chapter, text)
	fmt.Printf("\n%s\n\n", s.paint("1;36", line+strings.Repeat("─", max(4, 78-len([]rune(line))))))
}

// tell says something in the teller's own voice.
func (s *show) tell(format string, args ...any) {
	for _, line := range strings.Split(fmt.Sprintf(format, args...), "\n") {
		fmt.Println(s.paint("2", "   "+line))
	}
	fmt.Println()
}

// prompt shows a command line as somebody typed it.
func (s *show) prompt(who, line string) {
	fmt.Println(s.paint("1;32", who+"$") + " " + s.paint("1", line))
}

// output shows what came back.
func (s *show) output(text string) {
	text = clean(text)
	if text == "" {
		return
	}
	fmt.Print(text)
	if !strings.HasSuffix(text, "\n") {
		fmt.Println()
	}
}

// run shows a command, runs it, and shows what came back. An exit status that
// is not the expected one ends the story.
func (s *show) run(who, line string, cmd *exec.Cmd, want int) (string, error) {
	s.prompt(who, line)
	var both, out bytes.Buffer
	w := &lockedWriter{w: &both}
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, w), w
	err := cmd.Run()
	s.output(both.String())
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		return "", fmt.Errorf("%s: %w", line, err)
	}
	if got != want {
		return out.String(), fmt.Errorf("%q ended with status %d, the story expects %d", line, got, want)
	}
	if want != 0 {
		fmt.Println(s.paint("2", fmt.Sprintf("(exit status %d)", got)))
	}
	fmt.Println()
	return out.String(), nil
}

// part shows what a terminal has shown since the last part.
func (s *show) part(p *testenv.PTY, until string) (string, error) {
	text, err := p.Expect(until)
	fmt.Print(clean(text))
	if err != nil {
		fmt.Println()
	}
	return text, err
}

// typed types a line at a terminal that does not echo it, and shows as many
// stars instead.
func (s *show) secret(p *testenv.PTY, code string) error {
	fmt.Println(strings.Repeat("*", len(code)))
	return p.Line(code)
}

var (
	statusLine = regexp.MustCompile(`\r\x1b\[K(… [0-9:]+)?`)
	escapes    = regexp.MustCompile(`\x1b(\[[0-9;?]*[a-zA-Z]|\][^\x07]*\x07)`)
)

// clean is terminal output as text: without the counter of a wait, colours
// and carriage returns.
func clean(s string) string {
	s = statusLine.ReplaceAllString(s, "")
	s = escapes.ReplaceAllString(s, "")
	return strings.ReplaceAll(s, "\r", "")
}

// background is a command without a terminal that runs beside the story.
type background struct {
	cmd  *exec.Cmd
	out  bytes.Buffer // stdout alone
	mu   sync.Mutex
	both bytes.Buffer
	seen int
	done chan struct{}
	err  error
}

func startBackground(cmd *exec.Cmd) (*background, error) {
	b := &background{cmd: cmd, done: make(chan struct{})}
	w := &lockedWriter{mu: &b.mu, w: &b.both}
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&b.out, w), w
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		b.err = cmd.Wait()
		close(b.done)
	}()
	return b, nil
}

// news is what came since it was last asked.
func (b *background) news() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.both.String()[b.seen:]
	b.seen = b.both.Len()
	return text
}

// until waits for a text, and returns what came up to then.
func (b *background) until(ctx context.Context, part string) (string, error) {
	var got string
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		got += b.news()
		if strings.Contains(got, part) {
			return got, nil
		}
		select {
		case <-b.done:
			got += b.news()
			if strings.Contains(got, part) {
				return got, nil
			}
			return got, fmt.Errorf("%s ended (%v) before it said %q: %q", b.cmd, b.err, part, got)
		case <-ctx.Done():
			return got, ctx.Err()
		default:
		}
		if time.Now().After(deadline) {
			return got, fmt.Errorf("%s did not say %q: %q", b.cmd, part, got)
		}
	}
}

// wait waits for the end and returns the exit status.
func (b *background) wait(limit time.Duration) (int, error) {
	select {
	case <-b.done:
		return b.cmd.ProcessState.ExitCode(), nil
	case <-time.After(limit):
		b.cmd.Process.Kill()
		<-b.done
		return -1, fmt.Errorf("%s did not end within %s", b.cmd, limit)
	}
}

type lockedWriter struct {
	own sync.Mutex
	mu  *sync.Mutex
	w   io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	mu := l.mu
	if mu == nil {
		mu = &l.own
	}
	mu.Lock()
	defer mu.Unlock()
	return l.w.Write(p)
}
