package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// PTY is a program that runs in a terminal, and a person in front of it: it
// reads until what it waits for appears, and types.
type PTY struct {
	Wait time.Duration // longest wait of Expect; 20 s

	cmd    *exec.Cmd
	master *os.File

	mu      sync.Mutex
	all     []byte        // everything shown since the start
	seen    int           // how far Expect has read
	changed chan struct{} // closed and replaced when more is shown

	exited chan struct{}
	err    error
}

// NewPTY starts cmd in a new terminal; both end with the test.
func NewPTY(t testing.TB, cmd *exec.Cmd) *PTY {
	t.Helper()
	p, err := StartPTY(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		if t.Failed() {
			t.Logf("terminal of %s:\n%s", cmd, p.Screen())
		}
	})
	return p
}

// StartPTY starts cmd in a new terminal of 80 by 24.
func StartPTY(cmd *exec.Cmd) (*PTY, error) {
	master, slave, err := openPTY()
	if err != nil {
		return nil, err
	}
	defer slave.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0, Pdeathsig: syscall.SIGKILL}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "TERM=xterm")
	if err := cmd.Start(); err != nil {
		master.Close()
		return nil, fmt.Errorf("start %s in a terminal: %w", cmd, err)
	}
	p := &PTY{Wait: 20 * time.Second, cmd: cmd, master: master, changed: make(chan struct{}), exited: make(chan struct{})}
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.read()
	}()
	go func() {
		p.err = cmd.Wait()
		select {
		case <-read:
		case <-time.After(time.Second): // a child that went on holds the terminal open
		}
		close(p.exited)
	}()
	return p, nil
}

func (p *PTY) read() {
	buf := make([]byte, 32<<10)
	for {
		n, err := p.master.Read(buf)
		p.mu.Lock()
		p.all = append(p.all, buf[:n]...)
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
		if err != nil { // EIO once the last holder of the other end is gone
			return
		}
	}
}

// Send types text; end it with \r, as the return key does.
func (p *PTY) Send(text string) error {
	if _, err := p.master.WriteString(text); err != nil {
		return fmt.Errorf("type at %s: %w", p.cmd.Path, err)
	}
	return nil
}

// Line types text and the return key.
func (p *PTY) Line(text string) error { return p.Send(text + "\r") }

// Resize changes the terminal's size.
func (p *PTY) Resize(cols, rows int) error { return resize(p.master, cols, rows) }

// Expect waits until something after the last match fits the regular
// expression, and returns what was shown up to and with the match.
func (p *PTY) Expect(pattern string) (string, error) {
	re, err := regexp.Compile("(?s)" + pattern)
	if err != nil {
		return "", err
	}
	timeout := time.After(p.Wait)
	for {
		p.mu.Lock()
		rest, changed := p.all[p.seen:], p.changed
		if m := re.FindIndex(rest); m != nil {
			out := string(rest[:m[1]])
			p.seen += m[1]
			p.mu.Unlock()
			return out, nil
		}
		p.mu.Unlock()
		select {
		case <-changed:
		case <-p.exited:
			p.mu.Lock()
			rest := p.all[p.seen:]
			p.mu.Unlock()
			if re.Match(rest) {
				continue
			}
			return string(rest), fmt.Errorf("%s ended (%v) before it showed %q; it showed %q", p.cmd.Path, p.err, pattern, tail(rest))
		case <-timeout:
			return string(rest), fmt.Errorf("%s did not show %q within %s; it showed %q", p.cmd.Path, pattern, p.Wait, tail(rest))
		}
	}
}

// Exit waits for the program's end and returns its exit status, -1 if a
// signal ended it.
func (p *PTY) Exit() (int, error) {
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(p.Wait):
		return -1, fmt.Errorf("%s still runs after %s; it showed %q", p.cmd.Path, p.Wait, tail([]byte(p.Screen())))
	}
}

// Screen is everything shown so far, with line ends as \n.
func (p *PTY) Screen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.ReplaceAll(string(p.all), "\r\n", "\n")
}

// PID is the program's process.
func (p *PTY) PID() int { return p.cmd.Process.Pid }

// Close hangs the terminal up and waits for the program.
func (p *PTY) Close() {
	select {
	case <-p.exited:
	default:
		p.master.Close()
		select {
		case <-p.exited:
		case <-time.After(3 * time.Second):
			p.cmd.Process.Kill()
			<-p.exited
		}
	}
	p.master.Close()
}

func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }
