package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"jit-gateway/internal/testenv/stack"
)

// A place is a directory with a gateway in it, under which alice has a grant.
type place struct {
	dir   string
	stack *stack.Stack
	undo  []func() error
}

// grantFor is longer than any run.
const grantFor = "8h"

func newPlace(ctx context.Context, r *runner, o stack.Options) (p *place, err error) {
	p = &place{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
			p = nil
		}
	}()
	if p.dir, err = os.MkdirTemp("", "jit-bench-"); err != nil {
		return p, err
	}
	p.undo = append(p.undo, func() error { return os.RemoveAll(p.dir) })
	if err := os.Chmod(p.dir, 0o755); err != nil { // logins and PostgreSQL are other users
		return p, err
	}
	o.Dir, o.Gateway = filepath.Join(p.dir, "gateway"), r.Gateway
	o.Limits = "{drain: 5s, connections_per_source: 4096}" // all clients have one address here
	o.Progress = func(format string, args ...any) {
		fmt.Fprintf(r.Log, "%6.0f s  "+format+"\n", append([]any{time.Since(r.began).Seconds()}, args...)...)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if p.stack, err = stack.Up(ctx, o); err != nil {
		return p, err
	}
	p.undo = append(p.undo, p.stack.Down)
	return p, nil
}

// close ends what was started, the last first.
func (p *place) close() error {
	var err error
	for i := len(p.undo) - 1; i >= 0; i-- {
		err = errors.Join(err, p.undo[i]())
	}
	p.undo = nil
	return err
}

// memoryDir is a directory that is not on a disk, if the machine has one: the
// way is measured, not the disk behind it.
func (p *place) memoryDir() (string, error) {
	for _, parent := range []string{"/dev/shm", p.dir} {
		dir, err := os.MkdirTemp(parent, "jit-bench-")
		if err != nil {
			continue
		}
		p.undo = append(p.undo, func() error { return os.RemoveAll(dir) })
		return dir, os.Chmod(dir, 0o755)
	}
	return "", errors.New("there is nowhere to put the data")
}
