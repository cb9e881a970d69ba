package recording

import (
	"errors"
	"iter"
	"time"
)

// Seek returns the screens as they were at t, and the events after it. It
// reads one snapshot and one segment, whatever the size of the recording.
func (r *Reader) Seek(t time.Duration) ([]Event, iter.Seq2[Event, error], error) {
	if err := r.locked(); err != nil {
		return nil, nil, err
	}
	target := min(r.segmentAt(t), len(r.segments))
	first := target
	var s screens
	for ; first > 0; first-- {
		prev := r.segments[first-1]
		if prev.screens == 0 && prev.length > 0 || r.loadScreens(first-1, &s) == nil {
			break // no terminal then, or its snapshot
		}
	}
	for i := first; i < len(r.segments) && i <= target; i++ {
		r.segment(i, -1, func(ev Event, err error) bool {
			if err != nil {
				return true // Events tells of the damage
			}
			if ev.T > t {
				return false
			}
			s.see(&ev)
			return true
		})
	}
	return s.events(t), r.after(target, t), nil
}

// loadScreens reads a segment's snapshot.
func (r *Reader) loadScreens(i int, s *screens) error {
	seg := r.segments[i]
	if seg.screens < seg.offset || seg.screens >= seg.offset+seg.length {
		return errors.New("there is no snapshot")
	}
	b := body{r: r, segment: i}
	if r.header.Encrypted() {
		h, block, err := readBlock(r.r, seg.offset, r.size, r.seed, nil)
		if err != nil {
			return err
		}
		if _, _, err := b.open(h, block); err != nil {
			return err
		}
	}
	h, block, err := readBlock(r.r, seg.screens, r.size, r.seed, nil)
	if err != nil {
		return err
	}
	raw, p, err := b.open(h, block)
	if err != nil {
		return err
	}
	var got screens
	d := decoder{b: raw, t: p.base}
	for {
		ev, ok, err := d.next()
		if err != nil {
			return err
		}
		if !ok {
			*s = got
			return nil
		}
		if ev.Kind == KindScreen && len(got.list) < maxScreens {
			got.see(&ev)
		}
	}
}
