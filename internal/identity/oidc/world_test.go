package oidc

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/seal"
	"jit-gateway/internal/store"
	"jit-gateway/internal/testenv/idp"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// memory keeps users and keys for one use as a store must.
type memory struct {
	mu     sync.Mutex
	users  map[string]identity.User
	once   map[string]bool
	events []audit.Event
}

func (m *memory) find(ok func(identity.User) bool) (identity.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range m.users {
		if ok(u) {
			return u, nil
		}
	}
	return identity.User{}, store.ErrNotFound
}

func (m *memory) UserByName(_ context.Context, n string) (identity.User, error) {
	return m.find(func(u identity.User) bool { return u.Name == n })
}
func (m *memory) UserBySubject(_ context.Context, iss, sub string) (identity.User, error) {
	return m.find(func(u identity.User) bool { return sub != "" && u.Issuer == iss && u.Subject == sub })
}
func (m *memory) UserBySCIM(_ context.Context, id string) (identity.User, error) {
	return m.find(func(u identity.User) bool { return id != "" && u.SCIMID == id })
}

func (m *memory) CreateUser(_ context.Context, u identity.User, ev audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range m.users {
		if o.Name == u.Name || u.Subject != "" && o.Issuer == u.Issuer && o.Subject == u.Subject {
			return store.ErrExists
		}
	}
	u.Version = 1
	m.users[u.ID], m.events = u, append(m.events, ev)
	return nil
}

func (m *memory) UpdateUser(_ context.Context, u identity.User, ev audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users[u.ID].Version != u.Version {
		return store.ErrConflict
	}
	u.Version++
	m.users[u.ID], m.events = u, append(m.events, ev)
	return nil
}

func (m *memory) UseOnce(_ context.Context, key string, until, now time.Time, ev audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.once[key] || !now.Before(until) {
		return store.ErrConflict
	}
	m.once[key], m.events = true, append(m.events, ev)
	return nil
}

func (m *memory) Append(_ context.Context, ev audit.Event) (audit.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, ev)
	return ev, nil
}

func (m *memory) last() audit.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.events[len(m.events)-1]
}

// world is a provider, a sign-in and what it keeps.
type world struct {
	*testing.T
	idp      *idp.IdP
	store    *memory
	accounts *Accounts
	o        Options
	now      time.Time
	*SignIn
}

const redirect = "https://gw.example:8443/oidc/callback"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, now: noon, store: &memory{users: map[string]identity.User{}, once: map[string]bool{}}}
	now := func() time.Time { return w.now }
	w.idp = idp.Start(t, now)
	p, err := NewProvider(ProviderOptions{Issuer: w.idp.URL, CAFile: w.idp.CAFile, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	box, err := seal.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	w.accounts = &Accounts{Users: w.store, Groups: map[string]string{"eng": "engineers", "db": "dba"}, Now: now}
	w.o = Options{Provider: p, ClientID: idp.ClientID, ClientSecret: idp.ClientSecret, RedirectURL: redirect, GroupsClaim: "groups",
		NameClaim: "preferred_username", SCIMClaim: "oid", Box: box, Once: w.store, Accounts: w.accounts, Log: w.store, Now: now}
	w.build()
	return w
}

func (w *world) build() {
	w.Helper()
	var err error
	if w.SignIn, err = New(w.o); err != nil {
		w.Fatal(err)
	}
}

// begin goes to the provider and back, as a browser does.
func (w *world) begin() (answer url.Values, cookie string) {
	w.Helper()
	address, cookie, err := w.Begin(w.Context(), "/requests/R1")
	if err != nil {
		w.Fatal(err)
	}
	return w.visit(address), cookie
}

func (w *world) visit(address string) url.Values {
	w.Helper()
	rec := httptest.NewRecorder()
	w.idp.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, address, nil))
	back, err := url.Parse(rec.Header().Get("Location"))
	if err != nil || rec.Code != http.StatusFound {
		w.Fatal(rec.Code, err, rec.Body)
	}
	return back.Query()
}

func (w *world) signIn() (identity.User, error) {
	w.Helper()
	answer, cookie := w.begin()
	u, next, err := w.Finish(w.Context(), answer, cookie, "192.0.2.7")
	if err == nil && next != "/requests/R1" {
		err = fmt.Errorf("the way on is %q", next)
	}
	return u, err
}
