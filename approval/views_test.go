package approval_test

import (
	"strings"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/approval/risk"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

func TestWhoSeesWhat(t *testing.T) {
	w := newWorld(t)
	r := w.ask("alice", approval.Ask{})
	g := w.granted(approval.Ask{})
	local := approval.Caller{LocalAdmin: true, Via: "admin.sock"}
	for _, c := range []struct {
		name     string
		caller   approval.Caller
		requests int
		grants   int
		pending  int
	}{
		{"alice", w.as("alice"), 2, 1, 0}, {"bob", w.as("bob"), 2, 1, 1}, {"dave", w.as("dave"), 2, 1, 1}, {"carol", w.as("carol"), 2, 1, 0},
		{"erin", w.as("erin"), 2, 1, 0}, {"mallory", w.as("mallory"), 0, 0, 0}, {"local administrator", local, 2, 1, -1},
	} {
		rs, err := w.svc.Requests(w.ctx, c.caller, approval.RequestFilter{})
		w.is(err, nil)
		gs, err := w.svc.Grants(w.ctx, c.caller, approval.GrantFilter{})
		w.is(err, nil)
		ps, err := w.svc.Pending(w.ctx, c.caller)
		if c.pending < 0 {
			w.is(err, approval.ErrForbidden)
		} else {
			w.is(err, nil)
		}
		if len(rs) != c.requests || len(gs) != c.grants || len(ps) != max(c.pending, 0) {
			t.Errorf("%s sees %d requests, %d grants, %d to answer", c.name, len(rs), len(gs), len(ps))
		}
		_, err = w.svc.Request(w.ctx, c.caller, r.ID)
		_, err2 := w.svc.Grant(w.ctx, c.caller, g.ID)
		if (err == nil) != (c.requests > 0) || (err2 == nil) != (c.grants > 0) {
			t.Errorf("%s: request %v, grant %v", c.name, err, err2)
		}
	}
	_, unknown := w.svc.Request(w.ctx, w.as("mallory"), "R404")
	_, hidden := w.svc.Request(w.ctx, w.as("mallory"), r.ID)
	if strings.ReplaceAll(unknown.Error(), "R404", r.ID) != hidden.Error() {
		t.Errorf("%q for an unknown request, %q for another's", unknown, hidden)
	}
	if rs, err := w.svc.Requests(w.ctx, w.as("bob"), approval.RequestFilter{Limit: 1}); err != nil || len(rs) != 1 {
		t.Errorf("%d requests, %v", len(rs), err)
	}
	vs, err := w.svc.Targets(w.ctx, w.as("alice"))
	w.is(err, nil)
	if len(vs) != 2 || vs[0].Target.Name != "web01" || len(vs[0].Grants) != 1 || len(vs[0].Requests) != 1 || vs[0].Rule != "web" || strings.Join(vs[0].Logins, " ") != "deploy admin" || len(vs[1].Grants) != 0 {
		t.Errorf("targets: %+v", vs)
	}
}

func TestLoginIsAskedFor(t *testing.T) {
	w := newWorld(t)
	_, err := w.svc.File(w.ctx, w.as("alice"), approval.Ask{Targets: []string{"web01"}, Reason: "x"})
	choose, ok := err.(*approval.ChooseLogin)
	if !ok || strings.Join(choose.Logins, " ") != "deploy admin" {
		t.Errorf("%v", err)
	}
	_, err = w.svc.File(w.ctx, w.as("alice"), approval.Ask{Targets: []string{"web01"}, Login: "root", Reason: "x"})
	w.is(err, approval.ErrForbidden)
	w.reload(with(func(r *policy.Rule) { r.Logins = []string{"dep*"} }))
	r, err := w.svc.File(w.ctx, w.as("alice"), approval.Ask{Targets: []string{"web01"}, Reason: "x"})
	w.is(err, nil)
	if r.Login != "deploy" {
		t.Errorf("login %q", r.Login)
	}
}

func TestInvalidAsks(t *testing.T) {
	w := newWorld(t)
	for what, a := range map[string]approval.Ask{
		"no reason": {Reason: " \t\u200b\n"}, "a long reason": {Reason: strings.Repeat("x", 1001)}, "no UTF-8": {Reason: "a\xff"},
		"a long ticket": {Reason: "x", Ticket: strings.Repeat("x", 101)}, "a negative duration": {Reason: "x", Duration: -time.Minute},
		"an instant": {Reason: "x", Duration: time.Millisecond}, "names and labels": {Reason: "x", Selector: map[string]string{"role": "web"}},
	} {
		a.Targets, a.Login = []string{"web01"}, "deploy"
		if _, err := w.svc.File(w.ctx, w.as("alice"), a); err == nil {
			t.Errorf("%s was filed", what)
		}
	}
	_, err := w.svc.File(w.ctx, w.as("alice"), approval.Ask{Targets: []string{"web01"}, Login: "deploy", Reason: "x", BreakGlass: true, StartAt: w.Now().Add(time.Hour)})
	w.is(err, approval.ErrInvalid)
	for range 30 {
		w.ask("alice", approval.Ask{})
	}
	_, err = w.svc.File(w.ctx, w.as("alice"), approval.Ask{Targets: []string{"web01"}, Login: "deploy", Reason: "x"})
	w.is(err, approval.ErrInvalid)
}

// A request that nobody could approve is refused when it is filed.
func TestNobodyToApprove(t *testing.T) {
	w := newWorld(t, with(func(r *policy.Rule) { r.Approve[0].Count = 3 }))
	w.ask("alice", approval.Ask{}) // bob, dave, frank
	_, err := w.svc.File(w.ctx, w.as("frank"), approval.Ask{Targets: []string{"web01"}, Login: "deploy", Reason: "x"})
	w.is(err, approval.ErrForbidden)
	if err == nil || !strings.Contains(err.Error(), "wants 3 of leads") {
		t.Errorf("%v", err)
	}
	if e := w.events(audit.RequestRefused); len(e) != 1 || e[0].Outcome != audit.Denied || e[0].Actor.Name != "frank" {
		t.Errorf("%+v", e)
	}
}

func TestFindingsAreShownAndAcknowledged(t *testing.T) {
	w := newWorld(t)
	r := w.ask("alice", approval.Ask{})
	if len(r.Risk) != 1 || r.Risk[0].Code != risk.FirstTarget {
		t.Fatalf("findings: %+v", r.Risk)
	}
	if e := w.events(audit.FindingRaised); len(e) != 1 || e[0].Request != r.ID || e[0].Detail["code"] != "first_target" {
		t.Errorf("%+v", e)
	}
	fs, err := w.db.Findings(w.ctx, store.FindingFilter{Open: true})
	w.is(err, nil)
	if len(fs) != 1 || fs[0].UserID != "Ualice" || fs[0].Target != "web01" {
		t.Fatalf("%+v", fs)
	}
	w.is(w.svc.Acknowledge(w.ctx, w.as("alice"), fs[0].ID, "it's me"), approval.ErrOwnRequest)
	w.is(w.svc.Acknowledge(w.ctx, w.as("mallory"), fs[0].ID, "x"), store.ErrNotFound)
	w.is(w.svc.Acknowledge(w.ctx, w.as("bob"), fs[0].ID, "new in the team"), nil)
	w.is(w.svc.Acknowledge(w.ctx, w.as("carol"), fs[0].ID, "again"), approval.ErrNotPending)
	if e := w.events(audit.FindingAcked); len(e) != 1 || e[0].Actor.Name != "bob" || e[0].Reason != "new in the team" {
		t.Errorf("%+v", e)
	}
	// A rule may refuse what is unusual.
	w.reload(with(func(r *policy.Rule) { r.When = `!("after_denial" in risk)` }))
	_, err = w.svc.Deny(w.ctx, w.as("bob"), r.ID, "no", mfa.Proof{})
	w.is(err, nil)
	_, err = w.svc.File(w.ctx, w.as("alice"), approval.Ask{Targets: []string{"web01"}, Login: "deploy", Reason: "again"})
	w.is(err, approval.ErrForbidden)
}

func TestRubberStampingIsNoticed(t *testing.T) {
	w := newWorld(t)
	p := w.proof("bob") // one code for many, as `approve R1 R2 R3`
	for range 6 {
		r := w.ask("alice", approval.Ask{})
		if _, err := w.svc.Approve(w.ctx, w.as("bob"), r.ID, approval.ApproveOptions{Digest: r.Digest()}, p); err != nil {
			t.Fatal(err)
		}
	}
	fs, err := w.db.Findings(w.ctx, store.FindingFilter{Code: string(risk.RubberStamp)})
	w.is(err, nil)
	if len(fs) != 1 || fs[0].UserID != "Ubob" {
		t.Errorf("%+v", fs)
	}
}
