package vt

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// tmux is another emulator to compare with (Debian package tmux).
type tmux struct {
	t      *testing.T
	socket string
	dir    string
	n      int
}

func startTmux(t *testing.T) *tmux {
	t.Helper()
	dir, err := os.MkdirTemp("", "vt") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	x := &tmux{t: t, socket: filepath.Join(dir, "s"), dir: dir}
	t.Cleanup(func() {
		x.command("kill-server").Run() //nolint:errcheck // it may be gone
		os.RemoveAll(dir)
	})
	x.run("new-session", "-d", "-s", "base", "exec sleep 600", ";", "set", "-g", "status", "off") // a status line would take a row
	return x
}

func (x *tmux) command(args ...string) *exec.Cmd {
	c := exec.Command("tmux", append([]string{"-u", "-S", x.socket, "-f", "/dev/null"}, args...)...)
	c.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TERM=xterm-256color", "TMUX=")
	return c
}

func (x *tmux) run(args ...string) string {
	x.t.Helper()
	out, err := x.command(args...).CombinedOutput()
	if err != nil {
		x.t.Fatalf("tmux %s: %v: %s (the package tmux is needed)", args[0], err, out)
	}
	return string(out)
}

// show returns what tmux shows after in, and where its cursor is.
func (x *tmux) show(in []byte, cols, rows int) ([]string, string) {
	x.t.Helper()
	x.n++
	name := fmt.Sprintf("s%d", x.n)
	file := filepath.Join(x.dir, name)
	done := "done-" + name
	if err := os.WriteFile(file, append(bytes.Clone(in), "\x18\x1b]2;"+done+"\x07"...), 0o600); err != nil {
		x.t.Fatal(err)
	}
	x.run("new-session", "-d", "-s", name, "-x", fmt.Sprint(cols), "-y", fmt.Sprint(rows),
		fmt.Sprintf("stty raw -echo; cat %s; exec sleep 600", file))
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(x.run("display", "-p", "-t", name, "#{pane_title}"), done); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			x.t.Fatalf("tmux did not read %s to its end", file)
		}
	}
	lines := strings.Split(strings.TrimSuffix(x.run("capture-pane", "-p", "-t", name), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	at := strings.TrimSpace(x.run("display", "-p", "-t", name, "#{cursor_x},#{cursor_y}"))
	x.run("kill-session", "-t", name)
	return lines, at
}

// common is a stream of what both emulators claim to do alike. Left out is
// what they decide differently on purpose: tmux forgets the last column's
// pending wrap on some moves where xterm keeps it, so text never ends there;
// and a new scroll region sends it to the screen's first row even in origin mode;
// and half of a wide character that was erased vanishes from what it captures.
func common(r *rand.Rand, n int) []byte {
	var b bytes.Buffer
	b.WriteString("\x1b[?1049h")
	for b.Len() < n {
		switch r.IntN(15) {
		case 0, 1, 2, 3, 4:
			b.WriteString([]string{"total 48", "─┐", "drwxr-xr-x", "x", "é"}[r.IntN(5)] + "\r\n"[:r.IntN(3)])
		case 5:
			b.WriteString("\r\n")
		case 6:
			fmt.Fprintf(&b, "\x1b[%d;%dH", 1+r.IntN(12), 1+r.IntN(20))
		case 7:
			fmt.Fprintf(&b, "\x1b[?6l\x1b[%d;%dr", 1+r.IntN(4), 6+r.IntN(6))
		case 8, 9:
			fmt.Fprintf(&b, "\r\x1b[%dC\x1b[%d%c", 1+r.IntN(20), 1+r.IntN(5), "@ABCDEFPSTXd"[r.IntN(12)])
		case 10:
			fmt.Fprintf(&b, "\r\x1b[%dC\x1b[%d%c", 1+r.IntN(20), r.IntN(3), "JK"[r.IntN(2)])
		case 11:
			fmt.Fprintf(&b, "\x1b[%dm\x1b[38;5;%dm\x1b[48;2;%d;2;3m", r.IntN(50), r.IntN(256), r.IntN(256))
		case 12:
			b.WriteString("\r" + []string{"\x1bM", "\x1bD", "\x1bE", "\x1b7", "\x1b8", "\t", "\x1b[?6h\x1b[2;2H", "\x1b[?6l", "\x1b[4h\x1b[4l", "\x1b]0;t\x07", "\x1bPq\x1b\\"}[r.IntN(11)])
		case 14: // outside the scroll region tmux obeys these, xterm does not
			fmt.Fprintf(&b, "\x1b[?6l\x1b[r\x1b[%d;1H\x1b[%d%c", 1+r.IntN(12), 1+r.IntN(4), "LM"[r.IntN(2)])
		case 13:
			b.WriteString("\r\x1b[2K0123456789012345678901234567890123456789\r") // wraps
		}
	}
	return b.Bytes()
}

// TestAgainstTmux: another emulator shows the same.
func TestAgainstTmux(t *testing.T) {
	x := startTmux(t)
	cast, err := os.ReadFile(filepath.Join("testdata", "vim.raw"))
	if err != nil {
		t.Fatal(err)
	}
	type input struct {
		name       string
		in         []byte
		cols, rows int
	}
	inputs := []input{{"editor", cast, 80, 24}, {"editor, half way", cast[:len(cast)/2], 80, 24}}
	inputs = append(inputs, input{"wide", []byte("日本語x\r\n12345678901234567890123456789日本\x1b[5;3H漢字\x1b[2D!"), 30, 12})
	for seed := range uint64(60) {
		inputs = append(inputs, input{fmt.Sprintf("seed %d", seed), common(rand.New(rand.NewPCG(seed, 3)), 400), 30, 12})
	}
	for _, c := range inputs {
		lines, at := x.show(c.in, c.cols, c.rows)
		term := New(c.cols, c.rows)
		term.Write(c.in)
		ours := term.Lines()
		cx, cy := term.Cursor()
		if ourAt := fmt.Sprintf("%d,%d", cx, cy); !slices.Equal(ours, lines) || ourAt != at && !term.cur.wrap {
			t.Errorf("%s: tmux shows\n%s\ncursor %s; we show\n%s\ncursor %s\ninput %q", c.name, strings.Join(lines, "\n"), at, strings.Join(ours, "\n"), ourAt, c.in)
			return
		}
	}
}
