package session_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/testenv/world"
	"jit-gateway/session"
)

func TestIdleSessionsEndAndBusyOnesDoNot(t *testing.T) {
	idle := func(r *policy.Rule) { r.Session.IdleTimeout = policy.Duration(10 * time.Minute) }
	bubble(t, world.Options{Rule: idle}, func(t *testing.T, w *world.World) {
		s := w.Begin(w.Grant("web01", "deploy", 2*time.Hour))
		start := time.Now()
		for range 4 { // a stream
			time.Sleep(9 * time.Minute)
			s.Count(0, 1)
		}
		done := s.Busy() // pg_dump waits for its server
		time.Sleep(25 * time.Minute)
		done()
		at := time.Now()
		if s.Context().Err() != nil {
			t.Fatalf("a busy session ended after %s: %v", time.Since(start), context.Cause(s.Context()))
		}
		if term := ended(t, s); term.Cause != "idle" || time.Since(at) != 10*time.Minute {
			t.Errorf("ended by %q %s after its last use", term.Cause, time.Since(at))
		}
	})
}

func TestConcurrentSessionsAreLimited(t *testing.T) {
	two := func(r *policy.Rule) { r.Session.Max = 2 }
	bubble(t, world.Options{Rule: two}, func(t *testing.T, w *world.World) {
		g := w.Grant("web01", "deploy", time.Hour)
		a, b := w.Begin(g), w.Begin(g)
		_, err := w.Sessions.Begin(t.Context(), w.Admit(g), session.Meta{Protocol: "ssh"})
		if err == nil || !strings.Contains(err.Error(), "2 open sessions") {
			t.Fatalf("the third session: %v", err)
		}
		if evs := w.Events(audit.SessionRefused); len(evs) != 1 || evs[0].Grant != g.ID || !strings.Contains(evs[0].Reason, "2 open sessions") {
			t.Errorf("the log says %+v", evs)
		}
		if err := a.Finish(t.Context(), session.Outcome{}); err != nil {
			t.Fatal(err)
		}
		w.Begin(g).Finish(t.Context(), session.Outcome{})
		b.Finish(t.Context(), session.Outcome{})
	})
}

func TestGrantEndsWithItsLastSession(t *testing.T) {
	last := func(r *policy.Rule) { r.Session.EndsWithLast = true }
	bubble(t, world.Options{Rule: last}, func(t *testing.T, w *world.World) {
		g := w.Grant("web01", "deploy", time.Hour)
		a, b := w.Begin(g), w.Begin(g)
		a.Finish(t.Context(), session.Outcome{})
		synctest.Wait()
		time.Sleep(time.Second)
		if b.Context().Err() != nil {
			t.Fatal("the other session ended too")
		}
		b.Finish(t.Context(), session.Outcome{})
		time.Sleep(time.Second)
		g, err := w.DB.Grant(t.Context(), g.ID)
		if err != nil || g.State != approval.Ended || g.Cause != approval.CauseLast {
			t.Errorf("the grant is %s by %q, %v", g.State, g.Cause, err)
		}
	})
}

func TestDrain(t *testing.T) {
	bubble(t, world.Options{}, func(t *testing.T, w *world.World) {
		g := w.Grant("web01", "deploy", time.Hour)
		a, b := w.Begin(g), w.Begin(g)
		adm := w.Admit(g)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		drained := make(chan error, 1)
		go func() { drained <- w.Sessions.Drain(ctx) }()
		synctest.Wait()
		if _, err := w.Sessions.Begin(t.Context(), adm, session.Meta{}); err == nil {
			t.Error("a session began while draining")
		}
		a.Finish(t.Context(), session.Outcome{})
		start := time.Now()
		if term := ended(t, b); term.Cause != "gateway_stopped" || time.Since(start) != time.Minute {
			t.Errorf("ended by %q after %s", term.Cause, time.Since(start))
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}
