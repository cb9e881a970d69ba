package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// requestCost is what requests cost.
type requestCost struct{ rate, p50, p99 float64 }

// grants tells what requests cost on the small store.
func (s *scale) grants(ctx context.Context) error {
	r, err := s.requests(ctx, 300)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.Out, "\nRequests, one after the other over one connection, approved by a rule: %.0f a second; filed to approved p50 %.1f ms, p99 %.1f ms.\n", r.rate, r.p50, r.p99)
	return err
}

// requests asks many times over one connection; a rule approves.
func (s *scale) requests(ctx context.Context, n int) (requestCost, error) {
	config := &ssh.ClientConfig{User: "alice", Auth: []ssh.AuthMethod{ssh.PublicKeys(s.key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: time.Minute}
	c, err := ssh.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.stack.SSHPort), config)
	if err != nil {
		return requestCost{}, err
	}
	defer c.Close()
	command := func(line string) ([]byte, error) {
		session, err := c.NewSession()
		if err != nil {
			return nil, err
		}
		out, err := session.CombinedOutput(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %s", line, err, out)
		}
		return out, nil
	}
	var took time.Duration
	var held []string // a user has no more than 30 grants that wait for a code
	for i := range n {
		start := time.Now()
		out, err := command("request deploy@web02 --no-wait --for 10m --reason scale --json")
		took += time.Since(start)
		if err != nil {
			return requestCost{}, err
		}
		var r struct{ ID string }
		if err := json.Unmarshal(out, &r); err != nil || r.ID == "" {
			return requestCost{}, fmt.Errorf("a request answered %q: %w", out, err)
		}
		if held = append(held, r.ID); len(held) == 20 || i == n-1 {
			if _, err := command("release " + strings.Join(held, " ")); err != nil {
				return requestCost{}, err
			}
			held = nil
		}
	}
	list, err := s.events(ctx, 6*n)
	if err != nil {
		return requestCost{}, err
	}
	filed := map[string]time.Time{}
	var ms []float64
	for _, e := range list {
		switch e.Type {
		case "request.filed":
			filed[e.Request] = e.Time
		case "request.approved":
			if at, ok := filed[e.Request]; ok {
				ms = append(ms, float64(e.Time.Sub(at).Microseconds())/1000)
			}
		}
	}
	slices.Sort(ms)
	if len(ms) == 0 {
		return requestCost{}, errors.New("no request was approved")
	}
	return requestCost{float64(n) / took.Seconds(), ms[len(ms)/2], ms[len(ms)*99/100]}, nil
}

func (s *scale) fileSize() (size int64, err error) {
	files, err := filepath.Glob(filepath.Join(s.stack.Dir, "gateway", "jit-gateway.db*"))
	for _, f := range files {
		if st, err := os.Stat(f); err == nil {
			size += st.Size()
		}
	}
	return size, err
}

// storeAndRestart tells what the sessions left, and what a start costs then.
func (s *scale) storeAndRestart(ctx context.Context) error {
	list, err := s.events(ctx, 100_000)
	if err != nil {
		return err
	}
	if err := s.stack.StopGateway(); err != nil { // what waits in SQLite's log goes into the file
		return err
	}
	size, err := s.fileSize()
	if err != nil {
		return err
	}
	sessions := 2 * s.Live
	took, err := s.restart(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.Out, "Store: %.1f MB after %d sessions and %d audit events; %.0f MB per 100,000 sessions.\nRestart until ready: %.2f s with %d audit events.\n",
		float64(size)/1e6, sessions, len(list), float64(size)/1e6/float64(sessions)*100_000, took.Seconds(), len(list))
	return err
}
