package storetest

import (
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/risk"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
	"jit-gateway/session"
)

func requests(s *suite) {
	alice, bob := s.user("alice"), s.user("bob")
	r1 := s.request(alice, "web01", "web02")
	digest := r1.Digest()
	got := must(s.Request(s.ctx, r1.ID))(s)
	same(s, got, r1)
	if got.Digest() != digest {
		s.Error("the digest changed in the store")
	}
	s.is(s.CreateRequest(s.ctx, r1, ev(audit.RequestFiled)), store.ErrExists)
	s.is(fail(s.Request(s.ctx, "R404")), store.ErrNotFound)

	s.now = s.now.Add(time.Minute)
	r2 := s.request(alice, "web02")
	s.now = s.now.Add(time.Minute)
	r3 := s.request(bob, "db01")
	r3.State, r3.Decision = approval.Withdrawn, &approval.Decision{UserID: bob.ID, At: s.now}
	s.ok(s.UpdateRequest(s.ctx, r3, nil, ev(audit.RequestWithdrawn)))
	s.is(s.UpdateRequest(s.ctx, r3, nil, ev(audit.RequestDenied)), store.ErrConflict) // the old version
	r3.Version++
	s.is(s.UpdateRequest(s.ctx, r3, nil, ev(audit.RequestDenied)), store.ErrConflict) // not pending
	s.is(s.UpdateRequest(s.ctx, approval.Request{ID: "R404", Version: 1}, nil, ev(audit.RequestDenied)), store.ErrNotFound)
	same(s, must(s.Request(s.ctx, r3.ID))(s), r3)

	for name, c := range map[string]struct {
		f    approval.RequestFilter
		want []string
	}{
		"all":     {approval.RequestFilter{}, []string{r3.ID, r2.ID, r1.ID}},
		"user":    {approval.RequestFilter{UserID: alice.ID}, []string{r2.ID, r1.ID}},
		"state":   {approval.RequestFilter{State: approval.Withdrawn}, []string{r3.ID}},
		"pending": {approval.RequestFilter{State: approval.Pending}, []string{r2.ID, r1.ID}},
		"target":  {approval.RequestFilter{Target: "web02"}, []string{r2.ID, r1.ID}},
		"since":   {approval.RequestFilter{Since: r2.FiledAt}, []string{r3.ID, r2.ID}},
		"limit":   {approval.RequestFilter{Limit: 1}, []string{r3.ID}},
		"several": {approval.RequestFilter{UserID: alice.ID, Target: "web01", State: approval.Pending}, []string{r1.ID}},
		"none":    {approval.RequestFilter{UserID: "U404"}, nil},
	} {
		var ids []string
		for _, r := range must(s.ListRequests(s.ctx, c.f))(s) {
			ids = append(ids, r.ID)
		}
		s.Log(name)
		same(s, ids, c.want)
	}
}

// requestsAreImmutable: a caller that changes what was filed is refused, and
// nothing of the call remains.
func requestsAreImmutable(s *suite) {
	r := s.request(s.user("alice"))
	for name, change := range map[string]func(*approval.Request){
		"targets":  func(r *approval.Request) { r.Targets = []string{"db01"} },
		"login":    func(r *approval.Request) { r.Login = "root" },
		"duration": func(r *approval.Request) { r.Duration *= 2 },
		"user":     func(r *approval.Request) { r.UserID = "U404" },
		"rule":     func(r *approval.Request) { r.RuleHash = "other" },
	} {
		bad := r
		change(&bad)
		bad.State = approval.Approved
		g := s.newGrant(bad)
		if err := s.UpdateRequest(s.ctx, bad, &g, ev(audit.RequestApproved)); err == nil {
			s.Errorf("a request whose %s was changed was accepted", name)
		}
	}
	same(s, must(s.Request(s.ctx, r.ID))(s), r)
	if gs := must(s.ListGrants(s.ctx, approval.GrantFilter{}))(s); len(gs) != 0 {
		s.Errorf("a refused update left a grant: %+v", gs)
	}
}

func grants(s *suite) {
	alice, bob := s.user("alice"), s.user("bob")
	r, g := s.approve(s.request(alice, "web01", "web02"), bob)
	same(s, must(s.Request(s.ctx, r.ID))(s), r)
	same(s, must(s.Grant(s.ctx, g.ID))(s), g)
	if got := must(s.Grant(s.ctx, g.ID))(s); got.Digest() != g.Hash {
		s.Error("the grant's digest changed in the store")
	}
	s.is(fail(s.Grant(s.ctx, "G404")), store.ErrNotFound)

	g = s.activate(g)
	same(s, must(s.Grant(s.ctx, g.ID))(s), g)
	old := g
	g.End = g.End.Add(time.Hour) // an extension
	s.ok(s.UpdateGrant(s.ctx, g, ev(audit.GrantExtended)))
	g.Version++
	same(s, must(s.Grant(s.ctx, g.ID))(s).End, g.End)
	s.is(s.UpdateGrant(s.ctx, old, ev(audit.GrantReleased)), store.ErrConflict)

	s.now = s.now.Add(time.Minute)
	_, waiting := s.approve(s.request(bob, "db01"), alice)
	for name, c := range map[string]struct {
		f    approval.GrantFilter
		want []string
	}{
		"all":    {approval.GrantFilter{}, []string{waiting.ID, g.ID}},
		"user":   {approval.GrantFilter{UserID: alice.ID}, []string{g.ID}},
		"states": {approval.GrantFilter{States: []approval.GrantState{approval.Waiting, approval.Active}}, []string{waiting.ID, g.ID}},
		"active": {approval.GrantFilter{States: []approval.GrantState{approval.Active}}, []string{g.ID}},
		"ended":  {approval.GrantFilter{States: []approval.GrantState{approval.Ended}}, nil},
		"target": {approval.GrantFilter{Target: "web02"}, []string{g.ID}},
		"since":  {approval.GrantFilter{Since: waiting.ApprovedAt}, []string{waiting.ID}},
		"limit":  {approval.GrantFilter{Limit: 1}, []string{waiting.ID}},
	} {
		var ids []string
		for _, g := range must(s.ListGrants(s.ctx, c.f))(s) {
			ids = append(ids, g.ID)
		}
		s.Log(name)
		same(s, ids, c.want)
	}
}

