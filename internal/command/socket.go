package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"jit-gateway/approval"
	"jit-gateway/internal/dialogue"
)

// maxCalls bounds the calls at one time; helloTime how long a hello may take.
const (
	maxCalls  = 64
	helloTime = 5 * time.Second
)

// Listen serves the administrators' socket at path until ctx is done and
// every call has ended. The socket is 0600 before anybody can find it, and
// only the gateway's own user and root are answered (SO_PEERCRED): who can
// use it could read the store and the keys anyway. replace takes the path over
// from another process of this gateway, which then goes on without it.
func (r *Runner) Listen(ctx context.Context, path string, replace bool) error {
	ln, err := listenPrivate(path, replace)
	if err != nil {
		return fmt.Errorf("open the administrators' socket: %w", err)
	}
	mine, err := os.Stat(path)
	if err != nil {
		ln.Close()
		return fmt.Errorf("open the administrators' socket: %w", err)
	}
	defer func() {
		if now, err := os.Stat(path); err == nil && os.SameFile(mine, now) { // else a successor's
			os.Remove(path)
		}
	}()
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	var calls sync.WaitGroup
	defer calls.Wait()
	slots := make(chan struct{}, maxCalls)
	for {
		conn, err := ln.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			// Out of descriptors, for one: wait, do not spin.
			r.o.Logger.Error("accept on the administrators' socket", "error", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		calls.Add(1)
		go func() {
			defer func() { <-slots; calls.Done() }()
			r.serve(ctx, conn)
		}()
	}
}

// listenPrivate makes the socket in a directory of its own, where nobody can
// reach it, and moves it into place when its mode is right. A socket that was
// left behind is replaced; one that answers is not.
func listenPrivate(path string, replace bool) (*net.UnixListener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		if !replace {
			return nil, fmt.Errorf("%s is in use: another gateway is running on this data directory", path)
		}
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s") // 0700
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	private := filepath.Join(dir, "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: private, Net: "unix"})
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(private, 0o600), os.Rename(private, path)); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

// peerUID is the user at the other end, as the kernel knows it.
func peerUID(conn *net.UnixConn) (int, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if cerr != nil {
		return 0, cerr
	}
	return int(cred.Uid), nil
}

func mayAdminister(uid int) bool { return uid == 0 || uid == os.Getuid() }

// serve runs one call.
func (r *Runner) serve(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	out := &frames{w: conn}
	uid, err := peerUID(conn)
	if err != nil || !mayAdminister(uid) {
		r.o.Logger.Warn("somebody else at the administrators' socket", "uid", uid, "error", err)
		_ = stream{out, frameErr}.say("This socket is for the gateway's own user and for root.\n")
		_ = out.send(frameExit, []byte{Failed})
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(helloTime))
	kind, p, err := readFrame(conn)
	var h hello
	if err != nil || kind != frameHello || json.Unmarshal(p, &h) != nil {
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	if h.Version != protocolVersion {
		_ = stream{out, frameErr}.say("The running gateway is another version than this command: restart it.\n")
		_ = out.send(frameExit, []byte{Failed})
		return
	}
	r.serveCall(ctx, conn, out, h)
}

func (s stream) say(text string) error {
	_, err := io.WriteString(s, text)
	return err
}

// serveCall reads the client's frames beside the command, and waits for both.
func (r *Runner) serveCall(ctx context.Context, conn *net.UnixConn, out *frames, h hello) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	in := newRemoteInput(out)
	sizes := make(chan dialogue.Size, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(sizes)
		err := clientFrames(conn, in, sizes, stop)
		in.end(err)
		stop(err)
	}()
	inv := dialogue.Invocation{
		Caller: approval.Caller{Via: "admin.sock", LocalAdmin: true}, LocalAdmin: true, Args: h.Args,
		In: in, Out: stream{out, frameOut}, Err: stream{out, frameErr},
		TTY: h.TTY, Term: h.Term, Cols: h.Cols, Rows: h.Rows, Resize: sizes,
	}
	if h.Echo {
		inv.Echo = func(on bool) { _ = out.send(frameEcho, []byte{map[bool]byte{true: 1}[on]}) }
	}
	status := r.Run(ctx, inv)
	in.end(io.EOF)
	_ = out.send(frameExit, []byte{byte(status)})
	_ = conn.CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(helloTime)) // the client hangs up
	<-read
}

// clientFrames handles what the client sends until it hangs up.
func clientFrames(conn io.Reader, in *remoteInput, sizes chan dialogue.Size, stop func(error)) error {
	for {
		kind, p, err := readFrame(conn)
		switch {
		case err != nil:
			return fmt.Errorf("the client has gone: %w", err)
		case kind == frameInput:
			if err := in.put(p); err != nil {
				return err
			}
		case kind == frameSignal:
			stop(dialogue.ErrInterrupted)
		case kind == frameSize:
			var s winsize
			if json.Unmarshal(p, &s) != nil || s.Cols <= 0 || s.Rows <= 0 || s.Cols > 4096 || s.Rows > 4096 {
				continue
			}
			select { // the newest counts
			case <-sizes:
			default:
			}
			sizes <- dialogue.Size{Cols: s.Cols, Rows: s.Rows}
		default:
			return errFrame
		}
	}
}

// remoteInput is the stdin of a call: each read asks the client for more.
type remoteInput struct {
	out *frames

	mu    sync.Mutex
	cond  *sync.Cond
	buf   []byte
	asked bool
	err   error
}

func newRemoteInput(out *frames) *remoteInput {
	in := &remoteInput{out: out}
	in.cond = sync.NewCond(&in.mu)
	return in
}

func (in *remoteInput) Read(p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.buf) == 0 {
		if in.err != nil {
			return 0, in.err
		}
		if !in.asked {
			in.asked = true
			in.mu.Unlock()
			err := in.out.send(frameWant, nil)
			in.mu.Lock()
			if err != nil {
				return 0, err
			}
			continue
		}
		in.cond.Wait()
	}
	n := copy(p, in.buf)
	in.buf = in.buf[n:]
	return n, nil
}

// put takes the answer to a question for input: one frame for each.
func (in *remoteInput) put(p []byte) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.asked {
		return errFrame
	}
	in.asked = false
	if len(p) == 0 && in.err == nil {
		in.err = io.EOF
	}
	in.buf = append(in.buf, p...)
	in.cond.Broadcast()
	return nil
}

func (in *remoteInput) end(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err == nil {
		in.err = err
	}
	in.cond.Broadcast()
}
