package approval

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// RaiseBudget adds to the budget of a live grant: somebody who could approve
// it says yes to more, with a fresh factor, and never its own user (G6).
// Sessions that run get it at once, later ones have it too.
func (s *Service) RaiseBudget(ctx context.Context, c Caller, grantID string, by policy.Budget, p mfa.Proof) (Grant, error) {
	if by.Rows < 0 || by.Bytes < 0 || by.Statements < 0 || by.Rows+by.Bytes+by.Statements == 0 {
		return Grant{}, refuse(ErrInvalid, "say how many rows, bytes or statements more")
	}
	st, err := s.standingOf(ctx, c.UserID, grantID)
	if err != nil {
		return Grant{}, err
	}
	if st.own || !st.eligible && !st.voted {
		return Grant{}, refuse(ErrForbidden, "the budget of grant %s is raised by somebody who may approve it", grantID)
	}
	factor, err := s.proof(c, p, nil, st.grant.Hash)
	if err != nil {
		return Grant{}, err
	}
	for range tries {
		g, err := s.o.Grants.Grant(ctx, grantID)
		if errors.Is(err, store.ErrNotFound) {
			return Grant{}, notFound("grant", grantID)
		}
		if err != nil {
			return Grant{}, fmt.Errorf("read grant: %w", err)
		}
		if limit := g.Rule.Budget; limit.Rows == 0 && limit.Bytes == 0 && limit.Statements == 0 {
			return Grant{}, refuse(ErrInvalid, "grant %s has no budget: the rule %s sets none", g.ID, g.Rule.Name)
		}
		if g.State == Ended {
			return Grant{}, &GrantError{ErrEnded, g, fmt.Sprintf("grant %s has ended: %s", g.ID, g.Cause)}
		}
		g.Raised.Rows += by.Rows
		g.Raised.Bytes += by.Bytes
		g.Raised.Statements += by.Statements
		ev := s.grantEvent(audit.GrantBudget, g, actor(st.user, c), "")
		for name, n := range map[string]int64{"rows": g.Raised.Rows, "bytes": g.Raised.Bytes, "statements": g.Raised.Statements} {
			if n > 0 {
				ev.Detail[name] = strconv.FormatInt(n, 10)
			}
		}
		factorDetail(&ev, factor)
		g, err = s.saveGrant(ctx, g, ev)
		if !errors.Is(err, store.ErrConflict) {
			return g, err
		}
	}
	return Grant{}, fmt.Errorf("grant %s is being changed; try again", grantID)
}
