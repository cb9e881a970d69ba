package session_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/clock"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/testenv/world"
	"jit-gateway/session"
)

// bubble runs test in a synctest bubble with a World whose manager and
// approvals run.
func bubble(t *testing.T, o world.Options, test func(t *testing.T, w *world.World)) {
	t.Helper()
	t.Parallel() // hours of simulated time are many commits, and most of what it takes is waiting for the disk
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	synctest.Test(t, func(t *testing.T) {
		if o.Clock.Now == nil {
			o.Clock = clock.Simulated()
		}
		w := world.New(t, o)
		w.Run(true)
		test(t, w)
		w.Close()
	})
}

// ended waits for the session's termination and finishes it.
func ended(t *testing.T, s *session.Session) *session.Termination {
	t.Helper()
	<-s.Context().Done()
	var term *session.Termination
	if !errors.As(context.Cause(s.Context()), &term) {
		t.Fatalf("the cause is %v", context.Cause(s.Context()))
	}
	if err := s.Finish(context.Background(), session.Outcome{Cause: "logout"}); err != nil {
		t.Fatalf("finish: %v", err)
	}
	return term
}

func TestG3TheEndIsExact(t *testing.T) {
	bubble(t, world.Options{}, func(t *testing.T, w *world.World) {
		g := w.Grant("web01", "deploy", 2*time.Hour)
		s := w.Begin(g)
		for _, left := range []time.Duration{5 * time.Minute, time.Minute} {
			warning := <-s.Warnings()
			if got := time.Until(g.End); warning.Left != left || got != left {
				t.Errorf("warned of %s when %s were left", warning.Left, got)
			}
			if !strings.Contains(warning.Text, "web01 ends in") {
				t.Errorf("the warning says %q", warning.Text)
			}
		}
		term := ended(t, s)
		if late := time.Since(g.End); late < 0 || late > time.Second {
			t.Errorf("the end came %s late", late)
		}
		if term.Cause != "expired" || !term.At.Equal(g.End) {
			t.Errorf("it ended at %s of %q, want %s", term.At, term.Cause, g.End)
		}
		row, err := w.DB.Session(t.Context(), s.ID())
		if err != nil || row.State != session.Closed || row.Cause != "expired" {
			t.Errorf("the row is %+v, %v", row, err)
		}
		if len(w.Sessions.Live()) != 0 {
			t.Error("the session is still listed")
		}
	})
}

// skewed is how far the wall clock is off.
type skewed struct{ atomic.Int64 }

func (s *skewed) get() time.Duration  { return time.Duration(s.Load()) }
func (s *skewed) set(d time.Duration) { s.Store(int64(d)) }

func TestG3TheClockThatIsSetBackBuysNothing(t *testing.T) {
	var skew skewed
	synctest.Test(t, func(t *testing.T) {
		w := world.New(t, world.Options{Clock: clock.Skewed(skew.get)})
		w.Run(false)
		s := w.Begin(w.Grant("web01", "deploy", time.Hour))
		start := time.Now()
		time.Sleep(10 * time.Minute)
		skew.set(-3 * time.Hour)
		if term := ended(t, s); term.Cause != "expired" || time.Since(start) != time.Hour {
			t.Errorf("ended by %q after %s", term.Cause, time.Since(start))
		}
		w.Close()
	})
}

func TestG3TheClockThatIsSetForwardEndsAtOnce(t *testing.T) {
	var skew skewed
	synctest.Test(t, func(t *testing.T) {
		c := clock.Skewed(skew.get)
		alarms := make(chan func(), 1) // what CANCEL_ON_SET does
		base := c.NewAlarm
		c.NewAlarm = func() (clock.Alarm, error) {
			a, err := base()
			alarms <- func() { a.Set(c.Now(), c.Boot()) }
			return a, err
		}
		w := world.New(t, world.Options{Clock: c})
		w.Run(false)
		s := w.Begin(w.Grant("web01", "deploy", time.Hour))
		time.Sleep(time.Minute)
		skew.set(2 * time.Hour)
		(<-alarms)()
		start := time.Now()
		if term := ended(t, s); term.Cause != "expired" || time.Since(start) > time.Second {
			t.Errorf("ended by %q after %s", term.Cause, time.Since(start))
		}
		w.Close()
	})
}

