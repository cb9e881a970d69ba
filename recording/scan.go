package recording

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// Damage says where a recording is broken and what is missing because of it.
type Damage struct {
	Offset  int64         `json:"offset"`
	Segment int           `json:"segment"`
	From    time.Duration `json:"from"` // the last moment that is known before it
	What    string        `json:"what"`
}

func (d *Damage) Error() string {
	return fmt.Sprintf("the recording is damaged at byte %d (segment %d, after %s): %s", d.Offset, d.Segment, clock(d.From), d.What)
}

// clock writes a moment of a recording: 1:02:03.4.
func clock(t time.Duration) string {
	h, m, s := int(t/time.Hour), int(t/time.Minute)%60, t%time.Minute
	if h > 0 {
		return fmt.Sprintf("%d:%02d:%04.1f", h, m, s.Truncate(100*time.Millisecond).Seconds())
	}
	return fmt.Sprintf("%d:%04.1f", m, s.Truncate(100*time.Millisecond).Seconds())
}

// container is what the beginning of a file says.
type container struct {
	r      io.ReaderAt
	size   int64
	header Header
	seed   uint32
	root   [32]byte // hash of magic and header: the chain starts from it
	body   int64    // where the first block after the header begins
	vain   int64    // bytes that resync has read for what was no block
}

// maxVain bounds vain. Whoever prints what looks like the heads of long blocks,
// or makes such a file, would else have each of them read to its claimed end.
// Beyond it only trailers and ends are looked for, which are short: what is
// lost more is the rest of a segment.
const maxVain = 256 << 20

func openContainer(r io.ReaderAt, size int64) (*container, error) {
	b := make([]byte, len(magic))
	if size < int64(len(magic)+headSize) {
		return nil, errors.New("it is too short to be a recording")
	}
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("read it: %w", err)
	}
	if string(b) != magic {
		return nil, errors.New("it is not a recording, or of a version that this program does not know")
	}
	h, err := readHead(r, int64(len(magic)), size)
	if err != nil || h.typ != blockHeader || h.length > maxHeader {
		return nil, errors.New("its header is damaged")
	}
	_, block, err := readBlock(r, int64(len(magic)), size, 0, nil)
	if err != nil {
		return nil, fmt.Errorf("its header is damaged: %w", err)
	}
	c := &container{r: r, size: size, body: int64(len(magic) + len(block))}
	if err := json.Unmarshal(block[headSize:], &c.header); err != nil {
		return nil, fmt.Errorf("its header is damaged: %w", err)
	}
	if c.header.Version != Version {
		return nil, fmt.Errorf("it has version %d; this program reads version %d", c.header.Version, Version)
	}
	nonce, err := hex.DecodeString(c.header.Nonce)
	if err != nil || len(nonce) != 16 {
		return nil, errors.New("its header is damaged: there is no nonce")
	}
	c.seed = seedOf(nonce)
	c.root = sha256.Sum256(append(b, block...))
	return c, nil
}

// walk visits the blocks in [off, end). Where there is none it looks for the
// next one and tells of the gap. From the offset check on, every block is read
// and its checksum compared; before it, only heads are read and block holds the
// payload of trailers, keys, wraps and footers alone.
func (c *container) walk(off, end, check int64, visit func(off int64, h head, block []byte) error, gap func(from, to int64, why error) error) error {
	var buf []byte
	for off < end {
		h, err := readHead(c.r, off, end)
		var block []byte
		if err == nil {
			switch {
			case off >= check || h.typ != blockChunk && h.typ != blockScreens:
				h, block, err = readBlock(c.r, off, end, c.seed, buf)
				if err == nil {
					buf = block
				}
			default:
				block = make([]byte, min(dataRoom, headSize+int(h.length)))
				_, err = c.r.ReadAt(block, off)
			}
		}
		if err != nil {
			next := c.resync(off+1, end)
			if err := gap(off, next, err); err != nil {
				return err
			}
			off = next
			continue
		}
		if err := visit(off, h, block); err != nil {
			return err
		}
		off += headSize + int64(h.length)
	}
	return nil
}

