package approval_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/inventory"
)

// A target that leaves the inventory takes its grants along; a grant over
// several goes on while one of them is there.
func TestVanishedTargetEndsItsGrants(t *testing.T) {
	vanish := func(w *world, names ...string) {
		w.Helper()
		left := slices.DeleteFunc(targets(), func(t inventory.Target) bool { return slices.Contains(names, t.Name) })
		if err := w.inv.Swap(left); err != nil {
			w.Fatal(err)
		}
		for _, n := range names {
			if _, err := w.db.Append(w.ctx, audit.Event{Type: audit.TargetRemoved, Outcome: audit.Success, Actor: audit.Gateway, Target: n}); err != nil {
				w.Fatal(err)
			}
		}
		if w.bubble {
			synctest.Wait()
		}
	}
	inBubble(t, func(w *world) {
		one := w.activate("alice", w.granted(approval.Ask{}).ID)
		waiting := w.granted(approval.Ask{})
		both := w.activate("alice", w.granted(approval.Ask{Selector: map[string]string{"role": "web"}}).ID)
		other := w.activate("alice", w.granted(approval.Ask{Targets: []string{"web02"}}).ID)
		vanish(w, "web01")
		for _, g := range []approval.Grant{one, waiting} {
			if got := w.grant(g.ID); got.State != approval.Ended || got.Cause != approval.CauseVanished {
				t.Errorf("grant %s is %s by %q", g.ID, got.State, got.Cause)
			}
		}
		if got := w.grant(both.ID); got.State != approval.Active {
			t.Errorf("a grant over two targets ended with the first: %s", got.Cause)
		}
		_, err := w.admit("alice", func(in *approval.AdmitInput) { in.Target = "web02" })
		w.is(err, nil)
		vanish(w, "web01", "web02")
		for _, g := range []approval.Grant{both, other} {
			if got := w.grant(g.ID); got.State != approval.Ended || got.Cause != approval.CauseVanished {
				t.Errorf("grant %s is %s by %q", g.ID, got.State, got.Cause)
			}
		}
	})
	// What vanished while no gateway ran is found at the start.
	synctest.Test(t, func(t *testing.T) {
		w := makeWorld(t, true)
		g := w.activate("alice", w.granted(approval.Ask{}).ID)
		if err := w.inv.Swap(targets()[1:]); err != nil {
			t.Fatal(err)
		}
		w.run(func(w *world) {
			synctest.Wait()
			if got := w.grant(g.ID); got.State != approval.Ended || got.Cause != approval.CauseVanished {
				t.Errorf("after a restart the grant is %s by %q", got.State, got.Cause)
			}
		})
	})
	// A target that is removed in one place and there from another stays.
	inBubble(t, func(w *world) {
		g := w.activate("alice", w.granted(approval.Ask{}).ID)
		if _, err := w.db.Append(w.ctx, audit.Event{Type: audit.TargetRemoved, Outcome: audit.Success, Actor: audit.Gateway, Target: "web01"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := w.grant(g.ID); got.State != approval.Active {
			t.Errorf("the grant ended by %q", got.Cause)
		}
	})
}
