package recording

import (
	"fmt"
	"time"
)

// What reaches the disk, and in which order:
//
//  1. A full buffer becomes a chunk at the end of the recording.
//  2. At a commit, what waits in the current buffer becomes a chunk too if it
//     is large; else it goes to the tail file as a piece, uncompressed, at the
//     place of the pieces before it. The tail belongs to one chunk at a time,
//     and the chunk that replaces its pieces is synced before they are
//     overwritten.
//  3. main is synced before tail, because a piece may need the segment's key.
//  4. A closed segment is reported once it is synced.
//
// After a crash the recording's whole blocks count, then the tail's pieces of
// exactly the next chunk, in order.

// work runs until there is nothing to do. One exists at a time.
func (w *Writer) work() {
	defer w.jobs.Done()
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.err == nil || w.spent && !w.broken {
		if !w.due() {
			break
		}
		if err := w.pass(); err != nil {
			w.broken = true
			w.fail(err)
		}
	}
	w.running = false
	w.wake.Broadcast()
}

// due reports whether a pass would do anything.
func (w *Writer) due() bool {
	if len(w.full) > 0 || len(w.pending) > 0 || len(w.resyncs) > 0 || w.close || w.trim {
		return true
	}
	if len(w.watches) > 0 && w.cur != nil && len(w.cur.b) > max(w.cur.shown, dataRoom) {
		return true
	}
	return w.commit && !w.committing && w.durable < w.seq
}

// pass does what is due. It is called with mu held and releases it for the work.
func (w *Writer) pass() error {
	commit := w.commit && !w.committing
	closing, trim := w.close, w.trim
	w.close, w.trim = false, false
	if w.cur != nil && (closing || commit && len(w.cur.b)-dataRoom >= pieceMax || trim && len(w.cur.b) > 4<<10) {
		w.cut()
	}
	t := task{full: w.full, joining: w.pending, resyncs: w.resyncs, watches: w.watches, closing: closing, trim: trim}
	t.parse = w.terminal || len(w.watches) > 0
	w.full, w.pending, w.resyncs = nil, nil, nil
	// The current buffer only ever grows behind these slices, so they can be
	// read without the lock.
	if c := w.cur; c != nil {
		if b := c.b[max(c.tailed, dataRoom):]; commit && len(b) > 0 {
			t.piece = b
			t.at = prelude{events: c.events - c.tailedEvents, base: c.tailedLast, last: c.last, raw: uint32(len(b))}
			c.tailed, c.tailedEvents, c.tailedLast = len(c.b), c.events, c.last
		}
		if b := c.b[max(c.shown, dataRoom):]; len(b) > 0 && len(w.watches)+len(t.joining)+len(t.resyncs) > 0 {
			t.show, t.showFrom = b, c.shownLast
			c.shown, c.shownLast = len(c.b), c.last
			t.parse = true
		}
	}
	seq := w.seq
	if commit {
		w.commit, w.committing = false, true
		w.syncFrom, w.dirty = w.dirty, -1
	}
	stall := w.watchdog()
	w.mu.Unlock()

	released := 0
	err := w.do(&t)
	for _, c := range t.full {
		released += len(c.b)
		putBuffer(c.b)
	}
	if err == nil && commit && w.o.Strict {
		err = w.sync()
	}

	w.mu.Lock()
	stall.Stop()
	w.queued -= released
	w.awake = w.screens.awake()
	for _, v := range t.joining {
		if !v.isClosed() {
			w.watches = append(w.watches, v)
		}
	}
	switch {
	case w.hash != nil:
		w.segOpen = w.segStart
	case len(w.full) > 0:
		w.segOpen = w.full[0].base
	case w.cur != nil:
		w.segOpen = w.cur.base
	default:
		w.segOpen = -1
	}
	switch {
	case err != nil:
		w.committing = false
		return err
	case commit && w.o.Strict:
		w.durable, w.committing = seq, false
		w.committed()
	case commit:
		w.syncInBackground(seq)
	}
	w.wake.Broadcast()
	return nil
}

// committed forgets a wish for a commit that is fulfilled: who waits repeats
// it at each broadcast, and it would make the next event's commit come early.
func (w *Writer) committed() {
	if w.durable >= w.seq {
		w.commit = false
	}
}

