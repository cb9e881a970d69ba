package storetest

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// SCIM keeps what identity providers call users and groups.
type SCIM interface {
	UserByUserName(ctx context.Context, userName string) (identity.User, error)
	CreateSCIMGroup(ctx context.Context, g store.SCIMGroup, ev audit.Event) error
	SCIMGroup(ctx context.Context, id string) (store.SCIMGroup, error)
	SCIMGroups(ctx context.Context) ([]store.SCIMGroup, error)
	UpdateSCIMGroup(ctx context.Context, g store.SCIMGroup, ev audit.Event) error
	DeleteSCIMGroup(ctx context.Context, id string, ev audit.Event) error
	// UseOnce takes a key that is good for one use until a time.
	UseOnce(ctx context.Context, key string, until, now time.Time, ev audit.Event) error
}

func userNames(s *suite) {
	u := identity.User{ID: "U1", Name: "alice", State: identity.Active, UserName: "alice@example.org", DisplayName: "Alice", DisabledFor: identity.DisabledDormant,
		Sources: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, EnabledAt: s.now, Announced: "x", CreatedAt: s.now}
	s.ok(s.CreateUser(s.ctx, u, ev(audit.UserAdded)))
	u.Version = 1
	same(s, must(s.UserByUserName(s.ctx, "alice@example.org"))(s), u)
	s.is(s.CreateUser(s.ctx, identity.User{ID: "U2", Name: "other", UserName: "alice@example.org"}, ev(audit.UserAdded)), store.ErrExists)
	s.user("bob") // without a user name
	s.user("carol")
	s.is(fail(s.UserByUserName(s.ctx, "")), store.ErrNotFound)
	s.is(fail(s.UserByUserName(s.ctx, "alice")), store.ErrNotFound)
	u.UserName = "alice.b@example.org"
	s.ok(s.UpdateUser(s.ctx, u, ev(audit.UserUpdated)))
	s.is(fail(s.UserByUserName(s.ctx, "alice@example.org")), store.ErrNotFound)
	same(s, must(s.UserByUserName(s.ctx, "alice.b@example.org"))(s).ID, "U1")
}

func scimGroups(s *suite) {
	g := store.SCIMGroup{ID: "g1", Name: "sre", ExternalID: "x1", CreatedAt: s.now, UpdatedAt: s.now}
	s.ok(s.CreateSCIMGroup(s.ctx, g, ev(audit.GroupAdded)))
	g.Version = 1
	same(s, must(s.SCIMGroup(s.ctx, "g1"))(s), g)
	s.is(s.CreateSCIMGroup(s.ctx, store.SCIMGroup{ID: "g2", Name: "sre"}, ev(audit.GroupAdded)), store.ErrExists)
	s.is(s.CreateSCIMGroup(s.ctx, store.SCIMGroup{ID: "g1", Name: "dba"}, ev(audit.GroupAdded)), store.ErrExists)
	other := store.SCIMGroup{ID: "g0", Name: "dba", CreatedAt: s.now, UpdatedAt: s.now}
	s.ok(s.CreateSCIMGroup(s.ctx, other, ev(audit.GroupAdded)))
	other.Version = 1
	same(s, must(s.SCIMGroups(s.ctx))(s), []store.SCIMGroup{other, g})
	g.ExternalID, g.UpdatedAt = "x2", s.now.Add(time.Minute)
	s.ok(s.UpdateSCIMGroup(s.ctx, g, ev(audit.GroupUpdated)))
	s.is(s.UpdateSCIMGroup(s.ctx, g, ev(audit.GroupUpdated)), store.ErrConflict) // of version 1 still
	g.Version = 2
	same(s, must(s.SCIMGroup(s.ctx, "g1"))(s), g)
	g.Name = "dba"
	s.is(s.UpdateSCIMGroup(s.ctx, g, ev(audit.GroupUpdated)), store.ErrExists)
	s.is(s.UpdateSCIMGroup(s.ctx, store.SCIMGroup{ID: "g404", Name: "x", Version: 1}, ev(audit.GroupUpdated)), store.ErrNotFound)
	s.ok(s.DeleteSCIMGroup(s.ctx, "g1", ev(audit.GroupRemoved)))
	s.is(s.DeleteSCIMGroup(s.ctx, "g1", ev(audit.GroupRemoved)), store.ErrNotFound)
	s.is(fail(s.SCIMGroup(s.ctx, "g1")), store.ErrNotFound)
}

func useOnce(s *suite) {
	until := s.now.Add(time.Minute)
	var wg sync.WaitGroup
	var won atomic.Int32
	before := must(s.LastSeq(s.ctx))(s)
	for range 8 {
		wg.Go(func() {
			if s.UseOnce(s.ctx, "jti 1", until, s.now, ev(audit.FactorPassed)) == nil {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	same(s, won.Load(), 1)
	same(s, must(s.LastSeq(s.ctx))(s), before+1)
	s.is(s.UseOnce(s.ctx, "jti 1", until, s.now, ev(audit.FactorPassed)), store.ErrConflict)
	s.is(s.UseOnce(s.ctx, "jti 2", s.now, s.now, ev(audit.FactorPassed)), store.ErrConflict) // its time is over, to the nanosecond
	s.ok(s.UseOnce(s.ctx, "jti 2", s.now.Add(1), s.now, ev(audit.FactorPassed)))
	s.ok(s.UseOnce(s.ctx, "jti 3", until.Add(time.Hour), until, ev(audit.FactorPassed))) // and forgets the two
	s.is(s.UseOnce(s.ctx, "jti 1", until, until, ev(audit.FactorPassed)), store.ErrConflict)
}

func (s *suite) identityChanges() []change {
	g := store.SCIMGroup{ID: "K-new", Name: "sre", Version: 1}
	simple := func(f func(audit.Event) error) func() func(audit.Event) error {
		return func() func(audit.Event) error { return f }
	}
	return []change{
		{"CreateSCIMGroup", false, simple(func(e audit.Event) error { return s.CreateSCIMGroup(s.ctx, g, e) })},
		{"UpdateSCIMGroup", false, simple(func(e audit.Event) error { return s.UpdateSCIMGroup(s.ctx, g, e) })},
		{"DeleteSCIMGroup", false, simple(func(e audit.Event) error { return s.DeleteSCIMGroup(s.ctx, "K-new", e) })},
		{"UseOnce", false, simple(func(e audit.Event) error { return s.UseOnce(s.ctx, "jti", s.now.Add(time.Hour), s.now, e) })},
	}
}
