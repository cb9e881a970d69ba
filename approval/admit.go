package approval

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store"
)

// everything is a limit for lists that must be whole.
const everything = 1_000_000

// sessionFactorAge is how old a factor may be that a session takes under a
// rule that wants one for each session.
const sessionFactorAge = 5 * time.Minute

// AdmitInput says who wants to open what, as the handler verified it.
type AdmitInput struct {
	Caller
	Target  string
	Login   string                 // empty: the only one that live grants allow, else *ChooseLogin
	GrantID string                 // only this grant
	Needs   func(policy.Rule) bool // what the rule must allow; nil: nothing in particular
	Token   bool                   // a session token of GrantID was verified, with its source: stands for key and address
}

// Admit admits a session under a live grant of the caller, or says with an
// error what is missing. It asks nobody and approves nothing. Among grants
// that overlap it takes the one that allows what is needed and ends last.
// Everything is read now: clock, user, key, target, rules, grant (G1, G5).
func (s *Service) Admit(ctx context.Context, in AdmitInput) (Admission, error) {
	if err := s.clock(ctx); err != nil {
		return Admission{}, err
	}
	u, err := s.caller(ctx, in.Caller)
	if err != nil {
		return Admission{}, err
	}
	if in.Token && in.GrantID == "" {
		return Admission{}, errors.New("admit: a token without its grant")
	}
	t, ok := s.o.Inventory.Target(inventory.Normalize(in.Target))
	if !ok {
		return Admission{}, forbidden(in.Target)
	}
	grants, err := s.o.Grants.ListGrants(ctx, GrantFilter{UserID: u.ID, Target: t.Name, States: []GrantState{Waiting, Active}, Limit: everything})
	if err != nil {
		return Admission{}, fmt.Errorf("list grants: %w", err)
	}
	grants = slices.DeleteFunc(grants, func(g Grant) bool {
		return g.UserID != u.ID || !slices.Contains(g.Targets, t.Name) || in.GrantID != "" && g.ID != in.GrantID || s.over(g)
	})
	if in.Login == "" {
		if in.Login, err = onlyLogin(in.Target, grants, s.o.Now()); err != nil {
			return Admission{}, err
		}
	}
	grants = slices.DeleteFunc(grants, func(g Grant) bool { return in.Login != "" && g.Login != in.Login })
	// The one that ends last first; waiting ones behind the live ones.
	slices.SortStableFunc(grants, func(a, b Grant) int { return b.End.Compare(a.End) })
	var best error
	for _, g := range grants {
		adm, err := s.admit(ctx, u, g, t, in)
		if err == nil {
			return adm, nil
		}
		var ge *GrantError
		if !errors.As(err, &ge) {
			return Admission{}, err // trouble, not an answer
		}
		if best == nil || rank(err) < rank(best) {
			best = err
		}
	}
	if best != nil {
		return Admission{}, best
	}
	return Admission{}, s.noGrant(u, t, in)
}

// over reports whether the grant's time has passed, whatever the store says.
func (s *Service) over(g Grant) bool {
	now := s.o.Now()
	return g.State == Active && !now.Before(g.End) || g.State == Waiting && !now.Before(g.ActivateBy)
}

// rank orders what to tell: the error that takes the least to get in.
func rank(err error) int {
	for i, e := range []error{ErrCodeNeeded, ErrNotActivated, ErrNotYet, ErrNoGrant} {
		if errors.Is(err, e) {
			return i
		}
	}
	return 9
}

// admit decides on one grant.
func (s *Service) admit(ctx context.Context, u identity.User, g Grant, t inventory.Target, in AdmitInput) (Admission, error) {
	now := s.o.Now()
	switch {
	case g.State == Waiting:
		if in.Needs != nil && !in.Needs(g.Rule) {
			return Admission{}, &GrantError{ErrForbidden, g, fmt.Sprintf("%s: rule %s does not allow that", t.Name, g.Rule.Name)}
		}
		if err := s.intact(ctx, g); err != nil {
			return Admission{}, err
		}
		if _, err := s.check(ctx, u, g, t, in.Source); err != nil { // a code would be given in vain
			return Admission{}, err
		}
		return Admission{}, &GrantError{ErrNotActivated, g, fmt.Sprintf("%s: grant %s waits for your code", t.Name, g.ID)}
	case now.Before(g.Start):
		return Admission{}, &GrantError{ErrNotYet, g, fmt.Sprintf("%s: grant %s opens at %s", t.Name, g.ID, g.Start.Format("2 Jan 15:04 UTC"))}
	}
	if err := s.intact(ctx, g); err != nil {
		return Admission{}, err
	}
	rule, err := s.check(ctx, u, g, t, in.Source)
	if err != nil {
		return Admission{}, err
	}
	if in.Needs != nil && !in.Needs(rule) {
		return Admission{}, &GrantError{ErrForbidden, g, fmt.Sprintf("%s: rule %s does not allow that", t.Name, rule.Name)}
	}
	if err := factorFits(g, t, rule); err != nil {
		return Admission{}, err
	}
	if end := shortened(g, rule); !now.Before(end) {
		return Admission{}, stale(g, "%s: rule %s now allows at most %s, which have passed", t.Name, rule.Name, policy.Duration(rule.Max()))
	}
	i := binding(g, rule, in)
	if i < 0 {
		return Admission{}, &GrantError{ErrCodeNeeded, g, fmt.Sprintf("%s: grant %s was opened with another key or from another address", t.Name, g.ID)}
	}
	if err := fresh(g, g.Bindings[i], rule, now); err != nil {
		return Admission{}, err
	}
	if rule.Factor.Per == "session" {
		if b := g.Bindings[i]; !b.SpentAt.IsZero() || now.Sub(b.FactorAt) > sessionFactorAge {
			return Admission{}, &GrantError{ErrCodeNeeded, g, fmt.Sprintf("%s: rule %s wants a code for each session", t.Name, rule.Name)}
		}
		if g, err = s.spend(ctx, u, g, i, in.Caller); err != nil {
			return Admission{}, err
		}
	}
	g.End = shortened(g, rule)
	return Admission{&admitted{grant: g, user: u, target: t, rule: rule, source: in.Source, key: in.KeyFingerprint, token: in.Token}}, nil
}

