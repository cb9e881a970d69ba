package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/id"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store"
)

// tries is how often an update that lost against another is begun again.
const tries = 8

// ApproveOptions says what exactly is approved.
type ApproveOptions struct {
	Duration time.Duration // 0: as asked; longer than asked is an error
	Digest   string        // Request.Digest that the approver was shown: required
	Comment  string
}

// Approve gives the caller's vote. The deciding vote makes the grant: then
// every earlier vote is looked at again and counts only if its giver is still
// eligible. Everything is read anew for each try, so of two approvers at once
// each is counted, and a request that was answered meanwhile stays answered.
func (s *Service) Approve(ctx context.Context, c Caller, requestID string, o ApproveOptions, p mfa.Proof) (Request, error) {
	if err := s.clock(ctx); err != nil {
		return Request{}, err
	}
	for range tries {
		r, err := s.approve(ctx, c, requestID, o, p)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err == nil && r.State == Approved && r.Extends != "" {
			err = s.extend(ctx, r)
		}
		if err == nil {
			s.noteStamping(ctx, c, r)
		}
		return r, err
	}
	return Request{}, refuse(ErrNotPending, "%s is being answered by others; look at it again", requestID)
}

// noteStamping tells of an approver who does not read. The approval stands
// whether or not that can be kept.
func (s *Service) noteStamping(ctx context.Context, c Caller, r Request) {
	u, err := s.o.Users.User(ctx, c.UserID)
	if err == nil {
		err = s.stamping(ctx, u, r, audit.Gateway)
	}
	if err != nil {
		s.o.Logger.Error("look for approvals without reading", "user", c.UserID, "error", err)
	}
}

func (s *Service) approve(ctx context.Context, c Caller, requestID string, o ApproveOptions, p mfa.Proof) (Request, error) {
	u, r, rule, targets, b, err := s.judge(ctx, c, requestID)
	if err != nil {
		return Request{}, err
	}
	person, err := b.eligible(ctx, u)
	if err != nil {
		return Request{}, err
	}
	digest := r.Digest()
	switch {
	case o.Digest != digest:
		return Request{}, refuse(ErrDigest, "the digest is not that of %s: look at the request again, then approve what you saw", r.ID)
	case o.Duration < 0 || o.Duration > 0 && o.Duration < minDuration:
		return Request{}, refuse(ErrInvalid, "the duration must be at least %s", minDuration)
	case o.Duration > r.Duration:
		return Request{}, refuse(ErrInvalid, "%s was asked for; you may shorten that, not lengthen it", policy.Duration(r.Duration))
	case len(o.Comment) > maxReason:
		return Request{}, refuse(ErrInvalid, "the comment is longer than %d characters", maxReason)
	}
	factor, err := s.proof(c, p, rule.Factor.ApproveKinds, digest)
	if err != nil {
		return Request{}, err
	}
	if slices.ContainsFunc(r.Votes, func(v Vote) bool { return v.Person == person && b.takes(v) }) {
		return Request{}, refuse(ErrNotPending, "you approved %s already; it waits for others", r.ID)
	}
	// One that no longer counts, since the rule came to want another factor, is given anew.
	r.Votes = slices.DeleteFunc(slices.Clone(r.Votes), func(v Vote) bool { return v.Person == person })
	now := s.now()
	r.Votes = append(r.Votes, Vote{UserID: u.ID, Person: person, User: u.Name, Duration: o.Duration, Comment: o.Comment,
		Digest: digest, Factor: factor, At: now})
	b.r = r
	counted, met, err := b.count(ctx)
	if err != nil {
		return Request{}, err
	}
	ev := s.requestEvent(audit.RequestVoted, r, actor(u, c), o.Comment)
	ev.Detail["digest"] = digest
	ev.Detail["factor"] = string(factor.Kind)
	ev.Detail["factor_id"] = factor.FactorID
	ev.Detail["evidence"] = factor.Evidence
	if o.Duration > 0 {
		ev.Detail["shortened_to"] = policy.Duration(o.Duration).String()
	}
	if !met {
		return s.saveRequest(ctx, r, nil, ev)
	}
	ev.Type = audit.RequestApproved
	r.State, r.Decision = Approved, &Decision{UserID: u.ID, User: u.Name, Reason: o.Comment, At: now}
	return s.grantRequest(ctx, r, rule, targets, counted, ev)
}

