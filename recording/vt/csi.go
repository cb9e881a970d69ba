package vt

func (t *Terminal) csi(s *sequence) {
	switch {
	case s.prefix == '?' && s.inter == 0 && (s.final == 'h' || s.final == 'l'):
		for i := range s.n {
			t.privateMode(s.param[i], s.final == 'h')
		}
		return
	case s.prefix == 0 && s.inter == '!' && s.final == 'p':
		t.softReset()
		return
	case s.prefix != 0 || s.inter != 0:
		return
	}
	c := &t.cur
	n := s.arg(0, 1)
	switch s.final {
	case '@':
		t.insertCells(n)
	case 'A':
		t.moveY(-n)
	case 'B', 'e':
		t.moveY(n)
	case 'C', 'a':
		c.x, c.wrap = min(c.x+n, t.cols-1), false
	case 'D':
		c.x, c.wrap = max(c.x-n, 0), false
	case 'E':
		t.moveY(n)
		c.x = 0
	case 'F':
		t.moveY(-n)
		c.x = 0
	case 'G', '`':
		c.x, c.wrap = min(n, t.cols)-1, false
	case 'H', 'f':
		t.goTo(s.arg(1, 1)-1, n-1)
	case 'd':
		t.goTo(c.x, n-1)
	case 'I':
		t.tab(n)
	case 'Z':
		t.backTab(n)
	case 'J':
		t.eraseDisplay(s.arg(0, 0))
	case 'K':
		t.eraseLine(s.arg(0, 0))
	case 'L':
		if c.y >= t.top && c.y <= t.bot {
			t.scrollDown(c.y, n)
			c.x, c.wrap = 0, false
		}
	case 'M':
		if c.y >= t.top && c.y <= t.bot {
			t.deleteLines(n)
			c.x, c.wrap = 0, false
		}
	case 'P':
		t.deleteCells(n)
	case 'S':
		t.scrollUp(t.top, n)
	case 'T':
		if s.n <= 1 { // five parameters would be mouse tracking
			t.scrollDown(t.top, n)
		}
	case 'X':
		t.eraseCells(c.x, min(c.x+n, t.cols))
	case 'b':
		for range min(n, t.cols) { // programs repeat within a line
			if t.last == 0 {
				break
			}
			t.put(t.mapped(t.last), runeWidth(t.last))
		}
	case 'g':
		switch s.arg(0, 0) {
		case 0:
			t.tabs[c.x] = false
		case 3:
			clear(t.tabs)
		}
	case 'h', 'l':
		for i := range s.n {
			switch s.param[i] {
			case 4:
				t.insert = s.final == 'h'
			case 20:
				t.newline = s.final == 'h'
			}
		}
	case 'm':
		c.style.set(s)
	case 'r':
		top, bot := n-1, min(s.arg(1, t.rows), t.rows)-1
		if top < bot {
			t.top, t.bot = top, bot
			t.goTo(0, 0)
		}
	case 's':
		t.saved[t.screen()] = *c
	case 'u':
		t.restore(t.saved[t.screen()])
	}
}

// moveY moves within the scroll region if the cursor is in it, else within the screen.
func (t *Terminal) moveY(n int) {
	lo, hi := 0, t.rows-1
	if t.cur.y >= t.top {
		lo = t.top
	}
	if t.cur.y <= t.bot {
		hi = t.bot
	}
	if n < 0 {
		t.cur.y = max(t.cur.y+n, lo)
	} else {
		t.cur.y = min(t.cur.y+n, hi)
	}
	t.cur.wrap = false
}

func (t *Terminal) goTo(x, y int) {
	lo, hi := 0, t.rows-1
	if t.cur.origin {
		lo, hi = t.top, t.bot
	}
	t.cur.x, t.cur.y, t.cur.wrap = min(max(x, 0), t.cols-1), min(max(y+lo, lo), hi), false
}

func (t *Terminal) insertCells(n int) {
	x, line := t.cur.x, t.line()
	n = min(n, t.cols-x)
	t.split(line, x)
	copy(line[x+n:], line[x:])
	t.eraseCells(x, x+n)
	if last := &line[t.cols-1]; last.wide == leftHalf {
		last.r, last.wide = 0, narrow
	}
	t.cur.wrap = false
}

func (t *Terminal) deleteCells(n int) {
	x, line := t.cur.x, t.line()
	n = min(n, t.cols-x)
	t.split(line, x)
	t.split(line, x+n)
	copy(line[x:], line[x+n:])
	t.eraseCells(t.cols-n, t.cols)
	t.cur.wrap = false
}

// deleteLines scrolls if it begins at the region's top; what is deleted below
// that is not told.
func (t *Terminal) deleteLines(n int) {
	on := t.OnLine
	if t.cur.y > t.top {
		t.OnLine = nil
	}
	t.scrollUp(t.cur.y, n)
	t.OnLine = on
}

func (t *Terminal) eraseCells(from, to int) {
	b := t.cur.style.blank()
	if from == 0 && to == t.cols {
		t.grid()[t.cur.y].wipe(b)
		return
	}
	line := t.line()
	t.split(line, from)
	if to < t.cols {
		t.split(line, to)
	}
	for x := from; x < to; x++ {
		line[x] = b
	}
}

