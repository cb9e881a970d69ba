package approval_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store"
)

// codeTime is how long a person takes for a code: see world.proof.
const codeTime = 30 * time.Second

// Fields of a rule that decide not whether one may ask, but what becomes of
// it: both sides of each bound, played through the service.
func TestBoundsOfARule(t *testing.T) {
	w := newWorld(t)
	type play struct {
		name string
		rule func(*policy.Rule)
		do   func(w *world) error
		want error
	}
	instant := time.Millisecond
	minutes := func(n int) policy.Duration { return policy.Duration(time.Duration(n) * time.Minute) }
	// waits asks, lets time pass, and answers as somebody.
	waits := func(d time.Duration, who string) func(w *world) error {
		return func(w *world) error {
			r := w.ask("alice", approval.Ask{})
			w.pass(max(0, d-codeTime))
			_, err := w.approve(who, r)
			return err
		}
	}
	// late asks, has it approved, and gives the code late.
	late := func(d time.Duration) func(w *world) error {
		return func(w *world) error {
			g := w.granted(approval.Ask{})
			w.pass(max(0, d-codeTime))
			_, err := w.svc.Activate(w.ctx, w.as("alice"), g.ID, w.proof("alice"))
			return err
		}
	}
	// opened is admitted after a while, from a place.
	opened := func(d time.Duration, source string) func(w *world) error {
		return func(w *world) error {
			g := w.activate("alice", w.granted(approval.Ask{Duration: time.Hour}).ID)
			w.pass(d)
			_, err := w.admit("alice", func(in *approval.AdmitInput) { in.Source, in.GrantID = source, g.ID })
			return err
		}
	}
	asked := func(want time.Duration) func(w *world) error {
		return func(w *world) error {
			if r := w.ask("alice", approval.Ask{}); r.Duration != want {
				w.Errorf("asked for %v by default, want %v", r.Duration, want)
			}
			return nil
		}
	}
	votes := func(met bool, who ...string) func(w *world) error {
		return func(w *world) error {
			r := w.ask("alice", approval.Ask{})
			for _, n := range who {
				var err error
				if r, err = w.approve(n, r); err != nil {
					return err
				}
			}
			if (r.State == approval.Approved) != met {
				w.Errorf("after the votes of %v: %s", who, r.State)
			}
			return nil
		}
	}
	quorum := func(qs ...policy.Quorum) func(*policy.Rule) { return func(r *policy.Rule) { r.Approve = qs } }
	leads, auditors := policy.Quorum{Groups: []string{"leads"}}, policy.Quorum{Groups: []string{"auditors"}}
	w.person("olga", "web-owners")
	w.person("omar", "web2-owners")

	plays := []play{
		{"request_lifetime: default, at the last moment", nil, waits(24*time.Hour-instant, "bob"), nil},
		{"request_lifetime: default, over", nil, waits(24*time.Hour, "bob"), approval.ErrNotPending},
		{"request_lifetime: said", func(r *policy.Rule) { r.RequestLifetime = minutes(10) }, waits(10*time.Minute-instant, "bob"), nil},
		{"request_lifetime: said, over", func(r *policy.Rule) { r.RequestLifetime = minutes(10) }, waits(10*time.Minute, "bob"), approval.ErrNotPending},
		{"activate_within: default, at the last moment", nil, late(8*time.Hour - instant), nil},
		{"activate_within: default, over", nil, late(8 * time.Hour), approval.ErrEnded},
		{"activate_within: said", func(r *policy.Rule) { r.ActivateWithin = minutes(5) }, late(5*time.Minute - instant), nil},
		{"activate_within: said, over", func(r *policy.Rule) { r.ActivateWithin = minutes(5) }, late(5 * time.Minute), approval.ErrEnded},
		{"default_duration: half an hour", nil, asked(30 * time.Minute), nil},
		{"default_duration: not longer than the longest", func(r *policy.Rule) { r.MaxDuration = minutes(20) }, asked(20 * time.Minute), nil},
		{"default_duration: said", func(r *policy.Rule) { r.DefaultDuration = minutes(45) }, asked(45 * time.Minute), nil},
		{"escalate: not yet", escalating, waits(15*time.Minute-instant, "carol"), approval.ErrForbidden},
		{"escalate: now", escalating, waits(15*time.Minute, "carol"), nil},
		{"escalate: the first group may still", escalating, waits(time.Hour, "bob"), nil},
		{"escalate: nobody else", escalating, waits(time.Hour, "mallory"), store.ErrNotFound},
		{"factor.max_age: at the last moment", func(r *policy.Rule) { r.Factor.MaxAge = minutes(10) }, opened(10*time.Minute, home), nil},
		{"factor.max_age: over", func(r *policy.Rule) { r.Factor.MaxAge = minutes(10) }, opened(10*time.Minute+instant, home), approval.ErrCodeNeeded},
		{"factor.per: session, at once", func(r *policy.Rule) { r.Factor.Per = "session" }, opened(5*time.Minute, home), nil},
		{"factor.per: session, too late", func(r *policy.Rule) { r.Factor.Per = "session" }, opened(5*time.Minute+instant, home), approval.ErrCodeNeeded},
		{"factor.shared_sources: first address of the network", shared, opened(0, "192.0.2.0"), nil},
		{"factor.shared_sources: last", shared, opened(0, "192.0.2.127"), nil},
		{"factor.shared_sources: the next", shared, opened(0, "192.0.2.128"), approval.ErrCodeNeeded},
		{"factor.kinds: another", func(r *policy.Rule) { r.Factor.Kinds = []string{"passkey"} }, late(0), approval.ErrProofNeeded},
		{"factor.kinds: one of several", func(r *policy.Rule) { r.Factor.Kinds = []string{"passkey", "totp"} }, late(0), nil},
		{"factor.approve_kinds: another", func(r *policy.Rule) { r.Factor.ApproveKinds = []string{"passkey"} }, waits(0, "bob"), approval.ErrProofNeeded},
		{"factor.approve_kinds: one of several", func(r *policy.Rule) { r.Factor.ApproveKinds = []string{"passkey", "totp"} }, waits(0, "bob"), nil},
		{"the window: at its last moment", nil, opened(time.Hour-instant, home), nil},
		{"the window: over", nil, opened(time.Hour, home), approval.ErrNoGrant},
		{"approve: one of a group", quorum(leads), votes(true, "bob"), nil},
		{"approve: one of two", quorum(policy.Quorum{Groups: []string{"leads"}, Count: 2}), votes(false, "bob"), nil},
		{"approve: two of two", quorum(policy.Quorum{Groups: []string{"leads"}, Count: 2}), votes(true, "bob", "dave"), nil},
		{"approve: AND, the first alone", quorum(leads, auditors), votes(false, "bob"), nil},
		{"approve: AND, the second alone", quorum(leads, auditors), votes(false, "carol"), nil},
		{"approve: AND, both", quorum(leads, auditors), votes(true, "carol", "bob"), nil},
		{"approve: AND, two of the same", quorum(leads, auditors), votes(false, "bob", "dave"), nil},
		{"approve: OR, the one", quorum(policy.Quorum{Groups: []string{"leads", "auditors"}}), votes(true, "bob"), nil},
		{"approve: OR, the other", quorum(policy.Quorum{Groups: []string{"leads", "auditors"}}), votes(true, "carol"), nil},
		{"approve: a user by name", quorum(policy.Quorum{Users: []string{"erin"}}), votes(true, "erin"), nil},
		{"approve: another user", quorum(policy.Quorum{Users: []string{"erin"}}), votes(true, "bob"), store.ErrNotFound},
		{"approve: owners", quorum(policy.Quorum{Owners: true}), votes(true, "olga"), nil},
		{"approve: owners of another target", quorum(policy.Quorum{Owners: true}), votes(true, "omar"), store.ErrNotFound},
		{"approve: owners AND a lead", quorum(policy.Quorum{Owners: true}, leads), votes(false, "olga"), nil},
		{"approve: owners AND a lead, both", quorum(policy.Quorum{Owners: true}, leads), votes(true, "olga", "bob"), nil},
		{"session.ends_with_last: while one is open", func(r *policy.Rule) { r.Session.EndsWithLast = true }, endsWithLast, nil},
	}
	for _, p := range plays {
		rule := plain()
		if p.rule != nil {
			p.rule(&rule)
		}
		w.reload(rule)
		if err := p.do(w); !errors.Is(err, p.want) {
			t.Errorf("%s: got %v, want %v", p.name, err, p.want)
		}
		w.clear()
	}
	t.Logf("%d plays", len(plays))
}