// resync returns the offset of the next whole block at or after off, or end.
func (c *container) resync(off, end int64) int64 {
	const window = 256 << 10
	buf := make([]byte, window+headSize)
	for off < end {
		n := int(min(int64(len(buf)), end-off))
		if m, err := c.r.ReadAt(buf[:n], off); err != nil && m < n {
			off += 4096 // an unreadable spot on the disk
			continue
		}
		for i := 0; ; {
			j := bytes.Index(buf[i:n], []byte("JR"))
			if j < 0 || i+j+headSize > n {
				break
			}
			i += j
			if h, ok := parseHead(buf[i:n]); ok && int64(h.length) <= end-off-int64(i)-headSize && c.worthReading(h) {
				if _, _, err := readBlock(c.r, off+int64(i), end, c.seed, nil); err == nil {
					return off + int64(i)
				}
				c.vain += int64(h.length)
			}
			i += 2
		}
		if int64(n) >= end-off {
			break
		}
		off += int64(n - headSize + 1)
	}
	return end
}

// worthReading reports whether a block may have that head, and is to be read.
func (c *container) worthReading(h head) bool {
	switch h.typ {
	case blockTrailer:
		return h.length == trailerSize
	case blockEnd:
		return h.length == uint32(endSize)
	case blockHeader:
		return false // the only one is where it belongs
	}
	return c.vain < maxVain
}

// layout is the structure of a file's body.
type layout struct {
	segments []segment
	open     *segment // blocks after the last trailer, without one
	// Of the last data block: where the next one continues.
	nextChunk uint32
	chunk     uint32
	piece     uint32
	chunks    uint32 // of the open segment
	wraps     [][]byte
	footer    int64 // offset of the footer; 0 if there is none
	seal      Seal
	sealed    bool  // footer and end are whole
	end       int64 // of the last whole block before the footer
	fileEnd   int64 // of the last whole block
	synced    int64 // what was durable when the newest block was written: a gap behind it is a torn write
	damage    []Damage
}

// Where a walk begins to check.
const (
	checkAll  = int64(0)
	checkNone = int64(math.MaxInt64)
)

// scan walks the whole file.
func (c *container) scan(check int64) (*layout, error) {
	l := &layout{end: c.body, fileEnd: c.body}
	at := func() time.Duration {
		if l.open != nil {
			return l.open.to
		}
		if n := len(l.segments); n > 0 {
			return l.segments[n-1].to
		}
		return 0
	}
	begin := func(off int64, t time.Duration) {
		if l.open == nil {
			l.open = &segment{offset: off, from: t, to: t}
			l.chunks = 0
		}
	}
	visit := func(off int64, h head, block []byte) error {
		next := off + headSize + int64(h.length)
		l.fileEnd = next
		switch h.typ {
		case blockWraps:
			l.wraps = append(l.wraps, bytes.Clone(block[headSize:]))
		case blockKey:
			begin(off, at())
		case blockChunk:
			p, ok := parsePrelude(block[headSize:])
			if !ok {
				l.damage = append(l.damage, Damage{off, len(l.segments), at(), "a chunk has no prelude"})
				break
			}
			l.synced = max(l.synced, p.synced)
			begin(off, p.base)
			if l.open.events == 0 {
				l.open.from = p.base
			}
			if l.chunk, l.piece = p.chunk, p.piece; p.piece == 0 {
				l.nextChunk = p.chunk + 1
			} else {
				l.nextChunk = p.chunk
			}
			if p.piece <= 1 {
				l.chunks++
			}
			l.open.events += uint64(p.events)
			l.open.raw += uint64(p.raw)
			l.open.to = max(l.open.to, p.last)
		case blockScreens:
			if p, ok := parsePrelude(block[headSize:]); ok {
				l.synced = max(l.synced, p.synced)
			}
			begin(off, at())
			l.open.screens = off
		case blockTrailer:
			t, ok := parseTrailer(block[headSize:])
			if !ok {
				l.damage = append(l.damage, Damage{off, len(l.segments), at(), "a trailer is malformed"})
				break
			}
			for len(l.segments) < int(t.segment) && len(l.segments) < 1<<16 {
				// Lost with its trailer: the name of the hole.
				l.segments = append(l.segments, segment{offset: off, from: at(), to: at()})
			}
			l.segments = append(l.segments, segment{offset: t.offset, length: next - t.offset, from: t.from, to: t.to,
				events: t.events, raw: t.raw, screens: t.screens, hash: t.hash})
			l.open = nil
			if l.piece > 0 { // a recovered chunk is complete
				l.nextChunk, l.piece = l.chunk+1, 0
			}
		case blockFooter:
			l.footer = off
			l.synced = max(l.synced, off) // it is written when all else is durable
			return nil
		case blockEnd:
			l.readFooter(c, off, block[headSize:])
			return nil
		default:
			l.damage = append(l.damage, Damage{off, len(l.segments), at(), "a second header"})
		}
		if l.footer == 0 {
			l.end = next
		}
		return nil
	}
	gap := func(from, to int64, why error) error {
		l.damage = append(l.damage, Damage{from, len(l.segments), at(), fmt.Sprintf("%v; %d bytes are lost", why, to-from)})
		return nil
	}
	err := c.walk(c.body, c.size, check, visit, gap)
	return l, err
}

