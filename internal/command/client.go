package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Stdio is what Call connects to the command. Terminals are recognised: with
// stdin and stdout on one, it is put into raw mode for the call, so that the
// gateway edits lines as it does over ssh.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// stopTime is how long an interrupted call waits for the command to end.
const stopTime = 5 * time.Second

// Call runs a command line on the gateway behind the socket at path, and
// returns its exit status. When ctx ends, the command is interrupted.
func Call(ctx context.Context, path string, args []string, s Stdio) int {
	fail := func(format string, a ...any) int {
		_, _ = fmt.Fprintf(s.Err, "jit-gateway: "+format+"\n", a...)
		return Failed
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, os.ErrPermission):
		return fail("%s is for the gateway's own user and root: try sudo", path)
	case err != nil:
		return fail("no gateway is running behind %s; start one with: jit-gateway serve", path)
	}
	defer conn.Close()
	c := &client{out: &frames{w: conn}, s: s}
	h := hello{Version: protocolVersion, Args: args, Term: os.Getenv("TERM")}
	restore, err := c.terminal(&h)
	if err != nil {
		return fail("prepare the terminal: %s", err)
	}
	defer restore()
	if err := c.out.sendJSON(frameHello, h); err != nil {
		return fail("the gateway hung up: %s", err)
	}
	defer context.AfterFunc(ctx, func() {
		_ = c.out.send(frameSignal, nil)
		_ = conn.SetReadDeadline(time.Now().Add(stopTime))
	})()
	defer c.followSize(h.TTY)()
	status, err := c.follow(conn)
	if err != nil && ctx.Err() != nil {
		return Failed
	}
	if err != nil {
		restore()
		return fail("the gateway hung up: %s", err)
	}
	return status
}

type client struct {
	out  *frames
	s    Stdio
	tty  *os.File // stdin, if it is a terminal
	once sync.Once
}

// terminal looks at the standard streams and prepares them.
func (c *client) terminal(h *hello) (restore func(), err error) {
	in, ok := c.s.In.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return func() {}, nil
	}
	c.tty = in
	out, ok := c.s.Out.(*os.File)
	if !ok || !term.IsTerminal(int(out.Fd())) {
		h.Echo = true
		return func() { c.echo(true) }, nil
	}
	h.TTY = true
	if h.Cols, h.Rows, err = term.GetSize(int(out.Fd())); err != nil {
		return nil, err
	}
	state, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, err
	}
	return func() { c.once.Do(func() { _ = term.Restore(int(in.Fd()), state) }) }, nil
}

// echo switches the echo of a terminal that is not raw.
func (c *client) echo(on bool) {
	if c.tty == nil {
		return
	}
	fd := int(c.tty.Fd())
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return
	}
	if t.Lflag &^= unix.ECHO; on {
		t.Lflag |= unix.ECHO
	}
	_ = unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// followSize tells the gateway of new sizes until stop.
func (c *client) followSize(tty bool) (stop func()) {
	if !tty {
		return func() {}
	}
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-changed:
				if cols, rows, err := term.GetSize(int(c.tty.Fd())); err == nil {
					_ = c.out.sendJSON(frameSize, winsize{cols, rows})
				}
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(changed)
		close(done)
		<-ended
	}
}

// follow handles the gateway's frames until the exit status.
func (c *client) follow(conn io.Reader) (int, error) {
	for {
		kind, p, err := readFrame(conn)
		if err != nil {
			return Failed, err
		}
		switch kind {
		case frameOut:
			if _, err := c.s.Out.Write(p); err != nil {
				return Failed, err
			}
		case frameErr:
			_, _ = c.s.Err.Write(p)
		case frameWant:
			// A read of a terminal cannot be given up: the goroutine ends with
			// the next key, or with the process.
			go c.answer()
		case frameEcho:
			c.echo(len(p) == 1 && p[0] == 1)
		case frameExit:
			if len(p) != 1 {
				return Failed, errFrame
			}
			return int(p[0]), nil
		default:
			return Failed, errFrame
		}
	}
}

// answer sends one read of stdin; an empty frame is its end.
func (c *client) answer() {
	if c.s.In == nil {
		_ = c.out.send(frameInput, nil)
		return
	}
	buf := make([]byte, chunk)
	for {
		n, err := c.s.In.Read(buf)
		if n > 0 || err != nil {
			_ = c.out.send(frameInput, buf[:n])
			return
		}
	}
}
