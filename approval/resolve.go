package approval

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
)

const (
	maxTargets  = 200 // of one request
	maxReason   = 1000
	maxTicket   = 100
	maxPending  = 30 // requests of one user that wait
	minDuration = time.Second
)

// validate refuses what cannot be, before anything is looked up.
func (s *Service) validate(a Ask) error {
	switch {
	case len(strings.TrimFunc(a.Reason, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) })) == 0:
		return refuse(ErrInvalid, "a reason is needed: what do you want to do there?")
	case !utf8.ValidString(a.Reason) || !utf8.ValidString(a.Ticket):
		return refuse(ErrInvalid, "the reason or the ticket is not UTF-8 text")
	case utf8.RuneCountInString(a.Reason) > maxReason:
		return refuse(ErrInvalid, "the reason is longer than %d characters", maxReason)
	case len(a.Ticket) > maxTicket:
		return refuse(ErrInvalid, "the ticket is longer than %d characters", maxTicket)
	case a.Duration < 0 || a.Duration > 0 && a.Duration < minDuration:
		return refuse(ErrInvalid, "the duration must be at least %s", minDuration)
	case !a.StartAt.IsZero() && a.StartAt.Before(s.o.Now()):
		return refuse(ErrInvalid, "the start lies in the past")
	case a.Extends != "" && !a.StartAt.IsZero():
		return refuse(ErrInvalid, "an extension has no start of its own")
	case a.Extends != "" && a.BreakGlass:
		return refuse(ErrInvalid, "an emergency is a request of its own, not an extension")
	case a.BreakGlass && !a.StartAt.IsZero():
		return refuse(ErrInvalid, "an emergency is now; what can wait can be approved")
	}
	return nil
}

// input is what rules see of an ask.
func (s *Service) input(u identity.User, c Caller, a Ask) policy.Input {
	return policy.Input{User: u, Login: a.Login, Reason: a.Reason, Ticket: a.Ticket, Duration: a.Duration, StartAt: a.StartAt,
		Now: s.o.Now(), Source: address(c.Source), BreakGlass: a.BreakGlass}
}

// resolve finds the targets and the login of an ask. Names that do not exist
// and names that no rule lets the user ask for get one and the same answer;
// a selector finds only what the user may ask for.
func (s *Service) resolve(in policy.Input, a Ask) ([]inventory.Target, string, error) {
	set := s.o.Rules()
	var targets []inventory.Target
	asked := strings.Join(a.Targets, ", ")
	switch {
	case len(a.Targets) > 0 && len(a.Selector) > 0:
		return nil, "", refuse(ErrInvalid, "give names or labels, not both")
	case len(a.Targets) > maxTargets:
		return nil, "", refuse(ErrInvalid, "at most %d targets at once", maxTargets)
	case len(a.Targets) > 0:
		for _, name := range a.Targets {
			t, ok := s.o.Inventory.Target(inventory.Normalize(name))
			if !ok {
				return nil, "", forbidden(asked)
			}
			targets = append(targets, t)
		}
	case len(a.Selector) > 0:
		asked = selectorText(a.Selector)
		for _, t := range s.o.Inventory.Targets() {
			if !matches(t.Labels, a.Selector) {
				continue
			}
			logins := set.Logins(in, []inventory.Target{t})
			if len(logins) > 0 && (a.Login == "" || slices.Contains(logins, a.Login)) {
				targets = append(targets, t)
			}
		}
		if len(targets) > maxTargets {
			return nil, "", refuse(ErrInvalid, "%s selects %d targets; at most %d at once", asked, len(targets), maxTargets)
		}
	default:
		return nil, "", refuse(ErrInvalid, "say for which target")
	}
	slices.SortFunc(targets, func(a, b inventory.Target) int { return strings.Compare(a.Name, b.Name) })
	targets = slices.CompactFunc(targets, func(a, b inventory.Target) bool { return a.Name == b.Name })
	logins := set.Logins(in, targets)
	switch {
	case len(logins) == 0:
		return nil, "", forbidden(asked)
	case a.Login != "" && !slices.Contains(logins, a.Login):
		return nil, "", refuse(ErrForbidden, "%s: no rule lets you ask for the login %q; you may ask for %s", asked, a.Login, strings.Join(logins, ", "))
	case a.Login != "":
		return targets, a.Login, nil
	case len(logins) > 1:
		return nil, "", &ChooseLogin{Target: asked, Logins: logins}
	}
	return targets, logins[0], nil
}

func matches(labels, selector map[string]string) bool {
	for k, v := range selector {
		if have, ok := labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// selectorText is label:role=web,env=prod.
func selectorText(sel map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(sel)) {
		parts = append(parts, k+"="+sel[k])
	}
	if len(parts) == 0 {
		return ""
	}
	return "label:" + strings.Join(parts, ",")
}

// targetsOf reads the targets of a request as they are now, and refuses if
// one is gone or differs from what was frozen.
func (s *Service) targetsOf(names []string, hashes map[string]string) ([]inventory.Target, error) {
	var out []inventory.Target
	for _, name := range names {
		t, ok := s.o.Inventory.Target(name)
		if !ok || t.Name != name {
			return nil, refuse(ErrForbidden, "%s is no longer in the inventory", name)
		}
		if t.Hash() != hashes[name] {
			return nil, refuse(ErrForbidden, "the definition of %s changed since it was asked for; ask again", name)
		}
		out = append(out, t)
	}
	return out, nil
}

// requester reads who filed a request, and who that is as a person.
func (s *Service) requester(ctx context.Context, userID string) (identity.User, string, error) {
	u, err := s.o.Users.User(ctx, userID)
	if err != nil {
		return u, "", fmt.Errorf("read the requester: %w", err)
	}
	person, err := identity.Person(ctx, s.o.Users, u)
	return u, person, err
}
