package session_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/testenv/world"
	"jit-gateway/session"
)

// The goal of G3: from the grant's end to the closed transports of each of
// 1,000 live sessions p99 ≤ 100 ms, on the machine's own clocks, with
// recordings, and with the after-work of every session on the same two cores.
//
// A machine that does something else at that moment gets two more chances.
func TestG3AThousandSessionsEndTogether(t *testing.T) {
	goal := 100 * time.Millisecond
	if raceDetector {
		goal = time.Second // it makes everything several times slower
	}
	var p99 time.Duration
	for range 3 {
		if p99 = thousand(t); p99 <= goal || t.Failed() {
			return
		}
	}
	t.Errorf("p99 of the end is %s, three times", p99)
}

func thousand(t *testing.T) (p99 time.Duration) {
	const sessions = 1000
	w := world.New(t, world.Options{})
	defer w.Close()
	w.Run(true)
	g := w.Grant("web01", "deploy", time.Hour)
	begun := time.Now()
	all := make([]*session.Session, sessions)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := i; j < sessions; j += 8 {
				adm := w.Admit(g)
				s, err := w.Sessions.Begin(context.Background(), adm, session.Meta{Protocol: "ssh", Source: "192.0.2.7"})
				if err != nil {
					t.Error(err)
					return
				}
				all[j] = s
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return 0
	}
	t.Logf("%d sessions begun in %s", sessions, time.Since(begun).Round(time.Millisecond))

	// The end comes in a second: the extension's event moves it, here to the
	// near side.
	g, err := w.DB.Grant(t.Context(), g.ID)
	if err != nil {
		t.Fatal(err)
	}
	g.End = time.Now().Add(time.Second).UTC()
	if err := w.DB.UpdateGrant(t.Context(), g, audit.Event{Type: audit.GrantExtended, Outcome: audit.Success, Grant: g.ID}); err != nil {
		t.Fatal(err)
	}
	closed := make([]time.Duration, sessions)
	finished := make([]time.Duration, sessions)
	for i, s := range all {
		transport := &lateCloser{end: g.End, done: make(chan struct{})}
		s.Attach(transport)
		wg.Go(func() {
			<-s.Context().Done() // a handler that closes at once
			transport.Close()
			<-transport.done
			closed[i] = transport.late
			if err := s.Finish(context.Background(), session.Outcome{}); err != nil {
				t.Error(err)
			}
			finished[i] = time.Since(g.End)
		})
	}
	wg.Wait()
	for name, late := range map[string][]time.Duration{"closed": closed, "finished, sealed and audited": finished} {
		slices.Sort(late)
		t.Logf("%s: p50 %s, p99 %s, max %s after the end", name, late[sessions/2], late[sessions*99/100], late[sessions-1])
		if late[0] < 0 {
			t.Errorf("one was %s early", -late[0])
		}
	}
	return closed[sessions*99/100]
}

type lateCloser struct {
	end  time.Time
	once sync.Once
	late time.Duration
	done chan struct{}
}

func (c *lateCloser) Close() error {
	c.once.Do(func() {
		c.late = time.Since(c.end)
		close(c.done)
	})
	return nil
}
