package sshproxy

import "sync"

// A latch is a count that can be waited for together with other things, and
// raised again while somebody waits.
type latch struct {
	mu   sync.Mutex
	n    int
	zero []chan struct{}
}

// hold raises the count by one until release is called.
func (l *latch) hold() (release func()) {
	l.mu.Lock()
	l.n++
	l.mu.Unlock()
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.n--; l.n > 0 {
			return
		}
		for _, c := range l.zero {
			close(c)
		}
		l.zero = nil
	})
}

// free is closed once the count is zero.
func (l *latch) free() <-chan struct{} {
	c := make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n == 0 {
		close(c)
	} else {
		l.zero = append(l.zero, c)
	}
	return c
}
