package approval_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
)

func TestG6NobodyApprovesTheirOwn(t *testing.T) {
	w := newWorld(t)
	w.user(identity.User{ID: "Ualt", Name: "alice-admin", Kind: identity.Human, Owner: "Ualice", Groups: []string{"leads"}})
	w.user(identity.User{ID: "Ualt2", Name: "alice-too", Kind: identity.Human, Owner: "Ualt", Groups: []string{"leads"}})
	w.user(identity.User{ID: "Ubot", Name: "robot", Kind: identity.Machine, Owner: "Udave", Groups: []string{"leads"}})
	w.change("frank", func(u *identity.User) { u.Groups = []string{"sre", "leads"} })
	r := w.ask("alice", approval.Ask{})
	for _, name := range []string{"alice", "alice-admin", "alice-too"} {
		_, err := w.approve(name, r)
		w.is(err, approval.ErrOwnRequest)
		_, err = w.svc.Deny(w.ctx, w.as(name), r.ID, "x", mfa.Proof{})
		w.is(err, approval.ErrOwnRequest)
	}
	_, err := w.approve("robot", r)
	if err == nil {
		t.Error("a machine approved")
	}
	r = w.ask("frank", approval.Ask{}) // who asks and is a lead
	_, err = w.approve("frank", r)
	w.is(err, approval.ErrOwnRequest)
	if e := w.events(audit.RequestVoted); len(e) < 3 || e[0].Outcome != audit.Denied || e[0].Actor.Name != "alice" {
		t.Errorf("attempts are not in the log: %+v", e)
	}
	// A circle of owners: nobody knows who it is.
	w.change("alice-admin", func(u *identity.User) { u.Owner = "Ualt2" })
	if _, err = w.approve("alice-admin", r); err == nil {
		t.Error("an account whose owners form a circle approved")
	}
}

func TestG6MachineAndItsOwnerAreOnePerson(t *testing.T) {
	rule := plain()
	rule.Machines, rule.Groups, rule.MaxDuration = true, []string{"ci"}, policy.Duration(time.Hour)
	w := newWorld(t, rule)
	w.user(identity.User{ID: "Uci", Name: "deployer", Kind: identity.Machine, Owner: "Ubob", Groups: []string{"ci"}, Sources: anywhere})
	r := w.ask("deployer", approval.Ask{})
	_, err := w.approve("bob", r)
	w.is(err, approval.ErrOwnRequest)
	_, err = w.approve("dave", r)
	w.is(err, nil)
}

func TestG6OnePersonVotesOnce(t *testing.T) {
	rule := plain()
	rule.Approve[0].Count = 2
	w := newWorld(t, rule)
	w.user(identity.User{ID: "Ubob2", Name: "bob-admin", Kind: identity.Human, Owner: "Ubob", Groups: []string{"leads"}})
	r := w.ask("alice", approval.Ask{})
	_, err := w.approve("bob", r)
	w.is(err, nil)
	_, err = w.approve("bob-admin", r)
	w.is(err, approval.ErrNotPending)
	got, _ := w.db.Request(w.ctx, r.ID)
	if got.State != approval.Pending || len(got.Votes) != 1 {
		t.Errorf("two accounts of one person: %+v", got)
	}
}

