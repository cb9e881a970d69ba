package session

import (
	"context"
	"fmt"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/clock"
)

// warnAt is how long before the end sessions are warned.
var warnAt = [...]time.Duration{5 * time.Minute, time.Minute}

// far is how long watch sleeps when nothing is due.
const far = time.Hour

// setDeadline starts the session's window. Callers hold m.mu.
func (s *Session) setDeadline(end time.Time) {
	left := end.Sub(s.m.o.Clock.Now())
	s.end, s.boot = end, s.m.o.Clock.Boot()+left
	s.skipWarnings(left)
	s.m.wake()
}

// moveDeadline follows an extension. The boot clock's end moves by as much as
// the wall clock's, so that a clock that was set meanwhile buys nothing.
// Callers hold m.mu.
func (s *Session) moveDeadline(end time.Time) {
	if s.end.Equal(end) {
		return
	}
	s.boot += end.Sub(s.end)
	s.end = end
	s.skipWarnings(min(end.Sub(s.m.o.Clock.Now()), s.boot-s.m.o.Clock.Boot()))
	s.m.wake()
}

// skipWarnings leaves out those whose moment has passed already.
func (s *Session) skipWarnings(left time.Duration) {
	s.warned = 0
	for s.warned < len(warnAt) && left <= warnAt[s.warned] {
		s.warned++
	}
}

// extend moves the deadlines of a grant's sessions.
func (m *Manager) extend(g approval.Grant) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.live {
		if s.row.GrantID == g.ID {
			s.moveDeadline(s.adm.EndOf(g))
		}
	}
}

// wake makes watch look again. Callers hold mu or not.
func (m *Manager) wake() {
	select {
	case m.nudge <- struct{}{}:
	default:
	}
}

// watch is step 10: one alarm for all deadlines. It looks at every live grant
// and session when it wakes, which is when the next thing is due: a few
// thousand comparisons, cheaper than keeping them sorted through two clocks
// that may part.
func (m *Manager) watch(ctx context.Context, alarm clock.Alarm) {
	for {
		next := m.tick()
		c := m.o.Clock
		retry := make(<-chan time.Time)
		if err := alarm.Set(c.Now().Add(next), c.Boot()+next); err != nil {
			m.o.Logger.Error("set the deadline alarm; looking every 50 ms instead", "err", err)
			retry = time.After(50 * time.Millisecond)
		}
		select {
		case <-alarm.C():
		case <-m.nudge:
		case <-retry:
		case <-ctx.Done():
			return
		}
	}
}

// tick does what is due and returns how long nothing else is.
func (m *Manager) tick() (next time.Duration) {
	cuts := map[*Session]*Termination{}
	m.mu.Lock()
	now, boot := m.o.Clock.Now(), m.o.Clock.Boot()
	next = far
	lost := m.storeSeen + m.o.StoreGrace - boot
	for _, s := range m.live {
		if s.termination() != nil {
			continue
		}
		t, in := s.due(now, boot, lost)
		if t != nil {
			cuts[s] = t
			continue
		}
		next = min(next, in)
	}
	m.mu.Unlock()
	for s, t := range cuts {
		m.cut(s, t)
	}
	return next
}

// due warns the session if it is time to, and returns why it ends now, or in
// how long to look again. Callers hold m.mu.
func (s *Session) due(now time.Time, boot, lost time.Duration) (*Termination, time.Duration) {
	left := min(s.end.Sub(now), s.boot-boot)
	if left <= 0 {
		s.m.o.Metrics.late(-left)
		return &Termination{Cause: string(approval.CauseExpired), At: now, Reason: s.endText()}, 0
	}
	if lost < 0 {
		return &Termination{Cause: "store_lost", At: now,
			Reason: fmt.Sprintf("The gateway has not reached its store for %s, so the session ends.", s.m.o.StoreGrace)}, 0
	}
	next := min(left, lost+time.Millisecond)
	for s.warned < len(warnAt) && left <= warnAt[s.warned] {
		s.warn(warnAt[s.warned])
		s.warned++
	}
	if s.warned < len(warnAt) {
		next = min(next, left-warnAt[s.warned])
	}
	if idle := s.adm.Rule().Session.IdleTimeout.Std(); idle > 0 {
		unused := s.unused()
		if unused >= idle {
			return &Termination{Cause: "idle", At: now, Reason: fmt.Sprintf("The session was idle for %s.", idle)}, 0
		}
		next = min(next, idle-unused)
	}
	return nil, next
}

func (s *Session) endText() string {
	return fmt.Sprintf("Your access to %s ended at %s.", s.row.Target, clockTime(s.end))
}

// warn never waits: who does not read warnings does not want them.
func (s *Session) warn(left time.Duration) {
	text := fmt.Sprintf("Your access to %s ends in %d minutes, at %s.", s.row.Target, int(left.Minutes()), clockTime(s.end))
	if left == time.Minute {
		text = fmt.Sprintf("Your access to %s ends in 1 minute, at %s.", s.row.Target, clockTime(s.end))
	}
	select {
	case s.warnings <- Warning{Left: left, End: s.end, Text: text}:
	default:
	}
}

func clockTime(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }

// cut is step 11 as far as the manager goes: the cause is set, the session's
// context ends, and its transports are closed if the handler has not done so
// in time. It never waits. The first cut counts.
func (m *Manager) cut(s *Session, t *Termination) {
	s.mu.Lock()
	if s.term != nil {
		s.mu.Unlock()
		return
	}
	s.term = t
	s.mu.Unlock()
	s.cancel(t)
	for _, grace := range []time.Duration{m.o.CutGrace, m.o.TellGrace} {
		time.AfterFunc(grace, func() { s.closeAttached(grace) })
	}
}