// shortened is the end of the window under a rule that has become shorter.
func shortened(g Grant, rule policy.Rule) time.Time {
	if cut := g.Duration - rule.Max(); cut > 0 {
		return g.End.Add(-cut)
	}
	return g.End
}

// spend gives the factor of a binding to one session.
func (s *Service) spend(ctx context.Context, u identity.User, g Grant, i int, c Caller) (Grant, error) {
	g.Bindings = slices.Clone(g.Bindings)
	g.Bindings[i].SpentAt = s.now()
	out, err := s.saveGrant(ctx, g, s.grantEvent(audit.GrantFactor, g, actor(u, c), ""))
	if errors.Is(err, store.ErrConflict) { // another session took it, or the grant changed
		return Grant{}, &GrantError{ErrCodeNeeded, g, fmt.Sprintf("grant %s: a code is needed for each session", g.ID)}
	}
	return out, err
}

// onlyLogin is the login of the live grants, else of those that wait, if they agree.
func onlyLogin(target string, grants []Grant, now time.Time) (string, error) {
	for _, want := range []func(Grant) bool{
		func(g Grant) bool { return g.Live(now) },
		func(g Grant) bool { return true },
	} {
		var logins []string
		for _, g := range grants {
			if want(g) && !slices.Contains(logins, g.Login) {
				logins = append(logins, g.Login)
			}
		}
		slices.Sort(logins)
		switch len(logins) {
		case 0:
		case 1:
			return logins[0], nil
		default:
			return "", &ChooseLogin{Target: target, Logins: logins}
		}
	}
	return "", nil
}

// noGrant is the answer when there is no grant at all: whether the user may
// ask, or, with the same words as for a target that does not exist, not.
func (s *Service) noGrant(u identity.User, t inventory.Target, in AdmitInput) error {
	if in.GrantID != "" {
		return refuse(ErrNoGrant, "the grant has ended or is not for %s", t.Name)
	}
	base := policy.Input{User: u, Now: s.o.Now(), Source: address(in.Source)}
	logins := s.o.Rules().Logins(base, []inventory.Target{t})
	base.BreakGlass = true
	for _, l := range s.o.Rules().Logins(base, []inventory.Target{t}) {
		if !slices.Contains(logins, l) {
			logins = append(logins, l)
		}
	}
	switch {
	case len(logins) == 0:
		return forbidden(in.Target)
	case in.Login != "" && !slices.Contains(logins, in.Login):
		return refuse(ErrForbidden, "%s: no rule lets you ask for the login %q; you may ask for %s", t.Name, in.Login, strings.Join(logins, ", "))
	}
	return refuse(ErrNoGrant, "%s: you have no access yet", t.Name)
}

// Recheck looks at an admission again, as handlers do at every channel and
// command: user, key, target, rules, grant and the age of its factor. It
// takes no factor. The Admission that it returns has the current end and rule.
func (s *Service) Recheck(ctx context.Context, a Admission) (Admission, error) {
	was := a.of
	if was == nil {
		return Admission{}, errors.New("recheck: no admission")
	}
	if err := s.clock(ctx); err != nil {
		return Admission{}, err
	}
	u, err := s.caller(ctx, Caller{UserID: was.user.ID, KeyFingerprint: was.key, Source: was.source})
	if err != nil {
		return Admission{}, err
	}
	g, err := s.o.Grants.Grant(ctx, was.grant.ID)
	if err != nil {
		return Admission{}, fmt.Errorf("read grant: %w", err)
	}
	if !g.Live(s.o.Now()) {
		return Admission{}, &GrantError{ErrEnded, g, fmt.Sprintf("grant %s has ended", g.ID)}
	}
	t, ok := s.o.Inventory.Target(was.target.Name)
	if !ok {
		return Admission{}, &GrantError{ErrForbidden, g, fmt.Sprintf("%s is no longer in the inventory", was.target.Name)}
	}
	if err := s.intact(ctx, g); err != nil {
		return Admission{}, err
	}
	rule, err := s.check(ctx, u, g, t, was.source)
	if err != nil {
		return Admission{}, err
	}
	if err := factorFits(g, t, rule); err != nil {
		return Admission{}, err
	}
	i := binding(g, rule, AdmitInput{Caller: Caller{KeyFingerprint: was.key, Source: was.source}, Token: was.token})
	if i < 0 {
		return Admission{}, &GrantError{ErrCodeNeeded, g, fmt.Sprintf("grant %s: this key and address no longer pass", g.ID)}
	}
	if err := fresh(g, g.Bindings[i], rule, s.o.Now()); err != nil {
		return Admission{}, err
	}
	g.End = shortened(g, rule)
	if !s.o.Now().Before(g.End) {
		return Admission{}, &GrantError{ErrEnded, g, fmt.Sprintf("grant %s has ended under the rule as it is now", g.ID)}
	}
	now := &admitted{grant: g, user: u, target: t, rule: rule, source: was.source, key: was.key, token: was.token}
	if reflect.DeepEqual(now, was) {
		return a, nil // the same: who holds both holds one
	}
	return Admission{now}, nil
}
