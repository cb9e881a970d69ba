package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"jit-gateway/internal/testenv"
)

// A meter reads CPU seconds used so far.
type meter func() (float64, error)

// processCPU sums what the scheduler counted for every thread of a process:
// nanoseconds, where /proc/PID/stat has ticks of 10 ms. It holds for servers
// that do not fork and keep their threads, such as the gateway and pgbouncer.
func processCPU(pid int) meter {
	return func() (float64, error) {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(files) == 0 {
			return 0, fmt.Errorf("process %d is gone", pid)
		}
		var sum float64
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				continue // a thread that has just ended
			}
			ns, _, _ := strings.Cut(string(b), " ")
			n, err := strconv.ParseFloat(ns, 64)
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", f, err)
			}
			sum += n / 1e9
		}
		return sum, nil
	}
}

// A sampler reads a meter every so often, so that a part of a run can be
// looked at afterwards: clients that open a connection, and the ends of their
// sessions, are not what a transaction costs.
type sampler struct {
	read meter
	stop chan struct{}
	done chan []reading
}

type reading struct {
	at  time.Time
	cpu float64
}

func startSampler(m meter) *sampler {
	s := &sampler{m, make(chan struct{}), make(chan []reading, 1)}
	go func() {
		tick := time.NewTicker(40 * time.Millisecond)
		defer tick.Stop()
		var all []reading
		for {
			if cpu, err := s.read(); err == nil {
				all = append(all, reading{time.Now(), cpu})
			}
			select {
			case <-s.stop:
				s.done <- all
				return
			case <-tick.C:
			}
		}
	}()
	return s
}

// rate stops the sampler and returns CPU seconds per second between the two
// moments; 0 if there are not enough readings.
func (s *sampler) rate(from, to time.Time) float64 {
	close(s.stop)
	var in []reading
	for _, r := range <-s.done {
		if !r.at.Before(from) && !r.at.After(to) {
			in = append(in, r)
		}
	}
	if len(in) < 3 {
		return 0
	}
	a, b := in[0], in[len(in)-1]
	return (b.cpu - a.cpu) / b.at.Sub(a.at).Seconds()
}

// group puts a server into a control group of its own, which counts what its
// children use: sshd has two per connection, and does not wait for all of
// them. It needs root and a group hierarchy that can be written; without them
// there is no meter, and the table has a dash.
func group(name string, pid int) (m meter, leave func()) {
	for _, h := range []struct{ root, file string }{
		{"/sys/fs/cgroup/cpuacct", "cpuacct.usage"},
		{"/sys/fs/cgroup", "cpu.stat"},
	} {
		dir := filepath.Join(h.root, fmt.Sprintf("jit-bench-%d-%s", os.Getpid(), name))
		file := filepath.Join(dir, h.file)
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		if _, err := os.Stat(file); err != nil || os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644) != nil {
			os.Remove(dir)
			continue
		}
		return func() (float64, error) { return groupCPU(file) }, func() { os.Remove(dir) }
	}
	return nil, func() {}
}

func groupCPU(file string) (float64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	text, unit := strings.TrimSpace(string(b)), 1e9
	if filepath.Base(file) == "cpu.stat" {
		if f := strings.Fields(text); len(f) > 1 && f[0] == "usage_usec" {
			text, unit = f[1], 1e6
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", file, err)
	}
	return n / unit, nil
}

// memory is the proportional set size of the processes and all that they
// started, in KiB: pages that forks share count once.
func memory(pids []int) (float64, error) {
	var sum float64
	for _, root := range pids {
		all := []int{root}
		for _, p := range testenv.Descendants(root) {
			all = append(all, p.ID)
		}
		for _, pid := range all {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
			if errors.Is(err, os.ErrNotExist) || (err != nil && pid != root) {
				continue // it has just ended
			}
			if err != nil {
				return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
			}
			for line := range strings.Lines(string(b)) {
				if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
					kib, err := strconv.ParseFloat(f[1], 64)
					if err != nil {
						return 0, err
					}
					sum += kib
				}
			}
		}
	}
	return sum, nil
}
