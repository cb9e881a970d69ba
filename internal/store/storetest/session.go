package storetest

import (
	"slices"
	"time"

	"jit-gateway/approval"
	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
	"jit-gateway/session"
)

func sessions(s *suite) {
	alice := s.user("alice")
	g := s.liveGrant(alice)
	r1 := s.session(g)
	same(s, must(s.Session(s.ctx, r1.ID))(s), r1)
	s.is(s.BeginSession(s.ctx, r1, ev(audit.SessionStarted)), store.ErrExists)
	s.is(fail(s.Session(s.ctx, "S404")), store.ErrNotFound)

	s.now = s.now.Add(time.Minute)
	r2 := s.session(g)
	end := r2
	end.State, end.EndedAt, end.Cause, end.Reason, end.BytesIn, end.Flags = session.Closed, s.now.Add(time.Minute), "logout", "bye", 42, []string{"x"}
	forged := end
	forged.User, forged.Target, forged.GrantID = "mallory", "db01", "G404"
	s.ok(s.EndSession(s.ctx, session.End{Row: forged, Event: ev(audit.SessionEnded)}))
	same(s, must(s.Session(s.ctx, r2.ID))(s), end) // who and where stay as they began
	s.is(s.EndSession(s.ctx, session.End{Row: end, Event: ev(audit.SessionEnded)}), store.ErrConflict)
	if err := s.EndSession(s.ctx, session.End{Row: r1, Event: ev(audit.SessionEnded)}); err == nil {
		s.Error("a session ended and was open")
	}
	missing := end
	missing.ID = "S404"
	s.is(s.EndSession(s.ctx, session.End{Row: missing, Event: ev(audit.SessionEnded)}), store.ErrNotFound)

	for name, c := range map[string]struct {
		f    session.Filter
		want []string
	}{
		"all":     {session.Filter{}, []string{r2.ID, r1.ID}},
		"open":    {session.Filter{State: session.Open}, []string{r1.ID}},
		"cause":   {session.Filter{Cause: "logout"}, []string{r2.ID}},
		"user":    {session.Filter{UserID: alice.ID, Limit: 1}, []string{r2.ID}},
		"gateway": {session.Filter{Gateway: "gw-2"}, nil},
		"target":  {session.Filter{Target: "web01", GrantID: g.ID, Gateway: "gw-1"}, []string{r2.ID, r1.ID}},
		"since":   {session.Filter{Since: r2.StartedAt}, []string{r2.ID}},
		"until":   {session.Filter{Until: r2.StartedAt}, []string{r1.ID}},
		"flag":    {session.Filter{Flag: "x"}, []string{r2.ID}},
		"no flag": {session.Filter{Flag: "bye"}, nil}, // a reason is no flag
		"before":  {session.Filter{Before: r2.ID}, []string{r1.ID}},
		"the end": {session.Filter{Before: r1.ID}, nil},
	} {
		var ids []string
		for _, r := range must(s.ListSessions(s.ctx, c.f))(s) {
			ids = append(ids, r.ID)
		}
		s.Log(name)
		same(s, ids, c.want)
	}
}

// wholeEnd: what an end says of credentials and of the recording is written
// with the row, in order, or not at all.
func wholeEnd(s *suite) {
	g := s.liveGrant(s.user("alice"))
	row := s.session(g)
	c1, c2 := s.credential(g, row.ID), s.credential(g, row.ID)
	s.ok(s.CredentialDead(s.ctx, c1.ID, s.now, ev(audit.CredentialDead)))
	end := session.End{Row: row, Event: ev(audit.SessionEnded), Leaves: []audit.Event{ev(audit.RecordingSegment), ev(audit.RecordingSealed)},
		Dead: []session.Death{{Credential: c1.ID, At: s.now, Event: ev(audit.CredentialDead)}, {Credential: c2.ID, At: s.now, Event: ev(audit.CredentialDead)}}}
	before := must(s.LastSeq(s.ctx))(s)
	live := session.CredentialFilter{SessionID: row.ID}
	if err := s.EndSession(s.ctx, end); err == nil {
		s.Error("a session ended and was open")
	}
	broken := end
	broken.Row.State, broken.Leaves = session.Closed, append(slices.Clone(end.Leaves), audit.Event{}) // without a type it is no event
	if err := s.EndSession(s.ctx, broken); err == nil {
		s.Error("a session ended with a leaf that is no event")
	}
	same(s, must(s.LastSeq(s.ctx))(s), before)
	same(s, must(s.LiveCredentials(s.ctx, live))(s), []session.Credential{c2})
	same(s, must(s.Session(s.ctx, row.ID))(s), row)

	end.Row.State, end.Row.EndedAt, end.Row.Cause = session.Closed, s.now, "whole"
	s.ok(s.EndSession(s.ctx, end))
	var told []audit.Type
	for _, e := range must(s.Events(s.ctx, before, 10))(s) {
		told = append(told, e.Type)
	}
	same(s, told, []audit.Type{audit.CredentialDead, audit.RecordingSegment, audit.RecordingSealed, audit.SessionEnded}) // one was told before
	same(s, len(must(s.LiveCredentials(s.ctx, live))(s)), 0)
	same(s, must(s.Session(s.ctx, row.ID))(s), end.Row)
	s.is(s.EndSession(s.ctx, end), store.ErrConflict)
	same(s, must(s.LastSeq(s.ctx))(s), before+4)
}

