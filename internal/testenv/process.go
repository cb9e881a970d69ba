package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
	"time"
)

// Command says how to start a fixture's process.
type Command struct {
	Name     string // what it is, for messages
	Args     []string
	Env      []string // in addition to a minimal environment
	Dir      string
	Log      string // file that takes stdout and stderr, appended to
	User     string // as root: the account to run as; empty: ours
	Detached bool   // outlives this process, in a session of its own
}

// Process is a running fixture.
type Process struct {
	Name string
	PID  int
	Log  string

	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start starts c. Unless detached it is killed when this process dies.
func (c Command) Start() (*Process, error) {
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Dir = c.Dir
	cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=" + os.Getenv("HOME")}, c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if !c.Detached {
		// Set after the switch of user, which would clear it.
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if c.User != "" && os.Geteuid() == 0 {
		cred, err := credential(c.User)
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", c.Name, err)
		}
		cmd.SysProcAttr.Credential = cred
	}
	log, err := os.OpenFile(c.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	p := &Process{Name: c.Name, PID: cmd.Process.Pid, Log: c.Log, cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Adopt is a process that something else started, as if Start had: how it
// ended is not known.
func Adopt(name string, id int) (*Process, error) {
	pid, err := FindPID(id)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	os, err := os.FindProcess(id)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p := &Process{Name: name, PID: id, cmd: &exec.Cmd{Process: os}, done: make(chan struct{})}
	go func() {
		for pid.Alive() {
			time.Sleep(20 * time.Millisecond)
		}
		close(p.done)
	}()
	return p, nil
}

// Done is closed once the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how it ended; valid after Done.
func (p *Process) Err() error {
	<-p.done
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}

// Signal sends sig to the process itself.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Stop asks with sig, kills after ten seconds, and then kills what the
// process had started and left behind.
func (p *Process) Stop(sig syscall.Signal) error {
	children := Descendants(p.PID)
	select {
	case <-p.done:
	default:
		p.cmd.Process.Signal(sig)
	}
	var late error
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		late = fmt.Errorf("%s did not end within 10 s of %v and was killed", p.Name, sig)
		p.cmd.Process.Kill()
		<-p.done
	}
	for _, c := range children {
		c.Kill()
	}
	return late
}

func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("look up the account %q: %w", name, err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: false}, nil
}
