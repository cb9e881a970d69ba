package policy

import (
	"fmt"
	"slices"
	"strings"

	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
)

// Electorate is one quorum of a rule for one request, with the owners of its
// targets filled in: who counts, and how many of them are needed.
type Electorate struct {
	Groups []string // members of any of these
	Users  []string // names, globs
	Need   int
	Label  string // "sre-leads", "owners of web01"
}

// Electorates returns the quorums that must all be met. A quorum of owners
// becomes one for each distinct set of owners among the targets, so that
// nobody decides for what is not theirs. Escalated adds the rule's further
// groups to each.
func (r Rule) Electorates(targets []inventory.Target, escalated bool) []Electorate {
	var out []Electorate
	for _, q := range r.Approve {
		e := Electorate{Groups: slices.Clone(q.Groups), Users: q.Users, Need: max(q.Count, 1)}
		e.Label = strings.Join(append(slices.Clone(q.Groups), q.Users...), " or ")
		if escalated && r.Escalate != nil {
			e.Groups = append(e.Groups, r.Escalate.Groups...)
		}
		if !q.Owners {
			out = append(out, e)
			continue
		}
		seen := map[string]bool{}
		for _, t := range targets {
			owners := slices.Sorted(slices.Values(t.Owners))
			key := strings.Join(owners, "\x00")
			if seen[key] {
				continue
			}
			seen[key] = true
			o := e
			o.Groups = append(slices.Clone(e.Groups), owners...)
			label := fmt.Sprintf("owners of %s", t.Name)
			if o.Label != "" {
				label = o.Label + " or " + label
			}
			o.Label = label
			out = append(out, o)
		}
	}
	return out
}

// Fits reports whether a vote of u counts. Machines never vote. Whether u is
// the requester is not asked here: see identity.Person.
func (e Electorate) Fits(u identity.User) bool {
	if u.Kind == identity.Machine {
		return false
	}
	return globAny(e.Users, u.Name) || slices.ContainsFunc(e.Groups, u.In)
}