func (s *suite) credential(g approval.Grant, sessionID string) session.Credential {
	s.Helper()
	c := session.Credential{ID: s.id("C"), SessionID: sessionID, GrantID: g.ID, Kind: "pg_role", Name: "jit_x", Target: "orders", Detail: map[string]string{"role": "ro"}, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour)}
	s.ok(s.AddCredential(s.ctx, c, ev(audit.CredentialIntended)))
	return c
}

func credentials(s *suite) {
	g := s.liveGrant(s.user("alice"))
	row := s.session(g)
	c1, c2 := s.credential(g, row.ID), s.credential(g, "")
	s.is(s.AddCredential(s.ctx, c1, ev(audit.CredentialIntended)), store.ErrExists)
	same(s, must(s.LiveCredentials(s.ctx, session.CredentialFilter{GrantID: g.ID}))(s), []session.Credential{c1, c2})
	same(s, must(s.LiveCredentials(s.ctx, session.CredentialFilter{SessionID: row.ID, Kind: "pg_role"}))(s), []session.Credential{c1})
	same(s, len(must(s.LiveCredentials(s.ctx, session.CredentialFilter{Kind: "ssh_cert"}))(s)), 0)

	s.ok(s.CredentialFailed(s.ctx, c1.ID, "connection refused", ev(audit.CredentialAlive)))
	s.ok(s.CredentialFailed(s.ctx, c1.ID, "still refused", ev(audit.CredentialAlive)))
	c1.Tries, c1.LastError = 2, "still refused"
	same(s, must(s.LiveCredentials(s.ctx, session.CredentialFilter{SessionID: row.ID}))(s), []session.Credential{c1})
	s.ok(s.CredentialDead(s.ctx, c1.ID, s.now, ev(audit.CredentialDead)))
	s.is(s.CredentialDead(s.ctx, c1.ID, s.now, ev(audit.CredentialDead)), store.ErrConflict)
	s.is(s.CredentialDead(s.ctx, "C404", s.now, ev(audit.CredentialDead)), store.ErrNotFound)
	s.is(s.CredentialFailed(s.ctx, "C404", "x", ev(audit.CredentialAlive)), store.ErrNotFound)
	same(s, must(s.LiveCredentials(s.ctx, session.CredentialFilter{}))(s), []session.Credential{c2})
}

func instances(s *suite) {
	g := s.liveGrant(s.user("alice"))
	row := s.session(g) // on gw-1, which never beat
	same(s, must(s.DeadInstances(s.ctx, s.now))(s), []string{"gw-1"})
	s.ok(s.Beat(s.ctx, "gw-1", s.now))
	s.ok(s.Beat(s.ctx, "gw-9", s.now.Add(-time.Hour)))      // dead, and nothing is left of it
	same(s, len(must(s.DeadInstances(s.ctx, s.now))(s)), 0) // before, not at
	same(s, must(s.DeadInstances(s.ctx, s.now.Add(1)))(s), []string{"gw-1"})
	s.ok(s.Beat(s.ctx, "gw-1", s.now.Add(-time.Hour))) // a late beat does not turn it back
	same(s, len(must(s.DeadInstances(s.ctx, s.now))(s)), 0)

	c := s.credential(g, row.ID)
	row.State, row.EndedAt = session.Crashed, s.now
	s.ok(s.EndSession(s.ctx, session.End{Row: row, Event: ev(audit.SessionCrashed)}))
	same(s, must(s.DeadInstances(s.ctx, s.now.Add(1)))(s), []string{"gw-1"}) // for the credential
	s.ok(s.CredentialDead(s.ctx, c.ID, s.now, ev(audit.CredentialDead)))
	same(s, len(must(s.DeadInstances(s.ctx, s.now.Add(1)))(s)), 0)
}

