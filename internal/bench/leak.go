package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/testenv/stack"
)

// leakRules let the gateway itself end every second session.
const leakRules = `
  - name: leak
    users: ["*"]
    max_duration: 8h
    auto: true
    logins: [deploy]
    session: {idle_timeout: 3s}
  - name: hold
    users: ["*"]
    max_duration: 8h
    auto: true
    logins: [admin]
`

// vitals is what may grow in a process that leaks.
type vitals struct {
	goroutines, live, fds, rss float64 // live: of the heap, at the last collection; KiB
}

// Leak holds 200 and then 1,000 idle sessions and prints what each costs the
// gateway. Then it opens and ends o.Sessions sessions, half of them ended by
// the client and half terminated by the gateway, and prints what is left.
func Leak(ctx context.Context, o Options) (err error) {
	r := &runner{Options: o, began: time.Now()}
	p, err := newPlace(ctx, r, stack.Options{NoDatabase: true, Rules: leakRules, SSHDConfig: []string{"LogLevel ERROR", "MaxStartups 5000:30:5000"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	for _, who := range []string{"deploy@web01", "admin@web01"} {
		request, err := p.stack.Ask(ctx, "alice", who, grantFor, "leak")
		if err != nil {
			return err
		}
		if _, err := p.stack.Activate(ctx, "alice", request); err != nil {
			return err
		}
	}
	pem, err := os.ReadFile(p.stack.Key("alice"))
	if err != nil {
		return err
	}
	key, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		return err
	}
	l := &leaker{addr: fmt.Sprintf("127.0.0.1:%d", p.stack.SSHPort), key: key}
	if err := l.hold(ctx, r, p.stack, min(o.Sessions/10, 200), min(o.Sessions/2, 1000)); err != nil {
		return err
	}
	measure := func(n int) error {
		time.Sleep(4 * time.Second) // what is pending ends
		v, err := readVitals(p.stack.MetricsPort)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(r.Out, "| %8d | %10.0f | %8.0f | %6.0f | %9.0f | %7d | %6.0f |\n", n, v.goroutines, v.live, v.fds, v.rss, l.failed.Load(), time.Since(r.began).Seconds())
		return err
	}
	fmt.Fprintf(r.Out, "| sessions | goroutines | live KiB |    fds |   RSS KiB |  failed | second |\n|---------:|-----------:|---------:|-------:|----------:|--------:|-------:|\n")
	const batches = 10
	if err := l.run(ctx, 50); err != nil { // what is made once
		return err
	}
	if err := measure(50); err != nil {
		return err
	}
	for i := range batches {
		if err := l.run(ctx, o.Sessions/batches); err != nil {
			return err
		}
		if err := measure(50 + (i+1)*(o.Sessions/batches)); err != nil {
			return err
		}
	}
	if n := l.failed.Load(); n > 0 {
		return fmt.Errorf("%d sessions failed; the last: %w", n, l.last)
	}
	return nil
}

type leaker struct {
	addr   string
	key    ssh.Signer
	failed atomic.Int64
	mu     sync.Mutex
	last   error
}

func (l *leaker) run(ctx context.Context, n int) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 2 * parallel {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n) && ctx.Err() == nil; i = next.Add(1) {
				if err := l.session(i%2 == 0); err != nil {
					l.failed.Add(1)
					l.mu.Lock()
					l.last = err
					l.mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// session is one session over a connection of its own. One that waits is
// terminated by the gateway; the other one leaves.
func (l *leaker) session(wait bool) error {
	client, s, err := l.open("deploy")
	if err != nil {
		return err
	}
	defer client.Close()
	if !wait {
		return s.Run("true")
	}
	var told strings.Builder
	s.Stderr = &told
	if _, err := s.StdinPipe(); err != nil {
		return err
	}
	err = s.Run("exec cat")
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.ExitStatus() != 255 || !strings.Contains(told.String(), "jit-gateway: ") {
		return fmt.Errorf("a terminated session ended with %w, told %q", err, told.String())
	}
	return nil
}

// readVitals asks the gateway's metrics.
func readVitals(port int) (v vitals, err error) {
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	want := map[string]*float64{"go_goroutines": &v.goroutines, "go_memstats_next_gc_bytes": &v.live, "process_open_fds": &v.fds, "process_resident_memory_bytes": &v.rss}
	for lines := bufio.NewScanner(io.LimitReader(resp.Body, 4<<20)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if into := want[name]; into != nil {
			if *into, err = strconv.ParseFloat(value, 64); err != nil {
				return v, err
			}
		}
	}
	// The next collection comes when the heap is five times as large as what
	// the last one left (GOGC 400).
	v.live, v.rss = v.live/5/1024, v.rss/1024
	return v, nil
}
