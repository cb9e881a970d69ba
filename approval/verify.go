package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store"
)

// intact recomputes what was approved: the request's digest, the grant's own
// hash, the rule's. A store that was changed behind the gateway's back admits nobody.
func (s *Service) intact(ctx context.Context, g Grant) error {
	r, err := s.o.Requests.Request(ctx, g.RequestID)
	if err != nil {
		return fmt.Errorf("read the request of grant %s: %w", g.ID, err)
	}
	bad := ""
	switch {
	case r.State != Approved || r.GrantID != g.ID:
		bad = "its request is not approved"
	case r.Digest() != g.RequestDigest:
		bad = "its request differs from what was approved"
	case g.Digest() != g.Hash:
		bad = "it differs from what was approved"
	case g.Rule.Hash() != g.RuleHash:
		bad = "its rule differs from what was approved"
	case g.UserID != r.UserID || g.Login != r.Login || !slices.Equal(g.Targets, r.Targets) || g.Duration > r.Duration:
		bad = "it grants what was not asked for"
	case g.BreakGlass != r.BreakGlass || g.BreakGlass != (g.Rule.BreakGlass != nil): // nobody unmakes an emergency, and so its review
		bad = "whether it is an emergency differs from what was approved"
	}
	if bad == "" {
		for _, v := range g.Votes {
			if v.Digest != g.RequestDigest {
				bad = "a vote was for another request"
			}
		}
	}
	if bad != "" {
		return &GrantError{ErrForbidden, g, fmt.Sprintf("grant %s is not used: %s; tell an administrator", g.ID, bad)}
	}
	return nil
}

// check decides whether the grant is still good for the user, on the target,
// from there, under the rule that was approved and under the current one. It
// returns the stricter of the two.
func (s *Service) check(ctx context.Context, u identity.User, g Grant, t inventory.Target, source string) (policy.Rule, error) {
	no := func(format string, args ...any) (policy.Rule, error) {
		return policy.Rule{}, &GrantError{ErrForbidden, g, fmt.Sprintf(format, args...)}
	}
	switch {
	case g.UserID != u.ID || !slices.Contains(g.Targets, t.Name):
		return no("grant %s is not for %s", g.ID, t.Name)
	case t.Hash() != g.TargetHashes[t.Name]:
		return policy.Rule{}, stale(g, "the definition of %s changed since grant %s was approved", t.Name, g.ID)
	case !t.Allows(g.Login):
		return no("%s has no login %s any more", t.Name, g.Login)
	}
	r, err := s.o.Requests.Request(ctx, g.RequestID)
	if err != nil {
		return policy.Rule{}, fmt.Errorf("read the request of grant %s: %w", g.ID, err)
	}
	in := inputOf(u, g, r, t, source)
	in.Now = s.o.Now()
	set := s.o.Rules()
	current, ok := set.Rule(g.Rule.Name)
	if !ok {
		return policy.Rule{}, stale(g, "rule %s, under which grant %s was approved, is gone", g.Rule.Name, g.ID)
	}
	in.Duration = min(g.Duration, current.Max())
	if v := set.Check(current.Name, in); !v.Allowed {
		return no("grant %s cannot be used now: %s", g.ID, v.Reason)
	}
	if current.Hash() == g.RuleHash {
		return current, nil
	}
	old, err := s.approvedSet(g)
	if err != nil {
		return no("grant %s cannot be used: its approved rule does not load: %v", g.ID, err)
	}
	in.Duration = g.Duration
	if v := old.Check(g.Rule.Name, in); !v.Allowed {
		return no("grant %s cannot be used now: %s", g.ID, v.Reason)
	}
	return policy.Stricter(g.Rule, current), nil
}

