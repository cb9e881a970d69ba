package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func (w *pgWorld) cells() []cell {
	all := []*path{w.direct, w.bouncer, w.gateway}
	var cells []cell
	for _, mode := range []string{"simple", "extended", "prepared"} {
		for _, clients := range []int{1, 8, 32} {
			name := fmt.Sprintf("pgbench -S %s, %d clients", mode, clients)
			if clients == 1 {
				name = "pgbench -S " + mode + ", 1 client"
			}
			cells = append(cells, cell{name: name, unit: "tps", per: "µs", scale: 1e6, weight: 3 + clients/8, paths: all,
				run: func(ctx context.Context, p *path) (sample, error) { return w.pgbench(ctx, p, mode, clients, false) }})
		}
	}
	connects := func(name string, clients int, paths ...*path) cell {
		return cell{name: name, per: "ms each", scale: 1e3, weight: 2, paths: paths,
			run: func(ctx context.Context, p *path) (sample, error) { return w.pgbench(ctx, p, "simple", clients, true) }}
	}
	bulk := func(name string, run func(ctx context.Context, p *path) (int64, time.Duration, error)) cell {
		return cell{name: name, unit: "MB/s", per: "s/GB", scale: 1, weight: 2, paths: all,
			run: func(ctx context.Context, p *path) (sample, error) {
				n, took, err := run(ctx, p)
				return sample{value: float64(n) / 1e6 / took.Seconds(), work: float64(n) / 1e9}, err
			}}
	}
	return append(cells,
		bulk(fmt.Sprintf("SELECT of %d MB", w.Rows/8000), func(ctx context.Context, p *path) (int64, time.Duration, error) {
			return w.read(ctx, p, "SELECT * FROM bulk")
		}),
		bulk("COPY out", func(ctx context.Context, p *path) (int64, time.Duration, error) {
			return w.read(ctx, p, "COPY bulk TO STDOUT")
		}),
		bulk("COPY in", w.copyIn),
		connects("connections/s (-C), 1 client", 1, all...),
		connects("connections/s (-C), 8 clients", 8, all...),
		connects("the same, pgbouncer without pooling", 8, w.direct, w.fresh, w.gateway),
		cell{name: "memory (PSS) per idle connection", unit: "KiB", once: true, weight: 3, paths: []*path{nil, w.bouncer, w.gateway}, run: w.idle},
	)
}

var (
	tpsLine     = regexp.MustCompile(`(?m)^tps = ([0-9.]+)`)
	openingLine = regexp.MustCompile(`(?m)^initial connection time = ([0-9.]+) ms`)
	countLine   = regexp.MustCompile(`(?m)^number of transactions actually processed: ([0-9]+)`)
)

// pgbench runs PostgreSQL's own benchmark, read-only, over a path. With
// reconnect each transaction is a connection of its own.
func (w *pgWorld) pgbench(ctx context.Context, p *path, mode string, clients int, reconnect bool) (s sample, err error) {
	e := w.ends[p]
	seconds := w.Seconds + clients/16 // opening the connections counts too
	args := []string{"-h", "127.0.0.1", "-p", strconv.Itoa(e.port), "-U", e.user, "-n", "-S", "-M", mode,
		"-c", strconv.Itoa(clients), "-j", strconv.Itoa(min(2, clients)), "-T", strconv.Itoa(seconds)}
	single := clients == 1 && !reconnect
	var logs string
	if single {
		if logs, err = os.MkdirTemp(w.dir, "log-"); err != nil {
			return s, err
		}
		defer os.RemoveAll(logs)
		args = append(args, "-l", "--log-prefix", filepath.Join(logs, "log"))
	}
	if reconnect {
		args = append(args, "-C")
	}
	cmd := exec.CommandContext(ctx, "pgbench", append(args, "orders")...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+e.password, "PGSSLMODE=disable", "PGGSSENCMODE=disable")
	var out bytes.Buffer
	cmd.Stdout = &out
	var cpu *sampler
	if p.cpu != nil && !reconnect {
		cpu = startSampler(p.cpu)
	}
	err = run(cmd)
	end := time.Now()
	opening := 0.0
	if m := openingLine.FindSubmatch(out.Bytes()); m != nil {
		opening, _ = strconv.ParseFloat(string(m[1]), 64)
	}
	var busy float64
	if cpu != nil { // the middle of the time in which all were connected
		steady := time.Duration((float64(seconds) - opening/1e3) * float64(time.Second))
		busy = cpu.rate(end.Add(-steady*8/10), end.Add(-steady*2/10))
	}
	if err != nil {
		return s, err
	}
	tps, count := tpsLine.FindSubmatch(out.Bytes()), countLine.FindSubmatch(out.Bytes())
	if tps == nil || count == nil {
		return s, fmt.Errorf("pgbench made no transaction in %d s: %s", seconds, out.String())
	}
	if s.value, err = strconv.ParseFloat(string(tps[1]), 64); err != nil {
		return s, err
	}
	if reconnect {
		if s.work, err = strconv.ParseFloat(string(count[1]), 64); err != nil {
			return s, err
		}
	} else {
		s.cpu = busy / s.value
	}
	if single {
		p50, err := latency(logs)
		if err != nil {
			return s, err
		}
		s.also = map[string]float64{"p50 µs": p50}
	}
	return s, nil
}

// latency is the median of the transactions that pgbench logged.
func latency(dir string) (float64, error) {
	files, err := filepath.Glob(filepath.Join(dir, "log.*"))
	if err != nil {
		return 0, err
	}
	var us []float64
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(b)) {
			if fields := strings.Fields(line); len(fields) > 2 {
				v, err := strconv.ParseFloat(fields[2], 64)
				if err != nil {
					return 0, fmt.Errorf("read pgbench's log: %w", err)
				}
				us = append(us, v)
			}
		}
	}
	return median(us), nil
}

// idle opens connections, runs a query on each, and divides what the process
// in between has grown by.
func (w *pgWorld) idle(ctx context.Context, p *path) (s sample, err error) {
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
	var conns []*pgconn.PgConn
	defer func() {
		for _, c := range conns {
			c.Close(ctx)
		}
	}()
	for range w.Idle {
		c, err := w.connect(ctx, p)
		if err != nil {
			return s, fmt.Errorf("after %d connections: %w", len(conns), err)
		}
		conns = append(conns, c)
		if _, err := c.Exec(ctx, "SELECT 1").ReadAll(); err != nil {
			return s, err
		}
	}
	time.Sleep(11 * time.Second) // when it is quiet, the gateway gives its garbage back
	after, err := memory(p.pids)
	if err != nil {
		return s, err
	}
	s.value = (after - before) / float64(w.Idle)
	if p == w.gateway {
		now, err := goroutines(w.stack.MetricsPort)
		if err != nil {
			return s, err
		}
		s.also = map[string]float64{"goroutines": (now - routines) / float64(w.Idle)}
	}
	return s, nil
}
