package approval_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
)

func TestAskApproveActivateAdmit(t *testing.T) {
	w := newWorld(t)
	_, err := w.admit("alice")
	w.is(err, approval.ErrNoGrant)
	p, err := w.svc.Preview(w.ctx, w.as("alice"), approval.Ask{Targets: []string{"WEB01."}, Login: "deploy"})
	w.is(err, nil)
	if p.SentTo != "leads" || p.Default != 30*time.Minute || p.Max != 8*time.Hour || len(p.Quorums[0].Who) != 3 {
		t.Errorf("preview: sent to %q, default %s, max %s, %d may approve", p.SentTo, p.Default, p.Max, len(p.Quorums[0].Who))
	}

	r := w.ask("alice", approval.Ask{Duration: time.Hour})
	if r.State != approval.Pending || r.Rule != "web" || r.ID[0] != 'R' || r.TargetHashes["web01"] == "" {
		t.Errorf("filed: %+v", r)
	}
	r, err = w.approve("bob", r, 30*time.Minute)
	w.is(err, nil)
	if r.State != approval.Approved || r.GrantID == "" {
		t.Fatalf("approved: %+v", r)
	}
	_, err = w.admit("alice")
	w.is(err, approval.ErrNotActivated)
	var ge *approval.GrantError
	if !errors.As(err, &ge) || ge.Grant.ID != r.GrantID {
		t.Errorf("the error does not name the grant: %v", err)
	}
	g := w.activate("alice", r.GrantID)
	if g.End.Sub(g.Start) != 30*time.Minute || !g.Start.Equal(w.Now()) {
		t.Errorf("window %s to %s at %s: want 30 min from now, the shorter vote", g.Start, g.End, w.Now())
	}
	adm, err := w.admit("alice")
	w.is(err, nil)
	w.is(adm.Check(w.Now()), nil)
	if adm.Grant().ID != g.ID || adm.Login() != "deploy" || adm.Target().Name != "web01" || adm.User().Name != "alice" || !adm.End().Equal(g.End) {
		t.Errorf("admission: %+v", adm)
	}
	// To the millisecond: the last instant inside, and the end.
	w.pass(g.End.Sub(w.Now()) - time.Millisecond)
	_, err = w.admit("alice")
	w.is(err, nil)
	w.pass(time.Millisecond)
	_, err = w.admit("alice")
	w.is(err, approval.ErrNoGrant)
	if adm.Check(w.Now()) == nil {
		t.Error("the admission outlives its grant")
	}
	for _, e := range []audit.Type{audit.RequestFiled, audit.RequestApproved, audit.GrantActivated} {
		got := w.events(e)
		if len(got) != 1 || got[0].Actor.ID == "" || got[0].Actor.Source != home || got[0].Actor.Via != "ssh" || got[0].User != "Ualice" || got[0].Target != "web01" || got[0].Request != r.ID {
			t.Errorf("event %s: %+v", e, got)
		}
	}
}

func TestManyTargetsByLabel(t *testing.T) {
	w := newWorld(t)
	r := w.ask("alice", approval.Ask{Selector: map[string]string{"role": "web"}})
	if len(r.Targets) != 2 || r.Selector != "label:role=web" {
		t.Errorf("targets %v, selector %q", r.Targets, r.Selector)
	}
	r, err := w.approve("bob", r)
	w.is(err, nil)
	w.activate("alice", r.GrantID)
	for _, name := range r.Targets {
		_, err := w.admit("alice", func(in *approval.AdmitInput) { in.Target = name })
		w.is(err, nil)
	}
	_, err = w.svc.File(w.ctx, w.as("alice"), approval.Ask{Selector: map[string]string{"role": "secret"}, Login: "deploy", Reason: "x"})
	w.is(err, approval.ErrForbidden)
}

