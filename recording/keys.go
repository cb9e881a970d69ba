package recording

import (
	"io"
	"strings"
	"time"
)

// key does what a key of the viewer asks.
func (p *player) key(c byte) error {
	if p.typing != nil {
		return p.typed(c)
	}
	if len(p.escape) > 0 || c == 0x1b {
		return p.arrow(c)
	}
	p.missing = ""
	switch c {
	case 'q', 3: // Ctrl-C
		return io.EOF
	case ' ':
		p.paused = !p.paused
		if p.paused {
			return p.status()
		}
		return p.redraw()
	case '+', '=':
		p.speed = min(p.speed*2, 1024)
	case '-':
		p.speed = max(p.speed/2, 1.0/16)
	case 'i':
		if p.idle > 0 {
			p.idle = 0
		} else {
			p.idle = time.Second
		}
	case '0':
		return p.seek(0)
	case 'G':
		return p.seek(p.r.Duration())
	case '.':
		if p.paused && p.held != nil {
			return p.play()
		}
	case ']', '[':
		return p.marker(c == ']')
	case '/':
		p.typing = &strings.Builder{}
	case 'n':
		return p.search()
	}
	return p.status()
}

// arrow gathers an arrow key: ESC [ A to D.
func (p *player) arrow(c byte) error {
	p.escape = append(p.escape, c)
	if len(p.escape) < 3 {
		return nil
	}
	p.escape = p.escape[:0]
	switch c {
	case 'C':
		return p.seek(p.pos + 5*time.Second)
	case 'D':
		return p.seek(p.pos - 5*time.Second)
	case 'A':
		return p.seek(p.pos + time.Minute)
	case 'B':
		return p.seek(p.pos - time.Minute)
	}
	return nil
}

// typed gathers what to search for.
func (p *player) typed(c byte) error {
	switch {
	case c == '\r' || c == '\n':
		p.query, p.typing = p.typing.String(), nil
		return p.search()
	case c == 0x1b || c == 3:
		p.typing = nil
		return p.redraw()
	case c == 0x7f || c == '\b':
		s := []rune(p.typing.String())
		p.typing.Reset()
		p.typing.WriteString(string(s[:max(len(s)-1, 0)]))
	case p.typing.Len() < 200 && c >= ' ':
		p.typing.WriteByte(c)
	}
	return p.status()
}

func (p *player) search() error {
	p.missing = ""
	if p.query != "" {
		for _, from := range []time.Duration{p.pos, -1} { // then from the beginning
			if t, ok := p.find(p.query, from); ok {
				p.paused = true
				return p.seek(t)
			}
		}
		p.missing, p.paused = p.query, true
	}
	return p.redraw()
}

// marker goes to the next or the previous named moment.
func (p *player) marker(forward bool) error {
	best := time.Duration(-1)
	for ev, err := range p.r.Events() {
		if err != nil {
			continue
		}
		switch ev.Kind {
		case KindMarker, KindNotice, KindTermination, KindExec, KindExit:
			if forward && ev.T > p.pos {
				return p.seek(ev.T)
			}
			if !forward && ev.T < p.pos-time.Second {
				best = ev.T
			}
		}
	}
	if best >= 0 {
		return p.seek(best)
	}
	return p.status()
}
