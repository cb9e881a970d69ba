package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// Review closes the review that every used emergency needs: by a member of
// the groups that its rule names, who is somebody else (G6), once it has ended.
func (s *Service) Review(ctx context.Context, c Caller, grantID, note string, p mfa.Proof) (Grant, error) {
	note = strings.TrimSpace(note)
	if note == "" || len(note) > maxReason {
		return Grant{}, refuse(ErrInvalid, "say what you found, in at most %d characters", maxReason)
	}
	for range tries {
		u, err := s.caller(ctx, c)
		if err != nil {
			return Grant{}, err
		}
		st, err := s.standingOf(ctx, u.ID, grantID)
		if err != nil {
			return Grant{}, err
		}
		g := st.grant
		switch {
		case st.own:
			return Grant{}, refuse(ErrOwnRequest, "grant %s is your own; somebody else must review it", g.ID)
		case !s.reviews(u, g):
			return Grant{}, notFound("review of grant", grantID)
		case g.State != Ended:
			return Grant{}, refuse(ErrInvalid, "grant %s is not over yet; revoke it, or review it afterwards", g.ID)
		case g.ActivatedAt.IsZero():
			return Grant{}, refuse(ErrInvalid, "grant %s was never used; there is nothing to review", g.ID)
		case !g.ReviewedAt.IsZero():
			return Grant{}, refuse(ErrNotPending, "grant %s is reviewed already", g.ID)
		}
		factor, err := s.proof(c, p, nil, g.Hash)
		if err != nil {
			return Grant{}, err
		}
		g.ReviewedBy, g.ReviewedAt, g.ReviewNote = u.ID, s.now(), note
		ev := s.grantEvent(audit.GrantReviewed, g, actor(u, c), note)
		factorDetail(&ev, factor)
		g, err = s.saveGrant(ctx, g, ev)
		if !errors.Is(err, store.ErrConflict) {
			return g, err
		}
	}
	return Grant{}, fmt.Errorf("grant %s is being changed; try again", grantID)
}

// openReview reports whether g is an emergency that was used and that nobody has reviewed.
func openReview(g Grant) bool {
	return g.BreakGlass && !g.ActivatedAt.IsZero() && g.ReviewedAt.IsZero()
}

// OpenReviews lists the emergencies that wait for a review which the caller
// may give, or all of them for auditors and administrators.
func (s *Service) OpenReviews(ctx context.Context, c Caller) ([]Grant, error) {
	u, all, err := s.viewer(ctx, c)
	if err != nil {
		return nil, err
	}
	person := ""
	if !all {
		if person, err = identity.Person(ctx, s.o.Users, u); err != nil {
			return nil, err
		}
	}
	grants, err := s.o.Grants.ListGrants(ctx, GrantFilter{States: []GrantState{Active, Ended}, OpenReview: true, Limit: everything})
	if err != nil {
		return nil, fmt.Errorf("list grants: %w", err)
	}
	return slices.DeleteFunc(grants, func(g Grant) bool {
		if !openReview(g) || all {
			return !openReview(g)
		}
		_, owner, err := s.requester(ctx, g.UserID)
		return err != nil || owner == person || !s.reviews(u, g)
	}), nil
}

// reviews reports whether u is among those who review the emergency: by the
// rule as it was, or as it is now, since the groups of then may be empty.
func (s *Service) reviews(u identity.User, g Grant) bool {
	among := func(rule policy.Rule) bool {
		return rule.BreakGlass != nil && u.Kind != identity.Machine && slices.ContainsFunc(rule.BreakGlass.Reviews, u.In)
	}
	current, ok := s.o.Rules().Rule(g.Rule.Name)
	return among(g.Rule) || ok && among(current)
}
