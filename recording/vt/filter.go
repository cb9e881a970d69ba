package vt

import (
	"strconv"
	"unicode/utf8"
)

// Filter copies terminal output and leaves out whatever does more than draw.
// Give it one stream; what is incomplete at the end of a write waits for the
// next. Bytes that are not UTF-8 become U+FFFD, and characters that reorder or
// hide text become visible as U+FFFD too.
type Filter struct {
	p   parser
	out []byte
}

// Append appends to dst what p may show.
func (f *Filter) Append(dst, p []byte) []byte {
	f.out = dst
	f.p.write(p, f)
	dst, f.out = f.out, nil
	return dst
}

// Pending reports whether a character or sequence is incomplete.
func (f *Filter) Pending() bool { return f.p.state != ground || f.p.n > 0 }

func (f *Filter) text(p []byte) { f.out = append(f.out, p...) }

func (f *Filter) print(r rune) {
	switch {
	case r < 0xa0: // C1 controls in their UTF-8 form
		return
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x061c, // bidirectional
		r >= 0x2028 && r <= 0x2029, r >= 0xe0000 && r <= 0xe0fff, r == 0xfeff, r >= 0x200b && r <= 0x200c, r >= 0x2060 && r <= 0x2064:
		r = utf8.RuneError
	}
	f.out = utf8.AppendRune(f.out, r)
}

func (f *Filter) control(c byte) {
	switch c {
	case '\b', '\t', '\n', '\v', '\f', '\r', 0x0e, 0x0f:
		f.out = append(f.out, c)
	}
}

func (f *Filter) escape(inter, final byte) {
	switch inter {
	case '(', ')':
		if final == '0' || final == 'B' {
			f.out = append(f.out, 0x1b, inter, final)
		}
		return
	case '#':
		if final == '8' {
			f.out = append(f.out, "\x1b#8"...)
		}
		return
	case 0:
	default:
		return
	}
	switch final {
	case '7', '8', 'D', 'E', 'H', 'M':
		f.out = append(f.out, 0x1b, final)
	case 'c': // a full reset would also take away what the viewer has set
		f.out = append(f.out, Clean...)
	}
}

// Clean brings a terminal into the state that a fresh screen has, by drawing
// alone.
const Clean = "\x1b[?1049l\x1b[!p\x1b[?6l\x1b[?7h\x1b[4l\x1b[20l\x1b[r\x1b(B\x1b)B\x0f\x1b[0m\x1b[?25h\x1b[H\x1b[2J"

// largest is what a parameter of a sequence that is passed on may be.
const largest = 9999

func (f *Filter) csi(s *sequence) {
	switch {
	case s.prefix == '?' && s.inter == 0 && (s.final == 'h' || s.final == 'l'):
		for i := range s.n {
			switch n := s.param[i]; n {
			case 6, 7, 25, 47, 1047, 1048, 1049:
				f.out = append(f.out, "\x1b[?"...)
				f.out = strconv.AppendInt(f.out, int64(n), 10)
				f.out = append(f.out, s.final)
			}
		}
		return
	case s.prefix == 0 && s.inter == '!' && s.final == 'p':
		f.out = append(f.out, "\x1b[!p"...)
		return
	case s.prefix != 0 || s.inter != 0:
		return
	}
	switch s.final {
	case '@', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'K', 'L', 'M', 'P', 'S', 'X', 'Z',
		'`', 'a', 'b', 'd', 'e', 'f', 'g', 'm', 'r', 's', 'u':
	case 'J':
		if s.arg(0, 0) > 2 { // the viewer's own scrollback
			return
		}
	case 'T':
		if s.n > 1 {
			return
		}
	case 'h', 'l':
		for i := range s.n {
			if s.param[i] != 4 && s.param[i] != 20 {
				return
			}
		}
	default:
		return
	}
	f.out = append(f.out, 0x1b, '[')
	for i := range s.n {
		if i > 0 {
			sep := byte(';')
			if s.sub[i] {
				sep = ':'
			}
			f.out = append(f.out, sep)
		}
		if v := s.param[i]; v >= 0 {
			f.out = strconv.AppendInt(f.out, int64(min(v, largest)), 10)
		}
	}
	f.out = append(f.out, s.final)
}

// str drops titles, clipboard writes, hyperlinks, device control and all
// other strings.
func (f *Filter) str(byte, bool) {}
