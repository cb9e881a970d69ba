package vt

// Limits of a screen: what a hostile window size can cost.
const (
	MaxCols = 500
	MaxRows = 300
)

type grid [][]cell

func newGrid(cols, rows int) grid {
	g := make(grid, rows)
	cells := make([]cell, cols*rows)
	for y := range g {
		g[y] = cells[y*cols : (y+1)*cols : (y+1)*cols]
	}
	return g
}

// cursor is a position and what it writes with.
type cursor struct {
	x, y    int
	style   style
	origin  bool // row 0 is the top of the scroll region
	drawing [2]bool
	shift   uint8 // G0 or G1
	wrap    bool  // the last column was written: the next character goes to the next line
}

// Terminal follows one terminal's output. It is not safe for use by several
// goroutines at once.
type Terminal struct {
	// OnLine, if set, is called with each line that leaves the screen for
	// good: scrolled off the top, cleared, or on an alternate screen that closes.
	OnLine func(text string)

	cols, rows int
	main, alt  grid // alt is made when it is first used
	onAlt      bool
	cur        cursor
	saved      [2]cursor // by DECSC, of main and alt
	before     cursor    // of main, while 1049 has the alternate screen
	top, bot   int       // scroll region, both inclusive
	tabs       []bool
	noWrap     bool
	insert     bool
	newline    bool // LNM
	hidden     bool // the cursor
	last       rune // for REP
	clusters   []string
	p          parser
}

// New returns an empty terminal; sizes are brought into the limits.
func New(cols, rows int) *Terminal {
	t := &Terminal{cols: limit(cols, 80, MaxCols), rows: limit(rows, 24, MaxRows)}
	t.main = newGrid(t.cols, t.rows)
	t.bot = t.rows - 1
	t.resetTabs()
	return t
}

func limit(n, def, most int) int {
	if n <= 0 {
		return def
	}
	return min(n, most)
}

// Size returns columns and rows.
func (t *Terminal) Size() (cols, rows int) { return t.cols, t.rows }

// Write follows p; it never fails.
func (t *Terminal) Write(p []byte) (int, error) {
	t.p.write(p, t)
	return len(p), nil
}

func (t *Terminal) grid() grid {
	if t.onAlt {
		return t.alt
	}
	return t.main
}

func (t *Terminal) screen() int {
	if t.onAlt {
		return 1
	}
	return 0
}

func (t *Terminal) resetTabs() {
	t.tabs = make([]bool, t.cols)
	for x := 8; x < t.cols; x += 8 {
		t.tabs[x] = true
	}
}

// text puts printable ASCII: the hot path.
func (t *Terminal) text(p []byte) {
	t.last = rune(p[len(p)-1])
	if t.insert || t.cur.drawing[t.cur.shift] || t.noWrap {
		for _, c := range p {
			t.put(t.mapped(rune(c)), 1)
		}
		return
	}
	c := &t.cur
	proto := c.style.cell(0, narrow)
	for len(p) > 0 {
		if c.wrap {
			t.wrapLine()
		}
		line := t.grid()[c.y]
		n := min(len(p), t.cols-c.x)
		t.split(line, c.x)
		if c.x+n < t.cols {
			t.split(line, c.x+n)
		}
		dst := line[c.x : c.x+n]
		for i := range dst {
			dst[i] = proto
			dst[i].r = rune(p[i])
		}
		p = p[n:]
		if c.x += n; c.x == t.cols {
			c.x, c.wrap = t.cols-1, true
		}
	}
}

// split blanks a wide character that would be cut between x-1 and x.
func (t *Terminal) split(line []cell, x int) {
	if x < len(line) && line[x].wide == rightHalf {
		line[x].r, line[x].wide = 0, narrow
		if x > 0 {
			line[x-1].r, line[x-1].wide = 0, narrow
		}
	}
}

func (t *Terminal) print(r rune) {
	if r < 0xa0 { // C1 as characters: nothing to see
		return
	}
	switch w := runeWidth(r); w {
	case 0:
		t.mark(r)
	default:
		t.last = r
		t.put(r, w)
	}
}

// mark combines r with the character before the cursor.
func (t *Terminal) mark(r rune) {
	line, x := t.grid()[t.cur.y], t.cur.x
	if !t.cur.wrap {
		x--
	}
	if x >= 0 && line[x].wide == rightHalf {
		x--
	}
	if x >= 0 {
		t.combine(&line[x], r)
	}
}

