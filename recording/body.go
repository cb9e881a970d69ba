package recording

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// body reads the data blocks of one segment.
type body struct {
	r       *Reader
	segment int
	key     *segmentKey
	at      time.Duration
	begun   bool
	chunk   uint32
	piece   uint32
	reuse   bool   // the events of a block are done with when the next is opened
	buf     []byte // with reuse: room for them
}

func (b *body) damage(off int64, err error) *Damage {
	return &Damage{Offset: off, Segment: b.segment, From: b.at, What: err.Error()}
}

// next checks that p continues the chunk before it and returns what is missing.
func (b *body) next(p prelude) (missing string) {
	ok := !b.begun || p.piece <= 1 && p.chunk == b.chunk+1 || p.piece > 1 && p.chunk == b.chunk && p.piece == b.piece+1
	if !ok && p.chunk > b.chunk+1 {
		missing = fmt.Sprintf("%d chunks are missing before this one", p.chunk-b.chunk-1)
	} else if !ok {
		missing = "the chunks are not in order"
	}
	b.begun, b.chunk, b.piece = true, p.chunk, p.piece
	return missing
}

// open returns the events of a data block, decrypted and decompressed; it
// takes key blocks in, and leaves others alone.
func (b *body) open(h head, block []byte) ([]byte, prelude, error) {
	switch h.typ {
	case blockKey:
		if b.r.id == nil {
			return nil, prelude{}, nil
		}
		var err error
		b.key, err = openKeyBlock(block[headSize:], uint32(b.segment), b.r.id)
		return nil, prelude{}, err
	case blockChunk, blockScreens:
	default:
		return nil, prelude{}, nil
	}
	p, ok := parsePrelude(block[headSize:])
	if !ok {
		return nil, p, errors.New("a chunk is malformed")
	}
	if int(p.segment) != b.segment {
		return nil, p, fmt.Errorf("a chunk of segment %d is out of place", p.segment)
	}
	data := block[dataRoom:]
	if sealed := h.flags&flagSealed != 0; sealed != b.r.header.Encrypted() {
		return nil, p, errors.New("a chunk is not encrypted as the header says")
	} else if sealed {
		if b.key == nil {
			return nil, p, errors.New("the segment's key is missing")
		}
		var err error
		if data, err = b.key.aead.Open(nil, nonceOf(p.number), data, associated(block)); err != nil {
			return nil, p, errors.New("a chunk does not fit its seal")
		}
	}
	if h.flags&flagsPacked != 0 {
		var err error
		dst := b.buf[:0]
		if !b.reuse || cap(dst) < int(p.raw) {
			dst = make([]byte, 0, p.raw)
		}
		if data, err = decompress(dst, data, h.flags, int(p.raw)); err != nil {
			return nil, p, fmt.Errorf("decompress a chunk: %w", err)
		}
		if b.reuse {
			b.buf = data
		}
	} else if h.flags&flagSealed == 0 && !b.reuse {
		data = bytes.Clone(data) // events belong to the receiver, the block is read over
	}
	if len(data) != int(p.raw) {
		return nil, p, errors.New("a chunk has not the length that it claims")
	}
	return data, p, nil
}
