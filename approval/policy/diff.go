package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Change is what became of one rule between two sets.
type Change struct {
	Rule   string  `json:"rule"`
	What   string  `json:"what"`             // added, removed, changed, moved
	Fields []Field `json:"fields,omitempty"` // of a changed one
}

// Field is one field of a rule as it was and as it is, in JSON; empty where
// the rule does not have it.
type Field struct {
	Name   string `json:"name"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// String is one line: "web: changed max_duration "8h" → "4h"".
func (c Change) String() string {
	if len(c.Fields) == 0 {
		return c.Rule + ": " + c.What
	}
	var out []string
	for _, f := range c.Fields {
		out = append(out, fmt.Sprintf("%s %s → %s", f.Name, shown(f.Before), shown(f.After)))
	}
	return c.Rule + ": " + c.What + " " + strings.Join(out, "; ")
}

func shown(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

// Diff tells what changes from one set of rules to another, in the order of the
// new one, what was removed at the end. The order of rules matters (the first
// that allows is taken), so a rule that comes behind one that it was before is
// told as moved.
func Diff(before, after *Set) []Change {
	old, place := map[string]Rule{}, map[string]int{}
	for i, r := range before.Rules() {
		old[r.Name], place[r.Name] = r, i
	}
	var out []Change
	seen, last := map[string]bool{}, -1
	for _, r := range after.Rules() {
		seen[r.Name] = true
		was, ok := old[r.Name]
		if !ok {
			out = append(out, Change{Rule: r.Name, What: "added"})
			continue
		}
		if fields := changed(was, r); len(fields) > 0 {
			out = append(out, Change{r.Name, "changed", fields})
		}
		if at := place[r.Name]; at < last {
			out = append(out, Change{Rule: r.Name, What: "moved"})
		} else {
			last = at
		}
	}
	for _, r := range before.Rules() {
		if !seen[r.Name] {
			out = append(out, Change{Rule: r.Name, What: "removed"})
		}
	}
	return out
}

func changed(before, after Rule) []Field {
	a, b := fields(before), fields(after)
	names := slices.Collect(maps.Keys(a))
	for n := range b {
		if _, ok := a[n]; !ok {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	var out []Field
	for _, n := range names {
		if x, y := string(a[n]), string(b[n]); x != y {
			out = append(out, Field{n, x, y})
		}
	}
	return out
}

// fields is a rule as its YAML fields, those of one level below by path.
func fields(r Rule) map[string]json.RawMessage {
	flat := map[string]json.RawMessage{}
	b, err := json.Marshal(r)
	var top map[string]json.RawMessage
	if err == nil {
		err = json.Unmarshal(b, &top)
	}
	if err != nil { // strings, numbers and prefixes always encode
		panic(fmt.Sprintf("encode rule %q: %v", r.Name, err))
	}
	for name, v := range top {
		var inner map[string]json.RawMessage
		if name == "labels" || json.Unmarshal(v, &inner) != nil {
			flat[name] = v
			continue
		}
		for below, v := range inner {
			flat[name+"."+below] = v
		}
	}
	return flat
}
