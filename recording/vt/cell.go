package vt

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Colours: 0 is the default; 1<<24 plus an index is the palette; 2<<24 plus
// RGB is itself.
const (
	palette = 1 << 24
	direct  = 2 << 24
)

// Attributes.
const (
	bold = 1 << iota
	faint
	italic
	underline
	blink
	reverse
	conceal
	strike
)

// style is how characters look.
type style struct {
	fg, bg uint32
	attr   uint16
}

// cell is one position: a character (0: blank), its look, and whether it is
// the first or second half of a wide one.
type cell struct {
	r      rune // above unicode.MaxRune: an index of Terminal.clusters
	fg, bg uint32
	attr   uint16
	wide   uint8
}

const (
	narrow = iota
	leftHalf
	rightHalf
)

func (c *cell) style() style { return style{c.fg, c.bg, c.attr} }

func (s style) cell(r rune, wide uint8) cell { return cell{r, s.fg, s.bg, s.attr, wide} }

// blank is an erased cell: only the background stays.
func (s style) blank() cell { return cell{bg: s.bg} }

// runeWidth returns how many columns r takes: 0, 1 or 2.
func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case r >= 0x1100 && isWide(r):
		return 2
	case unicode.In(r, unicode.Mn, unicode.Me), r >= 0x200b && r <= 0x200f, r == 0x2060, r == 0xfeff:
		return 0
	}
	return 1
}

func isWide(r rune) bool {
	k := width.LookupRune(r).Kind()
	return k == width.EastAsianWide || k == width.EastAsianFullwidth
}

// maxClusters bounds characters with combining marks on one terminal, and
// maxCluster their length.
const (
	maxClusters = 1024
	maxCluster  = 32
)

// combine adds a mark to the cell.
func (t *Terminal) combine(c *cell, mark rune) {
	var s string
	switch {
	case c.r == 0:
		s = " "
	case c.r > unicode.MaxRune:
		s = t.clusters[c.r-unicode.MaxRune-1]
	default:
		s = string(c.r)
	}
	if len(s) >= maxCluster {
		return
	}
	if len(t.clusters) >= maxClusters {
		// To look through the screens takes long: not for every mark.
		if t.unswept++; t.unswept%maxClusters == 1 {
			t.sweep()
		}
		if len(t.clusters) >= maxClusters {
			return
		}
	}
	t.clusters = append(t.clusters, s+string(mark))
	c.r = unicode.MaxRune + rune(len(t.clusters))
}

// sweep forgets clusters that are on no screen any more.
func (t *Terminal) sweep() {
	old := t.clusters
	t.clusters = nil
	for _, g := range []grid{t.main, t.alt} {
		for _, r := range g {
			if r.clean {
				continue
			}
			for x := range r.cells {
				if c := r.cells[x].r; c > unicode.MaxRune {
					t.clusters = append(t.clusters, old[c-unicode.MaxRune-1])
					r.cells[x].r = unicode.MaxRune + rune(len(t.clusters))
				}
			}
		}
	}
}

// textOf returns a line's characters without trailing blanks.
func (t *Terminal) textOf(line []cell) string {
	n := len(line)
	for n > 0 && (line[n-1].r == 0 || line[n-1].r == ' ') {
		n--
	}
	var b strings.Builder
	b.Grow(n)
	for i := range line[:n] {
		t.writeCell(&b, &line[i])
	}
	return b.String()
}

func (t *Terminal) writeCell(b *strings.Builder, c *cell) {
	switch {
	case c.wide == rightHalf:
	case c.r == 0:
		b.WriteByte(' ')
	case c.r > unicode.MaxRune:
		b.WriteString(t.clusters[c.r-unicode.MaxRune-1])
	default:
		b.WriteRune(c.r)
	}
}