// approveByRule approves what a rule approves by itself, in its name.
func (s *Service) approveByRule(ctx context.Context, r Request, rule policy.Rule) (Request, error) {
	ev := s.requestEvent(audit.RequestApproved, r, audit.Gateway, "rule "+rule.Name+" approves by itself")
	ev.Detail["digest"] = r.Digest()
	ev.Detail["auto"] = "true"
	if b := rule.BreakGlass; b != nil {
		ev.Reason = "emergency under rule " + rule.Name
		ev.Detail["auto"], ev.Detail["break_glass"] = "", "true"
		delete(ev.Detail, "auto")
		ev.Detail["notify"] = strings.Join(b.Notify, ",")
		ev.Detail["reviews"] = strings.Join(b.Reviews, ",")
		// Emergencies are recorded strictly, whatever the rule says.
		rule.Recording.Strict, rule.Recording.Input = true, true
	}
	targets, err := s.targetsOf(r.Targets, r.TargetHashes)
	if err != nil {
		return Request{}, err
	}
	r.State, r.Decision = Approved, &Decision{Reason: ev.Reason, At: s.now()}
	r, err = s.grantRequest(ctx, r, rule, targets, nil, ev)
	if err == nil && r.Extends != "" {
		err = s.extend(ctx, r)
	}
	return r, err
}

// grantRequest stores the approved request and, unless it extends one, its grant.
func (s *Service) grantRequest(ctx context.Context, r Request, rule policy.Rule, targets []inventory.Target, counted []vote, ev audit.Event) (Request, error) {
	ev.Detail["votes"] = strconv.Itoa(len(counted))
	if r.Extends != "" {
		r.GrantID = r.Extends
		ev.Grant = r.GrantID
		return s.saveRequest(ctx, r, nil, ev)
	}
	g := newGrant(r, rule, counted, r.Decision.At)
	if !g.NotBefore.IsZero() && !r.Decision.At.Before(g.NotBefore.Add(g.Duration)) {
		return Request{}, refuse(ErrNotPending, "the window that %s asked for has passed", r.ID)
	}
	for n := 6; ; n++ {
		g.ID = id.Short(id.Grant, min(n, 12))
		g.Hash = g.Digest()
		r.GrantID, ev.Grant = g.ID, g.ID
		ev.Detail["grant_hash"] = g.Hash
		ev.Detail["granted"] = policy.Duration(g.Duration).String()
		out, err := s.saveRequest(ctx, r, &g, ev)
		if !errors.Is(err, store.ErrExists) || n > 16 {
			return out, err
		}
	}
}

// newGrant is the grant of an approved request: the shortest vote counts.
func newGrant(r Request, rule policy.Rule, counted []vote, at time.Time) Grant {
	g := Grant{
		RequestID: r.ID, RequestDigest: r.Digest(), UserID: r.UserID, User: r.User, Targets: r.Targets, TargetHashes: r.TargetHashes,
		Login: r.Login, Duration: r.Duration, Rule: rule, RuleHash: rule.Hash(), ApprovedAt: at, NotBefore: r.StartAt,
		ActivateBy: at.Add(rule.Activation()), BreakGlass: rule.BreakGlass != nil,
		EndsWithLast: r.EndsWithLast || rule.Session.EndsWithLast, State: Waiting,
	}
	for _, v := range counted {
		g.Votes = append(g.Votes, v.Vote)
		if v.Duration > 0 {
			g.Duration = min(g.Duration, v.Duration)
		}
	}
	if !g.NotBefore.IsZero() { // the asked window is what was approved: a late code shortens it
		g.ActivateBy = g.NotBefore.Add(min(rule.Activation(), g.Duration))
	}
	return g
}

