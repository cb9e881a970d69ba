package vt

import "unicode/utf8"

// handler is what a parser's owner does with what it finds.
type handler interface {
	text(p []byte)                  // printable ASCII
	print(r rune)                   // one other character; U+FFFD for a byte that is not UTF-8
	control(c byte)                 // C0 but ESC
	escape(inter byte, final byte)  // ESC, at most one intermediate
	csi(c *sequence)                // control sequence
	str(kind byte, terminated bool) // a string of that kind (ESC ] P X ^ _) began or ended: its content is nobody's business
}

// maxParams bounds a control sequence; what has more is ignored whole.
const maxParams = 32

// sequence is one control sequence: CSI prefix params inter final.
type sequence struct {
	prefix byte // one of < = > ?, or 0
	inter  byte
	final  byte
	n      int
	param  [maxParams]int  // -1 where it was left out
	sub    [maxParams]bool // separated from the one before by a colon
}

// arg returns parameter i, or def if it is missing or zero.
func (s *sequence) arg(i, def int) int {
	if i < s.n && s.param[i] > 0 {
		return s.param[i]
	}
	return def
}

type state byte

const (
	ground state = iota
	esc
	escInter
	csiParam
	csiIgnore
	inString
	stringEsc // ESC within a string: perhaps its end
)

// parser turns bytes into calls. What is incomplete at the end of a write is
// kept, and can be given away (pending), so that a copy goes on the same way.
type parser struct {
	state   state
	seq     sequence
	bad     bool // the sequence has too much of something
	kind    byte // of the string
	inter   byte
	partial [utf8.UTFMax]byte
	n       int    // of partial
	raw     []byte // the incomplete escape or control sequence
}

// maxRaw bounds raw; a longer sequence is ignored when it ends.
const maxRaw = 256

func (p *parser) pending() []byte {
	switch p.state {
	case ground:
		return p.partial[:p.n]
	case inString:
		return []byte{0x1b, p.kind}
	case stringEsc:
		return []byte{0x1b, p.kind, 0x1b}
	}
	return p.raw
}

func (p *parser) write(b []byte, h handler) {
	for len(b) > 0 {
		switch p.state {
		case ground:
			b = p.ground(b, h)
		default:
			p.step(b[0], h)
			b = b[1:]
		}
	}
}

// ground handles text up to the next escape.
func (p *parser) ground(b []byte, h handler) []byte {
	if p.n > 0 {
		return p.multibyte(b, h)
	}
	i := 0
	for i < len(b) && b[i] >= 0x20 && b[i] < 0x7f {
		i++
	}
	if i > 0 {
		h.text(b[:i])
		return b[i:]
	}
	c := b[0]
	switch {
	case c == 0x1b:
		p.begin()
	case c < 0x20:
		h.control(c)
	case c == 0x7f:
	default:
		if r, n := utf8.DecodeRune(b); r != utf8.RuneError || n > 1 {
			h.print(r)
			return b[n:]
		}
		return p.multibyte(b, h)
	}
	return b[1:]
}

// multibyte gathers one character across writes.
func (p *parser) multibyte(b []byte, h handler) []byte {
	for len(b) > 0 {
		if p.n > 0 && utf8.RuneStart(b[0]) {
			p.n = 0 // cut short by something else
			h.print(utf8.RuneError)
			return b
		}
		p.partial[p.n] = b[0]
		p.n++
		b = b[1:]
		if utf8.FullRune(p.partial[:p.n]) {
			r, size := utf8.DecodeRune(p.partial[:p.n])
			rest := p.n - size
			var again [utf8.UTFMax]byte
			copy(again[:], p.partial[size:p.n])
			p.n = 0
			h.print(r)
			if r == utf8.RuneError && rest > 0 {
				for range rest {
					h.print(utf8.RuneError) // stray continuation bytes
				}
			}
			return b
		}
	}
	return b
}

func (p *parser) begin() {
	p.state, p.inter, p.bad = esc, 0, false
	p.raw = append(p.raw[:0], 0x1b)
}

func (p *parser) step(c byte, h handler) {
	switch p.state {
	case inString:
		switch c {
		case 0x1b:
			p.state = stringEsc
		case 0x07:
			if p.kind == ']' {
				p.endString(h)
			}
		case 0x18, 0x1a: // CAN, SUB
			p.endString(h)
		}
		return
	case stringEsc:
		if c == '\\' {
			p.endString(h)
			return
		}
		p.endString(h) // any other escape ends the string and begins anew
		p.begin()
		p.step(c, h)
		return
	}
	switch {
	case c == 0x1b:
		p.begin()
		return
	case c == 0x18 || c == 0x1a:
		p.state = ground
		return
	case c < 0x20:
		h.control(c) // acts within a sequence, as on a real terminal
		return
	case c >= 0x80: // no sequence has it: drop the sequence, take the character
		p.state = ground
		p.ground([]byte{c}, h)
		return
	}
	if len(p.raw) < maxRaw {
		p.raw = append(p.raw, c)
	} else {
		p.bad = true
	}
	switch p.state {
	case esc, escInter:
		p.escape(c, h)
	case csiParam, csiIgnore:
		p.csi(c, h)
	}
}

func (p *parser) endString(h handler) {
	p.state = ground
	h.str(p.kind, true)
}

func (p *parser) escape(c byte, h handler) {
	switch {
	case c < 0x30: // intermediate
		if p.inter != 0 {
			p.bad = true
		}
		p.inter, p.state = c, escInter
	case c == 0x7f:
	case p.state == esc && c == '[':
		p.state, p.seq = csiParam, sequence{}
	case p.state == esc && (c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_'):
		p.state, p.kind = inString, c
		h.str(c, false)
	default:
		p.state = ground
		if !p.bad {
			h.escape(p.inter, c)
		}
	}
}

func (p *parser) csi(c byte, h handler) {
	s := &p.seq
	switch {
	case c >= '0' && c <= '9':
		if s.inter != 0 {
			p.bad = true
		}
		if s.n == 0 {
			s.param[0], s.n = -1, 1
		}
		v := &s.param[s.n-1]
		*v = min(max(*v, 0)*10+int(c-'0'), 65535)
	case c == ';' || c == ':':
		if s.n == 0 {
			s.param[0], s.n = -1, 1
		}
		if s.n >= maxParams {
			p.bad = true
			return
		}
		s.param[s.n], s.sub[s.n] = -1, c == ':'
		s.n++
	case c >= '<' && c <= '?':
		if s.n > 0 || s.prefix != 0 {
			p.bad = true
		}
		s.prefix = c
	case c < 0x30:
		if s.inter != 0 {
			p.bad = true
		}
		s.inter = c
	case c == 0x7f:
	default:
		p.state = ground
		s.final = c
		if !p.bad {
			h.csi(s)
		}
	}
}
