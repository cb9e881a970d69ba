package pgproxy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
)

// A scanner finds the messages of a stream that arrives in chunks, without
// copying what nobody asked for. Chunks are forwarded whole, but for the
// first bytes of a header at their end: those are carried over, so that a
// header is never split and the end of what was forwarded is known.
type scanner struct {
	typ  byte
	size int // of the current message's body
	left int // bytes of it that are still to come

	keep int       // how many bytes of it are gathered
	kept []byte    // those, where the message spans chunks
	sum  hash.Hash // over all of it, where it is longer than keep

	at   int  // where the current message begins in the chunk; 0 if before it
	end  int  // where its part in the chunk ends
	drop bool // it is not forwarded
	cuts []cut
}

// A cut replaces a part of a chunk.
type cut struct {
	from, to int
	with     []byte
}

// headerSize is type and length.
const headerSize = 5

// frames looks at messages. begin sees each header, and says how many bytes of
// the body done wants to see; done is not called where it wants none.
type frames interface {
	begin(s *scanner, typ byte, size int) (keep int, err error)
	done(s *scanner, typ byte, body []byte) error
}

// scan goes over the chunk, and returns how many bytes at its end belong to
// a header that is not complete. s.cuts says what is not forwarded as it is.
func (s *scanner) scan(chunk []byte, f frames) (carry int, err error) {
	s.cuts = s.cuts[:0]
	pos := 0
	if s.left > 0 {
		n := min(s.left, len(chunk))
		s.left -= n
		s.at, s.end = 0, n
		s.gather(chunk[:n])
		if s.drop {
			s.cut(0, n, nil)
		}
		if s.left == 0 {
			if err := s.finish(s.kept, f); err != nil {
				return 0, err
			}
		}
		pos = n
	}
	for len(chunk)-pos >= headerSize {
		typ := chunk[pos]
		n := int(int32(binary.BigEndian.Uint32(chunk[pos+1:]))) - 4
		if n < 0 || n > maxMessage {
			return 0, fatal(stateProtocol, "a message of type %q has the impossible length %d", typ, n+4)
		}
		body := chunk[pos+headerSize:]
		s.typ, s.size, s.drop = typ, n, false
		s.at, s.end = pos, pos+headerSize+min(n, len(body))
		if s.keep, err = f.begin(s, typ, n); err != nil {
			return 0, err
		}
		if len(body) >= n {
			if s.drop {
				s.cut(s.at, s.end, nil)
			}
			if s.keep > 0 {
				body = body[:n]
				if n > s.keep {
					s.sum = sha256.New()
					s.sum.Write(body)
					body = body[:s.keep]
				}
				if err := s.finish(body, f); err != nil {
					return 0, err
				}
			}
			pos = s.end
			continue
		}
		if s.drop {
			s.cut(s.at, s.end, nil)
		}
		s.left = n - len(body)
		s.kept = s.kept[:0]
		if s.keep > 0 && n > s.keep {
			s.sum = sha256.New()
		}
		s.gather(body)
		return 0, nil
	}
	return len(chunk) - pos, nil
}

func (s *scanner) gather(p []byte) {
	if s.keep == 0 {
		return
	}
	if s.sum != nil {
		s.sum.Write(p)
	}
	if room := s.keep - len(s.kept); room > 0 {
		s.kept = append(s.kept, p[:min(room, len(p))]...)
	}
}

// keptIdle is how much memory a quiet scanner may hold on to.
const keptIdle = 4 << 10

func (s *scanner) finish(body []byte, f frames) error {
	if s.keep == 0 {
		return nil
	}
	err := f.done(s, s.typ, body)
	s.sum = nil
	if cap(s.kept) > keptIdle {
		s.kept = nil
	}
	return err
}

// digest is the SHA-256 of a body that was longer than what was kept of it.
func (s *scanner) digest() string {
	if s.sum == nil {
		return ""
	}
	return hex.EncodeToString(s.sum.Sum(nil))
}

// cut leaves chunk[from:to] out and puts with in its place. A cut of the
// same place adds to it.
func (s *scanner) cut(from, to int, with []byte) {
	if n := len(s.cuts); n > 0 && s.cuts[n-1].from == from && s.cuts[n-1].to == to {
		s.cuts[n-1].with = append(s.cuts[n-1].with, with...)
		return
	}
	s.cuts = append(s.cuts, cut{from, to, with})
}

// replace puts with in the place of the current message, or, where it was
// dropped already, of its last part.
func (s *scanner) replace(with []byte) {
	s.drop = true
	s.cut(s.at, s.end, with)
}

// whole reports whether the stream is between two messages.
func (s *scanner) whole() bool { return s.left == 0 }
