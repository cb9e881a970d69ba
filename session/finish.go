package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// Outcome is how a session ended, by the handler's account. A termination
// takes precedence over it.
type Outcome struct {
	Cause  string // logout if empty; upstream_failed, …
	Reason string // a sentence
}

// closing is a session whose end is not in the store yet.
type closing struct {
	row Row
	ev  audit.Event
}

// paperwork bounds the sessions that write their end at once. When a thousand
// end together, every one of them is cut and its credentials are dead long
// before the last is sealed and audited, instead of each standing in the
// other's way (G3). It is enough for the store to commit in groups.
const paperwork = 16

// Finish is step 12, the one path for logout, failure and termination alike:
// invalidate, check, seal, audit, close the row. The handler calls it after
// its last goroutine has ended; only the first call does anything, the others
// wait for it. It goes on when ctx is done. The error says what could not be
// done; the manager goes on trying.
func (s *Session) Finish(ctx context.Context, o Outcome) error {
	s.once.Do(func() {
		s.finishErr = s.finish(context.WithoutCancel(ctx), o)
		close(s.finished)
	})
	<-s.finished
	return s.finishErr
}

func (s *Session) finish(ctx context.Context, o Outcome) error {
	m := s.m
	t := s.termination()
	if t == nil {
		t = &Termination{Cause: cmp.Or(o.Cause, "logout"), Reason: o.Reason, At: m.o.Clock.Now()}
	}
	s.cancel(t) // nothing of the session runs on
	s.watcher.Wait()

	// Invalidate and check.
	var errs []error
	s.mu.Lock()
	creds := slices.Collect(maps.Values(s.creds))
	s.mu.Unlock()
	for _, c := range creds {
		if err := m.kill(ctx, c, t.At); err != nil {
			errs = append(errs, err)
			m.keepTrying(c, t.At, 1)
		}
	}

	// Seal.
	m.paper <- struct{}{}
	defer func() { <-m.paper }()
	if err := s.seal(t.Cause); err != nil {
		errs = append(errs, err)
	}

	// Audit and close the row, in one transaction.
	c := closing{row: s.Row()}
	c.row.State, c.row.EndedAt = Closed, m.o.Clock.Now().UTC()
	c.row.Cause, c.row.Reason, c.row.EndedBy = t.Cause, t.Reason, t.By
	c.ev = rowEvent(s.row, audit.SessionEnded)
	c.ev.Actor, c.ev.Reason = audit.Gateway, t.Reason
	switch {
	case t.By != "":
		c.ev.Actor = audit.Actor{ID: t.By}
	case t.Cause == "logout":
		c.ev.Actor = s.actor()
	}
	c.ev.Detail = map[string]string{"cause": t.Cause, "duration_ms": ms(c.row.EndedAt.Sub(c.row.StartedAt)),
		"bytes_in": strconv.FormatInt(c.row.BytesIn, 10), "bytes_out": strconv.FormatInt(c.row.BytesOut, 10)}
	if !t.At.IsZero() {
		c.ev.Detail["end_ms"] = ms(c.row.EndedAt.Sub(t.At)) // from the cut to here
	}
	if len(errs) > 0 {
		c.ev.Detail["trouble"] = errors.Join(errs...).Error()
		c.row.Flags = append(c.row.Flags, FlagTrouble)
	}
	if err := m.closeRow(ctx, c); err != nil {
		errs = append(errs, err)
	}
	m.leave(s)
	m.o.Metrics.end(t.Cause)
	return errors.Join(errs...)
}

// closeRow writes the end of a session; what the store does not take now is
// tried again by sweep.
func (m *Manager) closeRow(ctx context.Context, c closing) error {
	ctx, cancel := context.WithTimeout(ctx, m.writeTimeout())
	defer cancel()
	err := m.o.Store.EndSession(ctx, c.row, c.ev)
	m.mu.Lock()
	defer m.mu.Unlock()
	// ErrConflict: closed already. ErrNotFound: it never was, see perhapsBegun.
	if err == nil || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		delete(m.unclosed, c.row.ID)
		return nil
	}
	if _, known := m.unclosed[c.row.ID]; !known {
		m.unclosed[c.row.ID] = c
		m.hasWork()
	}
	return fmt.Errorf("close session %s: %w", c.row.ID, err)
}

// writeTimeout is how long a write may take: short while the store is known to
// be away, so that a thousand ends do not queue behind it.
func (m *Manager) writeTimeout() time.Duration {
	if m.StoreOK() != nil {
		return time.Second
	}
	return stepTimeout
}

// after is when something that failed n times is tried again.
func after(n int) time.Duration {
	if n == 0 {
		return 0
	}
	return min(time.Second<<min(n, 10), 5*time.Minute)
}