// inputOf is what rules see of a grant, but for the time.
func inputOf(u identity.User, g Grant, r Request, t inventory.Target, source string) policy.Input {
	return policy.Input{User: u, Target: t, Login: g.Login, Reason: r.Reason, Ticket: r.Ticket, Duration: g.Duration, StartAt: g.NotBefore,
		Source: address(source), BreakGlass: r.BreakGlass, Risk: codes(r.Risk), History: r.History}
}

// stale is the error about a grant that is good for nothing any more, where a
// new request might be: callers that match ErrNoGrant ask for one.
func stale(g Grant, format string, args ...any) error {
	return &GrantError{ErrNoGrant, g, fmt.Sprintf(format, args...) + "; ask again"}
}

// anyTarget is check for a grant over several targets: one of them is enough
// to open its window; Admit looks at each.
func (s *Service) anyTarget(ctx context.Context, u identity.User, g Grant, c Caller) (policy.Rule, error) {
	first := error(refuse(ErrForbidden, "the targets of grant %s are no longer in the inventory", g.ID))
	for i, t := range s.present(g.Targets) {
		rule, err := s.check(ctx, u, g, t, c.Source)
		if err == nil {
			return rule, nil
		}
		if i == 0 {
			first = err
		}
	}
	return policy.Rule{}, first
}

// present returns those of the targets that are in the inventory.
func (s *Service) present(names []string) []inventory.Target {
	var out []inventory.Target
	for _, n := range names {
		if t, ok := s.o.Inventory.Target(n); ok && t.Name == n {
			out = append(out, t)
		}
	}
	return out
}

// approvedSet is the rule of a grant as it was approved, compiled.
func (s *Service) approvedSet(g Grant) (*policy.Set, error) {
	hash := g.Rule.Hash()
	if set, ok := s.oldSets.Get(hash); ok {
		return set, nil
	}
	set, err := policy.NewSet([]policy.Rule{g.Rule})
	if err != nil {
		return nil, err
	}
	s.oldSets.Add(hash, set)
	return set, nil
}

// Refused lists the grants, waiting or active, that a set of rules would no
// longer allow, each with why: what an administrator is shown when the rules
// are reloaded, to end if they say so. Nothing is ended here.
func (s *Service) Refused(ctx context.Context, set *policy.Set) ([]*GrantError, error) {
	grants, err := s.o.Grants.ListGrants(ctx, GrantFilter{States: []GrantState{Waiting, Active}, Limit: everything})
	if err != nil {
		return nil, fmt.Errorf("list grants: %w", err)
	}
	under := *s
	under.o.Rules = func() *policy.Set { return set }
	var out []*GrantError
	for _, g := range grants {
		u, err := s.o.Users.User(ctx, g.UserID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("read user %s: %w", g.UserID, err)
		}
		var refused *GrantError
		if _, err := under.anyTarget(ctx, u, g, Caller{Source: s.lastSource(ctx, g)}); errors.As(err, &refused) {
			out = append(out, refused)
		} else if err != nil {
			out = append(out, &GrantError{err, g, err.Error()})
		}
	}
	return out, nil
}

// lastSource is the address that the grant was last used from, or asked for.
func (s *Service) lastSource(ctx context.Context, g Grant) string {
	if n := len(g.Bindings); n > 0 {
		return g.Bindings[n-1].Source
	}
	r, err := s.o.Requests.Request(ctx, g.RequestID)
	if err != nil {
		return ""
	}
	return r.Source
}

// factorFits refuses a grant that was opened with a factor which the rule takes no more.
func factorFits(g Grant, t inventory.Target, rule policy.Rule) error {
	if len(rule.Factor.Kinds) > 0 && !slices.Contains(rule.Factor.Kinds, string(g.Factor.Kind)) {
		return stale(g, "%s: rule %s now wants another second factor", t.Name, rule.Name)
	}
	return nil
}

// selection is what a rule needs to know to tell whether it is about a user at all.
func selection(u identity.User, g Grant, t inventory.Target) policy.Input {
	return policy.Input{User: u, Target: t, Login: g.Login, BreakGlass: g.BreakGlass}
}
