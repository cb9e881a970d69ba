package storetest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
	"jit-gateway/session"
)

// racers is how many do the same thing at once.
const racers = 8

// Races plays everything that must have one winner, many times at once.
func Races(t *testing.T, open func(t *testing.T) Store) {
	s := newSuite(t, open)
	alice, bob := s.user("alice"), s.user("bob")

	s.race("two approvers", store.ErrConflict, func() func(int) error {
		r := s.request(alice)
		g := s.newGrant(r)
		return func(i int) error {
			r, g := r, g
			r.State = approval.Approved
			r.Votes = []approval.Vote{{UserID: bob.ID, Digest: r.Digest(), At: s.now.Add(time.Duration(i))}}
			g.ID = r.ID + "-" + string(rune('a'+i))
			r.GrantID = g.ID
			return s.UpdateRequest(s.ctx, r, &g, ev(audit.RequestApproved))
		}
	})
	same(s, len(must(s.ListGrants(s.ctx, approval.GrantFilter{}))(s)), rounds)

	s.race("approve against withdraw", store.ErrConflict, func() func(int) error {
		r := s.request(alice)
		return func(i int) error {
			r := r
			r.State = approval.Withdrawn
			if i%2 == 0 {
				r.State = approval.Denied
			}
			return s.UpdateRequest(s.ctx, r, nil, ev(audit.RequestWithdrawn))
		}
	})
	s.race("one code twice", store.ErrConflict, func() func(int) error {
		f := s.factor(alice, mfa.TOTP)
		return func(int) error { return s.UseStep(s.ctx, f.ID, 1000, ev(audit.FactorPassed)) }
	})
	s.race("one recovery code twice", store.ErrNotFound, func() func(int) error {
		f := s.factor(alice, mfa.Recovery)
		return func(int) error { return s.RemoveFactor(s.ctx, alice.ID, f.ID, ev(audit.FactorRemoved)) }
	})
	s.race("one invite twice", store.ErrConflict, func() func(int) error {
		inv := identity.Invite{ID: s.id("V"), UserID: alice.ID, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour)}
		inv.CodeHash = []byte(inv.ID)
		s.ok(s.CreateInvite(s.ctx, inv, ev(audit.UserInvited)))
		return func(int) error { return s.UseInvite(s.ctx, inv.ID, s.now, ev(audit.UserUpdated)) }
	})
	s.race("one link twice", store.ErrConflict, func() func(int) error {
		hash := []byte(s.id("L"))
		s.ok(s.CreateLink(s.ctx, store.Link{Hash: hash, UserID: alice.ID, KeyFingerprint: "SHA256:a", ExpiresAt: s.now.Add(time.Hour)}, ev(audit.PageLinkMade)))
		return func(int) error { return s.UseLink(s.ctx, hash, s.now, ev(audit.PageLinkUsed)) }
	})
	s.race("one key for two users", store.ErrExists, func() func(int) error {
		print := s.id("SHA256:")
		return func(i int) error {
			return s.AddKey(s.ctx, identity.Key{Fingerprint: print, UserID: []string{alice.ID, bob.ID}[i%2], CreatedAt: s.now}, ev(audit.KeyAdded))
		}
	})
	s.race("one user changed by two", store.ErrConflict, func() func(int) error {
		u := must(s.User(s.ctx, bob.ID))(s)
		return func(i int) error {
			u := u
			u.Groups = []string{string(rune('a' + i))}
			return s.UpdateUser(s.ctx, u, ev(audit.UserUpdated))
		}
	})
	g := s.liveGrant(alice)
	s.race("one session ended twice", store.ErrConflict, func() func(int) error {
		r := s.session(g)
		return func(int) error {
			r := r
			r.State, r.EndedAt = session.Closed, s.now
			return s.EndSession(s.ctx, session.End{Row: r, Event: ev(audit.SessionEnded)})
		}
	})
	s.race("one credential found dead twice", store.ErrConflict, func() func(int) error {
		c := s.credential(g, "")
		return func(int) error { return s.CredentialDead(s.ctx, c.ID, s.now, ev(audit.CredentialDead)) }
	})
	s.race("one grant released and revoked", store.ErrConflict, func() func(int) error {
		g := s.liveGrant(alice)
		return func(i int) error {
			g := g
			g.State, g.EndedAt, g.Cause = approval.Ended, s.now, []approval.EndCause{approval.CauseReleased, approval.CauseRevoked}[i%2]
			return s.UpdateGrant(s.ctx, g, ev(audit.GrantRevoked))
		}
	})
	s.race("one administrator's act decided twice", store.ErrConflict, func() func(int) error {
		a := store.AdminAct{ID: s.id("A"), Kind: "x", Args: []byte("{}"), CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour)}
		s.ok(s.CreateAdminAct(s.ctx, a, ev(audit.AdminActRequested)))
		return func(i int) error {
			a := a
			a.State, a.DecidedAt = []store.ActState{store.ActConfirmed, store.ActRefused}[i%2], s.now
			return s.DecideAdminAct(s.ctx, a, ev(audit.AdminActConfirmed))
		}
	})

	signer, vkey := s.signer()
	cp := audit.Checkpointer{Log: s.Store, Source: s.Store, Signer: signer, Now: time.Now}
	must(cp.Sign(s.ctx))(s)
	if r := must(audit.Verify(s.ctx, s.Store, vkey, audit.VerifyOptions{}))(s); !r.Intact() {
		s.Errorf("after the races: %s", r)
	}
}

// rounds is how often each race is run.
const rounds = 20

// race runs what prepare returns from many goroutines at once: one succeeds,
// the others fail with the error, and the log grows by one.
func (s *suite) race(name string, want error, prepare func() func(int) error) {
	s.Helper()
	for range rounds {
		run := prepare()
		before := must(s.LastSeq(s.ctx))(s)
		errs := make([]error, racers)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() {
				<-start
				errs[i] = run(i)
			})
		}
		close(start)
		wg.Wait()
		won := 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, want):
				s.Errorf("%s: a loser got %v, want %v", name, err, want)
			}
		}
		if grew := must(s.LastSeq(s.ctx))(s) - before; won != 1 || grew != 1 {
			s.Fatalf("%s: %d won and %d events were written, want one of each", name, won, grew)
		}
	}
}
