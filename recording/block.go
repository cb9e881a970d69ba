package recording

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// The bytes of a recording; docs/recording-format.md is the same in prose.
//
//	file    = magic header [wraps] segment* [footer end (wraps end)*]
//	segment = [key] (chunk | piece)* [screens] trailer
//
// Everything after the magic is a block: a 12-byte head and a payload. A
// block's checksum is seeded with the header's nonce, which nobody who merely
// passes bytes through a session can know: what they print can never be taken
// for a block, not even in the stale end of a tail file.
const (
	magic    = "JITREC1\n"
	endMagic = "JITREND\n"

	headSize    = 12 // "JR", type, flags, u32 payload length, u32 checksum
	preludeSize = 48 // of chunk, piece and screens blocks
	dataRoom    = headSize + preludeSize
	trailerSize = 56 + 32
	entrySize   = 56 + 32
	endSize     = 8 + 32 + len(endMagic)

	// maxPayload bounds what a reader allocates for one block. The largest
	// honest one is the footer of some days of constant output.
	maxPayload = 64 << 20
	// maxRaw bounds what one chunk may decompress to.
	maxRaw = 16 << 20
	// maxHeader bounds the header's JSON.
	maxHeader = 256 << 10
)

// Types of block.
const (
	blockHeader  = 'H'
	blockWraps   = 'W'
	blockKey     = 'K'
	blockChunk   = 'C'
	blockScreens = 'P'
	blockTrailer = 'T'
	blockFooter  = 'F'
	blockEnd     = 'E'
)

