package storetest

import (
	"time"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store"
)

func users(s *suite) {
	u := identity.User{
		ID: "U1", Name: "alice", Kind: identity.Machine, Owner: "U9", State: identity.Active, Groups: []string{"sre", "dba"}, Email: "a@example.org",
		Issuer: "https://idp", Subject: "s1", SCIMID: "x1", ValidUntil: s.now.Add(time.Hour), CreatedAt: s.now,
	}
	s.ok(s.CreateUser(s.ctx, u, ev(audit.UserAdded)))
	u.Version = 1
	same(s, must(s.User(s.ctx, "U1"))(s), u)
	same(s, must(s.UserByName(s.ctx, "alice"))(s), u)
	same(s, must(s.UserBySubject(s.ctx, "https://idp", "s1"))(s), u)
	same(s, must(s.UserBySCIM(s.ctx, "x1"))(s), u)

	for what, other := range map[string]identity.User{
		"id":      {ID: "U1", Name: "other"},
		"name":    {ID: "U2", Name: "alice"},
		"subject": {ID: "U2", Name: "other", Issuer: "https://idp", Subject: "s1"},
		"SCIM id": {ID: "U2", Name: "other", SCIMID: "x1"},
	} {
		if err := s.CreateUser(s.ctx, other, ev(audit.UserAdded)); err == nil {
			s.Errorf("a second user with the same %s was accepted", what)
		} else {
			s.is(err, store.ErrExists)
		}
	}
	// Users without an identity provider do not collide.
	s.user("bob")
	s.user("carol")
	names := []string{}
	for _, u := range must(s.Users(s.ctx))(s) {
		names = append(names, u.Name)
	}
	same(s, names, []string{"alice", "bob", "carol"})

	u.Groups, u.State = nil, identity.Disabled
	s.ok(s.UpdateUser(s.ctx, u, ev(audit.UserDisabled)))
	s.is(s.UpdateUser(s.ctx, u, ev(audit.UserUpdated)), store.ErrConflict) // of version 1 still
	u.Version = 2
	same(s, must(s.User(s.ctx, "U1"))(s), u)
	s.is(s.UpdateUser(s.ctx, identity.User{ID: "U404", Name: "x", Version: 1}, ev(audit.UserUpdated)), store.ErrNotFound)

	s.ok(s.TouchUser(s.ctx, "U1", s.now.Add(time.Minute)))
	s.ok(s.TouchUser(s.ctx, "U1", s.now)) // an older one does not turn it back
	u.LastSeen = s.now.Add(time.Minute)
	same(s, must(s.User(s.ctx, "U1"))(s), u) // and the version is as it was
	s.is(s.TouchUser(s.ctx, "U404", s.now), store.ErrNotFound)

	for _, err := range []error{
		fail(s.User(s.ctx, "U404")), fail(s.UserByName(s.ctx, "nobody")), fail(s.UserBySubject(s.ctx, "", "")), fail(s.UserBySCIM(s.ctx, "")),
	} {
		s.is(err, store.ErrNotFound)
	}
}

func fail[T any](_ T, err error) error { return err }

func keys(s *suite) {
	alice, bob := s.user("alice"), s.user("bob")
	k := identity.Key{Fingerprint: "SHA256:a", UserID: alice.ID, Authorized: "ssh-ed25519 AAAA", Comment: "laptop", CreatedAt: s.now}
	s.ok(s.AddKey(s.ctx, k, ev(audit.KeyAdded)))
	u, got, err := s.UserByKey(s.ctx, "SHA256:a")
	s.ok(err)
	same(s, got, k)
	same(s, u, alice)
	same(s, must(s.Keys(s.ctx, alice.ID))(s), []identity.Key{k})

	stolen := k
	stolen.UserID = bob.ID
	s.is(s.AddKey(s.ctx, stolen, ev(audit.KeyAdded)), store.ErrExists)
	s.is(s.AddKey(s.ctx, k, ev(audit.KeyAdded)), store.ErrExists)
	s.is(s.AddKey(s.ctx, identity.Key{Fingerprint: "SHA256:b", UserID: "U404"}, ev(audit.KeyAdded)), store.ErrNotFound)
	s.is(s.RemoveKey(s.ctx, bob.ID, "SHA256:a", ev(audit.KeyRemoved)), store.ErrNotFound)
	s.ok(s.RemoveKey(s.ctx, alice.ID, "SHA256:a", ev(audit.KeyRemoved)))
	s.is(s.RemoveKey(s.ctx, alice.ID, "SHA256:a", ev(audit.KeyRemoved)), store.ErrNotFound)
	if _, _, err := s.UserByKey(s.ctx, "SHA256:a"); err == nil {
		s.Error("a removed key still finds its user")
	} else {
		s.is(err, store.ErrNotFound)
	}
}

