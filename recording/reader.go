package recording

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"sort"
	"strings"
	"time"

	"filippo.io/age"
)

// A Reader reads one recording: sealed, crashed or live. It needs memory for
// one chunk, whatever the size. Use it from one goroutine at a time.
type Reader struct {
	*container
	closer   io.Closer
	segments []segment // the last one may lack a trailer, see open
	starts   []int64   // where each is read from: no byte is read twice, whatever the file says
	open     bool
	seal     Seal
	sealed   bool
	wraps    [][]byte
	id       age.Identity // of the recording's own key, once unlocked
	damage   []Damage     // found while opening
}

// NewReader reads a recording of that size from r. The footer gives random
// access at once; without one the file is scanned.
func NewReader(r io.ReaderAt, size int64) (*Reader, error) {
	c, err := openContainer(r, size)
	if err != nil {
		return nil, err
	}
	rd := &Reader{container: c}
	if rd.fromFooter() == nil {
		return rd, nil
	}
	l, err := c.scan(checkNone)
	if err != nil {
		return nil, err
	}
	rd.take(l)
	return rd, nil
}

// take makes a scanned layout the reader's.
func (r *Reader) take(l *layout) {
	r.segments, r.seal, r.sealed, r.wraps, r.damage = l.segments, l.seal, l.sealed, l.wraps, l.damage
	if l.open != nil {
		l.open.length = l.end - l.open.offset
		r.segments, r.open = append(r.segments, *l.open), true
	}
	r.order()
}

// order notes where segments are to be read from: a hostile file, or one with
// a segment in it twice, has some that begin within others.
func (r *Reader) order() {
	end := r.body
	r.starts = r.starts[:0]
	for _, s := range r.segments {
		start := max(s.offset, end)
		r.starts = append(r.starts, start)
		end = max(end, s.offset+s.length)
	}
}

func (r *Reader) fromFooter() error {
	off := r.size - int64(headSize+endSize)
	if off < r.body {
		return errTruncated
	}
	h, block, err := readBlock(r.r, off, r.size, r.seed, nil)
	if err != nil {
		return err
	}
	if h.typ != blockEnd {
		return errNotBlock
	}
	s, segs, footer, err := r.footer(block[headSize:])
	if err != nil {
		return err
	}
	s.Size = r.size
	r.seal, r.segments, r.sealed = s, segs, true
	r.order()
	// Wraps are in front of the first segment, and behind the footer.
	front := footer
	if len(segs) > 0 {
		front = segs[0].offset
	}
	wraps := func(_ int64, h head, block []byte) error {
		if h.typ == blockWraps {
			r.wraps = append(r.wraps, bytes.Clone(block[headSize:]))
		}
		return nil
	}
	ignore := func(int64, int64, error) error { return nil }
	if !r.header.Encrypted() {
		return nil
	}
	if err := r.walk(r.body, front, checkAll, wraps, ignore); err != nil {
		return err
	}
	return r.walk(footer, r.size, checkAll, wraps, ignore)
}

// Close closes the file.
func (r *Reader) Close() error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

// Header returns the header.
func (r *Reader) Header() Header { return r.header }

// Sealed returns the seal, and whether there is one.
func (r *Reader) Sealed() (Seal, bool) { return r.seal, r.sealed }

// Duration is the time of the last event.
func (r *Reader) Duration() time.Duration {
	if n := len(r.segments); n > 0 {
		return r.segments[n-1].to
	}
	return 0
}

// Segments lists the closed segments.
func (r *Reader) Segments() []SegmentInfo {
	var out []SegmentInfo
	for i, s := range r.segments {
		if i < len(r.segments)-1 || !r.open {
			out = append(out, s.info(r.header.Session, i))
		}
	}
	return out
}

// ErrLocked: the recording is encrypted and Unlock was not called.
var ErrLocked = errors.New("the recording is encrypted")

