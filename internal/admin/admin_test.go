package admin

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store/sqlite"
)

// What gives somebody more needs a second administrator; what takes away never
// does (guarantee G6). The stories of both are tests of internal/command and
// internal/web.
func TestG6WhatWidens(t *testing.T) {
	u := identity.User{ID: "U1", Name: "alice", Groups: []string{"sre"}, State: identity.Disabled, DisabledFor: identity.DisabledDormant}
	more, _ := Regroup(u, []string{"sre, leads"})
	less, summary := Regroup(u, []string{""})
	swapped, _ := Regroup(u, []string{"leads"})
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	enable, _ := Enable(u, now)
	for name, c := range map[string]struct {
		ch   Change
		want bool
	}{
		"a group more": {more, true}, "a group less": {less, false}, "another group": {swapped, true}, "enable": {enable, true}, "disable": {Disable(u, "x"), false},
		"a key": {Change{User: "U1", Key: "ssh-ed25519 AAAA"}, true}, "a code": {Change{User: "U1", Invite: -1}, true}, "a target": {Change{Targets: []inventory.Target{{Name: "db"}}}, true},
		"a user in a group": {Change{Create: &u}, true}, "a user in none": {Change{Create: &identity.User{Name: "bob"}}, false}, "nothing": {Change{}, false},
	} {
		if got := c.ch.Widens(); got != c.want {
			t.Errorf("%s widens: %v", name, got)
		}
	}
	if e := enable.Update.User; e.State != identity.Active || e.DisabledFor != "" || !e.EnabledAt.Equal(now) {
		t.Errorf("enabled as %+v", e)
	}
	if u.Groups[0] != "sre" || summary != "change the user alice, groups: " {
		t.Errorf("%v %q", u.Groups, summary)
	}
	if got := CleanGroups([]string{"b,a", " a\n c ", "web leads"}); !slices.Equal(got, []string{"a", "b", "c", "web leads"}) {
		t.Errorf("%q", got)
	}
}

// factors says that everybody has an authenticator.
type factors struct{}

func (factors) Factors(context.Context, string) ([]mfa.Factor, error) {
	return []mfa.Factor{{Kind: mfa.TOTP}}, nil
}

// The second administrator is another person, through any number of owners,
// and the first is still one when the second says yes.
func TestG6TwoAdministratorsAreTwoPeople(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	ctx := t.Context()
	db, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "store.db"), sqlite.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	inv, err := inventory.NewLive(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Users: db, Acts: db, Inventory: inv, Factors: factors{}, IsAdmin: func(u identity.User) bool { return u.In("admins") }, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	add := func(name, owner string, groups ...string) By {
		u := identity.User{ID: "U" + name, Name: name, Kind: identity.Human, State: identity.Active, Owner: owner, Groups: groups, CreatedAt: now}
		if err := db.CreateUser(ctx, u, audit.Event{Type: audit.UserAdded, User: u.ID}); err != nil {
			t.Fatal(err)
		}
		u, err := db.User(ctx, u.ID)
		if err != nil {
			t.Fatal(err)
		}
		return By{User: u, Actor: audit.Actor{ID: u.ID, Name: name}}
	}
	// alice's lab account is owned by her admin account, which she owns.
	alice, _, lab := add("alice", "", "admins"), add("alice-admin", "Ualice"), add("alice-lab", "Ualice-admin", "admins")
	target := add("carol", "").User
	widen := func() Change { ch, _ := Regroup(target, []string{"leads"}); return ch }

	if second, err := s.SecondAdmin(ctx, alice.User); err != nil || second {
		t.Errorf("an account of the same person is a second administrator: %v, %v", second, err)
	}
	bob := add("bob", "", "admins")
	out, err := s.Do(ctx, lab, widen(), "change carol")
	if err != nil || out.Act == nil {
		t.Fatalf("%+v, %v", out, err)
	}
	if _, err := s.Decide(ctx, alice, out.Act.ID, false, ""); err == nil {
		t.Error("one person under two accounts confirmed their own change")
	}

	left, err := db.User(ctx, lab.User.ID)
	if err != nil {
		t.Fatal(err)
	}
	left.Groups = nil
	if err := db.UpdateUser(ctx, left, audit.Event{Type: audit.UserUpdated, User: left.ID}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Decide(ctx, bob, out.Act.ID, false, ""); err == nil || !strings.Contains(err.Error(), "no administrator any more") {
		t.Errorf("confirmed what somebody asked for who is no administrator: %v", err)
	}
	if u, err := db.User(ctx, target.ID); err != nil || len(u.Groups) != 0 {
		t.Errorf("%+v, %v", u.Groups, err)
	}
	if _, err := s.Decide(ctx, bob, out.Act.ID, true, "not any more"); err != nil {
		t.Errorf("it cannot be refused: %v", err)
	}
	if out, err = s.Do(ctx, alice, widen(), "change carol"); err != nil || out.Act == nil {
		t.Fatalf("%+v, %v", out, err)
	}
	if _, err := s.Decide(ctx, bob, out.Act.ID, false, ""); err != nil {
		t.Errorf("two people: %v", err)
	}

	// An account is not enabled before that of who answers for it.
	off := func(u identity.User) identity.User {
		u.State = identity.Disabled
		if err := db.UpdateUser(ctx, u, audit.Event{Type: audit.UserDisabled, User: u.ID}); err != nil {
			t.Fatal(err)
		}
		u.Version++
		return u
	}
	owner, err := db.User(ctx, "Ualice-admin")
	if err != nil {
		t.Fatal(err)
	}
	off(owner)
	if left, err = db.User(ctx, left.ID); err != nil {
		t.Fatal(err)
	}
	ch, summary := Enable(off(left), now)
	if _, err := s.Do(ctx, By{LocalAdmin: true}, ch, summary); err == nil || !strings.Contains(err.Error(), "answers for alice-lab is disabled") {
		t.Errorf("enabled: %v", err)
	}
}

// What an administrator disables, nothing else enables.
func TestDisabledByAnAdministratorStaysSo(t *testing.T) {
	ch := Disable(identity.User{Name: "alice", State: identity.Disabled, DisabledFor: identity.DisabledBySCIM}, "left in anger")
	if u := ch.Update.User; u.State != identity.Disabled || u.DisabledFor != "" {
		t.Errorf("%+v", u)
	}
}