// grantsAreImmutable: what was approved stays, and an end is an end.
func grantsAreImmutable(s *suite) {
	g := s.liveGrant(s.user("alice"))
	for name, change := range map[string]func(*approval.Grant){
		"targets":  func(g *approval.Grant) { g.Targets = []string{"db01"} },
		"login":    func(g *approval.Grant) { g.Login = "root" },
		"duration": func(g *approval.Grant) { g.Duration *= 2 },
		"hash":     func(g *approval.Grant) { g.Hash = "other" },
	} {
		bad := g
		change(&bad)
		if err := s.UpdateGrant(s.ctx, bad, ev(audit.GrantExtended)); err == nil {
			s.Errorf("a grant whose %s was changed was accepted", name)
		}
	}
	same(s, must(s.Grant(s.ctx, g.ID))(s), g)

	g.State, g.EndedAt, g.Cause = approval.Ended, s.now, approval.CauseReleased
	s.ok(s.UpdateGrant(s.ctx, g, ev(audit.GrantReleased)))
	g.Version++
	again := g
	again.State, again.End = approval.Active, g.End.Add(time.Hour)
	if err := s.UpdateGrant(s.ctx, again, ev(audit.GrantActivated)); err == nil {
		s.Error("a grant that had ended was opened again")
	}
	g.ReviewedBy, g.ReviewedAt = "U9", s.now // a review follows the end
	s.ok(s.UpdateGrant(s.ctx, g, ev(audit.GrantReviewed)))
}

func history(s *suite) {
	alice, bob := s.user("alice"), s.user("bob")
	start := s.now
	g := s.liveGrant(alice, "web01")
	row := s.session(g)
	row.State, row.EndedAt, row.BytesIn, row.BytesOut = "closed", s.now.Add(time.Minute), 10, 20
	s.ok(s.EndSession(s.ctx, session.End{Row: row, Event: ev(audit.SessionEnded)}))
	s.now = s.now.Add(time.Hour)
	denied := s.request(alice, "db01")
	denied.State, denied.Decision = approval.Denied, &approval.Decision{UserID: bob.ID, At: s.now}
	s.ok(s.UpdateRequest(s.ctx, denied, nil, ev(audit.RequestDenied)))
	s.approve(s.request(bob, "web01"), alice)
	failed := ev(audit.FactorFailed)
	failed.Time, failed.User = s.now, alice.ID
	must(s.Append(s.ctx, failed))(s)
	failed.Type = audit.FactorLocked
	must(s.Append(s.ctx, failed))(s)
	failed.Time = start.Add(-time.Second)
	must(s.Append(s.ctx, failed))(s)

	same(s, must(s.PastSessions(s.ctx, alice.ID, start, 10))(s), []risk.PastSession{{Target: "web01", Login: "deploy", Source: "192.0.2.1", StartedAt: start, EndedAt: start.Add(time.Minute), Bytes: 30}})
	past := must(s.PastRequests(s.ctx, alice.ID, start, 10))(s)
	if len(past) != 2 || past[0].ID != denied.ID || past[0].State != "denied" || !past[0].DecidedAt.Equal(s.now) || past[1].State != "approved" {
		s.Errorf("past requests: %+v", past)
	}
	same(s, len(must(s.PastRequests(s.ctx, alice.ID, start, 1))(s)), 1)
	same(s, len(must(s.PastRequests(s.ctx, alice.ID, start.Add(time.Minute), 10))(s)), 1)
	votes := must(s.PastVotes(s.ctx, alice.ID, start, 10))(s)
	if len(votes) != 1 || !votes[0].FiledAt.Equal(s.now) || !votes[0].At.Equal(s.now.Add(time.Minute)) {
		s.Errorf("past votes: %+v", votes)
	}
	same(s, must(s.PastGrants(s.ctx, alice.ID, start, 10))(s), []risk.PastGrant{{ID: g.ID, Start: g.Start, End: g.End, Sessions: 1, LastSession: start}})
	if gs := must(s.PastGrants(s.ctx, bob.ID, time.Time{}, 10))(s); len(gs) != 0 {
		s.Errorf("a grant that was never activated is past: %+v", gs)
	}
	same(s, must(s.FactorFailures(s.ctx, alice.ID, start))(s), 2)
	same(s, must(s.FactorFailures(s.ctx, bob.ID, start))(s), 0)
}
