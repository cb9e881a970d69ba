package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/testenv/stack"
)

// hold opens sessions that do nothing, up to each of the numbers in turn.
func (l *leaker) hold(ctx context.Context, r *runner, s *stack.Stack, numbers ...int) error {
	if err := l.run(ctx, 20); err != nil { // what is made once
		return err
	}
	time.Sleep(4 * time.Second)
	pids := []int{s.GatewayPID.ID}
	before, err := memory(pids)
	if err != nil {
		return err
	}
	v, err := readVitals(s.MetricsPort)
	if err != nil {
		return err
	}
	fmt.Fprintf(r.Out, "| idle sessions | KiB (PSS) each | goroutines each |\n|--------------:|---------------:|----------------:|\n")
	var mu sync.Mutex
	var open []*ssh.Client
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for _, n := range numbers {
		var wg sync.WaitGroup
		var next atomic.Int64
		next.Store(int64(len(open)))
		for range 2 * parallel {
			wg.Go(func() {
				for next.Add(1) <= int64(n) && ctx.Err() == nil {
					c, session, err := l.open("admin")
					if err == nil {
						if _, err = session.StdinPipe(); err == nil {
							err = session.Start("exec cat")
						}
					}
					mu.Lock()
					if err != nil {
						l.failed.Add(1)
						l.last = err
					} else {
						open = append(open, c)
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		time.Sleep(45 * time.Second) // the gateway gives its garbage back when it has been quiet for a while
		after, err := memory(pids)
		if err != nil {
			return err
		}
		now, err := readVitals(s.MetricsPort)
		if err != nil {
			return err
		}
		held := float64(max(1, len(open)))
		fmt.Fprintf(r.Out, "| %13d | %14.1f | %15.1f |\n", len(open), (after-before)/held, (now.goroutines-v.goroutines)/held)
	}
	fmt.Fprintln(r.Out)
	return ctx.Err()
}

// open logs in through the gateway, as ssh -J does. Closing the client closes
// the connection that carries it.
func (l *leaker) open(login string) (*ssh.Client, *ssh.Session, error) {
	config := &ssh.ClientConfig{User: "alice", Auth: []ssh.AuthMethod{ssh.PublicKeys(l.key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: time.Minute}
	outer, err := ssh.Dial("tcp", l.addr, config)
	if err != nil {
		return nil, nil, fmt.Errorf("outer: %w", err)
	}
	fail := func(what string, err error) (*ssh.Client, *ssh.Session, error) {
		outer.Close()
		return nil, nil, fmt.Errorf("%s: %w", what, err)
	}
	conn, err := outer.Dial("tcp", "web01:22")
	if err != nil {
		return fail("channel", err)
	}
	inside := *config
	inside.User = login
	c, chans, reqs, err := ssh.NewClientConn(conn, "web01:22", &inside)
	if err != nil {
		return fail("inner", err)
	}
	inner := ssh.NewClient(c, chans, reqs)
	go func() { inner.Wait(); outer.Close() }()
	s, err := inner.NewSession()
	if err != nil {
		return fail("session", err)
	}
	return inner, s, nil
}