// judge reads a request and whether the caller may answer it.
func (s *Service) judge(ctx context.Context, c Caller, requestID string) (u identity.User, r Request, rule policy.Rule, targets []inventory.Target, b *ballot, err error) {
	fail := func(err error) (identity.User, Request, policy.Rule, []inventory.Target, *ballot, error) {
		return identity.User{}, Request{}, policy.Rule{}, nil, nil, err
	}
	if u, err = s.caller(ctx, c); err != nil {
		return fail(err)
	}
	r, err = s.o.Requests.Request(ctx, requestID)
	if errors.Is(err, store.ErrNotFound) {
		return fail(notFound("request", requestID))
	}
	if err != nil {
		return fail(fmt.Errorf("read request: %w", err))
	}
	person, err := identity.Person(ctx, s.o.Users, u)
	if err != nil {
		return fail(err)
	}
	if _, requester, err := s.requester(ctx, r.UserID); err != nil {
		return fail(err)
	} else if person == requester {
		return fail(s.deniedVote(ctx, u, c, r, refuse(ErrOwnRequest, "%s is your own request; somebody else must answer it", r.ID)))
	}
	if err := s.pending(r); err != nil {
		if ok, _ := s.mayAnswer(ctx, u, r); !ok && !s.IsAdmin(u) && !s.IsAuditor(u) {
			return fail(notFound("request", requestID))
		}
		return fail(err)
	}
	if rule, targets, err = s.standing(ctx, r); err != nil {
		if ok, _ := s.mayAnswer(ctx, u, r); !ok && !s.IsAdmin(u) && !s.IsAuditor(u) {
			return fail(notFound("request", requestID))
		}
		return fail(err)
	}
	if b, err = s.ballot(ctx, r, rule, targets); err != nil {
		return fail(err)
	}
	eligible, err := b.eligible(ctx, u)
	if err != nil {
		return fail(err)
	}
	if eligible == "" {
		if !s.IsAdmin(u) && !s.IsAuditor(u) {
			return fail(s.deniedVote(ctx, u, c, r, notFound("request", requestID)))
		}
		return fail(s.deniedVote(ctx, u, c, r, refuse(ErrForbidden, "you are not among those who answer %s: %s", r.ID, labels(b.electorate))))
	}
	return u, r, rule, targets, b, nil
}

// pending refuses what is no longer open, also when nobody has written it down yet.
func (s *Service) pending(r Request) error {
	switch {
	case r.State == Pending && !s.o.Now().Before(r.ExpiresAt):
		return refuse(ErrNotPending, "%s expired unanswered at %s", r.ID, r.ExpiresAt.UTC().Format("15:04 UTC"))
	case r.State == Pending:
		return nil
	case r.Decision != nil && r.Decision.User != "":
		return refuse(ErrNotPending, "%s was %s by %s already", r.ID, r.State, r.Decision.User)
	}
	return refuse(ErrNotPending, "%s is %s already", r.ID, r.State)
}

// deniedVote puts an attempt to answer what one may not into the log.
func (s *Service) deniedVote(ctx context.Context, u identity.User, c Caller, r Request, why error) error {
	ev := s.requestEvent(audit.RequestVoted, r, actor(u, c), why.Error())
	ev.Outcome = audit.Denied
	if _, err := s.o.Log.Append(ctx, ev); err != nil {
		return fmt.Errorf("log a refusal: %w", err)
	}
	return why
}

// saveRequest stores what changed in a request, and returns it as stored.
func (s *Service) saveRequest(ctx context.Context, r Request, g *Grant, ev audit.Event) (Request, error) {
	if err := s.o.Requests.UpdateRequest(ctx, r, g, ev); err != nil {
		return Request{}, fmt.Errorf("store the answer to %s: %w", r.ID, err)
	}
	r.Version++
	return r, nil
}

// requestEvent is an event about a request.
func (s *Service) requestEvent(t audit.Type, r Request, who audit.Actor, reason string) audit.Event {
	ev := audit.Event{Type: t, Outcome: audit.Success, Actor: who, User: r.UserID, Request: r.ID, Grant: r.GrantID,
		Reason: display.Line(reason, maxReason),
		Detail: map[string]string{"login": r.Login, "rule": r.Rule, "duration": policy.Duration(r.Duration).String(), "digest": r.Digest()}}
	if len(r.Targets) == 1 {
		ev.Target = r.Targets[0]
	} else {
		ev.Detail["targets"] = strings.Join(r.Targets, ",")
	}
	for k, v := range map[string]string{"ticket": r.Ticket, "selector": r.Selector, "extends": r.Extends, "risk": strings.Join(codes(r.Risk), ",")} {
		if v != "" {
			ev.Detail[k] = v
		}
	}
	if !r.StartAt.IsZero() {
		ev.Detail["start_at"] = r.StartAt.Format(time.RFC3339)
	}
	if r.BreakGlass {
		ev.Detail["break_glass"] = "true"
	}
	return ev
}

func labels(es []policy.Electorate) string {
	var out []string
	for _, e := range es {
		out = append(out, e.Label)
	}
	return strings.Join(out, " and ")
}
