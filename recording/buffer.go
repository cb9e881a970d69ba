package recording

import (
	"fmt"
	"time"
)

// room waits until there is room for n more bytes and returns the buffer to
// append to and the event's time since the one before it.
func (w *Writer) room(n int) (*chunk, time.Duration, error) {
	var t time.Duration
	for {
		if err := w.refusal(); err != nil {
			return nil, 0, err
		}
		t = w.now()
		if w.queued < maxQueued && !w.behind(t) {
			break
		}
		w.kick()
		w.wake.Wait()
	}
	t = max(t, w.last)
	w.last = t
	c := w.cur
	if c == nil {
		c = &chunk{base: t, last: t, tailedLast: t, shownLast: t, b: make([]byte, dataRoom, 1024)}
		w.cur = c
	}
	c.grow(n)
	d := t - c.last
	c.last = t
	return c, d, nil
}

// refusal is why no event is accepted any more. Called with mu held.
func (w *Writer) refusal() error {
	if w.err == nil && w.sealed {
		return fmt.Errorf("session %s: %w", w.h.Session, ErrSealed)
	}
	return w.err
}

// now is the time since the start in whole microseconds, as the file has it.
func (w *Writer) now() time.Duration {
	return w.o.Now().Sub(w.h.Start).Truncate(time.Microsecond)
}

// behind reports whether the disk is further behind than Interval allows.
func (w *Writer) behind(now time.Duration) bool {
	if w.o.Strict {
		return false // everybody waits anyway
	}
	oldest := w.dirty
	if w.committing {
		oldest = w.syncFrom
	}
	if oldest < 0 || now-oldest <= w.o.Interval {
		return false
	}
	w.commit = true
	return true
}

// grow makes room for n bytes; small sessions stay small, busy ones get a
// shared buffer at once.
func (c *chunk) grow(n int) {
	need := len(c.b) + n
	if need <= cap(c.b) {
		return
	}
	var b []byte
	switch {
	case need <= 16<<10:
		b = make([]byte, len(c.b), max(2*cap(c.b), need))
	case need <= pooled:
		b = getBuffer()[:len(c.b)]
	default:
		b = make([]byte, len(c.b), need)
	}
	copy(b, c.b)
	c.b = b // the old one may still be in the worker's hands
}

// added counts one event that was appended to c.
func (w *Writer) added(c *chunk) {
	c.events++
	w.seq++
	if w.dirty < 0 {
		w.dirty = c.last
		if !w.o.Strict && !w.committing {
			w.schedule()
		}
	}
	if w.segOpen < 0 {
		w.segOpen = c.last
		w.tick()
	}
	if len(c.b) >= chunkSize {
		w.cut()
		w.kick()
	} else if len(w.watches) > 0 {
		w.kick()
	}
}

// cut hands the current buffer over to the worker.
func (w *Writer) cut() {
	if w.cur != nil {
		w.full = append(w.full, w.cur)
		w.queued += len(w.cur.b)
		w.cur = nil
	}
}

// settle waits for the disk in strict mode.
func (w *Writer) settle() error {
	if !w.o.Strict {
		return nil
	}
	return w.await(w.seq)
}