func escalating(r *policy.Rule) {
	r.Escalate = &policy.Escalation{After: policy.Duration(15 * time.Minute), Groups: []string{"auditors"}}
}

func shared(r *policy.Rule) {
	r.Factor.SourcesShared = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/25")}
}

// endsWithLast: the grant says so itself, whatever the requester asked for.
func endsWithLast(w *world) error {
	g := w.granted(approval.Ask{})
	if !g.EndsWithLast {
		w.Error("the rule says that the grant ends with its last session, and the grant does not")
	}
	return nil
}

// clear takes away what a play left, so that the next one begins anew.
func (w *world) clear() {
	w.Helper()
	rs, err := w.db.ListRequests(w.ctx, approval.RequestFilter{State: approval.Pending})
	w.is(err, nil)
	for _, r := range rs {
		if w.Now().Before(r.ExpiresAt) {
			_, err := w.svc.Withdraw(w.ctx, w.as(r.User), r.ID)
			w.is(err, nil)
		}
	}
	gs, err := w.db.ListGrants(w.ctx, approval.GrantFilter{States: []approval.GrantState{approval.Waiting, approval.Active}})
	w.is(err, nil)
	for _, g := range gs {
		_, err := w.svc.Release(w.ctx, w.as(g.User), g.ID)
		w.is(err, nil)
	}
	w.pass(time.Minute)
}

// A request over targets of two owners needs both: nobody decides for what is
// not theirs.
func TestOwnersOfEveryTarget(t *testing.T) {
	rule := plain()
	rule.Approve = []policy.Quorum{{Owners: true}}
	w := newWorld(t, rule)
	w.person("olga", "web-owners")
	w.person("omar", "web2-owners")
	r := w.ask("alice", approval.Ask{Targets: []string{"web01", "web02"}})
	r, err := w.approve("olga", r)
	w.is(err, nil)
	if r.State != approval.Pending {
		t.Fatalf("one owner decided for both: %s", r.State)
	}
	r, err = w.approve("omar", r)
	w.is(err, nil)
	if r.State != approval.Approved {
		t.Errorf("both owners approved: %s", r.State)
	}
	if _, ok := w.inv.Target("web02"); !ok || !slices.ContainsFunc(targets(), func(x inventory.Target) bool { return slices.Contains(x.Owners, "web2-owners") }) {
		t.Error("the targets have no owners: the test looks at nothing")
	}
}
