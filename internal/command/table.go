package command

import (
	"io"
	"strings"
	"unicode"

	"golang.org/x/text/width"

	"jit-gateway/internal/display"
)

// A table aligns columns by what a terminal shows, not by bytes, and passes
// every cell through package display.
type table struct {
	head []string
	rows [][]cell
}

// cell is text with the style it has on a terminal.
type cell struct {
	text  string
	style style
}

type style string

const (
	plain  style = ""
	bold   style = "\x1b[1m"
	dim    style = "\x1b[2m"
	green  style = "\x1b[32m"
	yellow style = "\x1b[33m"
	red    style = "\x1b[31m"
	reset        = "\x1b[0m"
)

const maxCell = 60

func newTable(head ...string) *table { return &table{head: head} }

// row adds a row of strings and cells.
func (t *table) row(cells ...any) {
	r := make([]cell, len(cells))
	for i, c := range cells {
		switch c := c.(type) {
		case cell:
			r[i] = cell{display.Line(c.text, maxCell), c.style}
		case string:
			r[i] = cell{text: display.Line(c, maxCell)}
		}
	}
	t.rows = append(t.rows, r)
}

// write prints the table, in colour if color is set. The last column is not
// padded, so that no line ends in blanks.
func (t *table) write(w io.Writer, color bool) error {
	head := make([]cell, len(t.head))
	for i, h := range t.head {
		head[i] = cell{h, dim}
	}
	widths := make([]int, len(t.head))
	all := append([][]cell{head}, t.rows...)
	for _, r := range all {
		for i, c := range r {
			widths[i] = max(widths[i], columns(c.text))
		}
	}
	var b strings.Builder
	for _, r := range all {
		last := len(r) - 1
		for last > 0 && r[last].text == "" {
			last--
		}
		for i, c := range r[:last+1] {
			b.WriteString(paint(c.text, c.style, color))
			if i < last {
				b.WriteString(strings.Repeat(" ", widths[i]-columns(c.text)+2))
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func paint(s string, st style, color bool) string {
	if !color || st == plain || s == "" {
		return s
	}
	return string(st) + s + reset
}

// columns is how many columns a terminal gives s.
func columns(s string) int {
	n := 0
	for _, r := range s {
		switch k := width.LookupRune(r).Kind(); {
		case unicode.In(r, unicode.Mn, unicode.Me):
		case k == width.EastAsianWide || k == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}
