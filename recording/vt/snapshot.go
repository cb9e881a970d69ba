package vt

import (
	"math"
	"strconv"
	"strings"
)

// Snapshot returns the bytes that bring any terminal of that size into this
// state: both screens, styles, modes, tabs, saved cursors, and the beginning
// of a sequence that is not complete yet. Fed to a new Terminal it gives the
// same state.
func (t *Terminal) Snapshot() []byte {
	b, _ := t.snapshot(drawer{t: t, most: math.MaxInt})
	return b
}

// SnapshotWithin is Snapshot where that takes no more than most bytes. Else it
// leaves out how the characters look, and, if that is not enough, the screen
// that is not shown. Text alone takes 600 KB on the largest screen.
func (t *Terminal) SnapshotWithin(most int) []byte {
	b, ok := t.snapshot(drawer{t: t, most: most})
	if !ok {
		b, ok = t.snapshot(drawer{t: t, most: most, bare: true})
	}
	if !ok {
		b, _ = t.snapshot(drawer{t: t, most: math.MaxInt, bare: true, shown: true})
	}
	return b
}

// snapshot draws with d, and reports whether it was within d's bounds.
func (t *Terminal) snapshot(d drawer) ([]byte, bool) {
	b := &strings.Builder{}
	b.WriteString("\x1bc")
	d.b = b
	d.tabs()
	if t.top != 0 || t.bot != t.rows-1 {
		d.seq("r", t.top+1, t.bot+1)
	}
	if !t.onAlt && t.alt != nil && t.saved[1] != (cursor{}) {
		// The alternate screen keeps its saved cursor for the next time. What
		// place prints there is gone when that begins.
		b.WriteString("\x1b[?47h")
		d.saved(t.saved[1], t.alt)
		b.WriteString("\x1b[?47l")
	}
	if t.onAlt {
		if !d.shown {
			d.grid(t.main)
		}
		d.saved(t.saved[0], t.main)
		d.place(t.before, t.main)
		b.WriteString("\x1b[?1049h")
		d.plain()
		b.WriteString("\x1b[2J")
	}
	d.grid(t.grid())
	d.saved(t.saved[t.screen()], t.grid())
	if t.newline {
		b.WriteString("\x1b[20h")
	}
	if t.hidden {
		b.WriteString("\x1b[?25l")
	}
	d.place(t.cur, t.grid())
	if t.noWrap {
		b.WriteString("\x1b[?7l")
	}
	if t.insert {
		b.WriteString("\x1b[4h")
	}
	b.Write(t.p.pending())
	return []byte(b.String()), b.Len() <= d.most
}

// drawer writes escape sequences.
type drawer struct {
	t     *Terminal
	b     *strings.Builder
	style style
	most  int  // bytes after which it stops
	bare  bool // characters only, without their looks
	shown bool // only the screen that is shown
}

func (d *drawer) seq(final string, params ...int) {
	d.b.WriteString("\x1b[")
	for i, p := range params {
		if i > 0 {
			d.b.WriteByte(';')
		}
		d.b.WriteString(strconv.Itoa(p))
	}
	d.b.WriteString(final)
}

// grid draws all lines on an empty screen. Line feeds would do for most, but
// not where the last column is taken.
func (d *drawer) grid(g grid) {
	for y, r := range g {
		if r.clean && r.fill == (cell{}) {
			continue
		}
		if d.b.Len() > d.most {
			return
		}
		line := r.open()
		n := len(line)
		for n > 0 && line[n-1].empty() {
			n--
		}
		if n == 0 {
			continue
		}
		d.seq("H", y+1, 1)
		for x := 0; x < n; x++ {
			if line[x].empty() { // a gap: skip it if that is shorter
				end := x
				for line[end].empty() {
					end++
				}
				if end-x > 4 {
					d.seq("C", end-x)
					x = end - 1
					continue
				}
			}
			d.cell(&line[x])
		}
	}
}

// empty reports whether the cell looks as on a fresh screen.
func (c *cell) empty() bool {
	return *c == (cell{}) || *c == (cell{r: ' '})
}

func (d *drawer) cell(c *cell) {
	if c.wide == rightHalf {
		return
	}
	if !d.bare {
		d.look(c.style())
	}
	if c.r == 0 && (c.attr == 0 || d.bare) {
		// A blank with a background was erased, not printed: the same to see.
		d.b.WriteByte(' ')
		return
	}
	d.t.writeCell(d.b, c)
}

// look changes the style if it is another.
func (d *drawer) look(s style) {
	if s == d.style {
		return
	}
	d.style = s
	d.b.WriteString("\x1b[0")
	for i, n := range [...]int{1, 2, 3, 4, 5, 7, 8, 9} {
		if s.attr&(1<<i) != 0 {
			d.b.WriteByte(';')
			d.b.WriteString(strconv.Itoa(n))
		}
	}
	d.colour(s.fg, 30)
	d.colour(s.bg, 40)
	d.b.WriteByte('m')
}

func (d *drawer) colour(c uint32, base int) {
	p := func(ns ...int) {
		for _, n := range ns {
			d.b.WriteByte(';')
			d.b.WriteString(strconv.Itoa(n))
		}
	}
	v := int(c & 0xffffff)
	switch {
	case c>>24 == 0:
	case c>>24 == 2:
		p(base+8, 2, v>>16, v>>8&255, v&255)
	case v < 8:
		p(base + v)
	case v < 16:
		p(base + 60 + v - 8)
	default:
		p(base+8, 5, v)
	}
}

func (d *drawer) tabs() {
	same := true
	for x, on := range d.t.tabs {
		same = same && on == (x > 0 && x%8 == 0)
	}
	if same {
		return
	}
	d.b.WriteString("\x1b[3g")
	for x, on := range d.t.tabs {
		if on {
			d.seq("H", 1, x+1)
			d.b.WriteString("\x1bH")
		}
	}
}

// saved sets the saved cursor.
func (d *drawer) saved(c cursor, g grid) {
	if c == (cursor{}) {
		return
	}
	d.place(c, g)
	d.b.WriteString("\x1b7")
	d.plain()
}

// plain undoes what place has set, so that drawing goes on as at the start.
func (d *drawer) plain() {
	d.b.WriteString("\x1b[?6l\x0f\x1b(B\x1b)B")
	d.look(style{})
}

// place sets position, style and what goes with them.
func (d *drawer) place(c cursor, g grid) {
	row := c.y
	y := row
	if c.origin {
		d.b.WriteString("\x1b[?6h")
		row = min(max(row, d.t.top), d.t.bot) // restore does the same
		y = row - d.t.top
	}
	d.seq("H", y+1, c.x+1)
	if c.wrap {
		// Only printing in the last column makes the next character wrap:
		// print what is there once more.
		x := d.t.cols - 1
		line := g[row].open()
		if line[x].wide == rightHalf && x > 0 {
			x--
			d.seq("H", y+1, x+1)
		}
		d.cell(&line[x])
	}
	d.look(c.style)
	for i, on := range c.drawing {
		if on {
			d.b.WriteString([...]string{"\x1b(0", "\x1b)0"}[i])
		}
	}
	if c.shift == 1 {
		d.b.WriteByte(0x0e)
	}
}
