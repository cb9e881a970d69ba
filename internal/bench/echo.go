package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"jit-gateway/internal/testenv"
)

const (
	echoes   = 400 // of one byte, in each run
	echoWarm = 50
	echoWait = 20 * time.Second
)

// echo is what a person at a terminal feels: a byte there and back through a
// pty, typed half a millisecond after the last one came back.
func (w *sshWorld) echo(ctx context.Context, p *path) (s sample, err error) {
	master, slave, err := testenv.OpenPTY()
	if err != nil {
		return s, err
	}
	defer master.Close()
	cmd := exec.CommandContext(ctx, "ssh", "-tt", "-F", w.config, w.host(p), "stty raw -echo; echo READY; exec cat")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0, Pdeathsig: syscall.SIGKILL}
	err = cmd.Start()
	slave.Close()
	if err != nil {
		return s, err
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}()
	if err := untilReady(master); err != nil {
		return s, err
	}
	var us []float64
	buf := make([]byte, 64)
	for i := range echoWarm + echoes {
		if err := master.SetReadDeadline(time.Now().Add(echoWait)); err != nil {
			return s, err
		}
		start := time.Now()
		if _, err := master.Write([]byte{'x'}); err != nil {
			return s, fmt.Errorf("type: %w", err)
		}
		if _, err := master.Read(buf); err != nil {
			return s, fmt.Errorf("the echo was lost: %w", err)
		}
		if i >= echoWarm {
			us = append(us, float64(time.Since(start).Nanoseconds())/1e3)
		}
		time.Sleep(500 * time.Microsecond)
	}
	return sample{value: median(us)}, nil
}

// untilReady reads what the client shows up to the far end's word, and a
// little longer, until the terminal is quiet.
func untilReady(master *os.File) error {
	var shown bytes.Buffer
	buf := make([]byte, 4096)
	if err := master.SetReadDeadline(time.Now().Add(echoWait)); err != nil {
		return err
	}
	for quiet := false; ; {
		n, err := master.Read(buf)
		shown.Write(buf[:n])
		switch {
		case quiet && errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return fmt.Errorf("no terminal: %w: %q", err, shown.String())
		}
		if bytes.Contains(shown.Bytes(), []byte("READY")) {
			quiet = true
			if err := master.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
				return err
			}
		}
	}
}
