package approval

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// ending is why and by whom a grant ends.
type ending struct {
	cause  EndCause
	event  audit.Type
	by     identity.User
	actor  audit.Actor
	reason string
	factor FactorRecord
	at     time.Time // the exact end, where that is not now
}

// Release ends the caller's own grant early.
func (s *Service) Release(ctx context.Context, c Caller, grantID string) (Grant, error) {
	u, err := s.caller(ctx, c)
	if err != nil {
		return Grant{}, err
	}
	g, err := s.ownGrant(ctx, u, grantID)
	if err != nil {
		return Grant{}, err
	}
	return s.end(ctx, g.ID, ending{cause: CauseReleased, event: audit.GrantReleased, by: u, actor: actor(u, c)})
}

// Revoke ends somebody's grant, with a reason: those who could approve it,
// administrators, and the local administrator, who needs no second factor.
func (s *Service) Revoke(ctx context.Context, c Caller, grantID, reason string, p mfa.Proof) (Grant, error) {
	reason = strings.TrimSpace(reason)
	if reason == "" || len(reason) > maxReason {
		return Grant{}, refuse(ErrInvalid, "say why, in at most %d characters: the user reads it", maxReason)
	}
	var u identity.User
	var factor FactorRecord
	if !c.LocalAdmin {
		var err error
		if u, err = s.caller(ctx, c); err != nil {
			return Grant{}, err
		}
		if err := s.CanTerminate(ctx, u.ID, grantID); err != nil {
			return Grant{}, notFound("grant", grantID)
		}
		g, err := s.o.Grants.Grant(ctx, grantID)
		if err != nil {
			return Grant{}, fmt.Errorf("read grant: %w", err)
		}
		if g.UserID != u.ID { // one's own needs no code: it is a release with a reason
			if factor, err = s.proof(c, p, nil, g.Hash); err != nil {
				return Grant{}, err
			}
		}
	}
	return s.end(ctx, grantID, ending{cause: CauseRevoked, event: audit.GrantRevoked, by: u, actor: actor(u, c), reason: reason, factor: factor})
}

// end ends a grant, once: of two causes at the same time the first is kept.
func (s *Service) end(ctx context.Context, grantID string, e ending) (Grant, error) {
	for range tries {
		g, err := s.o.Grants.Grant(ctx, grantID)
		if errors.Is(err, store.ErrNotFound) {
			return Grant{}, notFound("grant", grantID)
		}
		if err != nil {
			return Grant{}, fmt.Errorf("read grant: %w", err)
		}
		if g.State == Ended {
			return g, &GrantError{ErrEnded, g, fmt.Sprintf("grant %s has ended already: %s", g.ID, g.Cause)}
		}
		g.State, g.Cause, g.EndedBy, g.EndReason, g.EndedAt = Ended, e.cause, e.by.ID, e.reason, s.now()
		if !e.at.IsZero() {
			g.EndedAt = e.at
		}
		ev := s.grantEvent(e.event, g, e.actor, e.reason)
		if e.factor.Kind != "" {
			factorDetail(&ev, e.factor)
		}
		g, err = s.saveGrant(ctx, g, ev)
		if !errors.Is(err, store.ErrConflict) {
			return g, err
		}
	}
	return Grant{}, fmt.Errorf("grant %s is being changed; try again", grantID)
}

// expireGrant ends a grant whose time has passed; it does nothing to others.
func (s *Service) expireGrant(ctx context.Context, g Grant) error {
	if g.State == Ended || !s.over(g) {
		return nil
	}
	g.EndedAt, g.Cause = g.End, CauseExpired
	if g.State == Waiting {
		g.EndedAt, g.Cause = g.ActivateBy, CauseLapsed
	}
	g.State = Ended
	// Not end(): an extension in between must win, so this version or none.
	_, err := s.saveGrant(ctx, g, s.grantEvent(audit.GrantExpired, g, audit.Gateway, ""))
	return err
}

// endAll ends what a user holds and takes back what they ask for.
func (s *Service) endAll(ctx context.Context, userID string, cause EndCause, why string) error {
	grants, err := s.o.Grants.ListGrants(ctx, GrantFilter{UserID: userID, States: []GrantState{Waiting, Active}, Limit: everything})
	if err != nil {
		return fmt.Errorf("list grants: %w", err)
	}
	var errs []error
	for _, g := range grants {
		_, err := s.end(ctx, g.ID, ending{cause: cause, event: audit.GrantRevoked, actor: audit.Gateway, reason: why})
		if err != nil && !errors.Is(err, ErrEnded) {
			errs = append(errs, err)
		}
	}
	requests, err := s.o.Requests.ListRequests(ctx, RequestFilter{UserID: userID, State: Pending, Limit: everything})
	if err != nil {
		return fmt.Errorf("list requests: %w", err)
	}
	for _, r := range requests {
		if err := s.cancelRequest(ctx, r, why); err != nil && !errors.Is(err, store.ErrConflict) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
