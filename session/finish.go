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

// paperwork bounds the sessions that write their end at once. When a thousand
// end together, every one of them is cut and its credentials are dead long
// before the last is sealed and audited, instead of each standing in the
// other's way (G3). It is enough for the store to commit in groups.
const paperwork = 16

// Finish is step 12, the one path for logout, failure and termination alike:
// invalidate, check, seal, audit and close the row. The handler calls it after
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
	s.leave()

	// Invalidate and check. What is dead is told with the rest of the end.
	var errs []error
	var e End
	s.mu.Lock()
	creds := slices.Collect(maps.Values(s.creds))
	s.mu.Unlock()
	for _, c := range creds {
		dead, err := m.slay(ctx, c, t.At)
		if err != nil {
			errs = append(errs, err)
			m.keepTrying(c, t.At, 1)
			continue
		}
		e.Dead = append(e.Dead, dead)
	}

	// Seal.
	m.paper <- struct{}{}
	defer func() { <-m.paper }()
	var err error
	if e.Leaves, err = s.seal(t.Cause); err != nil {
		errs = append(errs, err)
	}

	// Audit and close the row, in one transaction.
	e.Row, e.Event = s.Row(), rowEvent(s.row, audit.SessionEnded)
	e.Row.State, e.Row.EndedAt = Closed, m.o.Clock.Now().UTC()
	e.Row.Cause, e.Row.Reason, e.Row.EndedBy = t.Cause, t.Reason, t.By
	e.Event.Actor, e.Event.Reason = audit.Gateway, t.Reason
	switch {
	case t.By != "":
		e.Event.Actor = audit.Actor{ID: t.By}
	case t.Cause == "logout":
		e.Event.Actor = s.actor()
	}
	e.Event.Detail = map[string]string{"cause": t.Cause, "duration_ms": ms(e.Row.EndedAt.Sub(e.Row.StartedAt)),
		"bytes_in": strconv.FormatInt(e.Row.BytesIn, 10), "bytes_out": strconv.FormatInt(e.Row.BytesOut, 10)}
	if !t.At.IsZero() {
		e.Event.Detail["end_ms"] = ms(e.Row.EndedAt.Sub(t.At)) // from the cut to here
	}
	if len(errs) > 0 {
		e.Event.Detail["trouble"] = errors.Join(errs...).Error()
		e.Row.Flags = append(e.Row.Flags, FlagTrouble)
	}
	if err := m.writeEnd(ctx, e); err != nil {
		errs = append(errs, err)
	}
	m.leave(s)
	m.o.Metrics.end(t.Cause)
	return errors.Join(errs...)
}

// writeEnd writes the end of a session; what the store does not take now is
// tried again by sweep.
func (m *Manager) writeEnd(ctx context.Context, e End) error {
	ctx, cancel := context.WithTimeout(ctx, m.writeTimeout())
	defer cancel()
	err := m.o.Store.EndSession(ctx, e)
	// ErrConflict: closed already, by another gateway or by a commit of ours
	// that nobody acknowledged. ErrNotFound: it never was, see perhapsBegun.
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		err = m.writeRest(ctx, e)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		delete(m.unclosed, e.Row.ID)
		return nil
	}
	if _, known := m.unclosed[e.Row.ID]; !known {
		m.unclosed[e.Row.ID] = e
		m.hasWork()
	}
	return fmt.Errorf("close session %s: %w", e.Row.ID, err)
}

// writeRest writes what an end tells beside the row. A leaf that is in the log
// already is told once more, and says the same.
func (m *Manager) writeRest(ctx context.Context, e End) error {
	for _, d := range e.Dead {
		if err := m.writeDeath(ctx, d); err != nil {
			return err
		}
	}
	for _, leaf := range e.Leaves {
		if _, err := m.o.Log.Append(ctx, leaf); err != nil {
			return err
		}
	}
	return nil
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
