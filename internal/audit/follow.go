package audit

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Cursors is a Source that also keeps how far each follower has come. Both
// stores implement it.
type Cursors interface {
	Source
	Cursor(ctx context.Context, name string) (int64, error) // -1 at first
	SaveCursor(ctx context.Context, name string, seq int64) error
}

const (
	followPause = time.Second
	followMax   = time.Minute
	// passedOver is how many events that did not matter are read again at most
	// after a restart: each saved cursor is a write of the store.
	passedOver = 1000
)

// Follower does what follows from events, each at least once and in order: an
// event whose handling fails is tried again with growing pauses, and those
// behind it wait. Its cursor is in the store, so that it goes on after a
// restart where it was.
type Follower struct {
	Name  string // of the cursor
	Store Cursors
	// Handle MUST bear to see an event twice. It reports whether the event
	// mattered: only then is the cursor saved at once.
	Handle  func(ctx context.Context, ev Event) (mattered bool, err error)
	OnError func(ev Event, err error, nextTry time.Duration) // may be nil
	Pause   time.Duration                                    // the first one; a second if zero
}

// Begin puts a follower that never ran at the end of the log, so that it does
// not tell of what is long past. Call it before anything is served.
func (f *Follower) Begin(ctx context.Context) error {
	at, err := f.Store.Cursor(ctx, f.Name)
	if err != nil || at >= 0 {
		return err
	}
	last, err := f.Store.LastSeq(ctx)
	if err != nil || last < 0 {
		return err
	}
	return f.Store.SaveCursor(ctx, f.Name, last)
}

// Run follows until ctx is done. Trouble of the store is trouble like any
// other: it is told and tried again.
func (f *Follower) Run(ctx context.Context) error {
	if f.Name == "" || f.Store == nil || f.Handle == nil {
		return errors.New("audit: a Follower needs Name, Store and Handle")
	}
	pause := f.first()
	for ctx.Err() == nil {
		ev, err := f.follow(ctx, &pause)
		if ctx.Err() != nil {
			return nil
		}
		if f.OnError != nil {
			f.OnError(ev, err, pause)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, followMax)
	}
	return nil
}

func (f *Follower) first() time.Duration {
	if f.Pause > 0 {
		return f.Pause
	}
	return followPause
}

// follow goes on from the cursor until something fails, and returns the event
// that it failed on. Each success makes the pause short again.
func (f *Follower) follow(ctx context.Context, pause *time.Duration) (Event, error) {
	after, err := f.Store.Cursor(ctx, f.Name)
	if err != nil {
		return Event{}, fmt.Errorf("read the cursor %s: %w", f.Name, err)
	}
	saved := after
	for ev, err := range Tail(ctx, f.Store, after) {
		if err != nil {
			return ev, err
		}
		mattered, err := f.Handle(ctx, ev)
		if err != nil {
			return ev, err
		}
		*pause = f.first()
		if !mattered && ev.Seq-saved < passedOver {
			continue
		}
		if err := f.Store.SaveCursor(ctx, f.Name, ev.Seq); err != nil {
			return ev, fmt.Errorf("save the cursor %s: %w", f.Name, err)
		}
		saved = ev.Seq
	}
	return Event{}, ctx.Err()
}