func invites(s *suite) {
	u := s.user("alice")
	inv := identity.Invite{ID: "V1", UserID: u.ID, CodeHash: []byte{9, 8, 7}, CreatedBy: "local-admin", CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour)}
	s.ok(s.CreateInvite(s.ctx, inv, ev(audit.UserInvited)))
	same(s, must(s.InviteByHash(s.ctx, []byte{9, 8, 7}))(s), inv)
	s.is(fail(s.InviteByHash(s.ctx, []byte{1})), store.ErrNotFound)
	s.is(s.UseInvite(s.ctx, "V404", s.now, ev(audit.UserUpdated)), store.ErrNotFound)
	s.is(s.UseInvite(s.ctx, "V1", s.now.Add(time.Hour), ev(audit.UserUpdated)), store.ErrConflict) // expired, to the nanosecond
	s.ok(s.UseInvite(s.ctx, "V1", s.now.Add(time.Hour-1), ev(audit.UserUpdated)))
	s.is(s.UseInvite(s.ctx, "V1", s.now, ev(audit.UserUpdated)), store.ErrConflict)
	inv.UsedAt = s.now.Add(time.Hour - 1)
	same(s, must(s.InviteByHash(s.ctx, []byte{9, 8, 7}))(s), inv)
}

func factors(s *suite) {
	u := s.user("alice")
	f := mfa.Factor{ID: "F1", UserID: u.ID, Kind: mfa.TOTP, Name: "phone", Sealed: []byte{0, 255}, LastStep: 5, SignCount: 7, CreatedAt: s.now}
	s.ok(s.AddFactor(s.ctx, f, ev(audit.FactorAdded)))
	s.is(s.AddFactor(s.ctx, f, ev(audit.FactorAdded)), store.ErrExists)
	same(s, must(s.Factors(s.ctx, u.ID))(s), []mfa.Factor{f})

	a := must(s.RecordFailure(s.ctx, u.ID, time.Time{}, ev(audit.FactorFailed)))(s)
	same(s, a, mfa.Attempts{Failures: 1})
	until := s.now.Add(time.Minute)
	a = must(s.RecordFailure(s.ctx, u.ID, until, ev(audit.FactorLocked)))(s)
	same(s, a, mfa.Attempts{Failures: 2, LockedUntil: until})
	a = must(s.RecordFailure(s.ctx, u.ID, s.now, ev(audit.FactorFailed)))(s) // a lock is not shortened
	same(s, a, mfa.Attempts{Failures: 3, LockedUntil: until})
	same(s, must(s.FactorAttempts(s.ctx, u.ID))(s), a)

	s.is(s.UseStep(s.ctx, "F1", 5, ev(audit.FactorPassed)), store.ErrConflict) // used
	s.is(s.UseStep(s.ctx, "F1", 4, ev(audit.FactorPassed)), store.ErrConflict) // before one that was used
	same(s, must(s.FactorAttempts(s.ctx, u.ID))(s), a)                         // a refused code forgives nothing
	s.ok(s.UseStep(s.ctx, "F1", 6, ev(audit.FactorPassed)))
	same(s, must(s.FactorAttempts(s.ctx, u.ID))(s), mfa.Attempts{})
	s.is(s.UseStep(s.ctx, "F404", 6, ev(audit.FactorPassed)), store.ErrNotFound)

	s.ok(s.RenameFactor(s.ctx, u.ID, "F1", "old phone", ev(audit.FactorRenamed)))
	s.is(s.RenameFactor(s.ctx, "U404", "F1", "mine", ev(audit.FactorRenamed)), store.ErrNotFound)
	same(s, must(s.Factors(s.ctx, u.ID))(s)[0].Name, "old phone")
	s.is(s.RemoveFactor(s.ctx, "U404", "F1", ev(audit.FactorRemoved)), store.ErrNotFound)
	s.ok(s.RemoveFactor(s.ctx, u.ID, "F1", ev(audit.FactorRemoved)))
	if got := must(s.Factors(s.ctx, u.ID))(s); len(got) != 0 {
		s.Errorf("after removal: %+v", got)
	}
}

func targets(s *suite) {
	web := inventory.Target{Name: "web01", Kind: inventory.SSH, Labels: map[string]string{"role": "web"}, Source: "store", SSH: &inventory.SSHTarget{Address: "10.0.0.1", Logins: []string{"deploy"}}}
	db := inventory.Target{Name: "orders", Kind: inventory.Postgres, Source: "store", Postgres: &inventory.PostgresTarget{Address: "10.0.0.2", Database: "orders", Roles: []string{"ro"}}}
	s.ok(s.PutTarget(s.ctx, web, ev(audit.TargetAdded)))
	s.ok(s.PutTarget(s.ctx, db, ev(audit.TargetAdded)))
	web.Labels["zone"] = "b"
	s.ok(s.PutTarget(s.ctx, web, ev(audit.TargetUpdated)))
	same(s, must(s.StoredTargets(s.ctx))(s), []inventory.Target{db, web})
	s.ok(s.DeleteTarget(s.ctx, "web01", ev(audit.TargetRemoved)))
	s.is(s.DeleteTarget(s.ctx, "web01", ev(audit.TargetRemoved)), store.ErrNotFound)
	same(s, must(s.StoredTargets(s.ctx))(s), []inventory.Target{db})
}
