package source

import (
	"fmt"
	"strings"

	"jit-gateway/internal/inventory"
)

// Diff is what a reading would change, by name.
type Diff struct {
	Added   []string `json:"added,omitempty"`
	Changed []string `json:"changed,omitempty"`
	Removed []string `json:"removed,omitempty"`
	Before  int      `json:"before"` // how many targets there were
	After   int      `json:"after"`
}

// Compare tells two lists of targets apart. A definition that differs only in
// where it came from is the same.
func Compare(before, after []inventory.Target) Diff {
	d := Diff{Before: len(before), After: len(after)}
	had := make(map[string]string, len(before))
	for _, t := range before {
		had[t.Name] = t.Hash()
	}
	for _, t := range after {
		hash, ok := had[t.Name]
		switch {
		case !ok:
			d.Added = append(d.Added, t.Name)
		case hash != t.Hash():
			d.Changed = append(d.Changed, t.Name)
		}
		delete(had, t.Name)
	}
	for _, t := range before { // in their order
		if _, gone := had[t.Name]; gone {
			d.Removed = append(d.Removed, t.Name)
		}
	}
	return d
}

// Empty reports that nothing changes.
func (d Diff) Empty() bool { return len(d.Added)+len(d.Changed)+len(d.Removed) == 0 }

// loss is the share of targets that would go, in percent, rounded up.
func (d Diff) loss() int {
	if d.Before == 0 {
		return 0
	}
	return (100*len(d.Removed) + d.Before - 1) / d.Before
}

// String is the diff in a line: 2 added, 1 changed (web03), none removed.
func (d Diff) String() string {
	part := func(names []string, what string) string {
		const most = 5
		switch n := len(names); {
		case n == 0:
			return "none " + what
		case n > most:
			return fmt.Sprintf("%d %s (%s and %d more)", n, what, strings.Join(names[:most], ", "), n-most)
		default:
			return fmt.Sprintf("%d %s (%s)", n, what, strings.Join(names, ", "))
		}
	}
	return fmt.Sprintf("%d targets: %s, %s, %s", d.After, part(d.Added, "added"), part(d.Changed, "changed"), part(d.Removed, "removed"))
}
