package vt

// Limits of a screen: what a hostile window size can cost.
const (
	MaxCols = 500
	MaxRows = 300
)

// A row is one line of a screen. A row that was cleared is only noted to be
// so; its cells are filled in when something is printed on it. Clearing,
// scrolling and resetting therefore cost nothing per column: otherwise two
// bytes of output would cost the 150,000 cells of the largest screen.
type row struct {
	cols  int
	cells []cell
	clean bool
	fill  cell  // of a clean row: what each of its cells is
	begun bool  // something was printed since it was cleared
	since int64 // Terminal.Moment of that
}

// open returns the row's cells.
func (r *row) open() []cell {
	if r.clean {
		r.clean = false
		if r.cells == nil {
			r.cells = make([]cell, r.cols)
		}
		for x := range r.cells {
			r.cells[x] = r.fill
		}
	}
	return r.cells
}

// wipe makes every cell of the row the same.
func (r *row) wipe(c cell) { r.clean, r.fill, r.begun = true, c, false }

type grid []*row

func newGrid(cols, rows int) grid {
	g, all := make(grid, rows), make([]row, rows)
	for y := range g {
		all[y] = row{cols: cols, clean: true}
		g[y] = &all[y]
	}
	return g
}

func (g grid) wipe(c cell) {
	for _, r := range g {
		r.wipe(c)
	}
}

// resized returns the rows from cut on, in the new size.
func (g grid) resized(cols, rows, cut int) grid {
	out := newGrid(cols, rows)
	for y, r := range out {
		if y+cut >= len(g) {
			break
		}
		old := g[y+cut]
		if old.clean && old.fill == (cell{}) {
			continue
		}
		line := r.open()
		copy(line, old.open())
		r.begun, r.since = old.begun, old.since
		if last := &line[cols-1]; last.wide == leftHalf {
			last.r, last.wide = 0, narrow
		}
	}
	return out
}

// up moves the rows up by n; those that leave at the top come in below.
func (g grid) up(n int) {
	switch {
	case n == 1: // a line feed
		first := g[0]
		copy(g, g[1:])
		g[len(g)-1] = first
	case n < len(g):
		first := append(grid(nil), g[:n]...)
		copy(g[copy(g, g[n:]):], first)
	}
}
