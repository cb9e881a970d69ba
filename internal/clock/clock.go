// Package clock tells the time that a grant's end is measured by: the wall
// clock, and CLOCK_BOOTTIME, which nobody can set and which goes on in suspend
// (Go's monotonic clock, and so every Go timer, stops there).
//
// Start reading at Clock. System is for production; Simulated runs on Go
// timers, for testing/synctest.
package clock

import (
	"sync"
	"time"
)

// Clock is the two clocks and an alarm that follows both.
type Clock struct {
	Now  func() time.Time     // wall clock
	Boot func() time.Duration // CLOCK_BOOTTIME: since boot, suspend included
	// NewAlarm returns an alarm; Close it.
	NewAlarm func() (Alarm, error)
}

// An Alarm wakes its owner.
type Alarm interface {
	// Set replaces the time at which C fires next: the earlier of the two. C
	// also fires when the wall clock is set, and may fire for nothing: the
	// owner looks at the clocks again.
	Set(wall time.Time, boot time.Duration) error
	C() <-chan struct{}
	// Close stops the alarm and waits for what it started. C is not closed.
	Close() error
}

// Simulated runs on time.Now and Go timers alone, which testing/synctest
// controls. Its two clocks never part; Skewed makes them.
func Simulated() Clock { return Skewed(nil) }

// Skewed is Simulated with a wall clock that is ahead by what skew returns.
func Skewed(skew func() time.Duration) Clock {
	start := time.Now()
	now := func() time.Time {
		if skew == nil {
			return time.Now()
		}
		return time.Now().Add(skew())
	}
	boot := func() time.Duration { return time.Hour + time.Since(start) }
	return Clock{Now: now, Boot: boot, NewAlarm: func() (Alarm, error) {
		return &timerAlarm{now: now, boot: boot, c: make(chan struct{}, 1)}, nil
	}}
}

type timerAlarm struct {
	now  func() time.Time
	boot func() time.Duration
	c    chan struct{}

	mu     sync.Mutex
	timer  *time.Timer
	closed bool
}

func (a *timerAlarm) Set(wall time.Time, boot time.Duration) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
	if !a.closed {
		a.timer = time.AfterFunc(min(wall.Sub(a.now()), boot-a.boot()), a.fire)
	}
	return nil
}

func (a *timerAlarm) fire() {
	select {
	case a.c <- struct{}{}:
	default: // it has fired already and nobody looked yet
	}
}

func (a *timerAlarm) C() <-chan struct{} { return a.c }

func (a *timerAlarm) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	if a.timer != nil {
		a.timer.Stop()
	}
	return nil
}
