package vt

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
	// OnLine, if set, is called with each line that leaves a screen: scrolled
	// off the top of it or of its scroll region, cleared with the whole screen,
	// or on an alternate screen that closes. since is the Moment at which the
	// line began to be printed. What is overwritten in place is not told.
	OnLine func(text string, since int64)
	// Moment is whatever the caller calls the time of the next Write.
	Moment int64

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
	unswept    int // marks that found no room among clusters
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
	if len(t.tabs) != t.cols {
		t.tabs = make([]bool, t.cols)
	}
	clear(t.tabs)
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
		line := t.printing()
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

// line returns the cells of the cursor's line.
func (t *Terminal) line() []cell { return t.grid()[t.cur.y].open() }

// printing returns them to be printed on. What is printed from the first
// column on is a new line, to whoever looks for it later.
func (t *Terminal) printing() []cell {
	r := t.grid()[t.cur.y]
	if !r.begun || t.cur.x == 0 {
		r.begun, r.since = true, t.Moment
	}
	return r.open()
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
	line, x := t.line(), t.cur.x
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
	line := t.printing()
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
	g := t.grid()[top : t.bot+1]
	n = min(n, len(g))
	blank := t.cur.style.blank()
	for _, r := range g[:n] {
		t.gone(r)
		r.wipe(blank)
	}
	g.up(n)
}

func (t *Terminal) scrollDown(top, n int) {
	g := t.grid()[top : t.bot+1]
	n = min(n, len(g))
	g[len(g)-n:].wipe(t.cur.style.blank())
	if n < len(g) {
		g.up(len(g) - n)
	}
}

// gone tells of a line that leaves the screen.
func (t *Terminal) gone(r *row) {
	if t.OnLine == nil || r.clean { // clean: also the pattern of DECALN
		return
	}
	if s := t.textOf(r.cells); s != "" {
		t.OnLine(s, r.since)
	}
}

// Flush tells OnLine of the lines that are still on a screen.
func (t *Terminal) Flush() {
	if t.onAlt {
		t.allGone(t.main)
	}
	t.allGone(t.grid())
}

func (t *Terminal) allGone(g grid) {
	for _, r := range g {
		t.gone(r)
	}
}

// Lines returns the text of the screen, line by line.
func (t *Terminal) Lines() []string {
	var out []string
	for _, r := range t.grid() {
		out = append(out, t.textOf(r.open()))
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
	t.allGone(t.main[:cut])
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