func TestG3WhatEndsAGrantEndsItsSessions(t *testing.T) {
	ctx := context.Background()
	for cause, act := range map[string]func(w *world.World, g approval.Grant) error{
		"released": func(w *world.World, g approval.Grant) error {
			_, err := w.Approvals.Release(ctx, w.Caller, g.ID)
			return err
		},
		"revoked": func(w *world.World, g approval.Grant) error {
			_, err := w.Approvals.Revoke(ctx, w.Caller, g.ID, "enough\x1b[2J", w.Proof)
			return err
		},
		"user_disabled": func(w *world.World, g approval.Grant) error {
			u := w.Alice
			u.State = identity.Disabled
			return w.DB.UpdateUser(ctx, u, audit.Event{Type: audit.UserDisabled, Outcome: audit.Success, User: u.ID})
		},
		"key_removed": func(w *world.World, g approval.Grant) error {
			return w.DB.RemoveKey(ctx, w.Alice.ID, world.Key, audit.Event{Type: audit.KeyRemoved, Outcome: audit.Success, User: w.Alice.ID, Detail: map[string]string{"fingerprint": world.Key}})
		},
	} {
		t.Run(cause, func(t *testing.T) {
			bubble(t, world.Options{}, func(t *testing.T, w *world.World) {
				g, other := w.Grant("web01", "deploy", time.Hour), w.Grant("web01", "admin", time.Hour)
				s, bystander := w.Begin(g), w.Begin(other)
				adm := w.Admit(g)
				start := time.Now()
				if err := act(w, g); err != nil {
					t.Fatal(err)
				}
				term := ended(t, s)
				if term.Cause != cause || time.Since(start) > 100*time.Millisecond {
					t.Errorf("ended by %q after %s", term.Cause, time.Since(start))
				}
				if strings.ContainsRune(term.Reason, 0x1b) {
					t.Errorf("the reason is not fit for a terminal: %q", term.Reason)
				}
				synctest.Wait()
				if all := cause == "user_disabled" || cause == "key_removed"; all != (bystander.Context().Err() != nil) {
					t.Errorf("the other grant's session: %v", context.Cause(bystander.Context()))
				}
				// An admission from before opens nothing any more.
				if _, err := w.Sessions.Begin(ctx, adm, session.Meta{Protocol: "ssh"}); err == nil {
					t.Error("a session began after the end")
				}
				bystander.Finish(ctx, session.Outcome{})
			})
		})
	}
}

func TestG3ExtensionMovesTheEnd(t *testing.T) {
	bubble(t, world.Options{}, func(t *testing.T, w *world.World) {
		g := w.Grant("web01", "deploy", time.Hour)
		s := w.Begin(g)
		time.Sleep(57 * time.Minute)
		if warning := <-s.Warnings(); warning.Left != 5*time.Minute {
			t.Errorf("warned of %s", warning.Left)
		}
		if _, err := w.Approvals.File(t.Context(), w.Caller, approval.Ask{Extends: g.ID, Reason: "not done", Duration: 30 * time.Minute}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := g.End.Add(30 * time.Minute)
		if !s.End().Equal(want) {
			t.Fatalf("the end is %s, want %s", s.End(), want)
		}
		if warning := <-s.Warnings(); warning.Left != 5*time.Minute || time.Until(want) != 5*time.Minute {
			t.Errorf("warned of %s when %s were left", warning.Left, time.Until(want))
		}
		if term := ended(t, s); !term.At.Equal(want) {
			t.Errorf("it ended at %s, want %s", term.At, want)
		}
	})
}

func TestG1NoSessionWithoutAdmission(t *testing.T) {
	bubble(t, world.Options{}, func(t *testing.T, w *world.World) {
		if _, err := w.Sessions.Begin(t.Context(), approval.Admission{}, session.Meta{}); err == nil {
			t.Error("a session began without an admission")
		}
		g := w.Grant("web01", "deploy", time.Hour)
		adm := w.Admit(g)
		time.Sleep(time.Hour)
		if _, err := w.Sessions.Begin(t.Context(), adm, session.Meta{}); err == nil {
			t.Error("a session began after the grant's end")
		}
	})
}

func TestTerminateByAPerson(t *testing.T) {
	bubble(t, world.Options{}, func(t *testing.T, w *world.World) {
		s := w.Begin(w.Grant("web01", "deploy", time.Hour))
		if err := w.Sessions.Terminate(t.Context(), s.ID(), session.Termination{By: "Ubob", Reason: "wrong host"}); err != nil {
			t.Fatal(err)
		}
		if term := ended(t, s); term.Cause != "terminated" || term.By != "Ubob" || term.Reason != "wrong host" {
			t.Errorf("it ended with %+v", term)
		}
		evs := w.Events(audit.SessionTerminated, audit.SessionEnded)
		if len(evs) != 2 || evs[0].Actor.ID != "Ubob" || evs[1].Detail["cause"] != "terminated" {
			t.Errorf("the log says %+v", evs)
		}
		if err := w.Sessions.Terminate(t.Context(), s.ID(), session.Termination{}); err == nil {
			t.Error("an ended session was terminated again")
		}
	})
}

func TestTransportsAreClosedEvenIfTheHandlerHangs(t *testing.T) {
	bubble(t, world.Options{}, func(t *testing.T, w *world.World) {
		s := w.Begin(w.Grant("web01", "deploy", time.Minute*10))
		c, kept := make(closer), make(closer)
		s.Attach(c)
		s.Attach(kept)()
		start := time.Now()
		s.Terminate(session.Termination{Cause: "budget", Reason: "Too much."})
		<-c
		if d := time.Since(start); d > 100*time.Millisecond {
			t.Errorf("closed after %s", d)
		}
		synctest.Wait()
		select {
		case <-kept:
			t.Error("a transport that was taken back was closed")
		default:
		}
		late := make(closer)
		s.Attach(late)
		<-late
		ended(t, s)
	})
}

type closer chan struct{}

func (c closer) Close() error { close(c); return nil }
