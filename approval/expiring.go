package approval

import (
	"context"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
)

// due is when something is to be done for a grant that has not ended.
func (s *Service) due(g Grant) time.Time {
	if g.State == Waiting {
		return g.ActivateBy
	}
	if at := s.tellAt(g); !at.IsZero() {
		return at
	}
	return g.End
}

// tellAt is when the log says that a grant ends soon: Options.Expiring before
// its end, once for each end. Zero: it is said already, or the whole window is
// so short that nobody needs to be told.
func (s *Service) tellAt(g Grant) time.Time {
	at := g.End.Add(-s.o.Expiring)
	if s.o.Expiring <= 0 || g.State != Active || g.ToldEnd.Equal(g.End) || !at.After(g.Start) {
		return time.Time{}
	}
	return at
}

// tellExpiring says in the log that a grant ends soon. Of several gateways one
// does: the update is conditional.
func (s *Service) tellExpiring(ctx context.Context, g Grant) error {
	at, now := s.tellAt(g), s.now()
	if at.IsZero() || now.Before(at) || !g.Live(now) {
		return nil
	}
	g.ToldEnd = g.End
	ev := s.grantEvent(audit.GrantExpiring, g, audit.Gateway, "")
	ev.Detail["left"] = policy.Duration(g.End.Sub(now)).String()
	_, err := s.saveGrant(ctx, g, ev)
	return err
}
