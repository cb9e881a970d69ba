package approval_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
)

// TestG1G3G6UnderAnyOrderOfEvents lets people do whatever comes to their
// minds, in random order, and looks after each act at everything:
//
//   - who is admitted has a grant that somebody else approved (or a rule that
//     says so), and gave a code for it, and its end is ahead (G1, G3, G6);
//   - requests leave Pending once, grants never come back from Ended;
//   - an end moves only by an extension that somebody else approved;
//   - every state is what the log tells, one event for each change (G7).
func TestG1G3G6UnderAnyOrderOfEvents(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			auto := with(func(r *policy.Rule) {
				r.Name, r.Approve, r.Auto, r.MaxDuration = "quick", nil, true, policy.Duration(10*time.Minute)
			})
			two := with(func(r *policy.Rule) {
				r.Name, r.Logins, r.Approve = "two", []string{"admin"}, []policy.Quorum{{Groups: []string{"leads"}, Count: 2}}
			})
			urgent := with(func(r *policy.Rule) {
				r.MaxDuration = policy.Duration(2 * time.Hour)
				r.Name, r.Approve, r.BreakGlass = "urgent", nil, &policy.BreakGlass{Notify: []string{"leads"}, Reviews: []string{"leads"}}
			})
			c := &chaos{world: newWorld(t, auto, two, plain(), urgent), rng: rand.New(rand.NewPCG(seed, 7)),
				requests: map[string]approval.Request{}, grants: map[string]approval.Grant{}}
			c.user(identity.User{ID: "Ualt", Name: "alice-alt", Kind: identity.Human, Owner: "Ualice", Groups: []string{"sre", "leads"}})
			for range 70 {
				c.act()
				c.look()
			}
			c.audit()
			if c.admitted == 0 {
				t.Error("nobody was ever admitted: the test looks at nothing")
			}
		})
	}
}

type chaos struct {
	*world
	rng      *rand.Rand
	requests map[string]approval.Request
	grants   map[string]approval.Grant
	admitted int
}

var people = []string{"alice", "alice-alt", "frank", "bob", "dave", "mallory"}

func pick[T any](c *chaos, from []T) (out T) {
	if len(from) > 0 {
		out = from[c.rng.IntN(len(from))]
	}
	return out
}

func (c *chaos) someRequest() approval.Request {
	rs, err := c.db.ListRequests(c.ctx, approval.RequestFilter{Limit: 6})
	c.is(err, nil)
	return pick(c, rs)
}

func (c *chaos) someGrant() approval.Grant {
	gs, err := c.db.ListGrants(c.ctx, approval.GrantFilter{Limit: 6})
	c.is(err, nil)
	return pick(c, gs)
}

// maybeProof is a fresh proof, mostly the right one.
func (c *chaos) maybeProof(name string) mfa.Proof {
	switch c.rng.IntN(8) {
	case 0:
		return mfa.Proof{}
	case 1:
		return c.proof(pick(c, people))
	}
	return c.proof(name)
}