func TestDenyWithdrawAndClosedRequests(t *testing.T) {
	w := newWorld(t)
	r := w.ask("alice", approval.Ask{})
	_, err := w.svc.Deny(w.ctx, w.as("bob"), r.ID, "  ", mfa.Proof{})
	w.is(err, approval.ErrInvalid)
	got, err := w.svc.Deny(w.ctx, w.as("bob"), r.ID, "use the staging host", mfa.Proof{})
	w.is(err, nil)
	if got.State != approval.Denied || got.Decision.User != "bob" || got.Decision.Reason != "use the staging host" {
		t.Errorf("denied: %+v", got)
	}
	_, err = w.approve("dave", r)
	w.is(err, approval.ErrNotPending)
	_, err = w.svc.Withdraw(w.ctx, w.as("alice"), r.ID)
	w.is(err, approval.ErrNotPending)

	r = w.ask("alice", approval.Ask{})
	_, err = w.svc.Withdraw(w.ctx, w.as("frank"), r.ID)
	if err == nil {
		t.Error("frank withdrew alice's request")
	}
	got, err = w.svc.Withdraw(w.ctx, w.as("alice"), r.ID)
	w.is(err, nil)
	if got.State != approval.Withdrawn {
		t.Errorf("withdrawn: %+v", got)
	}
	_, err = w.approve("bob", r)
	w.is(err, approval.ErrNotPending)

	r = w.ask("alice", approval.Ask{})
	w.pass(24 * time.Hour)
	_, err = w.approve("bob", r)
	w.is(err, approval.ErrNotPending)
}

func TestQuorumsAndShortestVote(t *testing.T) {
	rule := plain()
	rule.Approve = []policy.Quorum{{Groups: []string{"leads"}, Count: 2}, {Owners: true}}
	w := newWorld(t, rule)
	w.person("olga", "web-owners")
	r := w.ask("alice", approval.Ask{Duration: 2 * time.Hour})
	r1, err := w.approve("bob", r)
	w.is(err, nil)
	_, err = w.approve("bob", r) // a second vote of the same person
	w.is(err, approval.ErrNotPending)
	r2, err := w.approve("dave", r, time.Hour)
	w.is(err, nil)
	if r1.State != approval.Pending || r2.State != approval.Pending {
		t.Fatalf("approved without an owner: %s, %s", r1.State, r2.State)
	}
	qs, err := w.svc.Approvers(w.ctx, r2)
	w.is(err, nil)
	if len(qs) != 2 || qs[0].Have != 2 || qs[1].Have != 0 || len(qs[1].Who) != 1 || qs[1].Who[0].Name != "olga" || approval.SentTo(qs) != "owners of web01" {
		t.Errorf("where it stands: %+v", qs)
	}
	r3, err := w.approve("olga", r)
	w.is(err, nil)
	if r3.State != approval.Approved {
		t.Fatalf("not approved: %+v", r3)
	}
	if g := w.grant(r3.GrantID); g.Duration != time.Hour || len(g.Votes) != 3 {
		t.Errorf("granted %s by %d votes, want the shortest, 1h, by 3", g.Duration, len(g.Votes))
	}
}

func TestReleaseRevokeAndRights(t *testing.T) {
	w := newWorld(t)
	g := w.granted(approval.Ask{})
	g = w.activate("alice", g.ID)
	_, err := w.svc.Release(w.ctx, w.as("bob"), g.ID)
	if err == nil {
		t.Error("bob released alice's grant")
	}
	for name, want := range map[string][3]bool{ // watch, terminate, replay
		"alice": {true, true, false}, "bob": {true, true, false}, "carol": {true, false, true}, "dave": {false, true, false},
		"erin": {true, true, false}, "mallory": {false, false, false},
	} {
		id := w.users[name].ID
		got := [3]bool{w.svc.CanWatch(w.ctx, id, g.ID) == nil, w.svc.CanTerminate(w.ctx, id, g.ID) == nil, w.svc.CanReplay(w.ctx, id, g.ID) == nil}
		if got != want {
			t.Errorf("%s may watch, terminate, replay: %v, want %v", name, got, want)
		}
	}
	_, err = w.svc.Revoke(w.ctx, w.as("mallory"), g.ID, "because", w.proof("mallory"))
	if err == nil {
		t.Error("mallory revoked alice's grant")
	}
	_, err = w.svc.Revoke(w.ctx, w.as("bob"), g.ID, "incident over", mfa.Proof{})
	w.is(err, approval.ErrProofNeeded)
	got, err := w.svc.Revoke(w.ctx, w.as("bob"), g.ID, "incident over", w.proof("bob"))
	w.is(err, nil)
	if got.State != approval.Ended || got.Cause != approval.CauseRevoked || got.EndedBy != "Ubob" || got.EndReason != "incident over" {
		t.Errorf("revoked: %+v", got)
	}
	_, err = w.admit("alice")
	w.is(err, approval.ErrNoGrant)
	_, err = w.svc.Release(w.ctx, w.as("alice"), g.ID)
	w.is(err, approval.ErrEnded)

	g = w.granted(approval.Ask{})
	got, err = w.svc.Revoke(w.ctx, approval.Caller{LocalAdmin: true, Via: "admin.sock"}, g.ID, "from the console", mfa.Proof{})
	w.is(err, nil)
	if evs := w.events(audit.GrantRevoked); len(evs) != 2 || evs[1].Actor.Name != "local-admin" {
		t.Errorf("events: %+v", evs)
	}
	g = w.granted(approval.Ask{})
	w.activate("alice", g.ID)
	got, err = w.svc.Release(w.ctx, w.as("alice"), g.ID)
	w.is(err, nil)
	if got.Cause != approval.CauseReleased {
		t.Errorf("released: %+v", got)
	}
}

