package bench

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// A row is what a cell came to: per path its figures by round, and the CPU
// figures of what stood in between.
type row struct {
	cell
	values, cpus []map[int]float64 // by path, then by round
}

func newRow(c cell) *row {
	w := &row{cell: c}
	for range c.paths {
		w.values = append(w.values, map[int]float64{})
		w.cpus = append(w.cpus, map[int]float64{})
	}
	return w
}

func (w *row) add(round, path int, value float64, cpu *float64) {
	w.values[path][round] = value
	if cpu != nil {
		w.cpus[path][round] = *cpu
	}
}

// ratio is the median of the ratios within each round: what drifts between
// rounds drops out of it.
func (w *row) ratio(path, base int) float64 {
	var rs []float64
	for round, v := range w.values[path] {
		if b := w.values[base][round]; b > 0 {
			rs = append(rs, v/b)
		}
	}
	return median(rs)
}

func (w *row) median(path int) float64 { return median(slices.Collect(maps.Values(w.values[path]))) }
func (w *row) cpu(path int) float64    { return median(slices.Collect(maps.Values(w.cpus[path]))) }

func (w *row) String() string {
	parts := []string{w.name + ":"}
	for i, p := range w.paths {
		if p != nil {
			parts = append(parts, p.name, figure(w.median(i)))
		}
	}
	return strings.Join(append(parts, w.unit), " ")
}

// median of nothing is NaN, which is printed as a dash.
func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// figure keeps three digits that count, and all before the point.
func figure(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// write prints the rows as an aligned Markdown table. names are of the three
// paths: direct, the usual tool, the gateway.
func write(out io.Writer, names [3]string, rows []*row) {
	table := [][]string{{"", names[0], names[1], names[2], "× " + names[1], "× " + names[0], "CPU " + names[1], "CPU " + names[2], "rounds"}}
	for _, w := range rows {
		name := w.name
		if w.unit != "" {
			name += ", " + w.unit
		}
		per := ""
		if len(w.cpus[1])+len(w.cpus[2]) > 0 {
			per = " " + w.per
		}
		with := func(v float64) string {
			if math.IsNaN(v) {
				return "–"
			}
			return figure(v) + per
		}
		n := 0
		for _, v := range w.values {
			n = max(n, len(v))
		}
		table = append(table, []string{name, figure(w.median(0)), figure(w.median(1)), figure(w.median(2)),
			figure(w.ratio(2, 1)), figure(w.ratio(2, 0)), with(w.cpu(1)), with(w.cpu(2)), fmt.Sprint(n)})
	}
	width := make([]int, len(table[0]))
	for _, line := range table {
		for i, c := range line {
			width[i] = max(width[i], len([]rune(c)))
		}
	}
	for n, line := range table {
		var b strings.Builder
		for i, c := range line {
			pad := strings.Repeat(" ", width[i]-len([]rune(c)))
			if i == 0 {
				b.WriteString("| " + c + pad + " |")
			} else {
				b.WriteString(" " + pad + c + " |")
			}
		}
		fmt.Fprintln(out, b.String())
		if n == 0 {
			b.Reset()
			for i, w := range width {
				if i == 0 {
					b.WriteString("|" + strings.Repeat("-", w+2) + "|")
				} else {
					b.WriteString(strings.Repeat("-", w+1) + ":|")
				}
			}
			fmt.Fprintln(out, b.String())
		}
	}
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