func (c *chaos) act() {
	who := pick(c, people)
	r, g := c.someRequest(), c.someGrant()
	switch c.rng.IntN(16) {
	case 0, 1, 2:
		a := approval.Ask{Targets: []string{"web01"}, Login: pick(c, []string{"deploy", "admin"}), Reason: "x", BreakGlass: c.rng.IntN(5) == 0,
			Duration: time.Duration(1+c.rng.IntN(120)) * time.Minute}
		if c.rng.IntN(4) == 0 {
			a.StartAt = c.Now().Add(time.Duration(c.rng.IntN(90)) * time.Minute)
		}
		_, _ = c.svc.File(c.ctx, c.as(who), a)
	case 3:
		_, _ = c.svc.File(c.ctx, c.as(who), approval.Ask{Extends: g.ID, Reason: "more", Duration: time.Hour})
	case 4, 5, 6, 7:
		digest := r.Digest()
		if c.rng.IntN(10) == 0 {
			digest = c.someRequest().Digest()
		}
		_, _ = c.svc.Approve(c.ctx, c.as(who), r.ID, approval.ApproveOptions{Digest: digest, Duration: time.Duration(c.rng.IntN(3)) * 10 * time.Minute}, c.maybeProof(who))
	case 8:
		_, _ = c.svc.Deny(c.ctx, c.as(who), r.ID, "no", mfa.Proof{})
	case 9:
		_, _ = c.svc.Withdraw(c.ctx, c.as(who), r.ID)
	case 10, 11, 12:
		if c.rng.IntN(3) > 0 && g.UserID != "" {
			for name, u := range c.users {
				if u.ID == g.UserID {
					who = name
				}
			}
		}
		_, _ = c.svc.Activate(c.ctx, c.as(who), g.ID, c.maybeProof(who))
	case 13:
		switch c.rng.IntN(3) {
		case 0:
			_, _ = c.svc.Release(c.ctx, c.as(who), g.ID)
		case 1:
			_, _ = c.svc.Revoke(c.ctx, c.as(who), g.ID, "enough", c.maybeProof(who))
		case 2:
			_, _ = c.svc.Review(c.ctx, c.as(who), g.ID, "seen", c.maybeProof(who))
		}
	case 14:
		c.change(who, func(u *identity.User) {
			if u.State == identity.Active && c.rng.IntN(3) == 0 {
				u.State = identity.Disabled
			} else {
				u.State = identity.Active
			}
		})
	case 15:
		c.pass(time.Duration(c.rng.IntN(40)) * time.Minute)
	}
}

// look compares everything with how it was, and with what may be.
func (c *chaos) look() {
	c.Helper()
	rs, err := c.db.ListRequests(c.ctx, approval.RequestFilter{Limit: 1000})
	c.is(err, nil)
	for _, r := range rs {
		old, known := c.requests[r.ID]
		if known && old.State != approval.Pending && r.State != old.State {
			c.Errorf("request %s went from %s to %s", r.ID, old.State, r.State)
		}
		if known && r.Digest() != old.Digest() {
			c.Errorf("request %s was changed", r.ID)
		}
		c.requests[r.ID] = r
	}
	gs, err := c.db.ListGrants(c.ctx, approval.GrantFilter{Limit: 1000})
	c.is(err, nil)
	order := []approval.GrantState{approval.Waiting, approval.Active, approval.Ended}
	for _, g := range gs {
		old, known := c.grants[g.ID]
		if known && slices.Index(order, g.State) < slices.Index(order, old.State) {
			c.Errorf("grant %s went from %s to %s", g.ID, old.State, g.State)
		}
		if known && old.State == approval.Active && !g.End.Equal(old.End) && len(g.Extensions) == len(old.Extensions) {
			c.Errorf("the end of grant %s moved without an extension", g.ID)
		}
		c.grants[g.ID] = g
	}
	for _, name := range people {
		for _, login := range []string{"deploy", "admin"} {
			adm, err := c.admit(name, func(in *approval.AdmitInput) { in.Login = login })
			if err != nil {
				continue
			}
			c.admitted++
			c.allowed(name, login, adm)
		}
	}
}

