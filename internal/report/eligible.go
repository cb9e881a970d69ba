package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
)

// use is on what a user used a login, and when last.
type use struct{ user, login, target string }

// eligibility tells for every usable user, login and rule for which targets
// they may ask now. Under which circumstances (hours, networks, conditions) is the
// rule's matter: a request may still be refused.
func (w *Writer) eligibility(p past) []Eligible {
	set, targets := w.o.Rules(), w.o.Inventory.Targets()
	used := map[use]time.Time{}
	for _, g := range p.grants {
		for _, s := range p.sessions[g.ID] {
			k := use{s.UserID, s.Login, s.Target}
			if at := s.StartedAt; at.After(used[k]) && at.Before(p.To) {
				used[k] = at
			}
		}
	}
	type key struct{ user, rule, login string }
	index := map[key]*Eligible{}
	var order []key
	for _, u := range p.users {
		if !u.Usable(p.now) {
			continue
		}
		for _, emergency := range []bool{false, true} {
			in := policy.Input{User: u, Now: p.now, BreakGlass: emergency}
			for _, t := range targets {
				for _, login := range set.Logins(in, []inventory.Target{t}) {
					in.Target, in.Login = t, login
					rule, ok := first(set, in)
					if !ok {
						continue
					}
					k := key{u.ID, rule.Name, login}
					e := index[k]
					if e == nil {
						e = &Eligible{User: u.Name, UserID: u.ID, Kind: string(u.Kind), Owner: p.owner(u), Groups: lines(u.Groups), Rule: display.Line(rule.Name, 100),
							Login: display.Line(login, 64), Consent: consent(rule), Used: []string{}}
						index[k], order = e, append(order, k)
					}
					e.Targets = append(e.Targets, display.Line(t.Name, 100))
					if at, ok := used[use{u.ID, login, t.Name}]; ok {
						e.Used = append(e.Used, display.Line(t.Name, 100))
						if at.After(e.Last) {
							e.Last = at
						}
					}
				}
			}
		}
	}
	out := make([]Eligible, 0, len(order))
	for _, k := range order {
		e := index[k]
		e.Dormant = len(e.Used) == 0
		out = append(out, *e)
	}
	slices.SortStableFunc(out, func(a, b Eligible) int {
		return cmp.Or(strings.Compare(a.User, b.User), strings.Compare(a.Rule, b.Rule), strings.Compare(a.Login, b.Login))
	})
	return out
}

func (p past) owner(u identity.User) string {
	if u.Owner == "" {
		return ""
	}
	return p.name(u.Owner)
}

// first is the first rule that is about the user, target and login.
func first(set *policy.Set, in policy.Input) (policy.Rule, bool) {
	for _, r := range set.Rules() {
		if set.Selects(r.Name, in) {
			return r, true
		}
	}
	return policy.Rule{}, false
}

// consent says in words who says yes under a rule.
func consent(r policy.Rule) string {
	switch {
	case r.BreakGlass != nil:
		return "nobody beforehand; review by " + display.Line(strings.Join(r.BreakGlass.Reviews, " or "), 200)
	case r.Auto:
		return "the rule itself"
	}
	var out []string
	for _, q := range r.Approve {
		who := slices.Concat(q.Groups, q.Users)
		if q.Owners {
			who = append(who, "the target's owners")
		}
		out = append(out, strings.Join(who, " or "))
	}
	return display.Line(strings.Join(out, " and "), 200)
}

// counts is how many there are of everything, complete: the reader can add up.
func counts(p past, r Report, filed []approval.Request, targets []inventory.Target, rules int) []Count {
	var out []Count
	add := func(name string, n int) { out = append(out, Count{name, n}) }
	usable, machines := 0, 0
	for _, u := range p.users {
		if u.Usable(p.now) {
			usable++
		}
		if u.Kind == identity.Machine {
			machines++
		}
	}
	add("users", len(p.users))
	add("users: usable", usable)
	add("users: disabled or ended", len(p.users)-usable)
	add("users: machines", machines)
	add("targets", len(targets))
	add("rules", rules)
	add("requests filed", len(filed))
	states := map[string]int{}
	for _, q := range filed {
		states[string(q.State)]++
	}
	for _, s := range []approval.RequestState{approval.Approved, approval.Denied, approval.Withdrawn, approval.Expired, approval.Pending} {
		add("requests filed: "+string(s), states[string(s)])
	}
	refused := 0
	for _, q := range r.Refused {
		if q.ID == "" {
			refused++
		}
	}
	add("requests refused before they were filed", refused)
	uses, emergencies, open, auto, sessions := map[string]int{}, 0, 0, 0, 0
	for _, g := range r.Grants {
		uses[g.State]++
		sessions += g.Sessions
		if g.BreakGlass {
			emergencies++
		} else if len(g.ApprovedBy) == 0 {
			auto++
		}
		if g.Review == "open" {
			open++
		}
	}
	add("grants", len(r.Grants))
	for _, s := range []string{"used", "unused", "not_activated", "waiting"} {
		add("grants: "+strings.ReplaceAll(s, "_", " "), uses[s])
	}
	add("grants: approved by a rule itself", auto)
	add("emergencies", emergencies)
	add("emergencies: review open", open)
	add("sessions under these grants", sessions)
	add("after-checks that failed", len(r.Checks))
	unseen := 0
	for _, f := range r.Findings {
		if f.SeenBy == "" {
			unseen++
		}
	}
	add("findings", len(r.Findings))
	add("findings: nobody has looked", unseen)
	dormant := 0
	for _, e := range r.Eligibility {
		if e.Dormant {
			dormant++
		}
	}
	add("eligibilities (user, rule and login)", len(r.Eligibility))
	add("eligibilities: dormant", dormant)
	return out
}