func TestEndingOneGrantLeavesTheOther(t *testing.T) {
	w := newWorld(t)
	short := w.activate("alice", w.granted(approval.Ask{Duration: time.Hour}).ID)
	long := w.activate("alice", w.granted(approval.Ask{Duration: 2 * time.Hour}).ID)
	adm, err := w.admit("alice")
	w.is(err, nil)
	if adm.Grant().ID != long.ID {
		t.Errorf("took %s, want the grant that ends last", adm.Grant().ID)
	}
	_, err = w.svc.Release(w.ctx, w.as("alice"), long.ID)
	w.is(err, nil)
	adm, err = w.admit("alice")
	w.is(err, nil)
	if adm.Grant().ID != short.ID {
		t.Errorf("took %s, want the other grant", adm.Grant().ID)
	}
	_, err = w.admit("alice", func(in *approval.AdmitInput) {
		in.Needs = func(r policy.Rule) bool { return r.SSH().Agent }
	})
	w.is(err, approval.ErrForbidden)
}

func TestScheduledStart(t *testing.T) {
	w := newWorld(t)
	at := noon.Add(5 * time.Hour)
	g := w.granted(approval.Ask{StartAt: at, Duration: time.Hour})
	g = w.activate("alice", g.ID) // early: it waits
	if !g.Start.Equal(at) || !g.End.Equal(at.Add(time.Hour)) {
		t.Errorf("window %s to %s", g.Start, g.End)
	}
	_, err := w.admit("alice")
	w.is(err, approval.ErrNotYet)
	w.pass(at.Sub(w.Now()))
	_, err = w.admit("alice")
	w.is(err, nil)

	late := w.granted(approval.Ask{StartAt: w.Now().Add(time.Hour), Duration: time.Hour})
	w.pass(90 * time.Minute)
	late = w.activate("alice", late.ID)
	if !late.End.Equal(late.NotBefore.Add(time.Hour)) {
		t.Errorf("a late code moved the end of the asked window: %s, want %s", late.End, late.NotBefore.Add(time.Hour))
	}
	_, err = w.svc.File(w.ctx, w.as("alice"), approval.Ask{Targets: []string{"web01"}, Login: "deploy", Reason: "x", StartAt: w.Now().Add(8 * 24 * time.Hour)})
	w.is(err, approval.ErrForbidden)
	_, err = w.svc.File(w.ctx, w.as("alice"), approval.Ask{Targets: []string{"web01"}, Login: "deploy", Reason: "x", StartAt: w.Now().Add(-time.Second)})
	w.is(err, approval.ErrInvalid)
}

