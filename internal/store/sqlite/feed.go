package sqlite

import (
	"context"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// feed wakes those who wait for events as soon as a commit is durable.
type feed struct {
	mu     sync.Mutex
	last   int64 // Seq of the newest event that is committed
	tree   tlog.Tree
	wake   chan struct{} // closed and replaced at each commit with events
	closed bool
}

func (f *feed) publish(last int64, tree tlog.Tree) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.tree = last, tree
	if f.wake != nil {
		close(f.wake)
		f.wake = nil
	}
}

func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.wake != nil {
		close(f.wake)
		f.wake = nil
	}
}

// wait blocks until an event after the cursor is committed.
func (f *feed) wait(ctx context.Context, after int64) error {
	for {
		f.mu.Lock()
		if f.last > after {
			f.mu.Unlock()
			return nil
		}
		if f.closed {
			f.mu.Unlock()
			return errClosed
		}
		if f.wake == nil {
			f.wake = make(chan struct{})
		}
		wake := f.wake
		f.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *feed) state() (last int64, tree tlog.Tree) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last, f.tree
}
