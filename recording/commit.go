package recording

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"syscall"
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
	case commit:
		w.syncInBackground(seq)
	}
	w.wake.Broadcast()
	return nil
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
	for _, v := range append(t.joining, t.resyncs...) {
		v.resync(w.screens.events(w.seg.to))
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
		w.fail(fmt.Errorf("the disk has not answered for %v", w.o.Stall))
	})
}

// openSegment begins a segment if none is open.
func (w *Writer) openSegment(at time.Duration) error {
	if w.hash != nil {
		return nil
	}
	w.hash = sha256.New()
	w.hash.Write(w.root[:])
	w.seg = segment{offset: w.end, from: at, to: at}
	w.segStart, w.segChunks = at, 0
	if w.to == nil {
		return nil
	}
	key, payload, err := newSegmentKey(uint32(len(w.segments)), w.to)
	if err != nil {
		return err
	}
	w.key = key
	return w.append(newBlock(blockKey, payload, w.seed))
}

// append writes a block of the open segment.
func (w *Writer) append(b []byte) error {
	if err := w.put(w.main, b, w.end); err != nil {
		return err
	}
	w.hash.Write(b)
	w.end += int64(len(b))
	w.mainDirty = true
	return nil
}

// put writes, and on a full disk spends the reserve and writes once more. The
// bytes are the same, so an encrypted block is still sealed only once.
func (w *Writer) put(f file, b []byte, off int64) error {
	_, err := f.WriteAt(b, off)
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	full := fmt.Errorf("the disk is full: %w", plain(err))
	w.dir.spendReserve()
	if _, err := f.WriteAt(b, off); err != nil {
		return full
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// What was handed over is finished; nothing more is accepted.
	w.spent, w.commit = true, true
	w.fail(full)
	return nil
}

// writeChunk appends c to the recording. The events are in c.b behind the
// room for head and prelude, so random bytes are written without a copy.
func (w *Writer) writeChunk(c *chunk) error {
	if err := w.openSegment(c.base); err != nil {
		return err
	}
	p := prelude{events: c.events, base: c.base, last: c.last, raw: uint32(len(c.b) - dataRoom)}
	p.segment, p.chunk = uint32(len(w.segments)), w.nextChunk
	b, scratch, err := w.seal(blockChunk, p, c.b)
	if err != nil {
		return err
	}
	err = w.append(b)
	putBuffer(scratch)
	if err != nil {
		return err
	}
	w.nextChunk++
	w.segChunks++
	w.seg.events += uint64(c.events)
	w.seg.raw += uint64(p.raw)
	w.seg.to = c.last
	return nil
}

// seal makes a data block of b, which has room for head and prelude in front.
// The result is b itself, or a shared buffer that is returned as second value.
func (w *Writer) seal(typ byte, p prelude, b []byte) (block, scratch []byte, err error) {
	var flags byte
	block = b
	p.synced = w.safe.Load()
	dst := getBuffer()
	if out, ok := compress(dst[:dataRoom], b[dataRoom:]); ok {
		block, dst, flags = out, out, flagZstd
	}
	if w.key != nil {
		flags |= flagSealed
		p.number = w.key.number
		w.key.number++
		if w.key.number == 0 {
			return nil, nil, errors.New("a segment has more blocks than its key may seal")
		}
	}
	block[0], block[1], block[2], block[3] = 'J', 'R', typ, flags
	p.put(block[headSize:])
	if w.key != nil {
		plain := block[dataRoom:]
		var out []byte
		if flags&flagZstd != 0 {
			out = w.key.aead.Seal(plain[:0], nonceOf(p.number), plain, associated(block))
			block = append(block[:dataRoom], out...)
		} else {
			dst = append(dst[:0], block[:dataRoom]...)
			block = w.key.aead.Seal(dst, nonceOf(p.number), plain, associated(block))
		}
		dst = block
	}
	putHead(block, typ, flags, w.seed)
	return block, dst, nil
}

// writePiece puts the newest part of the current buffer into the tail.
func (w *Writer) writePiece(piece []byte, p prelude) error {
	if err := w.openSegment(p.base); err != nil {
		return err
	}
	if w.tailEnd == 0 || w.tailChunk != w.nextChunk {
		// The pieces there may be all that the disk has of an earlier chunk.
		if w.mainDirty {
			if err := w.main.Sync(); err != nil {
				return err
			}
			w.safe.Store(w.end)
			w.mainDirty = false
		}
		w.tailChunk, w.tailPiece, w.tailEnd = w.nextChunk, 0, 0
	}
	p.segment, p.chunk, p.piece = uint32(len(w.segments)), w.tailChunk, w.tailPiece+1
	p.synced = w.safe.Load()
	var flags byte
	if w.key != nil {
		flags = flagSealed
		p.number = w.key.number
		w.key.number++
	}
	b := append(w.scratch[:0], make([]byte, dataRoom)...)
	b[0], b[1], b[2], b[3] = 'J', 'R', blockChunk, flags
	p.put(b[headSize:])
	if w.key != nil {
		b = w.key.aead.Seal(b, nonceOf(p.number), piece, associated(b))
	} else {
		b = append(b, piece...)
	}
	putHead(b, blockChunk, flags, w.seed)
	if err := w.put(w.tail, b, w.tailEnd); err != nil {
		return err
	}
	if w.scratch = b; cap(b) > 4<<10 {
		w.scratch = nil
	}
	w.tailPiece++
	w.tailEnd += int64(len(b))
	w.tailDirty = true
	return nil
}

// closeSegment writes screens and trailer of the open segment.
func (w *Writer) closeSegment() error {
	if w.hash == nil {
		return nil
	}
	if b := w.screens.encode(w.seg.to); len(b) > dataRoom {
		p := prelude{segment: uint32(len(w.segments)), chunk: w.nextChunk, events: w.screens.count(), base: w.seg.to, last: w.seg.to, raw: uint32(len(b) - dataRoom)}
		block, scratch, err := w.seal(blockScreens, p, b)
		if err != nil {
			return err
		}
		w.seg.screens = w.end
		err = w.append(block)
		putBuffer(scratch)
		if err != nil {
			return err
		}
	}
	t := trailer{segment: uint32(len(w.segments)), chunks: w.segChunks, events: w.seg.events, raw: w.seg.raw,
		from: w.seg.from, to: w.seg.to, offset: w.seg.offset, screens: w.seg.screens}
	body := t.body()
	w.hash.Write(body)
	w.hash.Sum(w.root[:0])
	b := newBlock(blockTrailer, append(body, w.root[:]...), w.seed)
	if err := w.put(w.main, b, w.end); err != nil {
		return err
	}
	w.end += int64(len(b))
	w.seg.length, w.seg.hash = w.end-w.seg.offset, w.root
	w.segments = append(w.segments, w.seg)
	w.leaves = append(w.leaves, w.seg.info(w.h.Session, len(w.segments)-1))
	w.hash, w.key, w.mainDirty = nil, nil, true
	return nil
}

// sync makes what is written durable, then reports closed segments.
func (w *Writer) sync() error {
	return w.flush(w.unsynced())
}

// unsynced is what a sync has to cover.
type unsynced struct {
	main, tail bool
	from, to   int64 // of main
	leaves     []SegmentInfo
}

func (w *Writer) unsynced() unsynced {
	u := unsynced{w.mainDirty, w.tailDirty, w.synced, w.end, w.leaves}
	w.mainDirty, w.tailDirty, w.synced, w.leaves = false, false, w.end, nil
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
		err := w.flush(u)
		stall.Stop()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.committing = false
		if err != nil {
			w.broken = true
			w.fail(err)
			return
		}
		w.durable = max(w.durable, seq)
		switch {
		case w.commit:
			w.kick()
		case w.dirty >= 0:
			w.schedule()
		}
		w.wake.Broadcast()
	}()
}
