package storetest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store"
	"jit-gateway/session"
)

// EveryChangeIsOneEvent holds a store to G7: each method that changes
// something writes the event that it was given, once, in the same transaction;
// a change that fails writes none; a change without an event is not made.
func EveryChangeIsOneEvent(t *testing.T, open func(t *testing.T) Store) {
	s := newSuite(t, open)
	tried := map[string]bool{}
	for _, c := range slices.Concat(s.changes(), s.recordingChanges(), s.identityChanges()) {
		name, _, _ := strings.Cut(c.name, " ")
		tried[name] = true
		prepared := c.prepare()
		before := must(s.LastSeq(s.ctx))(s)
		if err := prepared(audit.Event{}); err == nil {
			t.Errorf("%s: without an event it succeeded", c.name)
		}
		same(s, must(s.LastSeq(s.ctx))(s), before)

		// It succeeds now, so nothing of the first attempt was kept.
		e := audit.Event{ID: s.id("E"), Type: "test.changed", Outcome: audit.Success, Time: s.now, Actor: audit.Actor{Name: "alice"}, Reason: c.name}
		if err := prepared(e); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		e.Seq = before + 1
		same(s, must(s.Events(s.ctx, before, 10))(s), []audit.Event{e})

		if c.repeats {
			continue
		}
		if err := prepared(e); err == nil {
			t.Errorf("%s: the same again succeeded", c.name)
		}
		same(s, must(s.LastSeq(s.ctx))(s), before+1)
	}

	// Every method that takes an event is in the list.
	typ, event := reflect.TypeFor[Store](), reflect.TypeFor[audit.Event]()
	for i := range typ.NumMethod() {
		m := typ.Method(i)
		for n := range m.Type.NumIn() {
			if m.Type.In(n) == event && m.Name != "Append" && !tried[m.Name] {
				t.Errorf("%s changes something, and nobody tries whether it writes its event", m.Name)
			}
		}
	}
}

// change is one mutation: prepare makes what it needs.
type change struct {
	name    string
	repeats bool // the same again is another success, or nothing to do
	prepare func() func(audit.Event) error
}