// highWater uses times ahead of the machine's clock, which the store saw too.
func highWater(s *suite) {
	future := time.Now().Add(time.Hour).UTC().Round(0)
	same(s, must(s.HighWater(s.ctx, future))(s), future)
	same(s, must(s.HighWater(s.ctx, future.Add(-time.Minute)))(s), future)
	later := future.Add(time.Nanosecond)
	same(s, must(s.HighWater(s.ctx, later))(s), later)
	e := ev(audit.Heartbeat)
	e.Time = future.Add(time.Hour)
	must(s.Append(s.ctx, e))(s)
	same(s, must(s.HighWater(s.ctx, future))(s), e.Time) // events raise it as well
}

func tokens(s *suite) {
	alice := s.user("alice")
	g := s.liveGrant(alice, "orders")
	_, waiting := s.approve(s.request(alice, "orders"), alice)
	token := func(grant, target string, created time.Time) ca.Token {
		k := ca.Token{ID: s.id("T"), GrantID: grant, UserID: alice.ID, User: "alice", Target: target, Login: "ro", Source: "192.0.2.1", Salt: []byte{1}, Iterations: 4096, StoredKey: []byte{2}, ServerKey: []byte{3}, CreatedAt: created}
		s.ok(s.AddToken(s.ctx, k, ev(audit.TokenMinted)))
		return k
	}
	k1, k2 := token(g.ID, "orders", s.now), token(g.ID, "orders", s.now.Add(time.Second))
	token(waiting.ID, "orders", s.now)
	token(g.ID, "other", s.now)
	s.is(s.AddToken(s.ctx, k1, ev(audit.TokenMinted)), store.ErrExists)
	s.is(s.AddToken(s.ctx, ca.Token{ID: "T404", GrantID: "G404"}, ev(audit.TokenMinted)), store.ErrNotFound)

	same(s, must(s.TokensFor(s.ctx, "alice", "orders", s.now))(s), []ca.Token{k2, k1}) // not the waiting grant's
	same(s, must(s.TokensFor(s.ctx, "alice", "orders", g.End.Add(-1)))(s), []ca.Token{k2, k1})
	same(s, len(must(s.TokensFor(s.ctx, "alice", "orders", g.End))(s)), 0) // the end is exact
	same(s, len(must(s.TokensFor(s.ctx, "bob", "orders", s.now))(s)), 0)
	same(s, len(must(s.TokensOf(s.ctx, g.ID))(s)), 3)

	before := must(s.LastSeq(s.ctx))(s)
	s.ok(s.KillTokens(s.ctx, g.ID, s.now, ev(audit.CredentialDead)))
	s.ok(s.KillTokens(s.ctx, g.ID, s.now, ev(audit.CredentialDead)))
	s.ok(s.KillTokens(s.ctx, "G404", s.now, ev(audit.CredentialDead)))
	same(s, must(s.LastSeq(s.ctx))(s), before+1) // without any it appends nothing
	same(s, len(must(s.TokensFor(s.ctx, "alice", "orders", s.now))(s)), 0)
	same(s, len(must(s.TokensOf(s.ctx, g.ID))(s)), 0)

	for range 70 { // a user can mint many; a login tries at most 64, the newest
		token(g.ID, "orders", s.now)
	}
	last := token(g.ID, "orders", s.now.Add(time.Minute))
	got := must(s.TokensFor(s.ctx, "alice", "orders", s.now))(s)
	if len(got) != 64 || got[0].ID != last.ID {
		s.Errorf("%d tokens, the first %s; want 64, the newest first", len(got), got[0].ID)
	}

	g.State, g.EndedAt = approval.Ended, s.now
	s.ok(s.UpdateGrant(s.ctx, g, ev(audit.GrantRevoked)))
	same(s, len(must(s.TokensFor(s.ctx, "alice", "orders", s.now))(s)), 0) // stopped with the grant
}