// task is what one pass has to do without the lock.
type task struct {
	full     []*chunk
	piece    []byte // to the tail
	at       prelude
	show     []byte // of the current buffer, to terminals and viewers
	showFrom time.Duration
	joining  []*Watch
	resyncs  []*Watch
	watches  []*Watch
	parse    bool // somebody wants to see the events
	closing  bool
	trim     bool
}

func (w *Writer) do(t *task) error {
	for _, c := range t.full {
		if err := w.writeChunk(c); err != nil {
			return err
		}
		if b := c.b[max(c.shown, dataRoom):]; t.parse && len(b) > 0 {
			w.show(t.watches, b, c.shownLast)
		}
		if raw := w.seg.raw; raw >= segmentMax || raw >= segmentSize && c.last-w.segStart >= segmentMin {
			if err := w.closeSegment(); err != nil {
				return err
			}
		}
	}
	if t.closing {
		if err := w.closeSegment(); err != nil {
			return err
		}
	}
	if len(t.piece) > 0 {
		if err := w.writePiece(t.piece, t.at); err != nil {
			return err
		}
	}
	if len(t.show) > 0 {
		w.show(t.watches, t.show, t.showFrom)
	}
	if viewers := append(t.joining, t.resyncs...); len(viewers) > 0 {
		now := w.screens.events(w.seg.to) // drawn once for all
		for _, v := range viewers {
			v.resync(now)
		}
	}
	if t.trim {
		w.screens.freeze()
	}
	return nil
}

// watchdog ends the session if the disk does not answer. Its goroutine stays
// in the system call for as long as that lasts; nobody else waits for it.
func (w *Writer) watchdog() *time.Timer {
	return time.AfterFunc(w.o.Stall, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.broken, w.stalled = true, true
		w.fail(stallError(w.o.Stall))
	})
}

// sync makes what is written durable, then reports closed segments.
func (w *Writer) sync() error {
	return w.flush(w.unsynced())
}

// unsynced is what a sync has to cover.
type unsynced struct {
	main, tail bool
	name       bool  // of the tail
	from, to   int64 // of main
	leaves     []SegmentInfo
}

func (w *Writer) unsynced() unsynced {
	u := unsynced{w.mainDirty, w.tailDirty, w.tailUnnamed, w.synced, w.end, w.leaves}
	w.mainDirty, w.tailDirty, w.tailUnnamed, w.synced, w.leaves = false, false, false, w.end, nil
	return u
}

func (w *Writer) flush(u unsynced) error {
	if u.main {
		if err := w.main.Sync(); err != nil {
			return err
		}
		w.safe.Store(u.to)
		if f, ok := w.main.(interface{ Forget(off, n int64) }); ok && u.to-u.from > 1<<20 {
			f.Forget(u.from, u.to-u.from)
		}
	}
	if u.tail {
		if err := w.tail.Sync(); err != nil {
			return err
		}
	}
	if u.name {
		if err := w.dir.fs.SyncDir(); err != nil {
			return err
		}
	}
	for _, s := range u.leaves {
		if err := w.report(s); err != nil {
			return fmt.Errorf("log segment %d: %w", s.Index, err)
		}
	}
	return nil
}

func (w *Writer) report(s SegmentInfo) error {
	switch {
	case w.o.OnSegment != nil:
		return w.o.OnSegment(s)
	case w.dir.o.OnSegment != nil:
		return w.dir.o.OnSegment(w.h, s)
	}
	return nil
}

// syncInBackground lets the worker go on writing while the disk works.
// Called with mu held, by the worker.
func (w *Writer) syncInBackground(seq uint64) {
	u := w.unsynced()
	stall := w.watchdog()
	w.jobs.Add(1)
	go func() {
		defer w.jobs.Done()
		began := time.Now()
		err := w.flush(u)
		stall.Stop()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.syncTook = max(time.Since(began), w.syncTook*7/8)
		w.committing = false
		if err != nil {
			w.broken = true
			w.fail(err)
			return
		}
		w.durable = max(w.durable, seq)
		w.committed()
		switch {
		case w.commit:
			w.kick()
		case w.dirty >= 0:
			w.schedule()
		}
		w.wake.Broadcast()
	}()
}
