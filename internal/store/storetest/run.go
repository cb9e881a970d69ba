package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/mfa"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/session"
)

// Open returns an empty store that is closed with the test.
type Open func(t *testing.T) Store

// Run plays the contract, each part on a store of its own.
func Run(t *testing.T, open func(t *testing.T) Store) {
	for _, part := range []struct {
		name string
		play func(*suite)
	}{
		{"Users", users}, {"UserNames", userNames}, {"SCIMGroups", scimGroups}, {"UseOnce", useOnce}, {"Keys", keys}, {"Invites", invites}, {"Factors", factors}, {"Targets", targets},
		{"Requests", requests}, {"RequestsAreImmutable", requestsAreImmutable}, {"Grants", grants}, {"GrantsAreImmutable", grantsAreImmutable},
		{"Sessions", sessions}, {"WholeEnd", wholeEnd}, {"Credentials", credentials}, {"SessionLimit", sessionLimit}, {"Instances", instances}, {"Gateways", gateways}, {"Budgets", budgets}, {"HighWater", highWater},
		{"Tokens", tokens}, {"Page", page}, {"Findings", findings}, {"AdminActs", adminActs}, {"Recordings", recordings}, {"RecordingRaces", recordingRaces}, {"RecordingFlags", recordingFlags}, {"History", history},
		{"Log", log}, {"FindEvents", findEvents}, {"WaitEvents", waitEvents}, {"Checkpoints", checkpoints}, {"Proofs", proofs}, {"Cursors", cursors},
		{"Lines", lines}, {"HostileQueries", hostileQueries},
	} {
		t.Run(part.name, func(t *testing.T) { part.play(newSuite(t, open)) })
	}
}

// suite is one store and what makes rows for it.
type suite struct {
	*testing.T
	Store
	ctx context.Context
	now time.Time
	n   int
}

func newSuite(t *testing.T, open Open) *suite {
	t.Helper()
	// A time with nanoseconds, so that a store which drops them is found.
	return &suite{T: t, Store: open(t), ctx: t.Context(), now: time.Date(2026, 3, 4, 5, 6, 7, 123456789, time.UTC)}
}

func (s *suite) id(kind string) string {
	s.n++
	return fmt.Sprintf("%s%04d", kind, s.n)
}

// ok stops the test on an error.
func (s *suite) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// is reports an error that is not the one wanted.
func (s *suite) is(err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("error = %v, want %v", err, want)
	}
}

// same reports values that differ.
func same[T any](s *suite, got, want T) {
	s.Helper()
	if !reflect.DeepEqual(got, want) {
		s.Errorf("got\n  %+v\nwant\n  %+v", got, want)
	}
}

// must returns v, and stops the test on an error.
func must[T any](v T, err error) func(*suite) T {
	return func(s *suite) T {
		s.Helper()
		s.ok(err)
		return v
	}
}

func ev(typ audit.Type) audit.Event { return audit.Event{Type: typ, Actor: audit.Gateway} }

func (s *suite) user(name string) identity.User {
	s.Helper()
	u := identity.User{ID: s.id("U"), Name: name, Kind: identity.Human, State: identity.Active, Groups: []string{"sre"}, CreatedAt: s.now}
	s.ok(s.CreateUser(s.ctx, u, ev(audit.UserAdded)))
	u.Version = 1
	return u
}

func (s *suite) factor(u identity.User, kind mfa.Kind) mfa.Factor {
	s.Helper()
	f := mfa.Factor{ID: s.id("F"), UserID: u.ID, Kind: kind, Name: "phone", Sealed: []byte{1, 2, 3}, CreatedAt: s.now}
	s.ok(s.AddFactor(s.ctx, f, ev(audit.FactorAdded)))
	return f
}

func (s *suite) request(u identity.User, targets ...string) approval.Request {
	s.Helper()
	if len(targets) == 0 {
		targets = []string{"web01"}
	}
	r := approval.Request{
		ID: s.id("R"), UserID: u.ID, User: u.Name, Targets: targets, Login: "deploy", Reason: "nginx 502s",
		Duration: 30 * time.Minute, Rule: "web", RuleHash: "abc", TargetHashes: map[string]string{targets[0]: "def"},
		FiledAt: s.now, ExpiresAt: s.now.Add(24 * time.Hour), State: approval.Pending,
	}
	s.ok(s.CreateRequest(s.ctx, r, ev(audit.RequestFiled)))
	r.Version = 1
	return r
}

func (s *suite) newGrant(r approval.Request) approval.Grant {
	g := approval.Grant{
		ID: s.id("G"), RequestID: r.ID, RequestDigest: r.Digest(), UserID: r.UserID, User: r.User, Targets: r.Targets, TargetHashes: r.TargetHashes,
		Login: r.Login, Duration: r.Duration, Rule: policy.Rule{Name: r.Rule}, RuleHash: r.RuleHash, Votes: r.Votes,
		ApprovedAt: s.now, ActivateBy: s.now.Add(8 * time.Hour), State: approval.Waiting,
	}
	g.Hash = g.Digest()
	return g
}

// approve gives the request one vote and a grant.
func (s *suite) approve(r approval.Request, by identity.User) (approval.Request, approval.Grant) {
	s.Helper()
	r.State = approval.Approved
	r.Votes = []approval.Vote{{UserID: by.ID, Person: by.ID, User: by.Name, Digest: r.Digest(), At: s.now.Add(time.Minute)}}
	r.Decision = &approval.Decision{UserID: by.ID, User: by.Name, At: s.now.Add(time.Minute)}
	g := s.newGrant(r)
	r.GrantID = g.ID
	s.ok(s.UpdateRequest(s.ctx, r, &g, ev(audit.RequestApproved)))
	r.Version++
	g.Version = 1
	return r, g
}

// activate opens the grant's window for its duration.
func (s *suite) activate(g approval.Grant) approval.Grant {
	s.Helper()
	g.State, g.ActivatedAt, g.Start, g.End = approval.Active, s.now, s.now, s.now.Add(g.Duration)
	g.Bindings = []approval.Binding{{KeyFingerprint: "SHA256:x", Source: "192.0.2.1", FactorAt: s.now}}
	s.ok(s.UpdateGrant(s.ctx, g, ev(audit.GrantActivated)))
	g.Version++
	return g
}

func (s *suite) liveGrant(u identity.User, targets ...string) approval.Grant {
	s.Helper()
	_, g := s.approve(s.request(u, targets...), identity.User{ID: "U-bob", Name: "bob"})
	return s.activate(g)
}

func (s *suite) session(g approval.Grant) session.Row {
	s.Helper()
	r := session.Row{
		ID: s.id("S"), GrantID: g.ID, RequestID: g.RequestID, UserID: g.UserID, User: g.User, Target: g.Targets[0], Login: g.Login,
		Protocol: "ssh", Source: "192.0.2.1", Gateway: "gw-1", StartedAt: s.now, State: session.Open, Recording: "x.jit",
	}
	s.ok(s.BeginSession(s.ctx, r, ev(audit.SessionStarted)))
	return r
}
