package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/approval/risk"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/id"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store"
)

// File files a request: it resolves the targets, lets the rules decide,
// freezes what was asked and on what, and stores it. Where the rule approves
// by itself, or it is an emergency, the request comes back approved, with
// GrantID. What is refused is in the log too.
func (s *Service) File(ctx context.Context, c Caller, a Ask) (Request, error) {
	if err := s.clock(ctx); err != nil {
		return Request{}, err
	}
	u, err := s.caller(ctx, c)
	if err != nil {
		return Request{}, err
	}
	if err := s.validate(a); err != nil {
		return Request{}, err
	}
	r, rule, err := s.draft(ctx, u, c, a)
	if err != nil {
		return Request{}, s.refused(ctx, u, c, a, err)
	}
	if err := s.checkTicket(ctx, u, &r); err != nil {
		return Request{}, s.refused(ctx, u, c, a, err)
	}
	waiting, err := s.o.Requests.ListRequests(ctx, RequestFilter{UserID: u.ID, State: Pending, Limit: maxPending})
	if err != nil {
		return Request{}, fmt.Errorf("list requests: %w", err)
	}
	if len(waiting) >= maxPending {
		return Request{}, refuse(ErrInvalid, "%d of your requests wait already; withdraw some", len(waiting))
	}
	if err := s.roomFor(ctx, u, r); err != nil {
		return Request{}, s.refused(ctx, u, c, a, err)
	}
	for n := 4; ; n++ {
		r.ID = id.Short(id.Request, min(n, 10))
		err := s.o.Requests.CreateRequest(ctx, r, s.requestEvent(audit.RequestFiled, r, actor(u, c), r.Reason))
		if err == nil {
			break
		}
		if !errors.Is(err, store.ErrExists) || n > 16 {
			return Request{}, fmt.Errorf("file the request: %w", err)
		}
	}
	if r, err = s.o.Requests.Request(ctx, r.ID); err != nil { // as stored, with its version
		return Request{}, fmt.Errorf("read the request back: %w", err)
	}
	if err := s.raise(ctx, r, actor(u, c)); err != nil {
		return Request{}, err
	}
	if rule.Auto || rule.BreakGlass != nil {
		return s.approveByRule(ctx, r, rule)
	}
	return r, nil
}

// roomFor bounds what a key alone, without any second factor, can bring about:
// grants that a rule approves, and emergencies, of which everybody is told.
func (s *Service) roomFor(ctx context.Context, u identity.User, r Request) error {
	grants, err := s.o.Grants.ListGrants(ctx, GrantFilter{UserID: u.ID, States: []GrantState{Waiting}, Limit: 2 * maxPending})
	if err != nil {
		return fmt.Errorf("list grants: %w", err)
	}
	grants = slices.DeleteFunc(grants, s.over)
	if len(grants) >= maxPending {
		return refuse(ErrInvalid, "%d of your grants wait for a code already; give it, or release some", len(grants))
	}
	for _, g := range grants {
		if r.BreakGlass && g.BreakGlass {
			return refuse(ErrInvalid, "your emergency %s on %s waits for your code; give it, or release it", g.ID, strings.Join(g.Targets, ", "))
		}
	}
	return nil
}

// draft is the request as it would be filed, without id.
func (s *Service) draft(ctx context.Context, u identity.User, c Caller, a Ask) (Request, policy.Rule, error) {
	var extended Grant
	if a.Extends != "" {
		g, err := s.extendable(ctx, u, a)
		if err != nil {
			return Request{}, policy.Rule{}, err
		}
		extended, a.Targets, a.Selector, a.Login = g, g.Targets, nil, g.Login
	}
	in := s.input(u, c, a)
	targets, login, err := s.resolve(in, a)
	if err != nil {
		return Request{}, policy.Rule{}, err
	}
	in.Login = login
	findings, history, err := s.past(ctx, u, c, targets, login)
	if err != nil {
		return Request{}, policy.Rule{}, err
	}
	in.Risk, in.History = codes(findings), history
	v := s.decide(in, a, extended, targets)
	switch {
	case !v.Allowed && a.Extends != "":
		return Request{}, policy.Rule{}, refuse(ErrForbidden, "grant %s cannot be extended: %s", extended.ID, v.Reason)
	case !v.Allowed && !v.Known:
		return Request{}, policy.Rule{}, forbidden(strings.Join(a.Targets, ", "))
	case !v.Allowed:
		return Request{}, policy.Rule{}, refuse(ErrForbidden, "%s: not allowed now: %s", names(targets), v.Reason)
	}
	now := s.now()
	r := Request{
		UserID: u.ID, User: u.Name, Selector: selectorText(a.Selector), Login: login,
		Reason: strings.TrimSpace(a.Reason), Ticket: strings.TrimSpace(a.Ticket), Duration: a.Duration,
		StartAt: a.StartAt.UTC().Truncate(time.Millisecond), EndsWithLast: a.EndsWithLast, Extends: a.Extends,
		Rule: v.Rule.Name, RuleHash: v.Rule.Hash(), TargetHashes: map[string]string{},
		Source: c.Source, Via: c.Via, BreakGlass: a.BreakGlass, Risk: findings, History: history,
		FiledAt: now, ExpiresAt: now.Add(v.Rule.Lifetime()), State: Pending,
	}
	if r.Duration == 0 {
		r.Duration = v.Rule.Default()
	}
	for _, t := range targets {
		r.Targets = append(r.Targets, t.Name)
		r.TargetHashes[t.Name] = t.Hash()
	}
	if a.StartAt.IsZero() {
		r.StartAt = time.Time{}
	} else {
		r.ExpiresAt = earlier(r.ExpiresAt, r.StartAt.Add(r.Duration))
	}
	if a.Extends != "" {
		r.ExpiresAt = earlier(r.ExpiresAt, extended.End)
	}
	if err := s.answerable(ctx, r, v.Rule, targets); err != nil {
		return Request{}, policy.Rule{}, err
	}
	return r, v.Rule, nil
}

