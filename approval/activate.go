package approval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// maxBindings is how many key and address pairs of one grant pass silently;
// the oldest gives way.
const maxBindings = 16

// Activate opens the window of the caller's grant with a fresh second factor:
// now, or at the start that was asked for. The key and the address that the
// caller came with pass silently from then on. An active grant is confirmed.
func (s *Service) Activate(ctx context.Context, c Caller, grantID string, p mfa.Proof) (Grant, error) {
	return s.change(ctx, c, grantID, func(u identity.User, g *Grant) (audit.Event, error) {
		if g.State == Active {
			return s.confirm(ctx, c, u, g, p)
		}
		now := s.now()
		if !now.Before(g.ActivateBy) {
			return audit.Event{}, &GrantError{ErrEnded, *g, fmt.Sprintf("grant %s was not activated by %s; ask again", g.ID, g.ActivateBy.Format("15:04 UTC"))}
		}
		if err := machineProof(u, p); err != nil {
			return audit.Event{}, err
		}
		factor, err := s.proof(c, p, g.Rule.Factor.Kinds, g.Hash)
		if err != nil {
			return audit.Event{}, err
		}
		if _, err := s.anyTarget(ctx, u, *g, c); err != nil {
			return audit.Event{}, err
		}
		start := now
		if g.NotBefore.After(now) {
			start = g.NotBefore
		}
		end := start.Add(g.Duration)
		if !g.NotBefore.IsZero() {
			end = g.NotBefore.Add(g.Duration)
		}
		end, why, err := s.capEnd(ctx, u, *g, c.Source, start, end)
		if err != nil {
			return audit.Event{}, err
		}
		if !end.After(start) {
			return audit.Event{}, &GrantError{ErrForbidden, *g, "grant " + g.ID + " cannot be opened now: " + why}
		}
		g.State, g.ActivatedAt, g.Factor, g.Start, g.End = Active, now, factor, start, end
		bind(g, c, now)
		ev := s.grantEvent(audit.GrantActivated, *g, actor(u, c), why)
		if text := g.Rule.Banner; text != "" { // what was agreed to with the factor
			sum := sha256.Sum256([]byte(text))
			ev.Detail["banner"] = hex.EncodeToString(sum[:])
		}
		factorDetail(&ev, factor)
		return ev, nil
	})
}

// Confirm lets another key or address of the caller pass, or renews a factor
// that is too old for the rule.
func (s *Service) Confirm(ctx context.Context, c Caller, grantID string, p mfa.Proof) (Grant, error) {
	return s.change(ctx, c, grantID, func(u identity.User, g *Grant) (audit.Event, error) {
		if g.State == Waiting {
			return audit.Event{}, &GrantError{ErrNotActivated, *g, fmt.Sprintf("grant %s is not activated yet", g.ID)}
		}
		return s.confirm(ctx, c, u, g, p)
	})
}

func (s *Service) confirm(ctx context.Context, c Caller, u identity.User, g *Grant, p mfa.Proof) (audit.Event, error) {
	now := s.now()
	if !now.Before(g.End) {
		return audit.Event{}, &GrantError{ErrEnded, *g, fmt.Sprintf("grant %s ended at %s", g.ID, g.End.Format("15:04 UTC"))}
	}
	if err := machineProof(u, p); err != nil {
		return audit.Event{}, err
	}
	factor, err := s.proof(c, p, g.Rule.Factor.Kinds, g.Hash)
	if err != nil {
		return audit.Event{}, err
	}
	if _, err := s.anyTarget(ctx, u, *g, c); err != nil {
		return audit.Event{}, err
	}
	bind(g, c, now)
	ev := s.grantEvent(audit.GrantSourceOK, *g, actor(u, c), "")
	factorDetail(&ev, factor)
	return ev, nil
}

// change is the frame of what owners do to their grants: clock, caller,
// ownership, integrity, one conditional update.
func (s *Service) change(ctx context.Context, c Caller, grantID string, act func(identity.User, *Grant) (audit.Event, error)) (Grant, error) {
	if err := s.clock(ctx); err != nil {
		return Grant{}, err
	}
	for range tries {
		u, err := s.caller(ctx, c)
		if err != nil {
			return Grant{}, err
		}
		g, err := s.ownGrant(ctx, u, grantID)
		if err != nil {
			return Grant{}, err
		}
		if g.State == Ended {
			return Grant{}, &GrantError{ErrEnded, g, fmt.Sprintf("grant %s has ended: %s", g.ID, g.Cause)}
		}
		if err := s.intact(ctx, g); err != nil {
			return Grant{}, err
		}
		ev, err := act(u, &g)
		if err != nil {
			return Grant{}, err
		}
		g, err = s.saveGrant(ctx, g, ev)
		if !errors.Is(err, store.ErrConflict) {
			return g, err
		}
	}
	return Grant{}, fmt.Errorf("grant %s is being changed; try again", grantID)
}

