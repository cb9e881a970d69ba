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

// standingOf is what a user is to a grant.
type standingOf struct {
	user     identity.User
	grant    Grant
	own      bool // of the user, under any account
	voted    bool
	eligible bool // could have approved it, or reviews it
}

func (s *Service) standingOf(ctx context.Context, userID, grantID string) (standingOf, error) {
	var st standingOf
	var err error
	if st.user, err = s.caller(ctx, Caller{UserID: userID}); err != nil {
		return st, err
	}
	st.grant, err = s.o.Grants.Grant(ctx, grantID)
	if errors.Is(err, store.ErrNotFound) {
		return st, notFound("grant", grantID)
	}
	if err != nil {
		return st, fmt.Errorf("read grant: %w", err)
	}
	person, err := identity.Person(ctx, s.o.Users, st.user)
	if err != nil {
		return st, err
	}
	_, owner, err := s.requester(ctx, st.grant.UserID)
	if err != nil {
		return st, err
	}
	if st.own = person == owner; st.own {
		return st, nil
	}
	st.voted = slices.ContainsFunc(st.grant.Votes, func(v Vote) bool { return v.UserID == userID })
	st.eligible = mayDecide(st.user, st.grant.Rule, s.present(st.grant.Targets))
	if current, ok := s.o.Rules().Rule(st.grant.Rule.Name); ok && !st.eligible {
		st.eligible = mayDecide(st.user, current, s.present(st.grant.Targets))
	}
	return st, nil
}

// mayDecide reports whether u is among those that the rule trusts with a yes or a review.
func mayDecide(u identity.User, rule policy.Rule, targets []inventory.Target) bool {
	if slices.ContainsFunc(rule.Electorates(targets, true), func(e policy.Electorate) bool { return e.Fits(u) }) {
		return true
	}
	return rule.BreakGlass != nil && u.Kind != identity.Machine && slices.ContainsFunc(rule.BreakGlass.Reviews, u.In)
}

func cannot(what, grantID string) error {
	return refuse(ErrForbidden, "you may not %s sessions of grant %s", what, grantID)
}

// CanWatch reports with nil that the user may watch the grant's live
// sessions: their own, those of grants that they approved, or could have where the
// rule says so, and all of them as an auditor or administrator.
func (s *Service) CanWatch(ctx context.Context, userID, grantID string) error {
	st, err := s.standingOf(ctx, userID, grantID)
	if err != nil {
		return err
	}
	if st.own || st.voted || st.eligible && (st.grant.Rule.Session.ApproversView || st.grant.BreakGlass) || s.IsAuditor(st.user) || s.IsAdmin(st.user) {
		return nil
	}
	return cannot("watch", grantID)
}

// CanTerminate reports with nil that the user may end the grant and its
// sessions: their own, those that they approved or could approve, and all as
// an administrator.
func (s *Service) CanTerminate(ctx context.Context, userID, grantID string) error {
	st, err := s.standingOf(ctx, userID, grantID)
	if err != nil {
		return err
	}
	if st.own || st.voted || st.eligible || s.IsAdmin(st.user) {
		return nil
	}
	return cannot("end", grantID)
}

// CanReplay reports with nil that the user may replay the grant's recordings:
// auditors all of them; approvers, where the rule says so, those of grants
// that they approved; reviewers those of the emergencies that they review. Nobody their own:
// what a target once showed would be standing access to it.
func (s *Service) CanReplay(ctx context.Context, userID, grantID string) error {
	st, err := s.standingOf(ctx, userID, grantID)
	if err != nil {
		return err
	}
	switch {
	case s.IsAuditor(st.user):
		return nil
	case !st.own && st.voted && st.grant.Rule.Session.ApproversView:
		return nil
	case !st.own && st.eligible && st.grant.BreakGlass:
		return nil
	}
	return cannot("replay", grantID)
}
