package fleet

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"jit-gateway/internal/testenv"
)

// Manager stands for the service manager of one gateway: it hears what the
// gateway says (sd_notify(3)), whichever of its processes says it.
type Manager struct {
	path string
	mu   sync.Mutex
	said []Word
}

// Word is one assignment of a message, and when it came.
type Word struct {
	Text string
	At   time.Time
}

// watchdogEvery is what gateways of a fleet are told.
const watchdogEvery = time.Second

func (f *Fleet) manager(name string) *Manager {
	f.t.Helper()
	m := &Manager{path: f.Path("notify-" + name)}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		f.t.Fatal(err)
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for buf := make([]byte, 4096); ; {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			m.mu.Lock()
			for text := range strings.SplitSeq(string(buf[:n]), "\n") {
				m.said = append(m.said, Word{text, time.Now()})
			}
			m.mu.Unlock()
		}
	}()
	f.t.Cleanup(func() { c.Close(); <-heard })
	return m
}

// command starts the program as systemd does: with its own process id as the
// one that the watchdog waits for.
func (m *Manager) command(program string, args ...string) []string {
	return append([]string{"/bin/sh", "-c", `WATCHDOG_PID=$$ exec "$0" "$@"`, program}, args...)
}

func (m *Manager) env() []string {
	return []string{"NOTIFY_SOCKET=" + m.path, fmt.Sprintf("WATCHDOG_USEC=%d", watchdogEvery.Microseconds())}
}

// Heard is when a word, or one that begins so, was last said; zero: never.
func (m *Manager) Heard(prefix string) (text string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range slices.Backward(m.said) {
		if strings.HasPrefix(w.Text, prefix) {
			return w.Text, w.At
		}
	}
	return "", time.Time{}
}

// Upgrade tells the gateway to start its program anew and to pass its sockets
// on, and returns once the new process is the service's. old is the process
// that drains; Stop and Kill are for the new one from then on.
func (g *Gateway) Upgrade() (old *testenv.Process, err error) {
	old = g.proc
	asked := time.Now()
	if err := old.Signal(syscall.SIGUSR2); err != nil {
		return nil, err
	}
	for deadline := asked.Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		text, at := g.Manager.Heard("MAINPID=")
		if at.After(asked) {
			var pid int
			if _, err := fmt.Sscanf(text, "MAINPID=%d", &pid); err != nil {
				return nil, err
			}
			g.proc, err = testenv.Adopt("gateway "+g.Name, pid)
			return old, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("gateway %s does not hand over:\n%s", g.Name, tail(g.Log()))
		}
	}
}
