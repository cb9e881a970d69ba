package recording

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// ErrNotBegun: Create had not returned when the crash came, so that no session
// can have been recorded; or the header was destroyed since.
var ErrNotBegun = errors.New("there is no recording with a whole header")

// recover seals what is there: the recording's whole blocks, then the tail's
// pieces that continue them. Pieces are copied as they are, so that what is
// encrypted needs no key; being interrupted and repeated, it finds in the
// recording the pieces that it has copied already.
func (d *Dir) recover(session, outcome string, onSegment func(Header, SegmentInfo) error, onSealed func(Header, Seal) error) (Seal, error) {
	fail := func(err error) (Seal, error) {
		return Seal{}, fmt.Errorf("recover the recording of session %s: %w", session, plain(err))
	}
	f, err := d.fs.Open(session+suffix, true)
	if errors.Is(err, fs.ErrNotExist) {
		return fail(ErrNotBegun)
	}
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return fail(err)
	}
	c, err := openContainer(f, size)
	if err != nil {
		return fail(fmt.Errorf("%w (%v)", ErrNotBegun, err))
	}
	l, err := c.scan(checkAll)
	if err != nil {
		return fail(err)
	}
	if l.sealed {
		if err := d.rewrite(f, l.footer, l.fileEnd); err != nil {
			return fail(err)
		}
		if err := f.Sync(); err != nil {
			return fail(err)
		}
		if err := dropTail(d.fs, session); err != nil {
			return fail(err)
		}
		return l.seal, logSeal(onSealed, c.header, l.seal)
	}
	if l, err = d.untorn(c, l, session); err != nil {
		return fail(err)
	}
	if err := f.Truncate(l.end); err != nil {
		return fail(err)
	}
	if err := d.rewrite(f, min(max(l.synced, c.body), l.end), l.end); err != nil {
		return fail(err)
	}
	pieces, err := d.pieces(c, l, session)
	if err != nil {
		return fail(err)
	}
	end := l.end
	for _, b := range pieces {
		if _, err := d.writeAt(f, b, end); err != nil {
			return fail(err)
		}
		end += int64(len(b))
	}
	root := c.root
	if n := len(l.segments); n > 0 {
		root = l.segments[n-1].hash
	}
	closed := l.open != nil
	if closed {
		// The screens that a crash left unwritten are not needed: nothing
		// comes after them.
		if end, err = d.closeRecovered(f, c, l, root, end); err != nil {
			return fail(err)
		}
		root = l.segments[len(l.segments)-1].hash
	}
	if err := f.Sync(); err != nil {
		return fail(err)
	}
	if closed && onSegment != nil {
		i := len(l.segments) - 1
		if err := onSegment(c.header, l.segments[i].info(session, i)); err != nil {
			return fail(fmt.Errorf("log segment %d: %w", i, err))
		}
	}
	s := newSeal(session, outcome, d.o.Now(), l.segments, root)
	s.Recovered = true
	if _, err := d.writeFooter(f, end, c.seed, l.segments, root, &s); err != nil {
		return fail(err)
	}
	if err := dropTail(d.fs, session); err != nil {
		return fail(err)
	}
	return s, logSeal(onSealed, c.header, s)
}

func logSeal(onSealed func(Header, Seal) error, h Header, s Seal) error {
	if onSealed == nil {
		return nil
	}
	if err := onSealed(h, s); err != nil {
		return fmt.Errorf("log the seal of session %s: %w", h.Session, err)
	}
	return nil
}

// rewrite writes once more what no sync is known to have followed. After a
// sync that failed the kernel shows what was written, takes it for clean and
// lets the next sync succeed, though the disk never had it.
func (d *Dir) rewrite(f file, from, to int64) error {
	buf := make([]byte, min(to-from, 1<<20))
	for from < to {
		b := buf[:min(int64(len(buf)), to-from)]
		if _, err := f.ReadAt(b, from); err != nil {
			return err
		}
		if _, err := d.writeAt(f, b, from); err != nil {
			return err
		}
		from += int64(len(b))
	}
	return nil
}

// untorn returns the layout up to the first torn write. Writes that no sync
// had followed may be there in part, and later ones whole: what comes after
// such a gap was never acknowledged. A gap in what was durable is another
// matter: the disk has lost it since, and what is behind it stays.
func (d *Dir) untorn(c *container, l *layout, session string) (*layout, error) {
	synced := l.synced
	err := d.tail(c, session, func(p prelude, _ []byte) bool {
		synced = max(synced, p.synced)
		return true
	})
	if err != nil {
		return nil, err
	}
	for _, gap := range l.damage {
		if gap.Offset >= synced {
			cut := *c
			cut.size = gap.Offset
			return cut.scan(checkAll)
		}
	}
	return l, nil
}

// closeRecovered writes the trailer of the open segment.
func (d *Dir) closeRecovered(f file, c *container, l *layout, root [32]byte, end int64) (int64, error) {
	seg := *l.open
	t := trailer{segment: uint32(len(l.segments)), chunks: l.chunks, events: seg.events, raw: seg.raw,
		from: seg.from, to: seg.to, offset: seg.offset, screens: seg.screens}
	h := sha256.New()
	h.Write(root[:])
	if _, err := io.Copy(h, io.NewSectionReader(f, seg.offset, end-seg.offset)); err != nil {
		return 0, err
	}
	body := t.body()
	h.Write(body)
	h.Sum(seg.hash[:0])
	b := newBlock(blockTrailer, append(body, seg.hash[:]...), c.seed)
	if _, err := d.writeAt(f, b, end); err != nil {
		return 0, err
	}
	end += int64(len(b))
	seg.length = end - seg.offset
	l.segments, l.open = append(l.segments, seg), nil
	return end, nil
}

// tail visits the whole pieces of the tail, until visit says no.
func (d *Dir) tail(c *container, session string, visit func(p prelude, block []byte) bool) error {
	f, err := d.fs.Open(session+tailSuffix, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	for off := int64(0); off < size; {
		h, b, err := readBlock(f, off, size, c.seed, nil)
		if err != nil {
			return nil // torn, or the stale end of longer pieces
		}
		p, ok := parsePrelude(b[headSize:])
		if h.typ != blockChunk || !ok || !visit(p, b) {
			return nil
		}
		off += int64(len(b))
	}
	return nil
}

// pieces returns the tail's blocks that continue the recording, and counts
// them into the layout.
func (d *Dir) pieces(c *container, l *layout, session string) ([][]byte, error) {
	var out [][]byte
	want := uint32(1)
	have := uint32(0) // pieces of this chunk that an interrupted recovery copied
	if l.open != nil {
		have = l.piece
	}
	err := d.tail(c, session, func(p prelude, b []byte) bool {
		if p.segment != uint32(len(l.segments)) || p.chunk != l.nextChunk || p.piece != want {
			return false
		}
		if want > have {
			if l.open == nil {
				l.open, l.chunks = &segment{offset: l.end, from: p.base}, 0
			}
			if l.open.events == 0 {
				l.open.from = p.base
			}
			if want == 1 {
				l.chunks++
			}
			l.open.events += uint64(p.events)
			l.open.raw += uint64(p.raw)
			l.open.to = max(l.open.to, p.last)
			out = append(out, b)
		}
		want++
		return true
	})
	return out, err
}
