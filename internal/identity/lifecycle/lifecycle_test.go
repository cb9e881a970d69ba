package lifecycle

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store/sqlite"
)

const day = 24 * time.Hour

type world struct {
	*testing.T
	db  *sqlite.DB
	k   *Keeper
	now time.Time
	bad error // of the clock
}

func newWorld(t *testing.T, now func() time.Time, change func(*Options)) *world {
	t.Helper()
	w := &world{T: t, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	if now == nil {
		now = func() time.Time { return w.now }
	}
	var err error
	if w.db, err = sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "store.db"), sqlite.Options{Now: now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.db.Close(); err != nil {
			t.Error(err)
		}
	})
	o := Options{Users: w.db, Feed: w.db, DormantAfter: 90 * day, Warn: 7 * day, Except: []string{"emergency"}, Now: now, Clock: func(context.Context) error { return w.bad }}
	if change != nil {
		change(&o)
	}
	if w.k, err = New(o); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) user(u identity.User) {
	w.Helper()
	u.ID, u.State = "U"+u.Name, identity.Active
	if err := w.db.CreateUser(w.Context(), u, audit.Event{Type: audit.UserAdded, User: u.ID}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) sweep() time.Time {
	w.Helper()
	next, err := w.k.Sweep(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return next
}

// events of a user, newest first, without user.added.
func (w *world) events(name string) []audit.Event {
	w.Helper()
	all, err := w.db.FindEvents(w.Context(), audit.Filter{User: "U" + name, Limit: 100})
	if err != nil {
		w.Fatal(err)
	}
	return all[:len(all)-1]
}

func (w *world) get(name string) identity.User {
	w.Helper()
	u, err := w.db.User(w.Context(), "U"+name)
	if err != nil {
		w.Fatal(err)
	}
	return u
}

func TestContractorsEnd(t *testing.T) {
	w := newWorld(t, nil, nil)
	until := w.now.Add(10 * day)
	w.user(identity.User{Name: "carla", ValidUntil: until, CreatedAt: w.now})
	w.user(identity.User{Name: "alice", CreatedAt: w.now})
	if next := w.sweep(); !next.Equal(until.Add(-7*day)) || len(w.events("carla")) != 0 {
		t.Errorf("next %s, %+v", next, w.events("carla"))
	}
	w.now = until.Add(-7 * day)
	for range 3 { // announced once, at that moment
		if next := w.sweep(); !next.Equal(until) {
			t.Errorf("next %s", next)
		}
	}
	if evs := w.events("carla"); len(evs) != 1 || evs[0].Type != audit.UserExpiring || evs[0].Detail["why"] != "valid_until" || evs[0].Detail["on"] != until.Format(time.RFC3339) {
		t.Errorf("%+v", evs)
	}
	u := w.get("carla") // it is extended: that end is announced too
	u.ValidUntil = until.Add(day)
	if err := w.db.UpdateUser(t.Context(), u, audit.Event{Type: audit.UserUpdated, User: u.ID}); err != nil {
		t.Fatal(err)
	}
	w.now = until.Add(day - 1)
	w.sweep()
	if evs := w.events("carla"); len(evs) != 3 || evs[0].Type != audit.UserExpiring || w.get("carla").State != identity.Active {
		t.Errorf("%+v", evs)
	}
	w.now = until.Add(day)
	w.bad = errors.New("the clock is behind")
	if _, err := w.k.Sweep(t.Context()); err == nil || w.get("carla").State != identity.Active {
		t.Errorf("disabled by a clock that is not trusted: %v", err)
	}
	w.bad = nil
	w.sweep()
	w.sweep()
	u = w.get("carla")
	if evs := w.events("carla"); len(evs) != 4 || evs[0].Type != audit.UserDisabled || evs[0].Actor.Name != "gateway" || u.State != identity.Disabled || u.DisabledFor != identity.DisabledValidUntil {
		t.Errorf("%+v, %+v", u, evs)
	}
	if w.get("alice").State != identity.Active || len(w.events("alice")) != 0 {
		t.Error("alice has nothing to do with it")
	}
}

func TestDormantAccountsEnd(t *testing.T) {
	w := newWorld(t, nil, nil)
	w.user(identity.User{Name: "gone", CreatedAt: w.now.Add(-200 * day), LastSeen: w.now.Add(-90 * day)})
	w.user(identity.User{Name: "soon", CreatedAt: w.now.Add(-200 * day), LastSeen: w.now.Add(-84 * day)})
	w.user(identity.User{Name: "new", CreatedAt: w.now.Add(-day)})
	w.user(identity.User{Name: "back", CreatedAt: w.now.Add(-200 * day), LastSeen: w.now.Add(-100 * day), EnabledAt: w.now.Add(-day)})
	w.user(identity.User{Name: "fire", CreatedAt: w.now.Add(-200 * day), Groups: []string{"emergency"}})
	w.user(identity.User{Name: "robot", Kind: identity.Machine, CreatedAt: w.now.Add(-200 * day)})
	if next := w.sweep(); !next.Equal(w.now.Add(6 * day)) {
		t.Errorf("next %s", next)
	}
	for name, want := range map[string]audit.Type{"gone": audit.UserDisabled, "soon": audit.UserExpiring, "new": "", "back": "", "fire": "", "robot": audit.UserDisabled} {
		got := audit.Type("")
		if evs := w.events(name); len(evs) > 0 {
			got = evs[0].Type
		}
		u := w.get(name)
		if got != want || (u.State == identity.Disabled) != (want == audit.UserDisabled) || u.State == identity.Disabled && u.DisabledFor != identity.DisabledDormant {
			t.Errorf("%s: %s, %+v", name, got, u)
		}
	}
	w.now = w.now.Add(6*day - 1)
	w.sweep()
	if w.get("soon").State != identity.Active {
		t.Error("a nanosecond too early")
	}
	w.now = w.now.Add(1)
	w.sweep()
	if w.get("soon").State != identity.Disabled {
		t.Error("soon never came")
	}
	off := newWorld(t, nil, func(o *Options) { o.DormantAfter = 0 })
	off.user(identity.User{Name: "gone", CreatedAt: off.now.Add(-2000 * day)})
	if next := off.sweep(); !next.IsZero() || off.get("gone").State != identity.Active {
		t.Error("disabled although nobody asked for it")
	}
}

// TestRun: the end comes at its moment, and who is seen is noted.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now, nil)
		w.user(identity.User{Name: "carla", CreatedAt: time.Now(), ValidUntil: time.Now().Add(8 * day)})
		w.user(identity.User{Name: "alice", CreatedAt: time.Now()})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.k.Run(ctx) }()
		time.Sleep(2 * time.Hour)
		for range 3 {
			if _, err := w.db.Append(ctx, audit.Event{Type: audit.LoginPassed, Outcome: audit.Success, User: "Ualice"}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.db.Append(ctx, audit.Event{Type: audit.LoginPassed, Outcome: audit.Denied, User: "Ucarla"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if seen := w.get("alice").LastSeen; time.Since(seen) > 2*time.Second {
			t.Errorf("alice was seen %s", seen)
		}
		if seen := w.get("carla").LastSeen; !seen.IsZero() {
			t.Errorf("carla was not let in, and seen %s", seen)
		}
		time.Sleep(8*day - 2*time.Hour - 2*time.Second)
		synctest.Wait()
		if w.get("carla").State != identity.Active {
			t.Error("carla ended too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if w.get("carla").State != identity.Disabled {
			t.Error("carla has not ended")
		}
		// Somebody new is looked at without waiting for the next sweep.
		w.user(identity.User{Name: "dave", CreatedAt: time.Now(), ValidUntil: time.Now().Add(time.Second)})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if w.get("dave").State != identity.Disabled {
			t.Error("dave has not ended")
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Who leaves, leaves under all their accounts, also where one answers for another that answers for a third.
func TestOwnedAccountsEndWithTheirOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now, nil)
		for _, u := range []identity.User{{Name: "alice"}, {Name: "alice-admin", Owner: "Ualice"}, {Name: "alice-lab", Owner: "Ualice-admin"},
			{Name: "ci", Kind: identity.Machine, Owner: "Ualice"}, {Name: "bob"}, {Name: "bob-admin", Owner: "Ubob"}} {
			u.CreatedAt = time.Now()
			w.user(u)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.k.Run(ctx) }()
		synctest.Wait()
		began := time.Now()
		w.bad = errors.New("the clock is behind") // it is not asked
		u := w.get("alice")
		u.State = identity.Disabled
		if err := w.db.UpdateUser(t.Context(), u, audit.Event{Type: audit.UserDisabled, Outcome: audit.Success, User: u.ID}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, name := range []string{"alice-admin", "alice-lab", "ci"} {
			evs := w.events(name)
			if u := w.get(name); u.State != identity.Disabled || u.DisabledFor != identity.DisabledByOwner || len(evs) != 1 || evs[0].Type != audit.UserDisabled || evs[0].Detail["why"] != "owner" {
				t.Errorf("%s: %s %q, %+v", name, u.State, u.DisabledFor, evs)
			}
		}
		for _, name := range []string{"bob", "bob-admin"} {
			if w.get(name).State != identity.Active {
				t.Errorf("%s was disabled", name)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %s", took)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	// What nobody saw happen is found by the next sweep.
	w := newWorld(t, nil, nil)
	w.user(identity.User{Name: "alice", CreatedAt: w.now})
	w.user(identity.User{Name: "alice-admin", Owner: "Ualice", CreatedAt: w.now})
	u := w.get("alice")
	u.State = identity.Disabled
	if err := w.db.UpdateUser(t.Context(), u, audit.Event{Type: audit.UserDisabled, User: u.ID}); err != nil {
		t.Fatal(err)
	}
	w.sweep()
	if w.get("alice-admin").State != identity.Disabled {
		t.Error("the alternate account lives on")
	}
}

// Two ends that both come soon are announced as one: the nearer.
func TestTwoEndsAreAnnouncedOnce(t *testing.T) {
	w := newWorld(t, nil, nil)
	w.user(identity.User{Name: "carla", CreatedAt: w.now.Add(-86 * day), ValidUntil: w.now.Add(5 * day)})
	for range 4 {
		w.sweep()
	}
	if evs := w.events("carla"); len(evs) != 1 || evs[0].Detail["why"] != "dormant" {
		t.Errorf("%d events: %+v", len(evs), evs)
	}
	if err := w.db.TouchUser(t.Context(), "Ucarla", w.now); err != nil { // seen: now the other is the nearer
		t.Fatal(err)
	}
	for range 4 {
		w.sweep()
	}
	if evs := w.events("carla"); len(evs) != 2 || evs[0].Detail["why"] != "valid_until" {
		t.Errorf("%d events: %+v", len(evs), evs)
	}
}

// Who works under an alternate account is not dormant.
func TestAnAlternateKeepsItsOwnerAwake(t *testing.T) {
	w := newWorld(t, nil, nil)
	old := w.now.Add(-200 * day)
	w.user(identity.User{Name: "alice", CreatedAt: old})
	w.user(identity.User{Name: "alice-admin", Owner: "Ualice", CreatedAt: old})
	w.user(identity.User{Name: "bob", CreatedAt: old})
	w.user(identity.User{Name: "ci", Kind: identity.Machine, Owner: "Ubob", CreatedAt: old})
	for _, id := range []string{"Ualice-admin", "Uci"} {
		if err := w.db.TouchUser(t.Context(), id, w.now); err != nil {
			t.Fatal(err)
		}
	}
	w.sweep()
	for name, want := range map[string]identity.State{"alice": identity.Active, "alice-admin": identity.Active, "bob": identity.Disabled} {
		if got := w.get(name).State; got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
}
