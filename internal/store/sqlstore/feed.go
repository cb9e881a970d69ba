package sqlstore

import (
	"context"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// feed wakes those who wait for events as soon as a commit is durable.
type feed struct {
	mu     sync.Mutex
	last   int64         // Seq of the newest event that is known to be committed
	tree   tlog.Tree     // at the last commit of this process
	wake   chan struct{} // closed and replaced when last grows
	closed error         // why nobody may wait any more
}

// publish tells of the tree after a commit of this process.
func (f *feed) publish(last int64, tree tlog.Tree) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.tree = max(last, f.last), tree
	f.rouse()
}

// saw tells of events that another process committed.
func (f *feed) saw(last int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last > f.last {
		f.last = last
		f.rouse()
	}
}

func (f *feed) close() { f.fail(ErrClosed) }

// fail gives who waits, now or later, the error. The first one stays.
func (f *feed) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed == nil || err == ErrClosed {
		f.closed = err
	}
	f.rouse()
}

func (f *feed) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// rouse is called with mu held.
func (f *feed) rouse() {
	if f.wake != nil {
		close(f.wake)
		f.wake = nil
	}
}

// wait blocks until an event after the cursor is committed.
func (f *feed) wait(ctx context.Context, after int64) error {
	for {
		f.mu.Lock()
		if f.closed != nil && f.closed != ErrClosed {
			defer f.mu.Unlock()
			return f.closed
		}
		if f.last > after {
			f.mu.Unlock()
			return nil
		}
		if f.closed != nil {
			defer f.mu.Unlock()
			return f.closed
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
