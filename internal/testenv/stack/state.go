package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"jit-gateway/internal/testenv"
)

// Save writes what another process needs to use the stack and to stop it.
func (s *Stack) Save() error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	tmp := s.path("state.json.new")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, s.path("state.json"))
}

// Load finds the stack that another process set up in dir. It is
// fs.ErrNotExist if none was.
func Load(dir string) (*Stack, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		return nil, err
	}
	s := &Stack{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, "state.json"), err)
	}
	s.Dir = dir
	s.codes = Codes{path: s.path("codes.json")}
	s.opts.Progress = func(string, ...any) {}
	return s, nil
}

// Running reports whether everything that was started still runs.
func (s *Stack) Running() bool {
	for _, p := range append([]testenv.PID{s.GatewayPID}, s.Others...) {
		if !p.Alive() {
			return false
		}
	}
	return s.GatewayPID.ID != 0
}

// Down stops everything that still runs, the gateway first and politely, so
// that it cleans up behind its sessions.
func (s *Stack) Down() error {
	err := s.StopGateway()
	for _, p := range s.Others {
		err = errors.Join(err, stop(p, syscall.SIGINT))
	}
	if s.Backing != "" && s.Backing != s.path("targets") {
		err = errors.Join(err, os.RemoveAll(s.Backing))
	}
	return err
}

// Remove deletes the directory of a stack that is down.
func Remove(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("remove what an earlier run left: %w; another user made it, remove it as that user", err)
		}
		return fmt.Errorf("remove what an earlier run left: %w", err)
	}
	return nil
}

// StopGateway ends the gateway with SIGTERM, as a service manager does.
func (s *Stack) StopGateway() error { return stop(s.GatewayPID, syscall.SIGTERM) }

// KillGateway ends the gateway as a crash does.
func (s *Stack) KillGateway() error { return stop(s.GatewayPID, syscall.SIGKILL) }

// stop signals a process, waits, kills it if it takes too long, and kills
// what it had started.
func stop(p testenv.PID, sig syscall.Signal) error {
	if p.ID == 0 || !p.Alive() {
		return nil
	}
	children := testenv.Descendants(p.ID)
	if err := p.Signal(sig); err != nil {
		return fmt.Errorf("stop process %d: %w", p.ID, err)
	}
	var late error
	for deadline := time.Now().Add(45 * time.Second); p.Alive(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			late = fmt.Errorf("process %d (%s) did not end and was killed", p.ID, p.Command())
			p.Kill()
			deadline = time.Now().Add(time.Minute)
		}
	}
	for _, c := range children {
		c.Kill()
	}
	return late
}
