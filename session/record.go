package session

import (
	"context"
	"fmt"
	"strconv"

	"jit-gateway/internal/audit"
	"jit-gateway/recording"
)

// recordingOptions of a session: its segments and its seal are leaves of the
// audit log.
func (m *Manager) recordingOptions(s *Session) recording.Options {
	r := s.adm.Rule().Recording
	return recording.Options{
		Strict: r.Strict, Recipients: r.Recipients, Index: r.Index, Now: m.o.Clock.Now,
		OnSegment: func(i recording.SegmentInfo) error {
			ev := SegmentEvent(s.row, i)
			if s.refused.Load() || s.withEnd(ev) {
				return nil
			}
			return m.append(ev)
		},
		OnSealed: func(seal recording.Seal) error {
			ev := SealEvent(s.row, seal)
			if !s.refused.Load() && !s.withEnd(ev) {
				m.logSeal(ev)
			}
			return nil
		},
		OnFailed: s.recordingFailed,
	}
}

// withEnd keeps a leaf of the recording that is being sealed, to be written in
// one transaction with the session's end.
func (s *Session) withEnd(leaf audit.Event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sealing {
		s.leaves = append(s.leaves, leaf)
	}
	return s.sealing
}

// logSeal makes a seal a leaf of the log that came when the session's end was
// written already: a disk that had not answered. If the store is away, sweep
// logs it when it is back.
func (m *Manager) logSeal(ev audit.Event) {
	err := m.append(ev)
	if err == nil {
		return
	}
	m.o.Logger.Error("log the seal of a recording; trying again", "session", ev.Session, "err", err)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unlogged = append(m.unlogged, ev)
	m.hasWork()
}

// logSeals tries those that could not be logged, oldest first.
func (m *Manager) logSeals() {
	for {
		m.mu.Lock()
		if len(m.unlogged) == 0 {
			m.mu.Unlock()
			return
		}
		ev := m.unlogged[0]
		m.mu.Unlock()
		if err := m.append(ev); err != nil {
			return // the store is away still
		}
		m.mu.Lock()
		m.unlogged = m.unlogged[1:]
		m.mu.Unlock()
	}
}

func (m *Manager) append(ev audit.Event) error {
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	_, err := m.o.Log.Append(ctx, ev)
	return err
}

// SegmentEvent is the leaf that proves one segment of a recording.
func SegmentEvent(r Row, i recording.SegmentInfo) audit.Event {
	ev := rowEvent(r, audit.RecordingSegment)
	ev.Actor = audit.Gateway
	ev.Detail = map[string]string{"index": strconv.Itoa(i.Index), "hash": i.Hash, "length": strconv.FormatInt(i.Length, 10),
		"events": strconv.FormatInt(i.Events, 10), "to_ms": strconv.FormatInt(i.To.Milliseconds(), 10)}
	return ev
}

// SealEvent is the leaf that proves a whole recording.
func SealEvent(r Row, seal recording.Seal) audit.Event {
	ev := rowEvent(r, audit.RecordingSealed)
	ev.Actor = audit.Gateway
	ev.Detail = map[string]string{"hash": seal.Hash, "root": seal.Root, "segments": strconv.Itoa(seal.Segments),
		"events": strconv.FormatInt(seal.Events, 10), "outcome": seal.Outcome}
	if seal.Recovered {
		ev.Detail["recovered"] = "true"
	}
	return ev
}

// A Finder reads events of the audit log, newest first.
type Finder interface {
	FindEvents(ctx context.Context, f audit.Filter) ([]audit.Event, error)
}

// Logged returns what the audit log has of a session's recording, to be
// compared with a recording.Report: the last segment, which vouches for those
// before it, and the hash of the seal; none, and empty, where it has none.
func Logged(ctx context.Context, log Finder, id string) (leaves []recording.SegmentInfo, seal string, err error) {
	for _, t := range []audit.Type{audit.RecordingSegment, audit.RecordingSealed} {
		found, err := log.FindEvents(ctx, audit.Filter{Session: id, Types: []audit.Type{t}, Limit: 1})
		if err != nil {
			return nil, "", fmt.Errorf("look for the recording of session %s in the audit log: %w", id, err)
		}
		for _, ev := range found {
			if t == audit.RecordingSealed {
				seal = ev.Detail["hash"]
				continue
			}
			n, err := strconv.Atoi(ev.Detail["index"])
			if err != nil || n < 0 {
				return nil, "", fmt.Errorf("event %d of the audit log names no segment", ev.Seq)
			}
			leaves = append(leaves, recording.SegmentInfo{Index: n, Hash: ev.Detail["hash"]})
		}
	}
	return leaves, seal, nil
}

// recordingFailed ends the session when its recording fails (G2). The recorder
// calls it, and waits for nothing; idle sessions are many, and a goroutine
// that watched for it would have a stack in each.
func (s *Session) recordingFailed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving {
		return // who leaves seals, and hears of it there
	}
	s.failing.Go(func() {
		s.Terminate(Termination{Cause: "recording_failed", Reason: "The session cannot be recorded any more, so it ends."})
		ev := audit.Event{Type: audit.RecordingFailed, Outcome: audit.Failure, Actor: audit.Gateway, Reason: err.Error()}
		ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
		defer cancel()
		if err := s.Audit(ctx, ev); err != nil {
			s.m.o.Logger.Error("audit a failed recording", "session", s.row.ID, "err", err)
		}
	})
}

// leave waits for what a failure of the recording has begun; nothing more
// begins.
func (s *Session) leave() {
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
	s.failing.Wait()
}

// seal ends the recording; a termination is the last thing in it. It returns
// the leaves that vouch for it, which are on the disk and not in the log yet.
func (s *Session) seal(cause string) (leaves []audit.Event, err error) {
	s.mu.Lock()
	s.sealing = true
	s.mu.Unlock()
	defer func() { // what comes late is logged by itself
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sealing, leaves, s.leaves = false, s.leaves, nil
	}()
	if t := s.termination(); t != nil {
		p := recording.Termination{Cause: t.Cause, Reason: t.Reason, By: t.By}
		if err := s.rec.Event(recording.Event{Kind: recording.KindTermination, Payload: p}); err != nil {
			s.m.o.Logger.Warn("record a termination", "session", s.row.ID, "err", err)
		}
	}
	if _, err := s.rec.Seal(cause); err != nil {
		return nil, fmt.Errorf("seal the recording: %w", err)
	}
	return nil, nil
}