// Flags of a data block: what was done to its body, in this order.
const (
	flagZstd   = 1
	flagSealed = 2
	flagSnappy = 4 // instead of zstd

	flagsPacked = flagZstd | flagSnappy
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// seedOf returns the checksum state that all blocks but the header start from.
func seedOf(nonce []byte) uint32 { return crc32.Update(0, castagnoli, nonce) }

// putHead fills in the head of a block; b is the whole block.
func putHead(b []byte, typ, flags byte, seed uint32) {
	b[0], b[1], b[2], b[3] = 'J', 'R', typ, flags
	le.PutUint32(b[4:], uint32(len(b)-headSize))
	le.PutUint32(b[8:], blockSum(b, seed))
}

func blockSum(b []byte, seed uint32) uint32 {
	return crc32.Update(crc32.Update(seed, castagnoli, b[:8]), castagnoli, b[headSize:])
}

// newBlock returns a block with that payload.
func newBlock(typ byte, payload []byte, seed uint32) []byte {
	b := make([]byte, headSize+len(payload))
	copy(b[headSize:], payload)
	putHead(b, typ, 0, seed)
	return b
}

// head is a block's head, read.
type head struct {
	typ, flags byte
	length     uint32
	sum        uint32
}

func parseHead(b []byte) (head, bool) {
	if len(b) < headSize || b[0] != 'J' || b[1] != 'R' {
		return head{}, false
	}
	h := head{typ: b[2], flags: b[3], length: le.Uint32(b[4:]), sum: le.Uint32(b[8:])}
	switch h.typ {
	case blockHeader, blockWraps, blockKey, blockChunk, blockScreens, blockTrailer, blockFooter, blockEnd:
		return h, h.length <= maxPayload && h.flags&^(flagsPacked|flagSealed) == 0 && h.flags&flagsPacked != flagsPacked
	}
	return head{}, false
}

// readHead reads the head at off without its payload.
func readHead(r io.ReaderAt, off, size int64) (head, error) {
	var b [headSize]byte
	if size-off < headSize {
		return head{}, errTruncated
	}
	if _, err := r.ReadAt(b[:], off); err != nil {
		return head{}, fmt.Errorf("read block head: %w", err)
	}
	h, ok := parseHead(b[:])
	if !ok {
		return head{}, errNotBlock
	}
	if int64(h.length) > size-off-headSize {
		return h, errTruncated
	}
	return h, nil
}

// readBlock reads and checks the whole block at off, head included.
func readBlock(r io.ReaderAt, off, size int64, seed uint32, buf []byte) (head, []byte, error) {
	h, err := readHead(r, off, size)
	if err != nil {
		return h, nil, err
	}
	n := headSize + int(h.length)
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := r.ReadAt(buf, off); err != nil {
		return h, nil, fmt.Errorf("read block: %w", err)
	}
	if blockSum(buf, seed) != h.sum {
		return h, nil, errChecksum
	}
	return h, buf, nil
}

var (
	errTruncated = fmt.Errorf("the file ends in the middle of a block")
	errNotBlock  = fmt.Errorf("there is no block where one should begin")
	errChecksum  = fmt.Errorf("the bytes of a block do not fit its checksum")
)

// prelude is the clear part of a data block.
type prelude struct {
	segment, chunk uint32
	piece          uint32 // 0: a whole chunk; else the n-th piece of one, from the tail
	events         uint32
	base, last     time.Duration // times of the first event and the last
	raw            uint32        // length of the events before compression
	number         uint32        // of the sealing under the segment's key: the nonce
	synced         int64         // bytes of the recording that were durable when this was written
}

func (p prelude) put(b []byte) {
	le.PutUint32(b[0:], p.segment)
	le.PutUint32(b[4:], p.chunk)
	le.PutUint32(b[8:], p.piece)
	le.PutUint32(b[12:], p.events)
	le.PutUint64(b[16:], uint64(p.base/time.Microsecond))
	le.PutUint64(b[24:], uint64(p.last/time.Microsecond))
	le.PutUint32(b[32:], p.raw)
	le.PutUint32(b[36:], p.number)
	le.PutUint64(b[40:], uint64(p.synced))
}

func parsePrelude(b []byte) (prelude, bool) {
	if len(b) < preludeSize {
		return prelude{}, false
	}
	base, ok1 := micros(le.Uint64(b[16:]))
	last, ok2 := micros(le.Uint64(b[24:]))
	raw := le.Uint32(b[32:])
	return prelude{
		segment: le.Uint32(b[0:]), chunk: le.Uint32(b[4:]), piece: le.Uint32(b[8:]), events: le.Uint32(b[12:]),
		base: base, last: last, raw: raw, number: le.Uint32(b[36:]), synced: int64(le.Uint64(b[40:])),
	}, ok1 && ok2 && base <= last && raw <= maxRaw
}

// maxTime bounds times in a file: a hundred years.
const maxTime = 100 * 366 * 24 * time.Hour

func micros(u uint64) (time.Duration, bool) {
	if u > uint64(maxTime/time.Microsecond) {
		return 0, false
	}
	return time.Duration(u) * time.Microsecond, true
}

// trailer ends a segment.
type trailer struct {
	segment, chunks uint32
	events, raw     uint64
	from, to        time.Duration
	offset          int64 // of the segment's first block
	screens         int64 // offset of its screens block, 0 if none
	hash            [32]byte
}

// body returns the trailer's payload up to the hash, which covers it.
func (t trailer) body() []byte {
	b := make([]byte, trailerSize)
	le.PutUint32(b[0:], t.segment)
	le.PutUint32(b[4:], t.chunks)
	le.PutUint64(b[8:], t.events)
	le.PutUint64(b[16:], t.raw)
	le.PutUint64(b[24:], uint64(t.from/time.Microsecond))
	le.PutUint64(b[32:], uint64(t.to/time.Microsecond))
	le.PutUint64(b[40:], uint64(t.offset))
	le.PutUint64(b[48:], uint64(t.screens))
	return b[:56]
}

func parseTrailer(b []byte) (trailer, bool) {
	if len(b) != trailerSize {
		return trailer{}, false
	}
	from, ok1 := micros(le.Uint64(b[24:]))
	to, ok2 := micros(le.Uint64(b[32:]))
	t := trailer{
		segment: le.Uint32(b[0:]), chunks: le.Uint32(b[4:]), events: le.Uint64(b[8:]), raw: le.Uint64(b[16:]),
		from: from, to: to, offset: int64(le.Uint64(b[40:])), screens: int64(le.Uint64(b[48:])),
	}
	copy(t.hash[:], b[56:])
	return t, ok1 && ok2 && t.offset >= 0 && t.screens >= 0
}

// segment is one row of the footer's table.
type segment struct {
	offset, length int64
	from, to       time.Duration
	events, raw    uint64
	screens        int64
	hash           [32]byte
}

func (s segment) append(b []byte) []byte {
	b = le.AppendUint64(b, uint64(s.offset))
	b = le.AppendUint64(b, uint64(s.length))
	b = le.AppendUint64(b, uint64(s.from/time.Microsecond))
	b = le.AppendUint64(b, uint64(s.to/time.Microsecond))
	b = le.AppendUint64(b, s.events)
	b = le.AppendUint64(b, s.raw)
	b = le.AppendUint64(b, uint64(s.screens))
	return append(b, s.hash[:]...)
}

func parseSegment(b []byte) (segment, bool) {
	from, ok1 := micros(le.Uint64(b[16:]))
	to, ok2 := micros(le.Uint64(b[24:]))
	s := segment{
		offset: int64(le.Uint64(b[0:])), length: int64(le.Uint64(b[8:])), from: from, to: to,
		events: le.Uint64(b[32:]), raw: le.Uint64(b[40:]), screens: int64(le.Uint64(b[48:])),
	}
	copy(s.hash[:], b[56:])
	return s, ok1 && ok2 && s.offset >= 0 && s.length >= 0 && s.screens >= 0 && s.offset+s.length >= 0
}

func (s segment) info(session string, i int) SegmentInfo {
	return SegmentInfo{Session: session, Index: i, Offset: s.offset, Length: s.length, From: s.from, To: s.to,
		Events: int64(s.events), Raw: int64(s.raw), Hash: fmt.Sprintf("%x", s.hash)}
}