// readFooter reads what an end block points to, if it fits.
func (l *layout) readFooter(c *container, off int64, p []byte) {
	s, segs, footer, err := c.footer(p)
	if err != nil || footer != l.footer && l.footer != 0 {
		l.damage = append(l.damage, Damage{off, len(l.segments), 0, "the end does not fit the footer"})
		return
	}
	if !l.sealed && len(segs) >= len(l.segments) {
		s.Size = off + int64(headSize+endSize)
	}
	l.seal, l.sealed = s, true
}

// footer reads the footer that the payload of an end block points to.
func (c *container) footer(end []byte) (Seal, []segment, int64, error) {
	if len(end) != endSize || string(end[40:]) != endMagic {
		return Seal{}, nil, 0, errors.New("the end is malformed")
	}
	off := int64(le.Uint64(end))
	if off < c.body || off >= c.size {
		return Seal{}, nil, 0, errors.New("the end points outside the file")
	}
	h, block, err := readBlock(c.r, off, c.size, c.seed, nil)
	if err != nil {
		return Seal{}, nil, 0, err
	}
	p := block[headSize:]
	var s Seal
	if h.typ != blockFooter || len(p) < 8 || uint64(le.Uint32(p)) > uint64(len(p)-8) {
		return Seal{}, nil, 0, errors.New("the footer is malformed")
	}
	n := le.Uint32(p)
	if err := json.Unmarshal(p[4:4+n], &s); err != nil {
		return Seal{}, nil, 0, errors.New("the footer is malformed")
	}
	table := p[4+n:]
	count := uint64(le.Uint32(table))
	if table = table[4:]; uint64(len(table)) != count*entrySize {
		return Seal{}, nil, 0, errors.New("the footer is malformed")
	}
	segs := make([]segment, count)
	var root = c.root
	for i := range segs {
		var ok bool
		if segs[i], ok = parseSegment(table[i*entrySize:]); !ok || segs[i].offset+segs[i].length > off {
			return Seal{}, nil, 0, errors.New("the footer is malformed")
		}
		root = segs[i].hash
	}
	if sum := footerHash(root, p); !bytes.Equal(sum[:], end[8:40]) {
		return Seal{}, nil, 0, errors.New("the footer does not fit its hash")
	}
	s.Hash = hex.EncodeToString(end[8:40])
	return s, segs, off, nil
}
