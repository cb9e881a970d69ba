package approval_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
)

func TestRunExpiresAtTheInstant(t *testing.T) {
	inBubble(t, func(w *world) {
		r := w.ask("alice", approval.Ask{})
		lapsing := w.granted(approval.Ask{})
		g := w.activate("alice", w.granted(approval.Ask{Duration: 90 * time.Minute}).ID)
		time.Sleep(time.Until(g.End) - time.Millisecond)
		synctest.Wait()
		if got := w.grant(g.ID); got.State != approval.Active {
			t.Fatalf("ended early: %+v", got)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		got := w.grant(g.ID)
		if got.State != approval.Ended || got.Cause != approval.CauseExpired || !got.EndedAt.Equal(g.End) {
			t.Errorf("after its end: %s %s at %s, want expired at %s", got.State, got.Cause, got.EndedAt, g.End)
		}
		if late := w.events(audit.GrantExpired)[0].Time.Sub(g.End); late > time.Millisecond {
			t.Errorf("written down %s late", late)
		}
		time.Sleep(8 * time.Hour)
		synctest.Wait()
		if got := w.grant(lapsing.ID); got.State != approval.Ended || got.Cause != approval.CauseLapsed {
			t.Errorf("never activated: %s %s", got.State, got.Cause)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if got, _ := w.db.Request(w.ctx, r.ID); got.State != approval.Expired || got.Decision.Reason == "" {
			t.Errorf("unanswered: %+v", got)
		}
	})
}

func TestRunFollowsAnExtension(t *testing.T) {
	inBubble(t, func(w *world) {
		g := w.activate("alice", w.granted(approval.Ask{Duration: time.Hour}).ID)
		if _, err := w.approve("bob", w.ask("alice", approval.Ask{Extends: g.ID, Duration: time.Hour})); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(g.End) + time.Minute)
		synctest.Wait()
		if got := w.grant(g.ID); got.State != approval.Active {
			t.Fatalf("ended at its old end: %+v", got)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := w.grant(g.ID); got.State != approval.Ended || !got.EndedAt.Equal(g.End.Add(time.Hour)) {
			t.Errorf("%s at %s", got.State, got.EndedAt)
		}
	})
}

func TestRunEscalatesOnce(t *testing.T) {
	rule := plain()
	rule.Escalate = &policy.Escalation{After: policy.Duration(15 * time.Minute), Groups: []string{"directors"}}
	inBubble(t, func(w *world) {
		w.person("dora", "directors")
		r := w.ask("alice", approval.Ask{})
		_, err := w.approve("dora", r)
		if err == nil {
			t.Error("a director answered before the escalation")
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if e := w.events(audit.RequestEscalated); len(e) != 1 || e[0].Detail["groups"] != "directors" {
			t.Errorf("escalated: %+v", e)
		}
		_, err = w.approve("dora", r)
		w.is(err, nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		if e := w.events(audit.RequestEscalated); len(e) != 1 {
			t.Errorf("escalated %d times", len(e))
		}
	}, rule)
}

func TestRunEndsWhatADisabledUserHolds(t *testing.T) {
	inBubble(t, func(w *world) {
		g := w.activate("alice", w.granted(approval.Ask{}).ID)
		waiting := w.granted(approval.Ask{})
		r := w.ask("alice", approval.Ask{})
		w.change("alice", func(u *identity.User) { u.State = identity.Disabled })
		synctest.Wait()
		for _, id := range []string{g.ID, waiting.ID} {
			if got := w.grant(id); got.State != approval.Ended || got.Cause != approval.CauseDisabled {
				t.Errorf("%s: %s %s", id, got.State, got.Cause)
			}
		}
		if got, _ := w.db.Request(w.ctx, r.ID); got.State != approval.Withdrawn {
			t.Errorf("request is %s", got.State)
		}
	})
}

// A contractor's last day may be set while a window beyond it is open.
func TestRunEndsWhatAnEndedAccountHolds(t *testing.T) {
	inBubble(t, func(w *world) {
		g := w.activate("alice", w.granted(approval.Ask{Duration: 8 * time.Hour}).ID)
		last := time.Now().Add(time.Hour).Truncate(time.Millisecond)
		w.change("alice", func(u *identity.User) { u.ValidUntil = last })
		time.Sleep(time.Until(last) - time.Millisecond)
		synctest.Wait()
		if got := w.grant(g.ID); got.State != approval.Active {
			t.Fatalf("ended early: %+v", got)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if got := w.grant(g.ID); got.State != approval.Ended || got.Cause != approval.CauseDisabled || got.EndedAt.Sub(last) > 2*time.Millisecond {
			t.Errorf("%s %s at %s, want the end at %s", got.State, got.Cause, got.EndedAt, last)
		}
	})
}

func TestRunEndsGrantsOfALostGroup(t *testing.T) {
	inBubble(t, func(w *world) {
		g := w.activate("alice", w.granted(approval.Ask{}).ID)
		w.change("alice", func(u *identity.User) { u.Email = "alice@example.com" })
		synctest.Wait()
		if got := w.grant(g.ID); got.State != approval.Active {
			t.Fatalf("an unrelated change ended it: %+v", got)
		}
		w.change("alice", func(u *identity.User) { u.Groups = nil })
		synctest.Wait()
		if got := w.grant(g.ID); got.State != approval.Ended || got.Cause != approval.CauseRevoked {
			t.Errorf("%s %s", got.State, got.Cause)
		}
	})
}

// A group may give access through a condition, or take it through a rule that denies.
func TestRunEndsWhatAChangeOfGroupsCosts(t *testing.T) {
	given, taken := plain(), policy.Rule{Name: "quarantine", Effect: policy.Deny, Users: nil, Groups: []string{"quarantine"}}
	given.When = `"oncall" in user.groups`
	for name, c := range map[string]struct {
		groups []string
		ends   bool
	}{
		"leaves the group of a condition": {[]string{"sre"}, true}, "joins a group that is denied": {[]string{"oncall", "quarantine", "sre"}, true},
		"another group": {[]string{"oncall", "sre", "tea"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				u := w.users["alice"]
				w.change("alice", func(u *identity.User) { u.Groups = []string{"oncall", "sre"} })
				g := w.activate("alice", w.granted(approval.Ask{}).ID)
				u, err := w.db.User(w.ctx, u.ID)
				w.is(err, nil)
				e := ev(audit.UserUpdated)
				e.User, e.Detail = u.ID, map[string]string{"groups_before": strings.Join(u.Groups, ","), "groups": strings.Join(c.groups, ",")}
				u.Groups = c.groups
				w.is(w.db.UpdateUser(w.ctx, u, e), nil)
				synctest.Wait()
				if got := w.grant(g.ID); (got.State == approval.Ended) != c.ends || c.ends && got.Cause != approval.CauseRevoked {
					t.Errorf("%s %s %q", got.State, got.Cause, got.EndReason)
				}
			}, given, taken)
		})
	}
}

func TestRunEndsWithTheLastSession(t *testing.T) {
	inBubble(t, func(w *world) {
		g := w.activate("alice", w.granted(approval.Ask{EndsWithLast: true}).ID)
		ended := audit.Event{Type: audit.SessionEnded, Outcome: audit.Success, Grant: g.ID}
		w.open.Store(1)
		if _, err := w.db.Append(w.ctx, ended); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := w.grant(g.ID); got.State != approval.Active {
			t.Fatalf("ended with a session open: %+v", got)
		}
		w.open.Store(0)
		if _, err := w.db.Append(w.ctx, ended); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := w.grant(g.ID); got.State != approval.Ended || got.Cause != approval.CauseLast {
			t.Errorf("%s %s", got.State, got.Cause)
		}
	})
}

// A gateway that was down meanwhile writes down what it missed.
func TestRunCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := makeWorld(t, true)
		expired := w.activate("alice", w.granted(approval.Ask{Duration: time.Hour}).ID)
		held := w.activate("frank", func() string {
			r, err := w.approve("bob", w.ask("frank", approval.Ask{Duration: 8 * time.Hour}))
			w.is(err, nil)
			return r.GrantID
		}())
		r := w.ask("alice", approval.Ask{})
		w.change("frank", func(u *identity.User) { u.State = identity.Disabled })
		time.Sleep(2 * time.Hour)
		w.run(func(w *world) {
			synctest.Wait()
			if got := w.grant(expired.ID); got.Cause != approval.CauseExpired || !got.EndedAt.Equal(expired.End) {
				t.Errorf("%+v", got)
			}
			if got := w.grant(held.ID); got.Cause != approval.CauseDisabled {
				t.Errorf("%+v", got)
			}
			time.Sleep(22 * time.Hour)
			synctest.Wait()
			if got, _ := w.db.Request(w.ctx, r.ID); got.State != approval.Expired {
				t.Errorf("%+v", got)
			}
		})
	})
}

func TestWaitRequest(t *testing.T) {
	inBubble(t, func(w *world) {
		r := w.ask("alice", approval.Ask{})
		got := make(chan approval.Request, 1)
		go func() {
			r, err := w.svc.WaitRequest(w.ctx, w.db, r.ID)
			w.is(err, nil)
			got <- r
		}()
		synctest.Wait()
		select {
		case r := <-got:
			t.Fatalf("did not wait: %+v", r)
		default:
		}
		if _, err := w.approve("bob", r); err != nil {
			t.Fatal(err)
		}
		if r := <-got; r.State != approval.Approved {
			t.Errorf("%+v", r)
		}
		ctx, cancel := context.WithTimeout(w.ctx, 15*time.Minute)
		defer cancel()
		r, err := w.svc.WaitRequest(ctx, w.db, w.ask("alice", approval.Ask{}).ID)
		w.is(err, context.DeadlineExceeded)
		if r.State != approval.Pending {
			t.Errorf("%+v", r)
		}
	})
}