func page(s *suite) {
	alice, bob := s.user("alice"), s.user("bob")
	ps := store.PageSession{ID: "p1", UserID: alice.ID, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour), LastSeen: s.now, Source: "192.0.2.1", KeyFingerprint: "SHA256:a", KeySource: "192.0.2.9"}
	s.ok(s.CreatePageSession(s.ctx, ps, ev(audit.PageSignedIn)))
	same(s, must(s.PageSession(s.ctx, "p1"))(s), ps)
	s.is(s.CreatePageSession(s.ctx, ps, ev(audit.PageSignedIn)), store.ErrExists)
	s.ok(s.TouchPageSession(s.ctx, "p1", s.now.Add(time.Minute)))
	same(s, must(s.PageSession(s.ctx, "p1"))(s).LastSeen, s.now.Add(time.Minute))
	s.is(s.TouchPageSession(s.ctx, "p404", s.now), store.ErrNotFound)
	s.ok(s.DeletePageSession(s.ctx, "p1", ev(audit.PageSignedOut)))
	s.is(s.DeletePageSession(s.ctx, "p1", ev(audit.PageSignedOut)), store.ErrNotFound)
	s.is(fail(s.PageSession(s.ctx, "p1")), store.ErrNotFound)

	for _, id := range []string{"p2", "p3"} {
		s.ok(s.CreatePageSession(s.ctx, store.PageSession{ID: id, UserID: alice.ID, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour)}, ev(audit.PageSignedIn)))
	}
	same(s, len(must(s.PageSessionsOf(s.ctx, alice.ID))(s)), 2)
	same(s, must(s.PageSessionsOf(s.ctx, bob.ID))(s), []store.PageSession(nil))
	s.ok(s.CreatePageSession(s.ctx, store.PageSession{ID: "p4", UserID: bob.ID, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour)}, ev(audit.PageSignedIn)))
	same(s, must(s.DeletePageSessionsOf(s.ctx, alice.ID, ev(audit.PageSignedOut)))(s), 2)
	before := must(s.LastSeq(s.ctx))(s)
	same(s, must(s.DeletePageSessionsOf(s.ctx, alice.ID, ev(audit.PageSignedOut)))(s), 0)
	same(s, must(s.LastSeq(s.ctx))(s), before)
	same(s, must(s.PageSession(s.ctx, "p4"))(s).UserID, bob.ID)

	hash := []byte{5, 5}
	s.ok(s.CreateLink(s.ctx, store.Link{Hash: hash, UserID: alice.ID, KeyFingerprint: "SHA256:a", Source: "192.0.2.9", ExpiresAt: s.now.Add(5 * time.Minute)}, ev(audit.PageLinkMade)))
	s.is(s.UseLink(s.ctx, []byte{6}, s.now, ev(audit.PageLinkUsed)), store.ErrNotFound)
	s.is(s.UseLink(s.ctx, hash, s.now.Add(5*time.Minute), ev(audit.PageLinkUsed)), store.ErrConflict)
	s.is(fail(s.Link(s.ctx, []byte{6}, s.now)), store.ErrNotFound)
	s.is(fail(s.Link(s.ctx, hash, s.now.Add(5*time.Minute))), store.ErrNotFound)
	same(s, must(s.Link(s.ctx, hash, s.now))(s).KeyFingerprint, "SHA256:a")
	same(s, must(s.Link(s.ctx, hash, s.now))(s).Source, "192.0.2.9")
	s.ok(s.UseLink(s.ctx, hash, s.now, ev(audit.PageLinkUsed)))
	s.is(fail(s.Link(s.ctx, hash, s.now)), store.ErrNotFound)
	s.is(s.UseLink(s.ctx, hash, s.now, ev(audit.PageLinkUsed)), store.ErrConflict)

	// Who is disabled, or begins anew with an invite, is signed out everywhere,
	// and stays so.
	in := func(u identity.User, id string) {
		s.ok(s.CreatePageSession(s.ctx, store.PageSession{ID: id, UserID: u.ID, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour)}, ev(audit.PageSignedIn)))
		s.ok(s.CreateLink(s.ctx, store.Link{Hash: []byte(id), UserID: u.ID, ExpiresAt: s.now.Add(time.Minute)}, ev(audit.PageLinkMade)))
	}
	out := func(u identity.User, id string, want bool) {
		_, err := s.PageSession(s.ctx, id)
		_, err2 := s.Link(s.ctx, []byte(id), s.now)
		if (err != nil) != want || (err2 != nil) != want {
			s.Errorf("%s is signed out: %v %v, want %v", u.Name, err, err2, want)
		}
	}
	alice = must(s.User(s.ctx, alice.ID))(s)
	in(alice, "p5")
	in(bob, "p6")
	alice.DisplayName = "Alice"
	s.ok(s.UpdateUser(s.ctx, alice, ev(audit.UserUpdated)))
	out(alice, "p5", false)
	alice = must(s.User(s.ctx, alice.ID))(s)
	alice.State = identity.Disabled
	s.ok(s.UpdateUser(s.ctx, alice, ev(audit.UserDisabled)))
	out(alice, "p5", true)
	out(bob, "p6", false)
	s.ok(s.CreateInvite(s.ctx, identity.Invite{ID: "V9", UserID: bob.ID, CodeHash: []byte{9, 9}, CreatedBy: alice.ID, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour)}, ev(audit.UserInvited)))
	out(bob, "p6", false)
	s.ok(s.UseInvite(s.ctx, "V9", s.now, ev(audit.InviteRedeemed)))
	out(bob, "p6", true)
}

