package command

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// safeWriter passes what a watched session shows to the watcher's terminal,
// without what would act on the watcher (guarantee G11): it lets through
// text, colours, cursor movement, erasing and the common screen modes, and
// drops the rest: titles, clipboard, hyperlinks and every other control
// string, queries that the terminal would answer by typing, window
// operations, mouse and paste modes, C1 controls.
type safeWriter struct {
	w    io.Writer
	seq  []byte // an escape sequence, or a UTF-8 character, that is not complete yet
	mode byte   // 0 text, 'e' escape, '[' CSI, 's' control string, 'i' intermediate bytes, 'u' UTF-8
	out  bytes.Buffer
}

// maxSequence bounds one CSI sequence; a longer one is dropped.
const maxSequence = 64

const csiFinals = "@ABCDEFGHIJKLMPSTXZ`abdefghlmrsu"

// safeModes are the private modes that change nothing but the picture.
var safeModes = []int{1, 3, 5, 6, 7, 12, 25, 45, 47, 1047, 1048, 1049}

func (s *safeWriter) Write(p []byte) (int, error) {
	s.out.Reset()
	for _, b := range p {
		s.step(b)
	}
	if s.out.Len() == 0 {
		return len(p), nil
	}
	if _, err := s.w.Write(s.out.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *safeWriter) step(b byte) {
	if b == 0x1b && s.mode != 's' {
		s.begin('e', b)
		return
	}
	switch s.mode {
	case 'e':
		s.escape(b)
	case 'i': // ESC ( B and the like: a character set
		if s.seq = append(s.seq, b); b >= 0x30 || len(s.seq) > 4 {
			if b >= 0x30 && len(s.seq) == 3 && strings.IndexByte("()*+", s.seq[1]) >= 0 {
				s.out.Write(s.seq)
			}
			s.end()
		}
	case '[':
		s.csi(b)
	case 's': // to BEL, or ESC \ (the ESC is eaten here, the \ by 'e')
		switch b {
		case 0x07, 0x18, 0x1a:
			s.end()
		case 0x1b:
			s.begin('e', b)
		}
	case 'u':
		s.utf8(b)
	default:
		s.text(b)
	}
}

func (s *safeWriter) begin(mode byte, b byte) { s.mode, s.seq = mode, append(s.seq[:0], b) }

func (s *safeWriter) end() { s.mode, s.seq = 0, s.seq[:0] }

func (s *safeWriter) text(b byte) {
	switch {
	case b >= 0xc2 && b <= 0xf4:
		s.begin('u', b)
	case b >= 0x80:
		s.out.WriteString("\ufffd") // not UTF-8, and 0x9b would be a CSI
	case b >= 0x20 && b != 0x7f, b == '\n', b == '\r', b == '\t', b == '\b':
		s.out.WriteByte(b)
	case b == 0x0e, b == 0x0f: // shift out, shift in
		s.out.WriteByte(b)
	}
}

func (s *safeWriter) utf8(b byte) {
	if b < 0x80 || b > 0xbf {
		s.out.WriteString("\ufffd")
		s.end()
		s.step(b)
		return
	}
	s.seq = append(s.seq, b)
	if !utf8.FullRune(s.seq) {
		return
	}
	if r, n := utf8.DecodeRune(s.seq); n > 1 && r >= 0xa0 {
		s.out.Write(s.seq)
	}
	s.end()
}

func (s *safeWriter) escape(b byte) {
	switch {
	case b == '[':
		s.seq, s.mode = append(s.seq, b), '['
	case strings.IndexByte("]PX^_k", b) >= 0: // OSC, DCS, SOS, PM, APC, screen's title
		s.mode = 's'
	case b >= 0x20 && b <= 0x2f:
		s.seq, s.mode = append(s.seq, b), 'i'
	case strings.IndexByte("78DEHM=>", b) >= 0:
		s.out.Write(append(s.seq, b))
		s.end()
	default:
		s.end()
	}
}

func (s *safeWriter) csi(b byte) {
	s.seq = append(s.seq, b)
	switch {
	case b < 0x20 || b > 0x7e:
		s.end()
		if b < 0x20 {
			s.text(b)
		}
	case b >= 0x40:
		if s.safeCSI(s.seq[2:len(s.seq)-1], b) {
			s.out.Write(s.seq)
		}
		s.end()
	case len(s.seq) > maxSequence:
		s.seq = append(s.seq[:2], '<') // no longer one that is let through
	}
}

func (s *safeWriter) safeCSI(params []byte, final byte) bool {
	if strings.IndexByte(csiFinals, final) < 0 {
		return false
	}
	private := len(params) > 0 && params[0] == '?'
	if private {
		params = params[1:]
	}
	for _, b := range params {
		if (b < '0' || b > '9') && b != ';' && b != ':' {
			return false
		}
	}
	switch {
	case final != 'h' && final != 'l':
		return !private || final == 'J' || final == 'K'
	case !private:
		return string(params) == "4" || string(params) == "20" // insert and new-line mode
	}
	for _, m := range strings.Split(string(params), ";") {
		n, err := strconv.Atoi(m)
		if err != nil || !slices.Contains(safeModes, n) {
			return false
		}
	}
	return true
}
