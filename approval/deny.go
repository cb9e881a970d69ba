package approval

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// Deny closes a request with a reason. Who may approve it may deny it. A
// second factor is not needed to say no; if one is given it must be right.
func (s *Service) Deny(ctx context.Context, c Caller, requestID, reason string, p mfa.Proof) (Request, error) {
	reason = strings.TrimSpace(reason)
	if reason == "" || len(reason) > maxReason {
		return Request{}, refuse(ErrInvalid, "say why, in at most %d characters: the requester reads it", maxReason)
	}
	for range tries {
		u, r, _, _, _, err := s.judge(ctx, c, requestID)
		if err != nil {
			return Request{}, err
		}
		ev := s.requestEvent(audit.RequestDenied, r, actor(u, c), reason)
		if p.Valid() {
			factor, err := s.proof(c, p, nil, r.Digest()) // any kind will do to say no
			if err != nil {
				return Request{}, err
			}
			ev.Detail["factor"], ev.Detail["factor_id"], ev.Detail["evidence"] = string(factor.Kind), factor.FactorID, factor.Evidence
		}
		r.State, r.Decision = Denied, &Decision{UserID: u.ID, User: u.Name, Reason: reason, At: s.now()}
		out, err := s.saveRequest(ctx, r, nil, ev)
		if !errors.Is(err, store.ErrConflict) {
			return out, err
		}
	}
	return Request{}, refuse(ErrNotPending, "%s is being answered by others; look at it again", requestID)
}

// Withdraw takes back the caller's own request.
func (s *Service) Withdraw(ctx context.Context, c Caller, requestID string) (Request, error) {
	for range tries {
		u, err := s.caller(ctx, c)
		if err != nil {
			return Request{}, err
		}
		r, err := s.o.Requests.Request(ctx, requestID)
		if errors.Is(err, store.ErrNotFound) || err == nil && r.UserID != u.ID {
			return Request{}, notFound("request", requestID)
		}
		if err != nil {
			return Request{}, fmt.Errorf("read request: %w", err)
		}
		if err := s.pending(r); err != nil {
			return Request{}, err
		}
		r.State, r.Decision = Withdrawn, &Decision{UserID: u.ID, User: u.Name, At: s.now()}
		out, err := s.saveRequest(ctx, r, nil, s.requestEvent(audit.RequestWithdrawn, r, actor(u, c), ""))
		if !errors.Is(err, store.ErrConflict) {
			return out, err
		}
	}
	return Request{}, refuse(ErrNotPending, "%s is being answered; look at it again", requestID)
}

// expireRequest closes a request that nobody answered in time. It does
// nothing to one that is closed or not due.
func (s *Service) expireRequest(ctx context.Context, r Request) error {
	if r.State != Pending || s.o.Now().Before(r.ExpiresAt) {
		return nil
	}
	r.State, r.Decision = Expired, &Decision{Reason: "nobody answered in time", At: r.ExpiresAt}
	_, err := s.saveRequest(ctx, r, nil, s.requestEvent(audit.RequestExpired, r, audit.Gateway, "nobody answered in time"))
	return err
}

// cancelRequest withdraws the request of a user who is gone.
func (s *Service) cancelRequest(ctx context.Context, r Request, why string) error {
	r.State, r.Decision = Withdrawn, &Decision{Reason: why, At: s.now()}
	_, err := s.saveRequest(ctx, r, nil, s.requestEvent(audit.RequestWithdrawn, r, audit.Gateway, why))
	return err
}

// escalate asks the rule's further groups, once.
func (s *Service) escalate(ctx context.Context, r Request) error {
	rule, ok := s.o.Rules().Rule(r.Rule)
	if !ok || r.State != Pending || !r.EscalatedAt.IsZero() || !escalated(r, rule, s.o.Now()) {
		return nil
	}
	r.EscalatedAt = s.now()
	ev := s.requestEvent(audit.RequestEscalated, r, audit.Gateway, "unanswered for "+rule.Escalate.After.String())
	ev.Detail["groups"] = strings.Join(rule.Escalate.Groups, ",")
	_, err := s.saveRequest(ctx, r, nil, ev)
	return err
}

// mayAnswer reports whether u could ever answer r under the rule as it is
// now: members of its quorums, and of its escalation once that has come.
func (s *Service) mayAnswer(ctx context.Context, u identity.User, r Request) (bool, error) {
	rule, ok := s.o.Rules().Rule(r.Rule)
	if !ok {
		return false, nil
	}
	b, err := s.ballot(ctx, r, rule, s.present(r.Targets))
	if err != nil {
		return false, err
	}
	person, err := b.eligible(ctx, u)
	return person != "", err
}
