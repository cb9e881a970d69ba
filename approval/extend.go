package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// extendable returns the live grant of u that an ask would extend.
func (s *Service) extendable(ctx context.Context, u identity.User, a Ask) (Grant, error) {
	g, err := s.ownGrant(ctx, u, a.Extends)
	if err != nil {
		return Grant{}, err
	}
	if !g.Live(s.o.Now()) {
		return Grant{}, &GrantError{ErrEnded, g, fmt.Sprintf("grant %s is not open; ask for a new one", g.ID)}
	}
	if g.BreakGlass { // its rule asks nobody, so nobody would have said yes
		return Grant{}, &GrantError{ErrInvalid, g, fmt.Sprintf("grant %s is an emergency, which is not extended: ask for access, or declare another emergency", g.ID)}
	}
	return g, s.intact(ctx, g)
}

// extend moves the end of the grant that an approved request extends. It is
// a second update after the approval, and can be repeated: a crash between the
// two is made good by Run. Live sessions follow the event.
func (s *Service) extend(ctx context.Context, r Request) error {
	for range tries {
		g, err := s.o.Grants.Grant(ctx, r.Extends)
		if err != nil {
			return fmt.Errorf("read the grant to extend: %w", err)
		}
		if slices.Contains(g.Extensions, r.ID) {
			return nil
		}
		now := s.o.Now()
		if r.State != Approved || r.UserID != g.UserID || !g.Live(now) {
			return &GrantError{ErrEnded, g, fmt.Sprintf("grant %s ended before %s could extend it", g.ID, r.ID)}
		}
		u, err := s.o.Users.User(ctx, g.UserID)
		if err != nil {
			return fmt.Errorf("read the user: %w", err)
		}
		more := r.Duration
		for _, v := range r.Votes {
			if v.Duration > 0 {
				more = min(more, v.Duration)
			}
		}
		before := g.End
		end, why, err := s.capEnd(ctx, u, g, s.lastSource(ctx, g), now, before.Add(more))
		if err != nil {
			return err
		}
		if !end.After(before) {
			return &GrantError{ErrForbidden, g, fmt.Sprintf("grant %s cannot be extended: %s", g.ID, why)}
		}
		g.End, g.Extensions = end, append(slices.Clone(g.Extensions), r.ID)
		who := audit.Gateway
		if r.Decision != nil && r.Decision.UserID != "" {
			who = audit.Actor{ID: r.Decision.UserID, Name: r.Decision.User, Via: "gateway"}
		}
		ev := s.grantEvent(audit.GrantExtended, g, who, why)
		ev.Request = r.ID
		ev.Detail["by"], ev.Detail["end_before"] = policy.Duration(more).String(), before.Format("2006-01-02T15:04:05.999999999Z07:00")
		if _, err = s.saveGrant(ctx, g, ev); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("grant %s is being changed; try again", r.Extends)
}
