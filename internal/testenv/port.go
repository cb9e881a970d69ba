package testenv

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

var ports struct {
	sync.Mutex
	given map[int]bool
}

// FreePort returns a loopback TCP port that nothing listened on, and that this
// process gave to nobody before. Another process may still take it: whoever
// starts a server on it retries with a new one.
func FreePort() (int, error) {
	ports.Lock()
	defer ports.Unlock()
	if ports.given == nil {
		ports.given = map[int]bool{}
	}
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if !ports.given[port] {
			ports.given[port] = true
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free port: the kernel offers only ports that were given out")
}

// waitTCP returns once a connection to addr opens and, where a greeting is
// given, the server's first bytes begin with it; or when ctx or p ends.
func waitTCP(ctx context.Context, p *Process, addr, greeting string) error {
	var last error
	for {
		if last = greets(addr, greeting); last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("nothing answers on %s: %w", addr, last)
		case <-p.Done():
			return fmt.Errorf("%s ended before it answered on %s: %v", p.Name, addr, p.Err())
		case <-time.After(15 * time.Millisecond):
		}
	}
}

func greets(addr, greeting string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if greeting == "" {
		return nil
	}
	c.SetReadDeadline(time.Now().Add(2 * time.Second))
	buf := make([]byte, len(greeting))
	if _, err := c.Read(buf); err != nil {
		return err
	}
	if !strings.HasPrefix(greeting, string(buf)) {
		return fmt.Errorf("greeted with %q", buf)
	}
	return nil
}
