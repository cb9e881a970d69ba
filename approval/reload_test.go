package approval_test

import (
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// What happens to a live grant, and to a pending request, when the rules change.
func TestStricterOfApprovedAndCurrentRule(t *testing.T) {
	hours := func(from, to string) *policy.Hours { return &policy.Hours{From: from, To: to} }
	for what, c := range map[string]struct {
		rules  []policy.Rule
		admit  error
		answer error // to the approval of a request that was pending
		check  func(*testing.T, *world, approval.Admission)
	}{
		"unchanged": {rules: []policy.Rule{plain()}},
		"gone":      {rules: []policy.Rule{{Name: "else", Users: []string{"*"}, Auto: true}}, admit: approval.ErrNoGrant, answer: store.ErrNotFound},
		"denied": {rules: []policy.Rule{plain(), {Name: "no", Effect: policy.Deny, Users: []string{"alice"}}},
			admit: approval.ErrForbidden, answer: approval.ErrForbidden},
		"for others": {rules: []policy.Rule{with(func(r *policy.Rule) { r.Groups = []string{"dba"} })},
			admit: approval.ErrForbidden, answer: approval.ErrForbidden},
		"not this login": {rules: []policy.Rule{with(func(r *policy.Rule) { r.Logins = []string{"admin"} })},
			admit: approval.ErrForbidden, answer: approval.ErrForbidden},
		"closed now": {rules: []policy.Rule{with(func(r *policy.Rule) { r.Hours = hours("13:00", "14:00") })}, admit: approval.ErrForbidden, answer: approval.ErrForbidden},
		"when":       {rules: []policy.Rule{with(func(r *policy.Rule) { r.When = `user.name != "alice"` })}, admit: approval.ErrForbidden, answer: approval.ErrForbidden},
		"needs a ticket": {rules: []policy.Rule{with(func(r *policy.Rule) { r.Ticket = `INC-\d+` })},
			admit: approval.ErrForbidden, answer: approval.ErrForbidden},
		"other factor": {rules: []policy.Rule{with(func(r *policy.Rule) { r.Factor.Kinds = []string{"passkey"} })}, admit: approval.ErrNoGrant},
		"shorter": {rules: []policy.Rule{with(func(r *policy.Rule) { r.MaxDuration = policy.Duration(time.Hour) })}, answer: approval.ErrForbidden,
			check: func(t *testing.T, w *world, a approval.Admission) {
				if got := a.End().Sub(a.Grant().Start); got != time.Hour {
					t.Errorf("admitted for %s, want the hour that the rule allows now", got)
				}
			}},
		"much shorter": {rules: []policy.Rule{with(func(r *policy.Rule) { r.MaxDuration = policy.Duration(time.Minute) })}, answer: approval.ErrForbidden, admit: approval.ErrNoGrant},
		"stricter": {rules: []policy.Rule{with(func(r *policy.Rule) {
			r.Recording.Strict = true
			r.Channels = &policy.Channels{Shell: true}
		})}, check: func(t *testing.T, w *world, a approval.Admission) {
			if !a.Rule().Recording.Strict || a.Rule().SSH().Exec {
				t.Errorf("not the stricter rule: %+v", a.Rule())
			}
		}},
		"wider": {rules: []policy.Rule{with(func(r *policy.Rule) {
			c := policy.DefaultChannels()
			c.Agent = true
			r.Channels = &c
		})}, check: func(t *testing.T, w *world, a approval.Admission) {
			if a.Rule().SSH().Agent {
				t.Error("a live grant became wider")
			}
		}},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			g := w.activate("alice", w.granted(approval.Ask{Duration: 2 * time.Hour}).ID)
			pending := w.ask("alice", approval.Ask{Duration: 2 * time.Hour})
			w.pass(2 * time.Minute)
			w.reload(c.rules...)
			adm, err := w.admit("alice")
			w.is(err, c.admit)
			if err == nil && c.check != nil {
				c.check(t, w, adm)
			}
			_, err = w.approve("bob", pending)
			w.is(err, c.answer)
			if got := w.grant(g.ID); got.State != approval.Active || !got.End.Equal(g.End) {
				t.Error("the reload itself changed the grant")
			}
			refused, err := w.svc.Refused(w.ctx, w.rules.Load())
			w.is(err, nil)
			lists := false
			for _, r := range refused {
				lists = lists || r.Grant.ID == g.ID && r.Text != ""
			}
			if what == "denied" && !lists || what == "unchanged" && lists {
				t.Errorf("listed as refused: %v", refused)
			}
		})
	}
}

func with(f func(*policy.Rule)) policy.Rule {
	r := plain()
	f(&r)
	return r
}

func TestWindowEndsWithTheHours(t *testing.T) {
	w := newWorld(t, with(func(r *policy.Rule) { r.Hours = &policy.Hours{From: "08:00", To: "13:00", Zone: "UTC"} }))
	g := w.activate("alice", w.granted(approval.Ask{Duration: 8 * time.Hour}).ID)
	if want := noon.Add(time.Hour); !g.End.Equal(want) {
		t.Errorf("ends %s, want when the hours do, %s", g.End, want)
	}
	r := w.ask("alice", approval.Ask{Extends: g.ID, Duration: time.Hour})
	if _, err := w.approve("bob", r); err == nil {
		t.Error("extended beyond the hours")
	}
}

// A freeze ends what is open, as the hours of the rule itself would.
func TestWindowEndsWhenARuleBeginsToDeny(t *testing.T) {
	freeze := policy.Rule{Name: "freeze", Effect: policy.Deny, Users: []string{"*"}, Targets: []string{"web01"}, Hours: &policy.Hours{From: "14:00", To: "18:00", Zone: "UTC"}}
	w := newWorld(t, plain(), freeze)
	g := w.activate("alice", w.granted(approval.Ask{Duration: 8 * time.Hour}).ID)
	if want := noon.Add(2 * time.Hour); !g.End.Equal(want) {
		t.Errorf("ends %s, want when the freeze begins, %s", g.End, want)
	}
	r := w.ask("alice", approval.Ask{Extends: g.ID, Duration: time.Hour})
	if _, err := w.approve("bob", r); err == nil {
		t.Error("extended into the freeze")
	}
	other := w.activate("alice", w.granted(approval.Ask{Targets: []string{"web02"}, Duration: 4 * time.Hour}).ID)
	if want := other.Start.Add(4 * time.Hour); !other.End.Equal(want) {
		t.Errorf("ends %s, and the freeze is not for it", other.End)
	}
}

func TestWindowEndsWithTheAccount(t *testing.T) {
	w := newWorld(t)
	last := noon.Add(40 * time.Minute)
	w.change("alice", func(u *identity.User) { u.ValidUntil = last })
	g := w.activate("alice", w.granted(approval.Ask{Duration: 8 * time.Hour}).ID)
	if !g.End.Equal(last) {
		t.Errorf("ends %s, want %s", g.End, last)
	}
}
