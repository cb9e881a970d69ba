package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// parallel is how many clients connect at a time where a rate is measured.
const parallel = 8

func (w *sshWorld) cells() []cell {
	all := []*path{w.direct, w.jump, w.gateway}
	bulk := func(name string, run func(ctx context.Context, p *path) error) cell {
		return cell{name: name, unit: "MiB/s", per: "s/GiB", scale: 1, weight: 3, paths: all,
			run: func(ctx context.Context, p *path) (sample, error) {
				start := time.Now()
				err := run(ctx, p)
				return sample{value: float64(w.Size) / time.Since(start).Seconds(), work: float64(w.Size) / 1024}, err
			}}
	}
	return []cell{
		bulk("upload", func(ctx context.Context, p *path) error {
			f, err := os.Open(w.blob)
			if err != nil {
				return err
			}
			defer f.Close()
			return w.ssh(ctx, p, f, "cat >/dev/null")
		}),
		bulk("download", func(ctx context.Context, p *path) error { return w.ssh(ctx, p, nil, "cat "+w.blob) }),
		bulk("sftp put", func(ctx context.Context, p *path) error { return w.sftp(ctx, p, "put "+w.blob+" "+w.sink) }),
		bulk("sftp get", func(ctx context.Context, p *path) error { return w.sftp(ctx, p, "get "+w.blob+" /dev/null") }),
		{name: "ssh true", unit: "ms", per: "ms", scale: 1e3, weight: 2, paths: all, run: w.setup},
		{name: fmt.Sprintf("connections/s, %d in parallel", parallel), per: "ms each", scale: 1e3, weight: 3, paths: all, run: w.rate},
		{name: "echo over a pty, p50", unit: "µs", weight: 2, paths: all, run: w.echo},
		{name: "memory (PSS) per idle session", unit: "KiB", once: true, weight: 5, paths: []*path{nil, w.jump, w.gateway}, run: w.idle},
	}
}

func (w *sshWorld) sftp(ctx context.Context, p *path, command string) error {
	cmd := exec.CommandContext(ctx, "sftp", "-q", "-F", w.config, "-b", "-", w.host(p))
	cmd.Stdin = strings.NewReader(command + "\n")
	return run(cmd)
}

// setup is the time that a person waits for a prompt: the median of five.
func (w *sshWorld) setup(ctx context.Context, p *path) (sample, error) {
	const times = 5
	var ms []float64
	for range times {
		start := time.Now()
		if err := w.ssh(ctx, p, nil, "true"); err != nil {
			return sample{}, err
		}
		ms = append(ms, time.Since(start).Seconds()*1e3)
	}
	return sample{value: median(ms), work: times}, nil
}

func (w *sshWorld) rate(ctx context.Context, p *path) (sample, error) {
	n := int64(10 * parallel)
	if w.Limit > 0 {
		n = 3 * parallel
	}
	var next, failed atomic.Int64
	var clients sync.WaitGroup
	start := time.Now()
	for range parallel {
		clients.Go(func() {
			for next.Add(1) <= n {
				if w.ssh(ctx, p, nil, "true") != nil {
					failed.Add(1)
				}
			}
		})
	}
	clients.Wait()
	if bad := failed.Load(); bad > 0 {
		return sample{}, fmt.Errorf("%d of %d connections failed", bad, n)
	}
	return sample{value: float64(n) / time.Since(start).Seconds(), work: float64(n)}, nil
}

// idle opens sessions that do nothing, and divides what the process tree in
// between has grown by.
func (w *sshWorld) idle(ctx context.Context, p *path) (s sample, err error) {
	n := w.Idle
	if p == w.jump && w.Limit > 0 {
		n = max(1, n/5) // its processes are alike, and slow to come
	}
	before, err := memory(p.pids)
	if err != nil {
		return s, err
	}
	var routines float64
	if p == w.gateway {
		if routines, err = goroutines(w.stack.MetricsPort); err != nil {
			return s, err
		}
	}
	sessions := make([]*session, n)
	var next atomic.Int64
	var clients sync.WaitGroup
	for range parallel {
		clients.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				sessions[i], _ = w.open(ctx, p)
			}
		})
	}
	clients.Wait()
	open := 0
	for _, x := range sessions {
		if x != nil {
			open++
			defer x.close()
		}
	}
	if open < n {
		w.note("%s: only %d of %d idle sessions opened", p.name, open, n)
	}
	if open == 0 {
		return s, fmt.Errorf("no session opened")
	}
	time.Sleep(3 * time.Second)
	after, err := memory(p.pids)
	if err != nil {
		return s, err
	}
	s.value = (after - before) / float64(open)
	if p == w.gateway {
		now, err := goroutines(w.stack.MetricsPort)
		if err != nil {
			return s, err
		}
		s.also = map[string]float64{"goroutines": (now - routines) / float64(open)}
	}
	return s, nil
}

// A session is an ssh client that waits on its far end.
type session struct {
	cmd *exec.Cmd
	in  *os.File
}

// open starts a session and returns once its far end has spoken.
func (w *sshWorld) open(ctx context.Context, p *path) (*session, error) {
	cmd := exec.CommandContext(ctx, "ssh", "-F", w.config, w.host(p), "echo up; exec cat")
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd.Stdin = theirs
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, err
	}
	s := &session{cmd: cmd, in: ours}
	hello := make([]byte, 3)
	if n, err := out.Read(hello); err != nil || string(hello[:n]) != "up\n" {
		s.close()
		return nil, fmt.Errorf("%s: the session did not open", filepath.Base(cmd.Path))
	}
	return s, nil
}

// close ends the far end's cat, and so everything in turn.
func (s *session) close() {
	s.in.Close()
	kill := time.AfterFunc(10*time.Second, func() { s.cmd.Process.Kill() })
	s.cmd.Wait()
	kill.Stop()
}