// allowed checks an admission against everything that must be true of it.
func (c *chaos) allowed(name, login string, adm approval.Admission) {
	c.Helper()
	g, r := c.grants[adm.Grant().ID], c.requests[adm.Grant().RequestID]
	u, err := c.db.User(c.ctx, c.users[name].ID)
	c.is(err, nil)
	switch {
	case u.State != identity.Active:
		c.Errorf("%s is disabled and was admitted", name)
	case g.UserID != u.ID || r.UserID != u.ID || g.Login != login:
		c.Errorf("%s was admitted as %s under a grant of %s for %s", name, login, g.User, g.Login)
	case g.State != approval.Active || r.State != approval.Approved:
		c.Errorf("admitted under grant %s, %s, of request %s, %s", g.ID, g.State, r.ID, r.State)
	case g.Factor.FactorID == "" || g.ActivatedAt.IsZero():
		c.Errorf("admitted under grant %s, which no code activated", g.ID)
	case c.Now().Before(g.Start) || !c.Now().Before(g.End) || !adm.End().Equal(g.End):
		c.Errorf("admitted at %s under grant %s, open %s to %s", c.Now(), g.ID, g.Start, g.End)
	case slices.ContainsFunc(g.Extensions, func(id string) bool { return c.requests[id].Rule != g.Rule.Name }):
		c.Errorf("grant %s of rule %s was extended under another: %v", g.ID, g.Rule.Name, g.Extensions)
	case g.Rule.Name == "quick" && g.Rule.Auto, g.BreakGlass && g.Rule.Name == "urgent":
		return
	}
	persons := map[string]bool{}
	for _, v := range g.Votes {
		persons[v.Person] = true
	}
	need := map[string]int{"web": 1, "two": 2}[g.Rule.Name]
	if need == 0 || len(persons) < need || persons["Ualice"] && (name == "alice" || name == "alice-alt") || persons[u.ID] {
		c.Errorf("%s was admitted under rule %s with the votes of %v", name, g.Rule.Name, persons)
	}
}

// audit checks that the log tells of every state: no more, no less.
func (c *chaos) audit() {
	c.Helper()
	count := map[audit.Type]int{}
	for _, typ := range []audit.Type{audit.RequestFiled, audit.RequestApproved, audit.RequestDenied, audit.RequestWithdrawn, audit.GrantActivated, audit.GrantExtended, audit.GrantReleased, audit.GrantRevoked, audit.GrantReviewed} {
		for _, e := range c.events(typ) {
			if e.Outcome == audit.Success {
				count[typ]++
			}
		}
	}
	want := map[audit.Type]int{}
	for _, r := range c.requests {
		want[audit.RequestFiled]++
		switch r.State {
		case approval.Approved:
			want[audit.RequestApproved]++
		case approval.Denied:
			want[audit.RequestDenied]++
		case approval.Withdrawn:
			want[audit.RequestWithdrawn]++
		}
	}
	for _, g := range c.grants {
		if !g.ActivatedAt.IsZero() {
			want[audit.GrantActivated]++
		}
		want[audit.GrantExtended] += len(g.Extensions)
		switch g.Cause {
		case approval.CauseReleased:
			want[audit.GrantReleased]++
		case approval.CauseRevoked:
			want[audit.GrantRevoked]++
		}
		if !g.ReviewedAt.IsZero() {
			want[audit.GrantReviewed]++
		}
	}
	for typ := range count {
		if count[typ] != want[typ] {
			c.Errorf("%d events %s, %d such states", count[typ], typ, want[typ])
		}
	}
}

// Everything that is refused to one who should not is refused by an error
// that callers can match.
func TestRefusalsCanBeMatched(t *testing.T) {
	w := newWorld(t)
	r := w.ask("alice", approval.Ask{})
	for what, err := range map[string]error{
		"approve an unknown request": second(w.svc.Approve(w.ctx, w.as("bob"), "R404", approval.ApproveOptions{}, mfa.Proof{})),
		"activate an unknown grant":  second(w.svc.Activate(w.ctx, w.as("bob"), "G404", mfa.Proof{})),
		"see another's request":      second(w.svc.Request(w.ctx, w.as("mallory"), r.ID)),
		"approve as mallory":         second(w.svc.Approve(w.ctx, w.as("mallory"), r.ID, approval.ApproveOptions{Digest: r.Digest()}, w.proof("mallory"))),
	} {
		var unknown = second(w.svc.Request(w.ctx, w.as("mallory"), "R404"))
		if !errors.Is(err, errors.Unwrap(unknown)) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
