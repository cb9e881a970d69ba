package storetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
	"jit-gateway/session"
)

// Gateways is what gateways on one store tell each other.
type Gateways interface {
	Introduce(ctx context.Context, g store.Gateway, ev audit.Event) error
	Gateway(ctx context.Context, id string) (store.Gateway, error)
	Gateways(ctx context.Context, since time.Time) ([]store.Gateway, error)
	Agree(ctx context.Context, name, value string, ev audit.Event) (string, error)
	Record(ctx context.Context, name, old, value string, ev audit.Event) error
	Spend(ctx context.Context, grantID string, add store.Spent) (store.Spent, error)
}

func gateways(s *suite) {
	g := store.Gateway{ID: "I1", Name: "gw-a", Version: "1.2", Started: s.now, Beat: s.now}
	s.ok(s.Introduce(s.ctx, g, ev(audit.GatewayStarted)))
	s.is(s.Introduce(s.ctx, g, ev(audit.GatewayStarted)), store.ErrExists)
	same(s, must(s.Gateway(s.ctx, "I1"))(s), g)
	s.is(fail(s.Gateway(s.ctx, "I404")), store.ErrNotFound)
	g.Beat = s.now.Add(time.Minute)
	s.ok(s.Beat(s.ctx, "I1", g.Beat))
	s.ok(s.Beat(s.ctx, "I0", s.now)) // never introduced itself
	same(s, must(s.Gateways(s.ctx, s.now))(s), []store.Gateway{g, {ID: "I0", Beat: s.now}})
	same(s, must(s.Gateways(s.ctx, s.now.Add(1)))(s), []store.Gateway{g})

	before := must(s.LastSeq(s.ctx))(s)
	same(s, must(s.Agree(s.ctx, "ca", "a", ev(audit.KeysRecorded)))(s), "a")
	same(s, must(s.Agree(s.ctx, "ca", "b", ev(audit.KeysRecorded)))(s), "a")
	same(s, must(s.LastSeq(s.ctx))(s), before+1) // nothing changed the second time
	s.is(s.Record(s.ctx, "ca", "b", "c", ev(audit.KeysRecorded)), store.ErrConflict)
	s.ok(s.Record(s.ctx, "ca", "a", "c", ev(audit.KeysRecorded)))
	same(s, must(s.Agree(s.ctx, "ca", "b", ev(audit.KeysRecorded)))(s), "c")
}

// budgets: what is added at once adds up.
func budgets(s *suite) {
	g := s.liveGrant(s.user("alice"))
	same(s, must(s.Spend(s.ctx, g.ID, store.Spent{}))(s), store.Spent{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				if _, err := s.Spend(s.ctx, g.ID, store.Spent{Rows: 1, Bytes: 10, Statements: 2}); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wg.Wait()
	same(s, must(s.Spend(s.ctx, g.ID, store.Spent{Rows: 1}))(s), store.Spent{Rows: 41, Bytes: 400, Statements: 80})
	s.is(fail(s.Spend(s.ctx, "G404", store.Spent{})), store.ErrNotFound)
}

// sessionLimit: of many that begin at once, as many succeed as may be open.
func sessionLimit(s *suite) {
	g := s.liveGrant(s.user("alice"))
	other := s.session(g) // under another rule
	rows := make([]string, 8)
	errs := make([]error, len(rows))
	var wg sync.WaitGroup
	for i := range rows {
		r := other
		r.ID, r.Rule, r.Most = s.id("S"), "two", 2
		rows[i] = r.ID
		wg.Go(func() { errs[i] = s.BeginSession(s.ctx, r, ev(audit.SessionStarted)) })
	}
	wg.Wait()
	began := ""
	n := 0
	for i, err := range errs {
		switch {
		case err == nil:
			began = rows[i]
			n++
		case !errors.Is(err, store.ErrConflict):
			s.Errorf("one too many: %v", err)
		}
	}
	if n != 2 {
		s.Fatalf("%d sessions began, want 2", n)
	}
	end := must(s.Session(s.ctx, began))(s)
	end.State, end.EndedAt = "closed", s.now
	s.ok(s.EndSession(s.ctx, session.End{Row: end, Event: ev(audit.SessionEnded)}))
	again := other
	again.ID, again.Rule, again.Most = s.id("S"), "two", 2
	s.ok(s.BeginSession(s.ctx, again, ev(audit.SessionStarted)))
}
