package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// beatEvery is how often the store is told that this instance is alive: more
// often where StoreGrace is short.
func (m *Manager) beatEvery() time.Duration { return min(5*time.Second, m.o.StoreGrace/4) }

// beatTimeout is when a silent store counts as unseen.
func (m *Manager) beatTimeout() time.Duration { return m.beatEvery() * 4 / 5 }

// beat keeps this instance alive in the store, and knows when the store was
// last seen: watch ends the sessions StoreGrace after that (G5). Orphans of
// other instances are looked for on the way.
func (m *Manager) beat(ctx context.Context) {
	tick := time.NewTicker(m.beatEvery())
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := m.beatOnce(ctx); err != nil {
			m.o.Logger.Error("the store does not answer; no new sessions, and live ones end after the grace", "grace", m.o.StoreGrace, "err", err)
			continue
		}
		if !m.o.Exclusive && n%2 == 0 {
			if err := m.Recover(ctx); err != nil {
				m.o.Logger.Error("recover what dead gateways left", "err", err)
			}
		}
	}
}

func (m *Manager) beatOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.beatTimeout())
	defer cancel()
	sent := m.o.Clock.Boot() // the store was there at some time after
	now := m.o.Clock.Now().UTC()
	err := m.o.Instances.Beat(ctx, m.o.Instance, now)
	var mark time.Time
	if err == nil {
		mark, err = m.o.Instances.HighWater(ctx, now)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		err = m.feedErr
	}
	if m.storeErr = err; err != nil {
		return err
	}
	m.storeSeen = sent
	m.highWater = mark // also when an administrator has reset it
	m.wake()
	return nil
}

func (m *Manager) setFeed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.feedErr = err
}

// ClockOK says whether the clock can be trusted: behind the newest time that
// the store or this process ever saw, nobody is admitted (G5).
func (m *Manager) ClockOK(context.Context) error {
	now := m.o.Clock.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.After(m.highWater) {
		m.highWater = now
	}
	if behind := m.highWater.Sub(now); behind > m.o.ClockTolerance {
		return fmt.Errorf("the gateway's clock is %s behind what its store has seen; nobody is admitted until that is mended", behind.Round(time.Millisecond))
	}
	return nil
}

// StoreOK returns the error of the last beat, for readiness checks.
func (m *Manager) StoreOK() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state == notRunning {
		return errors.New("the session manager is not running")
	}
	return m.storeErr
}
