package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// PID names one process for good: a pid alone may be another process by the
// time it is signalled, a pid with its start time cannot.
type PID struct {
	ID    int
	Start uint64 // clock ticks since boot, field 22 of /proc/PID/stat
}

// FindPID names the process that has the pid now.
func FindPID(id int) (PID, error) {
	_, start, err := stat(id)
	if err != nil {
		return PID{}, err
	}
	return PID{id, start}, nil
}

// Alive reports whether the process still runs.
func (p PID) Alive() bool {
	state, start, err := statState(p.ID)
	return err == nil && start == p.Start && state != "Z" && state != "X"
}

// Kill kills the process if it still runs.
func (p PID) Kill() error { return p.Signal(syscall.SIGKILL) }

// Signal signals the process if it still runs.
func (p PID) Signal(sig syscall.Signal) error {
	if !p.Alive() {
		return nil
	}
	return syscall.Kill(p.ID, sig)
}

// Command is its command line, arguments separated by blanks.
func (p PID) Command() string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.ID))
	return strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
}

// Descendants lists the processes that id started, and theirs, parents first.
// sshd puts each connection in a session of its own, so process groups do not
// tell; the tree does, as long as the root of it still runs.
func Descendants(id int) []PID {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	children := map[int][]PID{}
	for _, d := range dirs {
		pid, err := strconv.Atoi(filepath.Base(d))
		if err != nil {
			continue
		}
		if ppid, start, err := stat(pid); err == nil {
			children[ppid] = append(children[ppid], PID{pid, start})
		}
	}
	var all []PID
	for queue := []int{id}; len(queue) > 0; queue = queue[1:] {
		for _, c := range children[queue[0]] {
			all = append(all, c)
			queue = append(queue, c.ID)
		}
	}
	return all
}

func stat(id int) (ppid int, start uint64, err error) {
	f, err := statFields(id)
	if err != nil {
		return 0, 0, err
	}
	ppid, err = strconv.Atoi(f[1])
	if err != nil {
		return 0, 0, err
	}
	start, err = strconv.ParseUint(f[19], 10, 64)
	return ppid, start, err
}

func statState(id int) (state string, start uint64, err error) {
	f, err := statFields(id)
	if err != nil {
		return "", 0, err
	}
	start, err = strconv.ParseUint(f[19], 10, 64)
	return f[0], start, err
}

// statFields returns the fields of /proc/PID/stat from the third (state) on:
// the second, the name, may itself hold blanks and parentheses.
func statFields(id int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	if err != nil {
		return nil, err
	}
	i := strings.LastIndexByte(string(b), ')')
	f := strings.Fields(string(b[i+1:]))
	if i < 0 || len(f) < 20 {
		return nil, fmt.Errorf("process %d: unexpected form of its stat file", id)
	}
	return f, nil
}