// put writes one character of width 1 or 2.
func (t *Terminal) put(r rune, w int) {
	c := &t.cur
	if w > t.cols {
		return
	}
	if c.wrap && !t.noWrap {
		t.wrapLine()
	}
	if w == 2 && c.x == t.cols-1 {
		if t.noWrap {
			return
		}
		t.wrapLine()
	}
	line := t.grid()[c.y]
	if t.insert {
		t.insertCells(w)
	}
	t.split(line, c.x)
	if c.x+w < t.cols {
		t.split(line, c.x+w)
	}
	if w == 2 {
		line[c.x], line[c.x+1] = c.style.cell(r, leftHalf), c.style.cell(0, rightHalf)
	} else {
		line[c.x] = c.style.cell(r, narrow)
	}
	if c.x += w; c.x >= t.cols {
		c.x, c.wrap = t.cols-1, true
	}
}

func (t *Terminal) wrapLine() {
	t.cur.x, t.cur.wrap = 0, false
	t.lineFeed()
}

func (t *Terminal) lineFeed() {
	t.cur.wrap = false
	switch {
	case t.cur.y == t.bot:
		t.scrollUp(t.top, 1)
	case t.cur.y < t.rows-1:
		t.cur.y++
	}
}

func (t *Terminal) reverseLineFeed() {
	t.cur.wrap = false
	switch {
	case t.cur.y == t.top:
		t.scrollDown(t.top, 1)
	case t.cur.y > 0:
		t.cur.y--
	}
}

// scrollUp moves the lines from top to the region's end up by n.
func (t *Terminal) scrollUp(top, n int) {
	g := t.grid()
	n = min(n, t.bot-top+1)
	for range n {
		line := g[top]
		if top == 0 && !t.onAlt {
			t.gone(line)
		}
		copy(g[top:t.bot], g[top+1:t.bot+1])
		g[t.bot] = line
		t.clear(line)
	}
}

func (t *Terminal) scrollDown(top, n int) {
	g := t.grid()
	n = min(n, t.bot-top+1)
	for range n {
		line := g[t.bot]
		copy(g[top+1:t.bot+1], g[top:t.bot])
		g[top] = line
		t.clear(line)
	}
}

func (t *Terminal) clear(line []cell) {
	b := t.cur.style.blank()
	if b == (cell{}) {
		clear(line)
		return
	}
	for x := range line {
		line[x] = b
	}
}

// gone tells of a line that leaves the screen.
func (t *Terminal) gone(line []cell) {
	if t.OnLine != nil {
		if s := t.textOf(line); s != "" {
			t.OnLine(s)
		}
	}
}

// Flush tells OnLine of the lines that are still on the screen.
func (t *Terminal) Flush() { t.allGone() }

func (t *Terminal) allGone() {
	if t.OnLine != nil {
		for _, line := range t.grid() {
			t.gone(line)
		}
	}
}

// Lines returns the text of the screen, line by line.
func (t *Terminal) Lines() []string {
	var out []string
	for _, line := range t.grid() {
		out = append(out, t.textOf(line))
	}
	return out
}

// Cursor returns where the cursor is, from 0.
func (t *Terminal) Cursor() (x, y int) { return t.cur.x, t.cur.y }

// Resize changes the size: lines keep their beginning, and the cursor's line
// stays on the screen. Programs repaint afterwards, so nothing is reflowed.
func (t *Terminal) Resize(cols, rows int) {
	cols, rows = limit(cols, t.cols, MaxCols), limit(rows, t.rows, MaxRows)
	if cols == t.cols && rows == t.rows {
		return
	}
	cut := max(t.cur.y-rows+1, 0)
	if t.onAlt {
		cut = max(t.before.y-rows+1, 0)
	}
	for _, line := range t.main[:cut] {
		t.gone(line)
	}
	t.main = t.main.resized(cols, rows, cut)
	if t.alt != nil {
		off := 0
		if t.onAlt {
			off = max(t.cur.y-rows+1, 0)
		}
		t.alt = t.alt.resized(cols, rows, off)
		t.before.y -= cut
		if t.onAlt {
			t.cur.y -= off
		}
	}
	if !t.onAlt {
		t.cur.y -= cut
	}
	t.cols, t.rows, t.top, t.bot = cols, rows, 0, rows-1
	for _, c := range []*cursor{&t.cur, &t.before, &t.saved[0], &t.saved[1]} {
		c.x, c.y, c.wrap = min(c.x, cols-1), min(max(c.y, 0), rows-1), false
	}
	t.resetTabs()
}

func (g grid) resized(cols, rows, cut int) grid {
	out := newGrid(cols, rows)
	for y := range out {
		if y+cut < len(g) {
			copy(out[y], g[y+cut])
			if last := &out[y][cols-1]; last.wide == leftHalf {
				last.r, last.wide = 0, narrow
			}
		}
	}
	return out
}
