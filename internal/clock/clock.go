// Package clock tells the time that a grant's end is measured by: the wall
// clock, and CLOCK_BOOTTIME, which nobody can set and which goes on in suspend
// (Go's monotonic clock, and so every Go timer, stops there).
//
// Start reading at Clock. System is for production; Simulated runs on Go
// timers, for testing/synctest.
package clock

import "time"

// Clock is the two clocks and an alarm that follows both.
type Clock struct {
	Now  func() time.Time     // wall clock
	Boot func() time.Duration // CLOCK_BOOTTIME: since boot, suspend included
	// NewAlarm returns an alarm; Close it.
	NewAlarm func() (Alarm, error)
}

// An Alarm wakes its owner. One goroutine at a time may call Set.
type Alarm interface {
	// Set replaces the time at which C fires next: the earlier of the two.
	// It also fires when the wall clock is set, and may fire for nothing: the
	// owner looks at the clocks again.
	Set(wall time.Time, boot time.Duration) error
	C() <-chan struct{}
	Close() error
}

// System is the machine's clock.
func System() Clock { panic("not yet") }

// Simulated runs on time.Now and Go timers alone, which testing/synctest controls.
func Simulated() Clock { panic("not yet") }
