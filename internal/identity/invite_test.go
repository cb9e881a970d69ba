package identity

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// memory keeps invites and users as a store must.
type memory struct {
	mu      sync.Mutex
	invites map[string]Invite // by hash
	users   map[string]User
	events  []audit.Event
}

func (m *memory) CreateInvite(_ context.Context, inv Invite, ev audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.invites[string(inv.CodeHash)] = inv
	return nil
}

func (m *memory) InviteByHash(_ context.Context, h []byte) (Invite, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	inv, ok := m.invites[string(h)]
	if !ok {
		return Invite{}, store.ErrNotFound
	}
	return inv, nil
}

func (m *memory) UseInvite(_ context.Context, id string, at time.Time, ev audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for h, inv := range m.invites {
		if inv.ID == id {
			if !inv.UsedAt.IsZero() || !at.Before(inv.ExpiresAt) {
				return store.ErrConflict
			}
			inv.UsedAt = at
			m.invites[h] = inv
			m.events = append(m.events, ev)
			return nil
		}
	}
	return store.ErrNotFound
}

func (m *memory) User(_ context.Context, id string) (User, error) {
	u, ok := m.users[id]
	if !ok {
		return User{}, store.ErrNotFound
	}
	return u, nil
}

func (m *memory) UserByName(context.Context, string) (User, error) { return User{}, store.ErrNotFound }
func (m *memory) UserByKey(context.Context, string) (User, Key, error) {
	return User{}, Key{}, store.ErrNotFound
}
func (m *memory) Users(context.Context) ([]User, error)       { return nil, nil }
func (m *memory) Keys(context.Context, string) ([]Key, error) { return nil, nil }

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestInviteWorksOnceAndInTime(t *testing.T) {
	m := &memory{invites: map[string]Invite{}}
	code, inv := NewInvite("U1", "local-admin", noon, time.Hour)
	if len(code) != 26 || inv.UserID != "U1" || strings.Contains(string(inv.CodeHash), code) || !inv.ExpiresAt.Equal(noon.Add(time.Hour)) {
		t.Errorf("code %q, invite %+v", code, inv)
	}
	if err := m.CreateInvite(t.Context(), inv, audit.Event{}); err != nil {
		t.Fatal(err)
	}
	// As people type it: in lower case, in groups, with letters for digits.
	typed := strings.ToLower(code[:5] + "-" + code[5:10] + " " + code[10:])
	typed = strings.ReplaceAll(strings.ReplaceAll(typed, "0", "o"), "1", "l")
	if _, err := OpenInvite(t.Context(), m, typed, noon.Add(time.Hour-1)); err != nil {
		t.Errorf("open: %v", err)
	}
	for what, try := range map[string]struct {
		code string
		at   time.Time
	}{"expired": {code, noon.Add(time.Hour)}, "wrong": {code[:25], noon}, "empty": {"", noon}} {
		if _, err := Redeem(t.Context(), m, try.code, try.at, audit.Gateway); !errors.Is(err, ErrInvite) {
			t.Errorf("%s: %v", what, err)
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 8 {
		wg.Go(func() {
			if _, err := Redeem(t.Context(), m, typed, noon, audit.Gateway); err == nil {
				mu.Lock()
				won++
				mu.Unlock()
			} else if !errors.Is(err, ErrInvite) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 || len(m.events) != 1 || m.events[0].Type != audit.InviteRedeemed || m.events[0].Detail["invite"] != inv.ID {
		t.Errorf("%d won, events %+v", won, m.events)
	}
	if _, err := OpenInvite(t.Context(), m, code, noon); !errors.Is(err, ErrInvite) {
		t.Errorf("open after use: %v", err)
	}
}

func TestG6PersonThroughOwners(t *testing.T) {
	m := &memory{users: map[string]User{
		"A": {ID: "A"}, "B": {ID: "B", Owner: "A"}, "C": {ID: "C", Owner: "B"}, "S": {ID: "S", Owner: "S"},
		"X": {ID: "X", Owner: "Y"}, "Y": {ID: "Y", Owner: "X"}, "O": {ID: "O", Owner: "gone"},
	}}
	prev := "A"
	for _, id := range strings.Split("abcdefghij", "") {
		m.users[id] = User{ID: id, Owner: prev}
		prev = id
	}
	for id, want := range map[string]string{"A": "A", "B": "A", "C": "A", "S": "S", "f": "A", "X": "", "Y": "", "O": "", "j": ""} {
		got, err := Person(t.Context(), m, m.users[id])
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s is %q, %v; want %q", id, got, err, want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, s := range []string{"alice", "a", "0x", "ci-deploy.prod_1", strings.Repeat("a", 64)} {
		if err := ValidName(s); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"", "Alice", "-a", ".a", "a b", "a:b", "a\n", "ä", "a@b", "gateway", "local-admin", strings.Repeat("a", 65)} {
		if ValidName(s) == nil {
			t.Errorf("%q is a name", s)
		}
	}
	for _, s := range []string{"sre", "SRE Leads", "team:web/ops", "Größe"} {
		if err := ValidGroup(s); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"", " a", "a\n", "a,b", "\u202ea"} {
		if ValidGroup(s) == nil {
			t.Errorf("%q is a group", s)
		}
	}
}
