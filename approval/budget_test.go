package approval_test

import (
	"testing"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
)

// A budget is raised by somebody who could approve the grant, with a fresh
// factor, and by nobody else.
func TestG6BudgetIsRaisedByAnApprover(t *testing.T) {
	w := newWorld(t, with(func(r *policy.Rule) { r.Budget = policy.Budget{Rows: 10} }))
	g := w.activate("alice", w.granted(approval.Ask{}).ID)
	more := policy.Budget{Rows: 100}
	for who, want := range map[string]error{"alice": approval.ErrForbidden, "mallory": approval.ErrForbidden, "carol": approval.ErrForbidden} {
		_, err := w.svc.RaiseBudget(w.ctx, w.as(who), g.ID, more, w.proof(who))
		w.is(err, want)
	}
	_, err := w.svc.RaiseBudget(w.ctx, w.as("bob"), g.ID, more, mfa.Proof{})
	w.is(err, approval.ErrProofNeeded)
	_, err = w.svc.RaiseBudget(w.ctx, w.as("bob"), g.ID, policy.Budget{Rows: -5}, w.proof("bob"))
	w.is(err, approval.ErrInvalid)
	hash := w.grant(g.ID).Hash
	for _, who := range []string{"bob", "dave"} {
		_, err = w.svc.RaiseBudget(w.ctx, w.as(who), g.ID, more, w.proof(who))
		w.is(err, nil)
	}
	got := w.grant(g.ID)
	if got.Raised.Rows != 200 || got.Digest() != hash || !got.End.Equal(g.End) {
		t.Errorf("raised to %+v; the grant's hash changed: %v", got.Raised, got.Digest() != hash)
	}
	if evs := w.events(audit.GrantBudget); len(evs) != 2 || evs[1].Detail["rows"] != "200" || evs[1].Detail["factor"] == "" {
		t.Errorf("events: %+v", evs)
	}
	if _, err := w.svc.Release(w.ctx, w.as("alice"), g.ID); err != nil {
		t.Fatal(err)
	}
	_, err = w.svc.RaiseBudget(w.ctx, w.as("bob"), g.ID, more, w.proof("bob"))
	w.is(err, approval.ErrEnded)
	w.reload(plain())
	h := w.activate("alice", w.granted(approval.Ask{}).ID)
	_, err = w.svc.RaiseBudget(w.ctx, w.as("bob"), h.ID, more, w.proof("bob"))
	w.is(err, approval.ErrInvalid)
}
