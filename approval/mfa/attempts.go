package mfa

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"jit-gateway/internal/audit"
)

const (
	freeFailures = 4 // wrong codes before the first wait
	firstWait    = 30 * time.Second
	longestWait  = time.Hour
)

// wait is how long no code is looked at after that many failures in a row: 30 s
// after five, doubling up to an hour. At that rate a guess of three codes in a
// million succeeds within a year once in about forty.
func wait(failures int) time.Duration {
	n := failures - freeFailures - 1
	if n < 0 {
		return 0
	}
	if n > 7 {
		return longestWait
	}
	return min(firstWait<<n, longestWait)
}

func (v *Verifier) notLocked(ctx context.Context, userID string) error {
	a, err := v.o.Store.FactorAttempts(ctx, userID)
	if err != nil {
		return fmt.Errorf("read failed attempts: %w", err)
	}
	if v.o.Now().Before(a.LockedUntil) {
		return &LockedError{Until: a.LockedUntil}
	}
	return nil
}

// failed counts a wrong code. It returns a *LockedError if that begins a wait.
func (v *Verifier) failed(ctx context.Context, userID string, k Kind, actor audit.Actor) error {
	before, err := v.o.Store.FactorAttempts(ctx, userID)
	if err != nil {
		return fmt.Errorf("read failed attempts: %w", err)
	}
	n := before.Failures + 1
	ev := event(audit.FactorFailed, audit.Failure, userID, actor,
		map[string]string{"kind": string(k), "failures": strconv.Itoa(n)})
	var until time.Time
	if w := wait(n); w > 0 {
		until = stamp(v.o.Now().Add(w))
		ev.Type = audit.FactorLocked
		ev.Detail["locked_until"] = until.Format(time.RFC3339)
	}
	if _, err := v.o.Store.RecordFailure(ctx, userID, until, ev); err != nil {
		return fmt.Errorf("count the failed attempt: %w", err)
	}
	if !until.IsZero() {
		return &LockedError{Until: until}
	}
	return nil
}

// skewMemo remembers how far off each user's last wrong code was. A code of
// the past is worthless, so its offset is told at once. A code of the future
// will be right: telling at once would turn each guess into forty, so it is
// told only when a second code in a row is off by the same.
type skewMemo struct {
	mu sync.Mutex
	m  map[string]time.Duration
}

const maxSkews = 1000 // users remembered

func (s *skewMemo) note(userID string, offset time.Duration) *SkewError {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil || len(s.m) >= maxSkews {
		s.m = map[string]time.Duration{}
	}
	last, again := s.m[userID]
	s.m[userID] = offset
	if d := offset - last; offset < 0 || again && last > 0 && d >= -period*time.Second && d <= period*time.Second {
		return &SkewError{Offset: offset}
	}
	return nil
}

func (s *skewMemo) forget(userID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, userID)
}