func (s *Service) ownGrant(ctx context.Context, u identity.User, grantID string) (Grant, error) {
	g, err := s.o.Grants.Grant(ctx, grantID)
	if errors.Is(err, store.ErrNotFound) || err == nil && g.UserID != u.ID {
		return Grant{}, notFound("grant", grantID)
	}
	if err != nil {
		return Grant{}, fmt.Errorf("read grant: %w", err)
	}
	return g, nil
}

// capEnd shortens a window to the hours of the approved and the current rule,
// to when a rule begins to deny it, and to the day that the user leaves, and
// says why if it did.
func (s *Service) capEnd(ctx context.Context, u identity.User, g Grant, source string, start, end time.Time) (time.Time, string, error) {
	why := ""
	sets := []*policy.Set{s.o.Rules()}
	if old, err := s.approvedSet(g); err == nil {
		sets = append(sets, old)
	}
	for _, set := range sets {
		if closes := set.Closes(g.Rule.Name, start, end); closes.Before(end) {
			end, why = closes, "the hours of rule "+g.Rule.Name+" end"
		}
	}
	r, err := s.o.Requests.Request(ctx, g.RequestID)
	if err != nil {
		return end, why, fmt.Errorf("read the request of grant %s: %w", g.ID, err)
	}
	for _, t := range s.present(g.Targets) {
		in := inputOf(u, g, r, t, source)
		if at, rule := s.o.Rules().DeniedFrom(in, start, end); at.Before(end) {
			end, why = at, "rule "+rule+" denies it from then on"
		}
	}
	if !u.ValidUntil.IsZero() && u.ValidUntil.Before(end) {
		end, why = u.ValidUntil, "the account ends"
	}
	return end.UTC().Truncate(time.Millisecond), why, nil
}

// bind lets the caller's key and address pass from now on.
func bind(g *Grant, c Caller, now time.Time) {
	b := Binding{KeyFingerprint: c.KeyFingerprint, Source: c.Source, FactorAt: now}
	old := slices.DeleteFunc(slices.Clone(g.Bindings), func(o Binding) bool {
		return o.KeyFingerprint == b.KeyFingerprint && o.Source == b.Source
	})
	g.Bindings = append(old, b)
	if n := len(g.Bindings) - maxBindings; n > 0 {
		g.Bindings = g.Bindings[n:]
	}
}

// saveGrant stores what changed in a grant, and returns it as stored.
func (s *Service) saveGrant(ctx context.Context, g Grant, ev audit.Event) (Grant, error) {
	if err := s.o.Grants.UpdateGrant(ctx, g, ev); err != nil {
		return Grant{}, fmt.Errorf("store grant %s: %w", g.ID, err)
	}
	g.Version++
	return g, nil
}

// grantEvent is an event about a grant.
func (s *Service) grantEvent(t audit.Type, g Grant, who audit.Actor, reason string) audit.Event {
	ev := audit.Event{Type: t, Outcome: audit.Success, Actor: who, User: g.UserID, Request: g.RequestID, Grant: g.ID, Reason: reason,
		Detail: map[string]string{"login": g.Login, "rule": g.Rule.Name, "grant_hash": g.Hash}}
	if len(g.Targets) == 1 {
		ev.Target = g.Targets[0]
	} else {
		ev.Detail["targets"] = strings.Join(g.Targets, ",")
	}
	if !g.Start.IsZero() {
		ev.Detail["start"], ev.Detail["end"] = g.Start.Format(time.RFC3339Nano), g.End.Format(time.RFC3339Nano)
	}
	if g.Cause != "" {
		ev.Detail["cause"] = string(g.Cause)
	}
	if g.BreakGlass {
		ev.Detail["break_glass"] = "true"
	}
	return ev
}

func factorDetail(ev *audit.Event, f FactorRecord) {
	ev.Detail["factor"], ev.Detail["factor_id"], ev.Detail["evidence"] = string(f.Kind), f.FactorID, f.Evidence
}