func findings(s *suite) {
	f1 := store.Finding{ID: "N1", Code: "first_target", UserID: "U1", Request: "R1", Text: "first time", Evidence: map[string]string{"target": "web01"}, RaisedAt: s.now}
	f2 := store.Finding{ID: "N2", Code: "idle_grant", UserID: "U2", RaisedAt: s.now.Add(time.Minute)}
	s.ok(s.RaiseFinding(s.ctx, f1, ev(audit.FindingRaised)))
	s.ok(s.RaiseFinding(s.ctx, f2, ev(audit.FindingRaised)))
	s.is(s.RaiseFinding(s.ctx, f2, ev(audit.FindingRaised)), store.ErrExists)
	s.ok(s.AckFinding(s.ctx, "N1", "U9", "known", s.now.Add(time.Hour), ev(audit.FindingAcked)))
	s.is(s.AckFinding(s.ctx, "N1", "U8", "me too", s.now, ev(audit.FindingAcked)), store.ErrConflict)
	s.is(s.AckFinding(s.ctx, "N404", "U8", "", s.now, ev(audit.FindingAcked)), store.ErrNotFound)
	f1.AckedBy, f1.AckNote, f1.AckedAt = "U9", "known", s.now.Add(time.Hour)
	same(s, must(s.Finding(s.ctx, "N1"))(s), f1)
	same(s, must(s.Findings(s.ctx, store.FindingFilter{}))(s), []store.Finding{f2, f1})
	same(s, must(s.Findings(s.ctx, store.FindingFilter{Open: true}))(s), []store.Finding{f2})
	same(s, must(s.Findings(s.ctx, store.FindingFilter{Request: "R1", Code: "first_target", UserID: "U1"}))(s), []store.Finding{f1})
	same(s, must(s.Findings(s.ctx, store.FindingFilter{Since: f2.RaisedAt}))(s), []store.Finding{f2})
}

func adminActs(s *suite) {
	a := store.AdminAct{ID: "A1", Kind: "user.add", Args: []byte(`{"name":"dave"}`), Summary: "add dave to admins", By: "U1", Person: "U1", CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour), State: store.ActWaiting}
	s.ok(s.CreateAdminAct(s.ctx, a, ev(audit.AdminActRequested)))
	s.is(s.CreateAdminAct(s.ctx, a, ev(audit.AdminActRequested)), store.ErrExists)
	same(s, must(s.AdminAct(s.ctx, "A1"))(s), a)
	d := a
	d.State, d.DecidedBy, d.DecidedAt = store.ActConfirmed, "U2", a.ExpiresAt
	s.is(s.DecideAdminAct(s.ctx, d, ev(audit.AdminActConfirmed)), store.ErrConflict) // too late, to the nanosecond
	d.DecidedAt = a.ExpiresAt.Add(-1)
	d.Args, d.Summary = []byte(`{"name":"mallory"}`), "harmless"
	s.ok(s.DecideAdminAct(s.ctx, d, ev(audit.AdminActConfirmed)))
	d.Args, d.Summary = a.Args, a.Summary // what was asked for stays
	same(s, must(s.AdminAct(s.ctx, "A1"))(s), d)
	s.is(s.DecideAdminAct(s.ctx, d, ev(audit.AdminActConfirmed)), store.ErrConflict)
	if acts := must(s.AdminActs(s.ctx, store.ActWaiting, 10))(s); len(acts) != 0 {
		s.Errorf("waiting: %+v", acts)
	}
	if acts := must(s.AdminActs(s.ctx, "", 10))(s); !slices.ContainsFunc(acts, func(a store.AdminAct) bool { return a.ID == "A1" }) {
		s.Errorf("all: %+v", acts)
	}
}
