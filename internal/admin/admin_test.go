package admin

import (
	"slices"
	"testing"
	"time"

	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
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