func TestExtension(t *testing.T) {
	w := newWorld(t)
	g := w.activate("alice", w.granted(approval.Ask{Duration: time.Hour}).ID)
	r := w.ask("alice", approval.Ask{Extends: g.ID, Duration: time.Hour, Reason: "not done"})
	if got := w.grant(g.ID); !got.End.Equal(g.End) {
		t.Error("filing an extension moved the end")
	}
	r, err := w.approve("bob", r, 30*time.Minute)
	w.is(err, nil)
	if r.GrantID != g.ID {
		t.Errorf("the extension names grant %s", r.GrantID)
	}
	after := w.grant(g.ID)
	if !after.End.Equal(g.End.Add(30 * time.Minute)) {
		t.Errorf("end %s, want half an hour after %s", after.End, g.End)
	}
	w.pass(g.End.Sub(w.Now()) + time.Minute)
	_, err = w.admit("alice")
	w.is(err, nil)
	w.pass(time.Hour)
	_, err = w.admit("alice")
	w.is(err, approval.ErrNoGrant)
	_, err = w.svc.File(w.ctx, w.as("alice"), approval.Ask{Extends: g.ID, Reason: "again"})
	w.is(err, approval.ErrEnded)
	if n := len(w.events(audit.GrantExtended)); n != 1 {
		t.Errorf("%d events of an extension", n)
	}
}

// A rule that asks less, and allows less, must not lengthen what another one
// allowed: else a grant that two people said yes to would live on by itself.
func TestExtensionIsByTheGrantsOwnRule(t *testing.T) {
	quick, long, urgent := plain(), plain(), plain()
	quick.Name, quick.Approve, quick.Auto, quick.MaxDuration = "quick", nil, true, policy.Duration(15*time.Minute)
	long.Name = "long"
	urgent.MaxDuration = policy.Duration(time.Hour)
	urgent.Name, urgent.Approve, urgent.BreakGlass = "urgent", nil, &policy.BreakGlass{Notify: []string{"leads"}, Reviews: []string{"leads"}}
	w := newWorld(t, quick, long, urgent)
	g := w.activate("alice", w.granted(approval.Ask{Duration: time.Hour}).ID)
	if g.Rule.Name != "long" {
		t.Fatalf("granted by %s", g.Rule.Name)
	}
	if p, err := w.svc.Preview(w.ctx, w.as("alice"), approval.Ask{Extends: g.ID, Duration: 10 * time.Minute}); err != nil || p.Rule.Name != "long" || p.SentTo != "leads" {
		t.Errorf("previewed as %s to %q, %v", p.Rule.Name, p.SentTo, err)
	}
	r := w.ask("alice", approval.Ask{Extends: g.ID, Duration: 10 * time.Minute})
	if r.State != approval.Pending || r.Rule != "long" || !w.grant(g.ID).End.Equal(g.End) {
		t.Errorf("the extension is %s by rule %s", r.State, r.Rule)
	}
	if _, err := w.approve("bob", r); err != nil {
		t.Fatal(err)
	}
	if got := w.grant(g.ID); !got.End.Equal(g.End.Add(10 * time.Minute)) {
		t.Errorf("ends %s", got.End)
	}

	e := w.ask("alice", approval.Ask{BreakGlass: true, Duration: 30 * time.Minute})
	w.activate("alice", e.GrantID)
	_, err := w.svc.File(w.ctx, w.as("alice"), approval.Ask{Extends: e.GrantID, Duration: time.Minute, Reason: "still burning"})
	w.is(err, approval.ErrInvalid)

	w.reload(quick, urgent)
	_, err = w.svc.File(w.ctx, w.as("alice"), approval.Ask{Extends: g.ID, Duration: time.Minute, Reason: "more"})
	w.is(err, approval.ErrForbidden)
	if err == nil || !strings.Contains(err.Error(), "cannot be extended") {
		t.Errorf("told %v", err)
	}
}

func TestAutoApprovalNamesItsRule(t *testing.T) {
	auto := plain()
	auto.Name, auto.Approve, auto.Auto, auto.MaxDuration = "quick", nil, true, policy.Duration(15*time.Minute)
	w := newWorld(t, auto, plain())
	r := w.ask("alice", approval.Ask{Duration: 10 * time.Minute})
	if r.State != approval.Approved || r.GrantID == "" {
		t.Fatalf("not approved by the rule: %+v", r)
	}
	if e := w.events(audit.RequestApproved); len(e) != 1 || e[0].Detail["rule"] != "quick" || e[0].Detail["auto"] != "true" || e[0].Actor.Name != "gateway" {
		t.Errorf("event: %+v", e)
	}
	_, err := w.admit("alice") // the code is still needed
	w.is(err, approval.ErrNotActivated)
	if r := w.ask("alice", approval.Ask{Duration: time.Hour}); r.State != approval.Pending || r.Rule != "web" {
		t.Errorf("longer than the automatic rule allows: %s under %s", r.State, r.Rule)
	}
}

