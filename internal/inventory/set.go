package inventory

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

// Live is the Inventory of a running gateway: readers never wait, a reload
// swaps the whole set.
type Live struct {
	set atomic.Pointer[set]
}

type set struct {
	byName map[string]Target // names and aliases
	sorted []Target
}

// NewLive returns a Live with the targets; see Swap.
func NewLive(targets []Target) (*Live, error) {
	l := &Live{}
	return l, l.Swap(targets)
}

// Swap replaces the set. Names and aliases must be unique across kinds;
// otherwise nothing changes and the error names both owners.
func (l *Live) Swap(targets []Target) error {
	s := &set{byName: make(map[string]Target, len(targets)), sorted: slices.Clone(targets)}
	slices.SortFunc(s.sorted, func(a, b Target) int { return strings.Compare(a.Name, b.Name) })
	for _, t := range s.sorted {
		for _, n := range append([]string{t.Name}, t.Aliases...) {
			n = Normalize(n)
			if other, taken := s.byName[n]; taken {
				return fmt.Errorf("target %q (%s) and target %q (%s) both answer to %q", other.Name, other.Source, t.Name, t.Source, n)
			}
			s.byName[n] = t
		}
	}
	l.set.Store(s)
	return nil
}

// Target finds by name or alias.
func (l *Live) Target(name string) (Target, bool) {
	t, ok := l.set.Load().byName[Normalize(name)]
	return t, ok
}

// Targets lists all, by name. Callers MUST NOT change the slice.
func (l *Live) Targets() []Target { return l.set.Load().sorted }