func TestG6VotesAreCheckedAtTheDecidingVote(t *testing.T) {
	for what, spoil := range map[string]func(*world){
		"left the group":      func(w *world) { w.change("bob", func(u *identity.User) { u.Groups = nil }) },
		"was disabled":        func(w *world) { w.change("bob", func(u *identity.User) { u.State = identity.Disabled }) },
		"account has ended":   func(w *world) { w.change("bob", func(u *identity.User) { u.ValidUntil = w.Now() }) },
		"turned out to be me": func(w *world) { w.change("bob", func(u *identity.User) { u.Owner = "Ualice" }) },
		"nothing happened":    func(*world) {},
	} {
		t.Run(what, func(t *testing.T) {
			rule := plain()
			rule.Approve[0].Count = 2
			w := newWorld(t, rule)
			r := w.ask("alice", approval.Ask{})
			_, err := w.approve("bob", r)
			w.is(err, nil)
			spoil(w)
			got, err := w.approve("dave", r)
			w.is(err, nil)
			if want := what == "nothing happened"; (got.State == approval.Approved) != want {
				t.Fatalf("bob %s: request is %s", what, got.State)
			}
			if got.State == approval.Pending {
				got, err = w.approve("frank", r)
				w.is(err, nil)
				if g := w.grant(got.GrantID); len(g.Votes) != 2 || g.Votes[0].User != "dave" {
					t.Errorf("votes of the grant: %+v", g.Votes)
				}
			}
		})
	}
}

// A rule that comes to want another factor of approvers wants it of those, too, who have voted.
func TestVotesWithAFactorThatIsTakenNoMore(t *testing.T) {
	rule := plain()
	rule.Approve[0].Count = 2
	w := newWorld(t, rule)
	r := w.ask("alice", approval.Ask{})
	_, err := w.approve("bob", r)
	w.is(err, nil)
	rule.Factor.ApproveKinds = []string{string(mfa.Recovery)}
	w.reload(rule)
	recovery := func(name string) approval.Request {
		t.Helper()
		who := audit.Actor{ID: w.users[name].ID, Name: name}
		codes, err := w.mfa.NewRecoveryCodes(w.ctx, who.ID, w.proof(name), who)
		w.is(err, nil)
		p, err := w.mfa.VerifyCode(w.ctx, who.ID, codes[0], who)
		w.is(err, nil)
		got, err := w.svc.Approve(w.ctx, w.as(name), r.ID, approval.ApproveOptions{Digest: r.Digest()}, p)
		w.is(err, nil)
		return got
	}
	if got := recovery("dave"); got.State != approval.Pending {
		t.Fatalf("a vote with a code counted: %s", got.State)
	}
	got := recovery("bob") // gives his anew
	if g := w.grant(got.GrantID); got.State != approval.Approved || len(g.Votes) != 2 || g.Votes[1].Factor.Kind != mfa.Recovery || len(got.Votes) != 2 {
		t.Errorf("%s, votes %+v", got.State, g.Votes)
	}
}

func TestTwoApproversAtOnce(t *testing.T) {
	w := newWorld(t)
	r := w.ask("alice", approval.Ask{})
	ps := map[string]mfa.Proof{"bob": w.proof("bob"), "dave": w.proof("dave"), "frank": w.proof("frank")}
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for name, p := range ps {
		wg.Go(func() {
			_, err := w.svc.Approve(w.ctx, w.as(name), r.ID, approval.ApproveOptions{Digest: r.Digest()}, p)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, approval.ErrNotPending) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	gs, err := w.db.ListGrants(w.ctx, approval.GrantFilter{})
	if won != 1 || len(gs) != 1 || err != nil {
		t.Errorf("%d approvals, %d grants, %v", won, len(gs), err)
	}
}

// Both votes of a quorum of two count, also when they come at once.
func TestTwoVotesAtOnce(t *testing.T) {
	rule := plain()
	rule.Approve[0].Count = 2
	w := newWorld(t, rule)
	r := w.ask("alice", approval.Ask{})
	ps := map[string]mfa.Proof{"bob": w.proof("bob"), "dave": w.proof("dave")}
	var wg sync.WaitGroup
	for name, p := range ps {
		wg.Go(func() {
			if _, err := w.svc.Approve(w.ctx, w.as(name), r.ID, approval.ApproveOptions{Digest: r.Digest()}, p); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, _ := w.db.Request(w.ctx, r.ID); got.State != approval.Approved || len(got.Votes) != 2 {
		t.Errorf("%s with %d votes", got.State, len(got.Votes))
	}
}