func (s *suite) changes() []change {
	alice := s.user("alice")
	simple := func(f func(audit.Event) error) func() func(audit.Event) error {
		return func() func(audit.Event) error { return f }
	}
	return []change{
		{"CreateUser", false, simple(func(e audit.Event) error {
			return s.CreateUser(s.ctx, identity.User{ID: "U-new", Name: "dave"}, e)
		})},
		{"UpdateUser", false, func() func(audit.Event) error {
			u := s.user("erin")
			u.State = identity.Disabled
			return func(e audit.Event) error { return s.UpdateUser(s.ctx, u, e) }
		}},
		{"AddKey", false, simple(func(e audit.Event) error {
			return s.AddKey(s.ctx, identity.Key{Fingerprint: "SHA256:k", UserID: alice.ID}, e)
		})},
		{"RemoveKey", false, simple(func(e audit.Event) error { return s.RemoveKey(s.ctx, alice.ID, "SHA256:k", e) })},
		{"CreateInvite", false, simple(func(e audit.Event) error {
			return s.CreateInvite(s.ctx, identity.Invite{ID: "V-new", UserID: alice.ID, CodeHash: []byte{1}, ExpiresAt: s.now.Add(time.Hour)}, e)
		})},
		{"UseInvite", false, simple(func(e audit.Event) error { return s.UseInvite(s.ctx, "V-new", s.now, e) })},
		{"PutTarget", true, simple(func(e audit.Event) error {
			return s.PutTarget(s.ctx, inventory.Target{Name: "web01", Kind: inventory.SSH}, e)
		})},
		{"DeleteTarget", false, simple(func(e audit.Event) error { return s.DeleteTarget(s.ctx, "web01", e) })},
		{"AddFactor", false, simple(func(e audit.Event) error {
			return s.AddFactor(s.ctx, mfa.Factor{ID: "F-new", UserID: alice.ID, Kind: mfa.TOTP}, e)
		})},
		{"UseStep", false, simple(func(e audit.Event) error { return s.UseStep(s.ctx, "F-new", 9, e) })},
		{"RecordFailure", true, simple(func(e audit.Event) error { return fail(s.RecordFailure(s.ctx, alice.ID, time.Time{}, e)) })},
		{"RenameFactor", true, simple(func(e audit.Event) error { return s.RenameFactor(s.ctx, alice.ID, "F-new", "Phone", e) })},
		{"RemoveFactor", false, simple(func(e audit.Event) error { return s.RemoveFactor(s.ctx, alice.ID, "F-new", e) })},
		{"CreateRequest", false, simple(func(e audit.Event) error {
			return s.CreateRequest(s.ctx, approval.Request{ID: "R-new", UserID: alice.ID, Targets: []string{"web01"}, State: approval.Pending}, e)
		})},
		{"UpdateRequest with a grant", false, func() func(audit.Event) error {
			r := s.request(alice)
			r.State = approval.Approved
			g := s.newGrant(r)
			return func(e audit.Event) error { return s.UpdateRequest(s.ctx, r, &g, e) }
		}},
		{"UpdateGrant", false, func() func(audit.Event) error {
			_, g := s.approve(s.request(alice), alice)
			g.State = approval.Active
			return func(e audit.Event) error { return s.UpdateGrant(s.ctx, g, e) }
		}},
		{"BeginSession", false, simple(func(e audit.Event) error {
			return s.BeginSession(s.ctx, session.Row{ID: "S-new", State: session.Open, StartedAt: s.now}, e)
		})},
		{"EndSession", false, simple(func(e audit.Event) error {
			return s.EndSession(s.ctx, session.End{Row: session.Row{ID: "S-new", State: session.Closed}, Event: e})
		})},
		{"AddCredential", false, simple(func(e audit.Event) error {
			return s.AddCredential(s.ctx, session.Credential{ID: "C-new", Kind: "ssh_cert"}, e)
		})},
		{"CredentialFailed", true, simple(func(e audit.Event) error { return s.CredentialFailed(s.ctx, "C-new", "x", e) })},
		{"CredentialDead", false, simple(func(e audit.Event) error { return s.CredentialDead(s.ctx, "C-new", s.now, e) })},
		{"AddToken", false, func() func(audit.Event) error {
			g := s.liveGrant(alice)
			return func(e audit.Event) error { return s.AddToken(s.ctx, ca.Token{ID: "T-new", GrantID: g.ID}, e) }
		}},
		{"KillTokens", true, func() func(audit.Event) error {
			g := s.liveGrant(alice)
			s.ok(s.AddToken(s.ctx, ca.Token{ID: "T-killed", GrantID: g.ID}, ev(audit.TokenMinted)))
			return func(e audit.Event) error { return s.KillTokens(s.ctx, g.ID, s.now, e) }
		}},
		{"CreatePageSession", false, simple(func(e audit.Event) error {
			return s.CreatePageSession(s.ctx, store.PageSession{ID: "p-new", UserID: alice.ID, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour)}, e)
		})},
		{"DeletePageSession", false, simple(func(e audit.Event) error { return s.DeletePageSession(s.ctx, "p-new", e) })},
		{"DeletePageSessionsOf", true, func() func(audit.Event) error {
			s.ok(s.CreatePageSession(s.ctx, store.PageSession{ID: "p-of", UserID: alice.ID, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour)}, ev(audit.PageSignedIn)))
			return func(e audit.Event) error { return fail(s.DeletePageSessionsOf(s.ctx, alice.ID, e)) }
		}},
		{"CreateLink", false, simple(func(e audit.Event) error {
			return s.CreateLink(s.ctx, store.Link{Hash: []byte{7}, UserID: alice.ID, KeyFingerprint: "SHA256:a", ExpiresAt: s.now.Add(time.Hour)}, e)
		})},
		{"UseLink", false, simple(func(e audit.Event) error { return s.UseLink(s.ctx, []byte{7}, s.now, e) })},
		{"Introduce", false, simple(func(e audit.Event) error { return s.Introduce(s.ctx, store.Gateway{ID: "I-new"}, e) })},
		{"Agree", true, func() func(audit.Event) error {
			n := 0 // each time something new
			return func(e audit.Event) error {
				n++
				return fail(s.Agree(s.ctx, fmt.Sprint("agreed-", n), "x", e))
			}
		}},
		{"Record", false, simple(func(e audit.Event) error { return s.Record(s.ctx, "agreed-2", "x", "y", e) })},
		{"RaiseFinding", false, simple(func(e audit.Event) error { return s.RaiseFinding(s.ctx, store.Finding{ID: "N-new"}, e) })},
		{"AckFinding", false, simple(func(e audit.Event) error { return s.AckFinding(s.ctx, "N-new", "U9", "", s.now, e) })},
		{"CreateAdminAct", false, simple(func(e audit.Event) error {
			return s.CreateAdminAct(s.ctx, store.AdminAct{ID: "A-new", Args: []byte("{}"), ExpiresAt: s.now.Add(time.Hour)}, e)
		})},
		{"DecideAdminAct", false, simple(func(e audit.Event) error {
			return s.DecideAdminAct(s.ctx, store.AdminAct{ID: "A-new", State: store.ActRefused, DecidedAt: s.now}, e)
		})},
	}
}