func (t *Terminal) eraseLine(how int) {
	switch how {
	case 0:
		t.eraseCells(t.cur.x, t.cols)
	case 1:
		t.eraseCells(0, t.cur.x+1)
	case 2:
		t.eraseCells(0, t.cols)
	}
}

func (t *Terminal) eraseDisplay(how int) {
	g, y, blank := t.grid(), t.cur.y, t.cur.style.blank()
	switch how {
	case 0:
		if y == 0 {
			t.allGone(g)
		}
		t.eraseLine(0)
		g[y+1:].wipe(blank)
	case 1:
		if y == t.rows-1 {
			t.allGone(g)
		}
		t.eraseLine(1)
		g[:y].wipe(blank)
	case 2:
		t.allGone(g)
		g.wipe(blank)
	}
}

func (t *Terminal) softReset() {
	t.cur.style, t.cur.origin, t.cur.drawing, t.cur.shift, t.cur.wrap = style{}, false, [2]bool{}, 0, false
	t.saved[t.screen()] = cursor{}
	t.top, t.bot = 0, t.rows-1
	t.noWrap, t.insert, t.hidden = false, false, false
}

func (t *Terminal) privateMode(n int, on bool) {
	switch n {
	case 6:
		t.cur.origin = on
		t.goTo(0, 0)
	case 7:
		t.noWrap = !on
	case 25:
		t.hidden = !on
	case 47, 1047:
		t.switchTo(on, false)
	case 1048:
		if on {
			t.saved[t.screen()] = t.cur
		} else {
			t.restore(t.saved[t.screen()])
		}
	case 1049:
		t.switchTo(on, true)
	}
}

// switchTo goes to the alternate screen, which begins empty, or back.
func (t *Terminal) switchTo(alt, keep bool) {
	if alt == t.onAlt {
		return
	}
	if alt {
		t.before = t.cur
		t.onAlt = true
		if t.alt == nil {
			t.alt = newGrid(t.cols, t.rows)
		}
		t.alt.wipe(t.cur.style.blank())
		return
	}
	t.allGone(t.alt)
	t.onAlt = false
	if keep {
		t.restore(t.before)
	}
}

// set follows SGR.
func (st *style) set(s *sequence) {
	if s.n == 0 {
		*st = style{}
		return
	}
	for i := 0; i < s.n; i++ {
		switch p := max(s.param[i], 0); {
		case p == 0:
			*st = style{}
		case p == 4 && i+1 < s.n && s.sub[i+1]: // 4:n, kinds of underline
			i++
			st.flag(underline, s.param[i] != 0)
		case p >= 1 && p <= 9:
			st.flag([...]uint16{1: bold, faint, italic, underline, blink, blink, reverse, conceal, strike}[p], true)
		case p == 21:
			st.flag(underline, true)
		case p == 22:
			st.flag(bold|faint, false)
		case p == 23:
			st.flag(italic, false)
		case p == 24:
			st.flag(underline, false)
		case p == 25:
			st.flag(blink, false)
		case p == 27:
			st.flag(reverse, false)
		case p == 28:
			st.flag(conceal, false)
		case p == 29:
			st.flag(strike, false)
		case p >= 30 && p <= 37:
			st.fg = palette + uint32(p-30)
		case p >= 40 && p <= 47:
			st.bg = palette + uint32(p-40)
		case p >= 90 && p <= 97:
			st.fg = palette + uint32(p-90+8)
		case p >= 100 && p <= 107:
			st.bg = palette + uint32(p-100+8)
		case p == 39:
			st.fg = 0
		case p == 49:
			st.bg = 0
		case p == 38 || p == 48 || p == 58:
			var colour uint32
			var ok bool
			if i, colour, ok = extended(s, i); ok && p == 38 {
				st.fg = colour
			} else if ok && p == 48 {
				st.bg = colour
			}
		}
	}
}

func (st *style) flag(f uint16, on bool) {
	if on {
		st.attr |= f
	} else {
		st.attr &^= f
	}
}

// extended reads 38;5;n 38;2;r;g;b and the forms with colons; it returns the
// index of the last parameter used.
func extended(s *sequence, i int) (int, uint32, bool) {
	at := func(j int) uint32 {
		if j < s.n {
			return uint32(min(max(s.param[j], 0), 255))
		}
		return 0
	}
	if i+1 >= s.n {
		return s.n, 0, false
	}
	if s.sub[i+1] { // all of it is one parameter
		end := i + 1
		for end+1 < s.n && s.sub[end+1] {
			end++
		}
		switch n := end - i; {
		case s.param[i+1] == 5 && n >= 2:
			return end, palette + at(i+2), true
		case s.param[i+1] == 2 && n >= 5: // with a colour space
			return end, direct | at(i+3)<<16 | at(i+4)<<8 | at(i+5), true
		case s.param[i+1] == 2 && n >= 4:
			return end, direct | at(i+2)<<16 | at(i+3)<<8 | at(i+4), true
		}
		return end, 0, false
	}
	switch s.param[i+1] {
	case 5:
		return i + 2, palette + at(i+2), i+2 < s.n
	case 2:
		return i + 4, direct | at(i+2)<<16 | at(i+3)<<8 | at(i+4), i+4 < s.n
	}
	return i + 1, 0, false
}
