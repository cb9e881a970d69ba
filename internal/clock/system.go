package clock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// System is the machine's clock.
func System() Clock {
	return Clock{Now: time.Now, Boot: bootTime, NewAlarm: newFDAlarm}
}

func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(fmt.Sprintf("read CLOCK_BOOTTIME: %v", err)) // every Linux since 2.6.39 has it
	}
	return time.Duration(ts.Nano())
}

// fdAlarm is two timerfds: one on the wall clock, cancelled by the kernel when
// somebody sets it, one on CLOCK_BOOTTIME. Both are read through the runtime's
// poller by a goroutine each.
type fdAlarm struct {
	wall, boot *os.File
	c          chan struct{}
	readers    sync.WaitGroup
}

func newFDAlarm() (Alarm, error) {
	a := &fdAlarm{c: make(chan struct{}, 1)}
	var err error
	if a.wall, err = timerFD(unix.CLOCK_REALTIME, "timerfd-wall"); err != nil {
		return nil, err
	}
	if a.boot, err = timerFD(unix.CLOCK_BOOTTIME, "timerfd-boot"); err != nil {
		return nil, errors.Join(err, a.wall.Close())
	}
	for _, f := range []*os.File{a.wall, a.boot} {
		a.readers.Go(func() { a.read(f) })
	}
	return a, nil
}

func timerFD(clock int, name string) (*os.File, error) {
	fd, err := unix.TimerfdCreate(clock, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a timer: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (a *fdAlarm) read(f *os.File) {
	b := make([]byte, 8)
	for {
		_, err := f.Read(b)
		// ECANCELED is how the kernel says that the wall clock was set.
		if err != nil && !errors.Is(err, unix.ECANCELED) {
			return // closed
		}
		if err == nil && binary.NativeEndian.Uint64(b) == 0 {
			continue
		}
		select {
		case a.c <- struct{}{}:
		default: // it has fired already and nobody looked yet
		}
	}
}

func (a *fdAlarm) Set(wall time.Time, boot time.Duration) error {
	w, err := unix.TimeToTimespec(wall)
	if err != nil {
		return fmt.Errorf("set the alarm to %s: %w", wall, err)
	}
	// Zero would disarm a timer, and the past is now.
	if w.Nano() <= 0 {
		w = unix.NsecToTimespec(1)
	}
	b := unix.NsecToTimespec(int64(max(boot, 1)))
	return errors.Join(
		settime(a.wall, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, w),
		settime(a.boot, unix.TFD_TIMER_ABSTIME, b))
}

func settime(f *os.File, flags int, at unix.Timespec) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("set the alarm: %w", err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.TimerfdSettime(int(fd), flags, &unix.ItimerSpec{Value: at}, nil)
	})
	// The kernel refuses once when the clock was set meanwhile; the reader
	// wakes the owner, who sets the alarm anew.
	if errors.Is(failed, unix.ECANCELED) {
		failed = nil
	}
	if err := errors.Join(err, failed); err != nil {
		return fmt.Errorf("set the alarm: %w", err)
	}
	return nil
}

func (a *fdAlarm) C() <-chan struct{} { return a.c }

func (a *fdAlarm) Close() error {
	err := errors.Join(a.wall.Close(), a.boot.Close())
	a.readers.Wait()
	return err
}
