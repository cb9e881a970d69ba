package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// An upgrade without ending sessions: on SIGUSR2 this process starts its own
// program anew, which may be a newer one by now, and passes its listening
// sockets on. When the new process serves, it says so on a pipe; then this one
// accepts nothing more, and lives until its last session has ended, each at
// its own exact end. If the new process does not come up, nothing happens.
//
// Both use the store at once, so it takes the shared one. With the embedded
// store an upgrade is a restart; sockets that systemd holds open make
// newcomers wait instead of failing.

const (
	handedOver    = "handover"          // LISTEN_PID of a process that takes over: the parent cannot know the real one
	readyPipe     = "JIT_GATEWAY_READY" // the descriptor that a new process says on that it serves
	takeOverLimit = 90 * time.Second    // from its start to that
	handOverDrain = 25 * time.Hour      // longer than any window that began before
	arriving      = 10 * time.Second    // for those who connected before and are logging in
)

var errHandedOver = errors.New("another process of this gateway took over")

// quiet takes SIGHUP and SIGUSR2 from now on, also before anybody acts on them
// and while the gateway drains: their default is to end the process, and with
// it every session.
func quiet() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGUSR2)
}

// handOverOnSignal waits for SIGUSR2, and ends when it has handed over.
func (g *gateway) handOverOnSignal(ctx context.Context, over context.CancelCauseFunc) error {
	usr2 := make(chan os.Signal, 1)
	signal.Notify(usr2, syscall.SIGUSR2) // never stopped: see quiet
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-usr2:
		}
		if g.shared == nil {
			g.log.Error("no upgrade: the embedded store has one process at a time; restart instead (docs/operations.md)")
			continue
		}
		pid, err := g.startSuccessor(ctx)
		if err != nil {
			g.log.Error("no upgrade: the new process did not come up; this one goes on", "error", err)
			continue
		}
		g.log.Info("another process took over; this one serves what is live to its end", "pid", pid, "live_sessions", len(g.sessions.Live()))
		_ = notifySystemd(fmt.Sprintf("MAINPID=%d", pid)) // systemd follows it from now on
		over(errHandedOver)
		return nil
	}
}

// startSuccessor returns when the new process serves.
func (g *gateway) startSuccessor(ctx context.Context) (pid int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	// A package manager replaces the file: the link then names the old one.
	self = strings.TrimSuffix(self, " (deleted)")
	files, names, err := g.sockets.files()
	if err != nil {
		return 0, err
	}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	ready, says, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer ready.Close()
	cmd := exec.Command(self, os.Args[1:]...) // no context: it outlives this process
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = append(files, says)
	cmd.Env = append(inheritable(os.Environ()), fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_PID="+handedOver,
		"LISTEN_FDNAMES="+strings.Join(names, ":"), fmt.Sprintf("%s=%d", readyPipe, firstFD+len(files)))
	if err := errors.Join(cmd.Start(), says.Close()); err != nil {
		return 0, err
	}
	answer := make(chan error, 1)
	go func() {
		b, err := io.ReadAll(io.LimitReader(ready, 16))
		if err == nil && string(b) != "ready" {
			err = errors.New("it ended")
		}
		answer <- err
	}()
	limit := time.NewTimer(takeOverLimit)
	defer limit.Stop()
	select {
	case err = <-answer:
	case <-limit.C:
		err = fmt.Errorf("it was not ready within %s", takeOverLimit)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return 0, errors.Join(err, cmd.Process.Kill(), waited(cmd))
	}
	go func() { _ = cmd.Wait() }() // it lives on; its end is not this process's business
	return cmd.Process.Pid, nil
}

// inheritable is the environment without what speaks of this process alone: a
// successor that thinks the watchdog waits for somebody else keeps silent, and
// the service manager then kills the service.
func inheritable(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, "WATCHDOG_PID=") })
}

// recovered waits until sessions may begin here. Until then the process that
// passed its sockets on serves them alone, and nobody waits.
func (g *gateway) recovered(ctx context.Context) {
	for g.sessions.StoreOK() != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// letIn goes on admitting those who had connected when the successor took the
// sockets over: refused, they would notice the upgrade.
func (g *gateway) letIn(told context.Context) {
	select {
	case <-time.After(arriving):
	case <-told.Done():
	}
}

// patience is how long what is live may still live: limits.drain, or, after a
// hand-over, to its own end; but a service that is told to stop means the
// process that drains for its successor, too.
func (g *gateway) patience(base, told context.Context, handedOver bool) (context.Context, context.CancelFunc) {
	if !handedOver {
		return context.WithTimeout(base, g.conf.Limits.Drain)
	}
	drain, cancel := context.WithTimeout(base, handOverDrain)
	stop := context.AfterFunc(told, func() {
		g.log.Info("told to stop while draining for the successor", "live_sessions", len(g.sessions.Live()), "limit", g.conf.Limits.Drain)
		select {
		case <-time.After(g.conf.Limits.Drain):
			cancel()
		case <-drain.Done():
		}
	})
	return drain, func() { stop(); cancel() }
}

func waited(cmd *exec.Cmd) error {
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("its log says why: %w", exit)
	}
	return err
}

// takenOver tells the process that started this one, if one did, that it may
// let go.
func takenOver() error {
	fd := os.Getenv(readyPipe)
	os.Unsetenv(readyPipe)
	if fd == "" {
		return nil
	}
	var n uintptr
	if _, err := fmt.Sscan(fd, &n); err != nil || n < firstFD {
		return fmt.Errorf("%s is %q: not a descriptor", readyPipe, fd)
	}
	f := os.NewFile(n, "ready")
	_, err := f.WriteString("ready")
	return errors.Join(err, f.Close())
}

// successor reports whether this process takes over from another.
func successor() bool { return os.Getenv(readyPipe) != "" }
