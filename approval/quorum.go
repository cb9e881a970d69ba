package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store"
)

// QuorumView is where one quorum of a request stands.
type QuorumView struct {
	Label string          `json:"label"` // "sre-leads", "sre-leads or owners of web01"
	Need  int             `json:"need"`
	Have  int             `json:"have"` // votes that count now
	Who   []identity.User `json:"who"`  // who can still approve
}

// SentTo names the quorums that are not met yet: "sre-leads and owners of web01".
func SentTo(qs []QuorumView) string {
	var out []string
	for _, q := range qs {
		switch {
		case q.Have >= q.Need:
		case q.Need > 1:
			out = append(out, fmt.Sprintf("%d of %s", q.Need, q.Label))
		default:
			out = append(out, q.Label)
		}
	}
	return strings.Join(out, " and ")
}

// ballot is everything that decides whether a vote on a request counts, read now.
type ballot struct {
	s          *Service
	r          Request
	electorate []policy.Electorate
	kinds      []string // factors that the rule takes from approvers; any if empty
	requester  string   // person
	now        time.Time
}

// takes reports whether the vote was given with a factor that the rule, as it is now, takes.
func (b *ballot) takes(v Vote) bool {
	return len(b.kinds) == 0 || slices.Contains(b.kinds, string(v.Factor.Kind))
}

// escalated reports whether the rule's further groups are asked by now.
// It is a matter of time alone, not of whether somebody wrote it down.
func escalated(r Request, rule policy.Rule, now time.Time) bool {
	return rule.Escalate != nil && !r.FiledAt.IsZero() && !now.Before(r.FiledAt.Add(rule.Escalate.After.Std()))
}

func (s *Service) ballot(ctx context.Context, r Request, rule policy.Rule, targets []inventory.Target) (*ballot, error) {
	_, person, err := s.requester(ctx, r.UserID)
	if err != nil {
		return nil, err
	}
	now := s.o.Now()
	return &ballot{s, r, rule.Electorates(targets, escalated(r, rule, now)), rule.Factor.ApproveKinds, person, now}, nil
}

// eligible returns the person behind u if a vote of u counts in any quorum;
// "" if not. Nobody votes on their own request, under any account (G6).
func (b *ballot) eligible(ctx context.Context, u identity.User) (string, error) {
	if !u.Usable(b.now) || !slices.ContainsFunc(b.electorate, func(e policy.Electorate) bool { return e.Fits(u) }) {
		return "", nil
	}
	person, err := identity.Person(ctx, b.s.o.Users, u)
	if err != nil {
		return "", err
	}
	if person == b.requester {
		return "", nil
	}
	return person, nil
}

// vote is one that counts, with its giver as they are now.
type vote struct {
	Vote
	user identity.User
}

// count returns the votes whose givers are still eligible, one for each
// person, and whether they meet every quorum. A vote counts for every quorum
// that its giver fits.
func (b *ballot) count(ctx context.Context) (counted []vote, met bool, err error) {
	digest, seen := b.r.Digest(), map[string]bool{}
	for _, v := range b.r.Votes {
		u, err := b.s.o.Users.User(ctx, v.UserID)
		if errors.Is(err, store.ErrNotFound) { // who is gone does not count, and does not stop the others
			continue
		}
		if err != nil {
			return nil, false, fmt.Errorf("read who voted: %w", err)
		}
		person, err := b.eligible(ctx, u)
		if err != nil {
			return nil, false, err
		}
		if person == "" || seen[person] || v.Digest != digest || !b.takes(v) {
			continue
		}
		seen[person] = true
		counted = append(counted, vote{v, u})
	}
	for _, e := range b.electorate {
		if b.have(counted, e) < e.Need {
			return counted, false, nil
		}
	}
	// Without any quorum nothing is met: only a rule that says so approves by itself.
	return counted, len(b.electorate) > 0, nil
}

func (b *ballot) have(counted []vote, e policy.Electorate) int {
	n := 0
	for _, v := range counted {
		if e.Fits(v.user) {
			n++
		}
	}
	return n
}

// quorums tells where a request stands. With all, the groups of an escalation
// that has not come yet are counted in.
func (s *Service) quorums(ctx context.Context, r Request, rule policy.Rule, targets []inventory.Target, all bool) ([]QuorumView, error) {
	b, err := s.ballot(ctx, r, rule, targets)
	if err != nil {
		return nil, err
	}
	if all {
		b.electorate = rule.Electorates(targets, true)
	}
	if len(b.electorate) == 0 {
		return nil, nil
	}
	counted, _, err := b.count(ctx)
	if err != nil {
		return nil, err
	}
	users, err := s.o.Users.Users(ctx)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	out := make([]QuorumView, len(b.electorate))
	for i, e := range b.electorate {
		out[i] = QuorumView{Label: e.Label, Need: e.Need, Have: b.have(counted, e)}
	}
	voted := map[string]bool{}
	for _, v := range counted {
		voted[v.Person] = true
	}
	persons := make([]map[string]bool, len(out))
	for _, u := range users {
		person, err := b.eligible(ctx, u)
		if err != nil || person == "" || voted[person] {
			continue // an account that nobody answers for is no approver
		}
		for i, e := range b.electorate {
			if e.Fits(u) && !persons[i][person] {
				if persons[i] == nil {
					persons[i] = map[string]bool{}
				}
				persons[i][person] = true
				out[i].Who = append(out[i].Who, u)
			}
		}
	}
	return out, nil
}

// standing reads the rule and the targets of a request as they are now, and
// refuses if the rules would no longer let it be filed.
func (s *Service) standing(ctx context.Context, r Request) (policy.Rule, []inventory.Target, error) {
	targets, err := s.targetsOf(r.Targets, r.TargetHashes)
	if err != nil {
		return policy.Rule{}, nil, err
	}
	u, err := s.o.Users.User(ctx, r.UserID)
	if err != nil {
		return policy.Rule{}, nil, fmt.Errorf("read the requester: %w", err)
	}
	if !u.Usable(s.o.Now()) {
		return policy.Rule{}, nil, refuse(ErrUserDisabled, "%s is disabled", u.Name)
	}
	in := policy.Input{User: u, Login: r.Login, Reason: r.Reason, Ticket: r.Ticket, Duration: r.Duration, StartAt: r.StartAt,
		Now: r.FiledAt, Source: address(r.Source), BreakGlass: r.BreakGlass, Risk: codes(r.Risk), History: r.History}
	v := s.o.Rules().Check(r.Rule, in, targets...)
	if !v.Allowed {
		return policy.Rule{}, nil, refuse(ErrForbidden, "the rules changed since it was asked for: %s", v.Reason)
	}
	return v.Rule, targets, nil
}
