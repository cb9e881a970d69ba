package vt

func (t *Terminal) control(c byte) {
	switch c {
	case '\b':
		t.cur.wrap = false
		t.cur.x = max(t.cur.x-1, 0)
	case '\t':
		t.tab(1)
	case '\n', '\v', '\f':
		t.lineFeed()
		if t.newline {
			t.cur.x = 0
		}
	case '\r':
		t.cur.x, t.cur.wrap = 0, false
	case 0x0e:
		t.cur.shift = 1
	case 0x0f:
		t.cur.shift = 0
	}
}

func (t *Terminal) tab(n int) {
	for ; n > 0 && t.cur.x < t.cols-1; n-- {
		for t.cur.x++; t.cur.x < t.cols-1 && !t.tabs[t.cur.x]; t.cur.x++ {
		}
	}
}

func (t *Terminal) backTab(n int) {
	t.cur.wrap = false
	for ; n > 0 && t.cur.x > 0; n-- {
		for t.cur.x--; t.cur.x > 0 && !t.tabs[t.cur.x]; t.cur.x-- {
		}
	}
}

func (t *Terminal) escape(inter, final byte) {
	switch inter {
	case '(', ')':
		t.cur.drawing[inter-'('] = final == '0'
		return
	case '#':
		if final == '8' { // DECALN
			t.top, t.bot = 0, t.rows-1
			t.cur.x, t.cur.y, t.cur.wrap = 0, 0, false
			t.grid().wipe(cell{r: 'E'})
		}
		return
	case 0:
	default:
		return
	}
	switch final {
	case '7':
		t.saved[t.screen()] = t.cur
	case '8':
		t.restore(t.saved[t.screen()])
	case 'D':
		t.lineFeed()
	case 'E':
		t.cur.x = 0
		t.lineFeed()
	case 'H':
		t.tabs[t.cur.x] = true
	case 'M':
		t.reverseLineFeed()
	case 'c':
		t.reset()
	}
}

func (t *Terminal) restore(c cursor) {
	t.cur = c
	lo, hi := 0, t.rows-1
	if c.origin {
		lo, hi = t.top, t.bot
	}
	t.cur.x, t.cur.y = min(c.x, t.cols-1), min(max(c.y, lo), hi)
}

func (t *Terminal) reset() {
	t.Flush()
	t.main.wipe(cell{})
	t.alt.wipe(cell{})
	*t = Terminal{OnLine: t.OnLine, Moment: t.Moment, cols: t.cols, rows: t.rows, main: t.main, alt: t.alt, bot: t.rows - 1, tabs: t.tabs, p: t.p}
	t.resetTabs()
}

// drawing is DEC's line drawing set, from 0x5f.
var drawing = []rune(" ◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·")

func (t *Terminal) mapped(r rune) rune {
	if t.cur.drawing[t.cur.shift] && r >= 0x5f && r <= 0x7e {
		return drawing[r-0x5f]
	}
	return r
}

// str: strings have no effect on the screen.
func (t *Terminal) str(byte, bool) {}
