package recording

import (
	"crypto/sha256"
	"errors"
	"time"
)

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
	full, err := w.dir.writeAt(f, b, off)
	if full == nil || err != nil {
		return err
	}
	w.spend(full)
	return nil
}

// spend ends a recording for which the reserve was given up.
func (w *Writer) spend(full error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// What was handed over is finished; nothing more is accepted.
	w.spent, w.commit = true, true
	w.fail(full)
}

// openTail makes the tail when the first piece goes there. Most sessions that
// are over within a moment never need one, and making and removing a file costs
// as much as all else that is written of them.
func (w *Writer) openTail() error {
	if w.tail != nil {
		return nil
	}
	f, full, err := w.dir.create(w.h.Session + tailSuffix)
	if err != nil {
		return err
	}
	w.tail, w.tailUnnamed = f, true
	if full != nil {
		w.spend(full)
	}
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
	block = b
	p.synced = w.safe.Load()
	dst := getBuffer()
	out, flags := compress(dst[:dataRoom], b[dataRoom:], p.last-p.base)
	if dst = out; flags != 0 {
		block = out
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
		if flags&flagsPacked != 0 {
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
	if err := w.openTail(); err != nil {
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
