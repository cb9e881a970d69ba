package recording

import (
	"slices"
	"strings"
)

// matrix is step × fault → outcomes.
type matrix struct {
	steps []string
	cells map[[2]string][]string
	says  map[string][]string // by fault
}

func (x *matrix) add(r told, fault, mode string) {
	if !slices.Contains(x.steps, r.step) {
		x.steps = append(x.steps, r.step)
	}
	key := [2]string{r.step, fault}
	if concerns(fault, strings.TrimPrefix(r.step, "recovery: ")) {
		if v := mode + r.outcome; !slices.Contains(x.cells[key], v) {
			x.cells[key] = append(x.cells[key], v)
		}
	}
	if s := r.sentence; s != "" && fault != "kill -9" && fault != "power loss" && !strings.HasPrefix(r.step, "recovery") && !slices.Contains(x.says[fault], s) {
		x.says[fault] = append(x.says[fault], s)
	}
}

// cell joins what came of a fault at all the places where the step is, in both modes.
func (x *matrix) cell(step, fault string) string {
	all := x.cells[[2]string{step, fault}]
	if len(all) == 0 {
		return "–"
	}
	var strict, interval []string
	for _, v := range all {
		mode, outcome, _ := strings.Cut(v, "|")
		if mode == "strict" {
			strict = append(strict, outcome)
		} else {
			interval = append(interval, outcome)
		}
	}
	slices.Sort(strict)
	slices.Sort(interval)
	a, b := strings.Join(strict, "; or "), strings.Join(interval, "; or ")
	if a == b || b == "" {
		return a
	}
	return "strict: " + a + ". interval: " + b
}
