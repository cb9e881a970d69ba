package recording

import (
	"fmt"
	"sync/atomic"
	"time"
)

// within runs f, and returns without it if it takes longer: a disk that does
// not answer holds up nobody but the goroutine that is left in the call. If f
// succeeds after all, nobody is there to use what it did, and late is called.
func within(limit time.Duration, f func() error, late func()) error {
	var settled atomic.Bool // by whoever comes first: f's end, or the limit
	done := make(chan error, 1)
	go func() {
		err := f()
		if settled.Swap(true) && err == nil && late != nil {
			late()
		}
		done <- err
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		if settled.Swap(true) {
			return <-done
		}
		return stallError(limit)
	}
}

func stallError(limit time.Duration) error {
	return fmt.Errorf("the disk has not answered for %v", limit)
}
