//go:build gateways

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"jit-gateway/internal/testenv"
)

// transfer is a client in a process group of its own, so that it can be held
// in the middle of its work for as long as something else takes.
type transfer struct {
	cmd  *exec.Cmd
	said bytes.Buffer
	done chan struct{}
	err  error
}

func (w *world) begin(cmd *exec.Cmd) *transfer {
	w.t.Helper()
	x := &transfer{cmd: cmd, done: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = &x.said
	w.ok(cmd.Start())
	go func() { x.err = cmd.Wait(); close(x.done) }()
	return x
}

func (x *transfer) signal(s syscall.Signal) error { return syscall.Kill(-x.cmd.Process.Pid, s) }

// upgrade: each gateway starts its program anew and passes its sockets on,
// while an scp and a pg_dump run through it and others come and go.
func (w *world) upgrade() {
	content := make([]byte, 64<<20)
	rand.Read(content)
	from, to, dump := w.Path("upload"), filepath.Join(w.Host("web02").Home("deploy"), "uploaded"), w.Path("dump.sql")
	w.ok(os.WriteFile(from, content, 0o644))
	w.ok(w.Database().Exec(w.ctx, "orders", "CREATE TABLE bulk AS SELECT n, repeat(md5(n::text), 32) AS text FROM generate_series(1, 100000) n; GRANT SELECT ON bulk TO orders_ro"))
	token, err := w.a.Direct().Run(w.ctx, "frank", "", "jit-gateway", "token", "orders")
	w.ok(err)

	scp := w.begin(w.a.Direct().SCP(context.Background(), "erin", from, "web02:uploaded"))
	pgdump := w.begin(w.b.Direct().PgDump(context.Background(), "frank", strings.TrimSpace(token), dump, "bulk"))
	w.until("both are in the middle of it", func() bool {
		for _, x := range []*transfer{scp, pgdump} {
			select {
			case <-x.done:
				w.t.Fatalf("%v is over: %v\n%s", x.cmd.Args, x.err, x.said.String())
			default:
			}
		}
		return size(to) > 1<<20 && size(dump) > 1<<20
	})
	w.ok(errors.Join(scp.signal(syscall.SIGSTOP), pgdump.signal(syscall.SIGSTOP)))
	if size(to) >= int64(len(content)) {
		w.t.Error("the upload was over before the upgrade began")
	}
	onA, onC := w.a.Direct().Shell("erin", "web02"), w.c.Direct().Shell("erin", "web02")

	var good, bad atomic.Int64
	var why sync.Map
	load, stop := context.WithCancel(w.ctx)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for load.Err() == nil {
				if out, err := w.Balanced().Run(w.ctx, "erin", "", "web02", "echo through"); err != nil || !strings.Contains(out, "through") {
					bad.Add(1)
					why.Store(fmt.Sprint(err), out)
					continue
				}
				good.Add(1)
			}
		})
	}
	began := time.Now()
	old := map[string]*testenv.Process{}
	var took []string
	for _, g := range w.Gateways {
		at := time.Now()
		old[g.Name], err = g.Upgrade()
		w.ok(err)
		took = append(took, fmt.Sprintf("%.1f s", time.Since(at).Seconds()))
	}
	time.Sleep(time.Second) // under load, on the new ones
	stop()
	wg.Wait()
	all := time.Since(began)
	if bad.Load() > 0 || good.Load() == 0 {
		w.t.Errorf("during the upgrade %d commands came through, %d did not", good.Load(), bad.Load())
		why.Range(func(k, v any) bool { w.t.Logf("%v: %v", k, v); return true })
	}

	// The sessions of before go on, and hear what other gateways say.
	w.ok(errors.Join(scp.signal(syscall.SIGCONT), pgdump.signal(syscall.SIGCONT)))
	for what, x := range map[string]*transfer{"scp": scp, "pg_dump": pgdump} {
		select {
		case <-x.done:
		case <-time.After(time.Minute):
			w.t.Fatalf("%s does not end", what)
		}
		if x.err != nil {
			w.t.Errorf("%s: %v\n%s", what, x.err, x.said.String())
		}
	}
	got, err := os.ReadFile(to)
	w.ok(err)
	if !bytes.Equal(got, content) {
		w.t.Errorf("scp brought %d bytes, want %d; they differ", len(got), len(content))
	}
	text, err := os.ReadFile(dump)
	w.ok(err)
	if n := bytes.Count(text, []byte("\n")); !bytes.Contains(text, []byte("PostgreSQL database dump complete")) || n < 100_000 {
		w.t.Errorf("the dump has %d lines and may be cut", n)
	}
	id := w.Store(`SELECT s.id FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.state = 'open' AND u.name = 'erin' AND s.gateway LIKE 'a.%'`)
	_, err = w.b.Local(w.ctx, "terminate", id, "--reason", "lunch")
	w.ok(err)
	if _, ok := onA.EndsWithin(5*time.Second, time.Now()); !ok || !strings.Contains(onA.Said(), "lunch") {
		w.t.Errorf("terminated on b, the session on a's old process goes on or says nothing: %s", onA.Said())
	}

	// The old processes end by themselves when their last session has; one that
	// is told to stop does not wait for that.
	w.ended("a's old process", old["a"])
	w.ended("b's old process", old["b"])
	if !onC.Alive() {
		w.t.Errorf("the session on c ended: %s", onC.Said())
	}
	w.ok(old["c"].Signal(syscall.SIGTERM))
	if _, ok := onC.EndsWithin(10*time.Second, time.Now()); !ok || !strings.Contains(onC.Said(), "The gateway is stopping") {
		w.t.Errorf("told to stop, c's old process leaves its session alone, or says nothing: %s", onC.Said())
	}
	w.ended("c's old process", old["c"])

	// The service manager hears the new ones.
	for _, g := range w.Gateways {
		now := time.Now()
		w.until(g.Name+" feeds the watchdog", func() bool { _, at := g.Manager.Heard("WATCHDOG=1"); return at.After(now) })
	}

	// A new program that does not come up changes nothing.
	config, err := os.ReadFile(w.a.Config())
	w.ok(err)
	w.ok(os.WriteFile(w.a.Config(), append([]byte("nmae: x\n"), config...), 0o644))
	w.ok(w.a.Signal(syscall.SIGUSR2))
	w.until("a says that the new program did not come up", func() bool { return strings.Contains(w.a.Log(), "the new process did not come up; this one goes on") })
	w.ok(os.WriteFile(w.a.Config(), config, 0o644))
	_, err = w.a.Direct().Run(w.ctx, "erin", "", "web02", "true")
	w.ok(err)
	w.row("rolling upgrade of a, b, c: each starts its program anew and passes its sockets on, under load through haproxy",
		"%d commands came through in %.1f s, none was refused; hand-overs took %s; an scp of 64 MiB and a pg_dump of 100,000 rows, stopped in the middle until all three were new, went on to their end, whole; a session on an old process was terminated from another gateway; SIGTERM ended an old process and told its user",
		good.Load(), all.Seconds(), strings.Join(took, ", "))
}

func (w *world) ended(what string, p *testenv.Process) {
	w.t.Helper()
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		w.t.Fatalf("%s goes on without a session", what)
	}
}

func size(path string) int64 {
	info, err := os.Stat(filepath.Clean(path))
	if err != nil {
		return 0
	}
	return info.Size()
}
