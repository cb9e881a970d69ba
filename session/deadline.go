package session

import (
	"context"
	"fmt"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/clock"
)

// window is the time that a grant has left, as its live sessions share it.
type window struct {
	end      time.Time     // by the wall clock
	boot     time.Duration // and by CLOCK_BOOTTIME: whichever comes first
	warned   int           // warnings given
	sessions map[string]*Session
}

// warnAt is how long before the end sessions are warned.
var warnAt = [...]time.Duration{5 * time.Minute, time.Minute}

// far is how long watch sleeps when nothing is due.
const far = time.Hour

func newWindow(end time.Time, c clock.Clock) *window {
	w := &window{end: end, boot: c.Boot() + end.Sub(c.Now()), sessions: map[string]*Session{}}
	w.skipWarnings(end.Sub(c.Now()))
	return w
}

// skipWarnings leaves out those whose moment has passed already.
func (w *window) skipWarnings(left time.Duration) {
	w.warned = 0
	for w.warned < len(warnAt) && left <= warnAt[w.warned] {
		w.warned++
	}
}

// setEnd follows an extension. The boot clock's end moves by as much as the
// wall clock's, so that a clock that was set meanwhile buys nothing.
func (m *Manager) setEnd(g approval.Grant) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.grants[g.ID]
	if w == nil || w.end.Equal(g.End) {
		return
	}
	w.boot += g.End.Sub(w.end)
	w.end = g.End
	w.skipWarnings(w.end.Sub(m.o.Clock.Now()))
	m.wake()
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
	type due struct {
		s *Session
		t *Termination
	}
	var cuts []due
	next = far
	m.mu.Lock()
	now, boot := m.o.Clock.Now(), m.o.Clock.Boot()
	for _, w := range m.grants {
		left := min(w.end.Sub(now), w.boot-boot)
		if left <= 0 {
			for _, s := range w.sessions {
				if s.termination() == nil {
					m.o.Metrics.late(-left)
					cuts = append(cuts, due{s, &Termination{Cause: string(approval.CauseExpired), At: now,
						Reason: fmt.Sprintf("Your access to %s ended at %s.", s.row.Target, clockTime(w.end))}})
				}
			}
			continue
		}
		for w.warned < len(warnAt) && left <= warnAt[w.warned] {
			w.warn(warnAt[w.warned])
			w.warned++
		}
		if w.warned < len(warnAt) {
			left -= warnAt[w.warned]
		}
		next = min(next, left)
	}
	lost := m.storeSeen + m.o.StoreGrace - boot
	for _, s := range m.live {
		if s.termination() != nil {
			continue
		}
		if lost < 0 {
			cuts = append(cuts, due{s, &Termination{Cause: "store_lost", At: now,
				Reason: fmt.Sprintf("The gateway has not reached its store for %s, so the session ends.", m.o.StoreGrace)}})
			continue
		}
		if idle := s.adm.Rule().Session.IdleTimeout.Std(); idle > 0 {
			unused := s.unused()
			if unused >= idle {
				cuts = append(cuts, due{s, &Termination{Cause: "idle", At: now, Reason: fmt.Sprintf("The session was idle for %s.", idle)}})
				continue
			}
			next = min(next, idle-unused)
		}
	}
	if len(m.live) > 0 && lost >= 0 {
		next = min(next, lost+time.Millisecond)
	}
	m.mu.Unlock()
	for _, c := range cuts {
		m.cut(c.s, c.t)
	}
	return next
}

// warn never waits: who does not read warnings does not want them.
func (w *window) warn(left time.Duration) {
	text := fmt.Sprintf("Your access ends in %d minutes, at %s.", int(left.Minutes()), clockTime(w.end))
	if left == time.Minute {
		text = fmt.Sprintf("Your access ends in 1 minute, at %s.", clockTime(w.end))
	}
	for _, s := range w.sessions {
		select {
		case s.warnings <- Warning{Left: left, End: w.end, Text: text}:
		default:
		}
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
	time.AfterFunc(m.o.CutGrace, s.closeAttached)
}