func TestBreakGlass(t *testing.T) {
	urgent := policy.Rule{Name: "emergency", Groups: []string{"sre"}, Targets: []string{"*"}, MaxDuration: policy.Duration(time.Hour),
		BreakGlass: &policy.BreakGlass{Notify: []string{"leads"}, Reviews: []string{"leads"}}}
	w := newWorld(t, urgent, plain())
	r := w.ask("alice", approval.Ask{})
	if r.Rule != "web" {
		t.Fatalf("a plain request fell under %s", r.Rule)
	}
	r = w.ask("alice", approval.Ask{Targets: []string{"vault"}, BreakGlass: true, Reason: "everything burns"})
	if r.State != approval.Approved || r.Rule != "emergency" {
		t.Fatalf("emergency: %+v", r)
	}
	if e := w.events(audit.RequestApproved); len(e) != 1 || e[0].Detail["notify"] != "leads" || e[0].Detail["break_glass"] != "true" {
		t.Errorf("not loud: %+v", e)
	}
	// Everybody named is told of each, and a key alone declares them: one at a time waits for its code.
	_, err := w.svc.File(w.ctx, w.as("alice"), approval.Ask{Targets: []string{"web01"}, Login: "deploy", BreakGlass: true, Reason: "and more"})
	w.is(err, approval.ErrInvalid)
	on := func(in *approval.AdmitInput) { in.Target = "vault" }
	_, err = w.admit("alice", on) // key and factor are still needed
	w.is(err, approval.ErrNotActivated)
	g := w.activate("alice", r.GrantID)
	adm, err := w.admit("alice", on)
	w.is(err, nil)
	if !adm.Rule().Recording.Strict || !adm.Rule().Recording.Input {
		t.Error("an emergency is not recorded strictly")
	}
	_, err = w.svc.Review(w.ctx, w.as("bob"), g.ID, "too early", w.proof("bob"))
	w.is(err, approval.ErrInvalid)
	_, err = w.svc.Release(w.ctx, w.as("alice"), g.ID)
	w.is(err, nil)
	if open, err := w.svc.OpenReviews(w.ctx, w.as("bob")); err != nil || len(open) != 1 {
		t.Errorf("open reviews: %d, %v", len(open), err)
	}
	// By the groups of the rule as it is now, too: those of then may be empty.
	if open, err := w.svc.OpenReviews(w.ctx, w.as("frank")); err != nil || len(open) != 1 {
		t.Errorf("open reviews of frank: %d, %v", len(open), err)
	}
	moved := urgent
	moved.BreakGlass = &policy.BreakGlass{Notify: []string{"leads"}, Reviews: []string{"auditors"}}
	w.reload(moved, plain())
	w.change("carol", func(u *identity.User) { u.Owner = "Ualice" })
	if _, err := w.svc.Review(w.ctx, w.as("carol"), g.ID, "fine", w.proof("carol")); !errors.Is(err, approval.ErrOwnRequest) {
		t.Errorf("reviewed under an account of her own: %v", err)
	}
	w.change("carol", func(u *identity.User) { u.Owner = "" })
	_, err = w.svc.Review(w.ctx, w.as("mallory"), g.ID, "fine", w.proof("mallory"))
	if err == nil {
		t.Error("mallory reviewed it")
	}
	_, err = w.svc.Review(w.ctx, w.as("alice"), g.ID, "fine", w.proof("alice"))
	w.is(err, approval.ErrOwnRequest)
	_, err = w.svc.Review(w.ctx, w.as("bob"), g.ID, "fine", mfa.Proof{})
	w.is(err, approval.ErrProofNeeded)
	got, err := w.svc.Review(w.ctx, w.as("bob"), g.ID, "read the recording: fine", w.proof("bob"))
	w.is(err, nil)
	if got.ReviewedBy != "Ubob" || got.ReviewNote == "" {
		t.Errorf("reviewed: %+v", got)
	}
	if open, err := w.svc.OpenReviews(w.ctx, w.as("bob")); err != nil || len(open) != 0 {
		t.Errorf("open reviews: %d, %v", len(open), err)
	}
}