func (r *Reader) locked() error {
	if !r.header.Encrypted() || r.id != nil {
		return nil
	}
	return fmt.Errorf("%w; to read it takes the identity of one of its recipients: %s", ErrLocked, strings.Join(r.header.Encryption.Recipients, ", "))
}

// Unlock opens an encrypted recording with an age identity or ssh key of one
// of its recipients. It does nothing for one that is not encrypted.
func (r *Reader) Unlock(ids ...age.Identity) error {
	if !r.header.Encrypted() || r.id != nil {
		return nil
	}
	err := error(errors.New("there is no wrapped key in the file"))
	for _, w := range r.wraps {
		var secret []byte
		if secret, err = unwrap(w, 8<<10, ids...); err != nil {
			continue
		}
		id, public, perr := parseSecret(string(secret))
		if perr != nil || public != r.header.Encryption.Key {
			err = errors.New("a wrapped key is not the one that the header commits to")
			continue
		}
		r.id = id
		return nil
	}
	return fmt.Errorf("unlock the recording of session %s: %w", r.header.Session, err)
}

// Events yields every event in order. A *Damage error says what is missing at
// that place; the iteration goes on with what is intact.
func (r *Reader) Events() iter.Seq2[Event, error] { return r.after(0, -1) }

// After yields the events later than t.
func (r *Reader) After(t time.Duration) iter.Seq2[Event, error] {
	return r.after(r.segmentAt(t), t)
}

// segmentAt returns the first segment that ends at or after t.
func (r *Reader) segmentAt(t time.Duration) int {
	return sort.Search(len(r.segments), func(i int) bool { return r.segments[i].to >= t })
}

func (r *Reader) after(first int, t time.Duration) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := r.locked(); err != nil {
			yield(Event{}, err)
			return
		}
		told := 0
		for ; first > 0 && told < len(r.damage) && r.damage[told].Offset < r.segments[first-1].offset; told++ {
		}
		// between tells of what was found between segments: the rest is found
		// again when they are read.
		between := func(from, to int64) bool {
			for ; told < len(r.damage) && r.damage[told].Offset < to; told++ {
				if r.damage[told].Offset >= from && !yield(Event{}, &r.damage[told]) {
					return false
				}
			}
			return true
		}
		end := int64(0)
		for i := first; i < len(r.segments); i++ {
			s := r.segments[i]
			if !between(end, s.offset) || !r.segment(i, t, yield) {
				return
			}
			end = max(end, s.offset+s.length)
		}
		between(end, math.MaxInt64)
	}
}

var errStop = errors.New("stop")

// segment yields one segment's events later than t; false if yield said so.
func (r *Reader) segment(i int, t time.Duration, yield func(Event, error) bool) bool {
	s := r.segments[i]
	b := body{r: r, segment: i, at: s.from}
	visit := func(off int64, h head, block []byte) error {
		if h.typ == blockChunk {
			p, ok := parsePrelude(block[headSize:])
			if ok && p.last <= t {
				b.next(p)
				return nil
			}
		}
		raw, p, err := b.open(h, block)
		if err != nil {
			if !yield(Event{}, b.damage(off, err)) {
				return errStop
			}
			return nil
		}
		if h.typ != blockChunk {
			return nil
		}
		if missing := b.next(p); missing != "" && !yield(Event{}, b.damage(off, errors.New(missing))) {
			return errStop
		}
		d := decoder{b: raw, t: p.base}
		for {
			ev, ok, err := d.next()
			if err != nil {
				if !yield(Event{}, b.damage(off, err)) {
					return errStop
				}
				return nil
			}
			if !ok {
				return nil
			}
			b.at = ev.T
			if ev.T > t && !yield(ev, nil) {
				return errStop
			}
		}
	}
	gap := func(from, to int64, why error) error {
		if !yield(Event{}, b.damage(from, fmt.Errorf("%w; %d bytes are lost", why, to-from))) {
			return errStop
		}
		return nil
	}
	return r.walk(r.starts[i], s.offset+s.length, checkAll, visit, gap) == nil
}
