package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// presence is a locked file for each instance that runs from a data directory.
// Its lock ends with the process, however that ends: a file whose lock can be
// taken is that of a dead instance, and what it left may be recovered at once,
// without waiting until its last beat is old.
type presence struct {
	file *os.File
	dead []string // instances that ran from this directory and have ended
}

// bePresent makes the instance's file and finds the dead.
func bePresent(dataDir, instance string) (*presence, error) {
	dir := filepath.Join(dataDir, "instances")
	if err := privateDir(dir); err != nil {
		return nil, err
	}
	p := &presence{}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for earlier instances: %w", err)
	}
	for _, f := range files {
		id, ok := strings.CutSuffix(f.Name(), ".lock")
		if !ok {
			continue
		}
		old, err := lockInstance(filepath.Join(dir, f.Name()))
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
			continue // it drains still, or another start was faster
		}
		if err != nil {
			return nil, err
		}
		p.dead = append(p.dead, id)
		old.Close()
	}
	if p.file, err = lockInstance(filepath.Join(dir, instance+".lock")); err != nil {
		return nil, err
	}
	return p, nil
}

func lockInstance(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("mark this instance: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f, nil
}

// forget removes the files of the dead, once they are recovered.
func (p *presence) forget() {
	if p == nil {
		return
	}
	for _, id := range p.dead {
		os.Remove(filepath.Join(filepath.Dir(p.file.Name()), id+".lock"))
	}
}

// close removes this instance's file: it left nothing.
func (p *presence) close() error {
	if p == nil {
		return nil
	}
	return errors.Join(os.Remove(p.file.Name()), p.file.Close())
}