// decide lets the rules decide on an ask. An extension is by the grant's own
// rule alone: another one, that asks less and for less, must not lengthen what this one allows.
func (s *Service) decide(in policy.Input, a Ask, extended Grant, targets []inventory.Target) policy.Verdict {
	if a.Extends != "" {
		return s.o.Rules().Check(extended.Rule.Name, in, targets...)
	}
	return s.o.Rules().DecideAll(in, targets)
}

// answerable refuses a request that nobody could approve: better told now
// than after a day of waiting.
func (s *Service) answerable(ctx context.Context, r Request, rule policy.Rule, targets []inventory.Target) error {
	views, err := s.quorums(ctx, r, rule, targets, true)
	if err != nil {
		return err
	}
	for _, q := range views {
		if len(q.Who) < q.Need {
			return refuse(ErrForbidden, "rule %s wants %d of %s to approve, and there are %d besides you; tell an administrator",
				rule.Name, q.Need, q.Label, len(q.Who))
		}
	}
	return nil
}

// refused puts a refusal into the log and returns it.
func (s *Service) refused(ctx context.Context, u identity.User, c Caller, a Ask, why error) error {
	var choose *ChooseLogin
	if errors.As(why, &choose) || !isRefusal(why) {
		return why
	}
	ev := audit.Event{Type: audit.RequestRefused, Outcome: audit.Denied, Actor: actor(u, c), User: u.ID, Reason: why.Error(),
		Detail: map[string]string{
			"targets": display.Line(strings.Join(a.Targets, ",")+selectorText(a.Selector), 200),
			"login":   display.Line(a.Login, 64),
			"reason":  display.Line(a.Reason, 200),
		}}
	if _, err := s.o.Log.Append(ctx, ev); err != nil {
		return fmt.Errorf("log a refusal: %w", err)
	}
	return why
}

func isRefusal(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

// Preview is what a dialogue prints before it asks.
type Preview struct {
	Targets    []inventory.Target
	Login      string
	Rule       policy.Rule
	Default    time.Duration
	Max        time.Duration
	Auto       bool // the rule approves
	BreakGlass bool
	Ticket     string       // pattern that a ticket must match, empty if none is needed
	Quorums    []QuorumView // who can approve
	SentTo     string       // "sre-leads", for "Request R7K2 sent to sre-leads."
}

// Preview tells what would become of an ask that is not complete yet. It
// promises nothing: File decides.
func (s *Service) Preview(ctx context.Context, c Caller, a Ask) (Preview, error) {
	u, err := s.caller(ctx, c)
	if err != nil {
		return Preview{}, err
	}
	extended := Grant{}
	if a.Extends != "" {
		if extended, err = s.extendable(ctx, u, a); err != nil {
			return Preview{}, err
		}
		a.Targets, a.Selector, a.Login = extended.Targets, nil, extended.Login
	}
	in := s.input(u, c, a)
	targets, login, err := s.resolve(in, a)
	if err != nil {
		return Preview{}, s.refused(ctx, u, c, a, err)
	}
	in.Login, in.Preview = login, true
	v := s.decide(in, a, extended, targets)
	if !v.Allowed && a.Extends != "" {
		return Preview{}, s.refused(ctx, u, c, a, refuse(ErrForbidden, "grant %s cannot be extended: %s", extended.ID, v.Reason))
	}
	if !v.Allowed {
		if !v.Known {
			return Preview{}, s.refused(ctx, u, c, a, forbidden(strings.Join(a.Targets, ", ")))
		}
		return Preview{}, s.refused(ctx, u, c, a, refuse(ErrForbidden, "%s: not allowed now: %s", names(targets), v.Reason))
	}
	p := Preview{Targets: targets, Login: login, Rule: v.Rule, Default: v.Rule.Default(), Max: v.Rule.Max(),
		Auto: v.Rule.Auto, BreakGlass: v.Rule.BreakGlass != nil, Ticket: v.Rule.Ticket}
	p.Quorums, err = s.quorums(ctx, Request{UserID: u.ID}, v.Rule, targets, false)
	p.SentTo = SentTo(p.Quorums)
	return p, err
}

// past reads what is unusual about an ask, and what rules may see of the past.
func (s *Service) past(ctx context.Context, u identity.User, c Caller, targets []inventory.Target, login string) ([]risk.Finding, policy.History, error) {
	if s.o.History == nil {
		return nil, policy.History{}, nil
	}
	sub := risk.Subject{UserID: u.ID, Login: login, Source: c.Source, Now: s.now(), Zone: s.o.Zone}
	for _, t := range targets {
		sub.Targets = append(sub.Targets, t.Name)
	}
	findings, facts, err := risk.Assess(ctx, s.o.History, sub)
	if err != nil {
		return nil, policy.History{}, fmt.Errorf("look at the past: %w", err)
	}
	return findings, policy.History(facts), nil
}

func codes(fs []risk.Finding) []string {
	var out []string
	for _, f := range fs {
		out = append(out, string(f.Code))
	}
	return out
}

func names(ts []inventory.Target) string {
	var out []string
	for _, t := range ts {
		out = append(out, t.Name)
	}
	return strings.Join(out, ", ")
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
