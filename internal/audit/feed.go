package audit

import (
	"context"
	"iter"
	"time"
)

// Source is what a store offers to readers of the log.
type Source interface {
	// Events returns at most limit events with Seq > after, in order.
	Events(ctx context.Context, after int64, limit int) ([]Event, error)
	// LastSeq is the Seq of the newest event, -1 for an empty log.
	LastSeq(ctx context.Context) (int64, error)
	// WaitEvents blocks until an event with Seq > after exists, or ctx is done.
	WaitEvents(ctx context.Context, after int64) error
}

const tailBatch = 256

// Tail yields every event after the cursor, first those that exist and then
// new ones as they are committed, until ctx is done or the store fails. The
// last pair of a failing tail carries the error. Use After = -1 for all,
// LastSeq for only what comes.
func Tail(ctx context.Context, s Source, after int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			batch, err := s.Events(ctx, after, tailBatch)
			if err != nil {
				yield(Event{}, err)
				return
			}
			for _, e := range batch {
				if !yield(e, nil) {
					return
				}
				after = e.Seq
			}
			if len(batch) > 0 {
				continue
			}
			if err := s.WaitEvents(ctx, after); err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

// A Bookmark keeps how far a reader has come, at most once a second and at the
// end: each time is a commit of the store. After a crash the reader sees the
// events of that second again, which MUST do no harm.
type Bookmark struct {
	Save func(ctx context.Context, seq int64) error
	seq  int64 // done, and not saved
	open bool
	kept time.Time
}

// At notes that everything up to seq is done.
func (b *Bookmark) At(ctx context.Context, seq int64) error {
	b.seq, b.open = seq, true
	if time.Since(b.kept) < time.Second {
		return nil
	}
	return b.save(ctx)
}

// Close saves what is not saved yet; ctx may be done.
func (b *Bookmark) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	return b.save(ctx)
}

func (b *Bookmark) save(ctx context.Context) error {
	if !b.open {
		return nil
	}
	err := b.Save(ctx, b.seq)
	b.open, b.kept = err != nil, time.Now()
	return err
}

// Filter selects events; zero fields select all.
type Filter struct {
	Types   []Type
	User    string
	Target  string
	Request string
	Grant   string
	Session string
	Since   time.Time
	Until   time.Time
	Before  int64 // Seq below this; 0: from the newest
	Limit   int   // 100 if zero
}
