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

// viewer reads who looks, and whether they may see everything.
func (s *Service) viewer(ctx context.Context, c Caller) (identity.User, bool, error) {
	if c.LocalAdmin {
		return identity.User{}, true, nil
	}
	u, err := s.caller(ctx, c)
	return u, err == nil && (s.IsAdmin(u) || s.IsAuditor(u)), err
}

// sees reports whether u may see r: requesters, those who voted, those who
// may answer.
func (s *Service) sees(ctx context.Context, u identity.User, r Request) (bool, error) {
	if r.UserID == u.ID || slices.ContainsFunc(r.Votes, func(v Vote) bool { return v.UserID == u.ID }) ||
		r.Decision != nil && r.Decision.UserID == u.ID {
		return true, nil
	}
	return s.mayAnswer(ctx, u, r)
}

// Request returns a request that the caller may see; store.ErrNotFound else.
func (s *Service) Request(ctx context.Context, c Caller, id string) (Request, error) {
	u, all, err := s.viewer(ctx, c)
	if err != nil {
		return Request{}, err
	}
	r, err := s.o.Requests.Request(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return Request{}, notFound("request", id)
	}
	if err != nil {
		return Request{}, fmt.Errorf("read request: %w", err)
	}
	if all {
		return r, nil
	}
	ok, err := s.sees(ctx, u, r)
	if err != nil {
		return Request{}, err
	}
	if !ok {
		return Request{}, notFound("request", id)
	}
	return r, nil
}

// Requests lists those that the caller may see.
func (s *Service) Requests(ctx context.Context, c Caller, f RequestFilter) ([]Request, error) {
	u, all, err := s.viewer(ctx, c)
	if err != nil {
		return nil, err
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	if !all && f.UserID != u.ID {
		f.Limit = max(10*limit, 1000) // what others asked for and the caller may not see is left out
	}
	list, err := s.o.Requests.ListRequests(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("list requests: %w", err)
	}
	var out []Request
	for _, r := range list {
		ok := all
		if !ok {
			if ok, err = s.sees(ctx, u, r); err != nil {
				return nil, err
			}
		}
		if ok && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, nil
}

// Pending lists the open requests that the caller may answer and has not voted on yet.
func (s *Service) Pending(ctx context.Context, c Caller) ([]Request, error) {
	u, err := s.caller(ctx, c)
	if err != nil {
		return nil, err
	}
	list, err := s.o.Requests.ListRequests(ctx, RequestFilter{State: Pending, Limit: everything})
	if err != nil {
		return nil, fmt.Errorf("list requests: %w", err)
	}
	var out []Request
	for _, r := range list {
		if s.pending(r) != nil || slices.ContainsFunc(r.Votes, func(v Vote) bool { return v.UserID == u.ID }) {
			continue
		}
		ok, err := s.mayAnswer(ctx, u, r)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, r)
		}
	}
	return out, nil
}

// Grant returns a grant that the caller may see; store.ErrNotFound else.
func (s *Service) Grant(ctx context.Context, c Caller, id string) (Grant, error) {
	u, all, err := s.viewer(ctx, c)
	if err != nil {
		return Grant{}, err
	}
	g, err := s.o.Grants.Grant(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return Grant{}, notFound("grant", id)
	}
	if err != nil {
		return Grant{}, fmt.Errorf("read grant: %w", err)
	}
	if all || s.seesGrant(u, g) {
		return g, nil
	}
	return Grant{}, notFound("grant", id)
}

func (s *Service) seesGrant(u identity.User, g Grant) bool {
	return g.UserID == u.ID || slices.ContainsFunc(g.Votes, func(v Vote) bool { return v.UserID == u.ID }) ||
		mayDecide(u, g.Rule, s.present(g.Targets))
}

// Grants lists those that the caller may see.
func (s *Service) Grants(ctx context.Context, c Caller, f GrantFilter) ([]Grant, error) {
	u, all, err := s.viewer(ctx, c)
	if err != nil {
		return nil, err
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	if !all && f.UserID != u.ID {
		f.Limit = max(10*limit, 1000)
	}
	list, err := s.o.Grants.ListGrants(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("list grants: %w", err)
	}
	var out []Grant
	for _, g := range list {
		if (all || s.seesGrant(u, g)) && len(out) < limit {
			out = append(out, g)
		}
	}
	return out, nil
}

// Approvers tells where a request stands: for each quorum how many are
// needed, how many there are, and who else can approve.
func (s *Service) Approvers(ctx context.Context, r Request) ([]QuorumView, error) {
	rule, ok := s.o.Rules().Rule(r.Rule)
	if !ok {
		return nil, nil
	}
	return s.quorums(ctx, r, rule, s.present(r.Targets), false)
}

// RuleOf is the rule of a request as it is now, for pages to say what it
// wants; false if it is gone.
func (s *Service) RuleOf(r Request) (policy.Rule, bool) { return s.o.Rules().Rule(r.Rule) }

// TargetView is a target as one user sees it.
type TargetView struct {
	Target     inventory.Target
	Logins     []string  // that rules let the user ask for
	Rule       string    // the first rule that is about the user there
	Emergency  []string  // further logins, that only a break-glass rule gives
	Grants     []Grant   // waiting or live grants of the user on it
	Requests   []Request // pending requests of the user on it
	AskAllowed bool      // Logins is not empty
}

// Targets lists what the caller may ask for or has, by name.
func (s *Service) Targets(ctx context.Context, c Caller) ([]TargetView, error) {
	u, err := s.caller(ctx, c)
	if err != nil {
		return nil, err
	}
	grants, err := s.o.Grants.ListGrants(ctx, GrantFilter{UserID: u.ID, States: []GrantState{Waiting, Active}, Limit: everything})
	if err != nil {
		return nil, fmt.Errorf("list grants: %w", err)
	}
	requests, err := s.o.Requests.ListRequests(ctx, RequestFilter{UserID: u.ID, State: Pending, Limit: everything})
	if err != nil {
		return nil, fmt.Errorf("list requests: %w", err)
	}
	set := s.o.Rules()
	in := policy.Input{User: u, Now: s.o.Now(), Source: address(c.Source)}
	urgent := in
	urgent.BreakGlass = true
	var out []TargetView
	for _, t := range s.o.Inventory.Targets() {
		v := TargetView{Target: t, Logins: set.Logins(in, []inventory.Target{t})}
		for _, l := range set.Logins(urgent, []inventory.Target{t}) {
			if !slices.Contains(v.Logins, l) {
				v.Emergency = append(v.Emergency, l)
			}
		}
		for _, g := range grants {
			if slices.Contains(g.Targets, t.Name) && !s.over(g) {
				v.Grants = append(v.Grants, g)
			}
		}
		for _, r := range requests {
			if slices.Contains(r.Targets, t.Name) && s.pending(r) == nil {
				v.Requests = append(v.Requests, r)
			}
		}
		v.AskAllowed = len(v.Logins) > 0
		v.Rule = firstRule(set, in, t, v.Logins)
		if v.AskAllowed || len(v.Emergency)+len(v.Grants)+len(v.Requests) > 0 {
			out = append(out, v)
		}
	}
	return out, nil
}

// firstRule names the rule that would be looked at first for the first login.
func firstRule(set *policy.Set, in policy.Input, t inventory.Target, logins []string) string {
	if len(logins) == 0 {
		return ""
	}
	in.Target, in.Login = t, logins[0]
	for _, r := range set.Rules() {
		if set.Selects(r.Name, in) {
			return r.Name
		}
	}
	return ""
}
