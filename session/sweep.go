package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/store"
)

// corpse is a credential that is not known to be dead.
type corpse struct {
	c     Credential
	ended time.Time // when it should have died
	tries int
	due   time.Duration // boot time of the next try
}

// sweepEvery is how often the store is asked for credentials that outlive
// what they belong to: those of a crash, of another gateway, of a lost race.
const sweepEvery = time.Minute

// sweepers bounds the credentials that are ended at once.
const sweepers = 8

// sweep goes on trying until every credential is dead and every row closed.
func (m *Manager) sweep(ctx context.Context) {
	look := m.o.Clock.Boot()
	for {
		if m.o.Clock.Boot() >= look {
			if err := m.findUndead(ctx); err != nil && ctx.Err() == nil {
				m.o.Logger.Error("look for credentials that should be dead", "err", err)
			}
			look = m.o.Clock.Boot() + sweepEvery
		}
		m.mu.Lock()
		mourned := m.mourned
		m.mourned = nil
		m.mu.Unlock()
		parallel(mourned, func(grant string) { m.mourn(ctx, grant) })
		next := min(look-m.o.Clock.Boot(), m.retry(ctx))
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-m.work:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// hasWork makes sweep look now.
func (m *Manager) hasWork() {
	select {
	case m.work <- struct{}{}:
	default:
	}
}

// keepTrying puts a credential on the list of those to end; tries is how often
// that failed already.
func (m *Manager) keepTrying(c Credential, ended time.Time, tries int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.undead[c.ID] == nil {
		m.undead[c.ID] = &corpse{c: c, ended: ended, tries: tries, due: m.o.Clock.Boot() + after(tries)}
		m.hasWork()
	}
	m.o.Metrics.setUndead(len(m.undead))
}

// rowRetry is when a row that could not be closed is tried again.
const rowRetry = 2 * time.Second

// retry ends what is due, several at once, waits for them, and returns in how
// long the next is due.
func (m *Manager) retry(ctx context.Context) (next time.Duration) {
	m.mu.Lock()
	boot := m.o.Clock.Boot()
	var due []*corpse
	for _, c := range m.undead {
		if c.due <= boot {
			due = append(due, c)
		}
	}
	ends := slices.Collect(maps.Values(m.unclosed))
	m.mu.Unlock()
	m.logSeals()

	parallel(due, func(c *corpse) {
		err := m.kill(ctx, c.c, c.ended)
		m.mu.Lock()
		defer m.mu.Unlock()
		if err == nil {
			delete(m.undead, c.c.ID)
		} else {
			c.tries++
			c.due = m.o.Clock.Boot() + after(c.tries)
		}
		m.o.Metrics.setUndead(len(m.undead))
	})
	for _, e := range ends {
		if err := m.writeEnd(ctx, e); err != nil {
			m.o.Logger.Error("close a session that has ended", "session", e.Row.ID, "err", err)
			break // the store is away: the others would fail as well
		}
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	next = sweepEvery
	if len(m.unclosed)+len(m.unlogged) > 0 {
		next = rowRetry
	}
	for _, c := range m.undead {
		next = min(next, max(0, c.due-m.o.Clock.Boot()))
	}
	return next
}

// mourn lists the credentials that belong to a grant as such (session tokens),
// now that it has ended.
func (m *Manager) mourn(ctx context.Context, grantID string) {
	creds, err := m.o.Credentials.LiveCredentials(ctx, CredentialFilter{GrantID: grantID})
	if err != nil {
		m.o.Logger.Error("list the credentials of an ended grant; the next sweep finds them", "grant", grantID, "err", err)
		return
	}
	now := m.o.Clock.Now()
	var own []Credential
	for _, c := range creds {
		if c.SessionID == "" {
			own = append(own, c)
		}
	}
	for _, c := range own {
		if err := m.kill(ctx, c, now); err != nil {
			m.keepTrying(c, now, 1)
		}
	}
}

// findUndead lists credentials whose session or grant has ended.
func (m *Manager) findUndead(ctx context.Context) error {
	creds, err := m.o.Credentials.LiveCredentials(ctx, CredentialFilter{})
	if err != nil {
		return err
	}
	ended := map[string]time.Time{} // by session or grant; zero: alive
	for _, c := range creds {
		if _, here := m.Get(c.SessionID); here {
			continue
		}
		key := c.SessionID + "/" + c.GrantID
		at, known := ended[key]
		if !known {
			if at, err = m.endOf(ctx, c); err != nil {
				return err
			}
			ended[key] = at
		}
		if !at.IsZero() {
			m.keepTrying(c, at, 0)
		}
	}
	return nil
}

// endOf returns when what c belongs to ended, zero while it is alive.
func (m *Manager) endOf(ctx context.Context, c Credential) (time.Time, error) {
	if c.SessionID != "" {
		row, err := m.o.Store.Session(ctx, c.SessionID)
		switch {
		case errors.Is(err, store.ErrNotFound): // intended for a session that never was
			return c.CreatedAt, nil
		case err != nil:
			return time.Time{}, fmt.Errorf("read session %s: %w", c.SessionID, err)
		case row.State == Open:
			return time.Time{}, nil
		}
		return row.EndedAt, nil
	}
	g, err := m.o.Grants.Grant(ctx, c.GrantID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return c.CreatedAt, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("read grant %s: %w", c.GrantID, err)
	case g.State == approval.Ended:
		return g.EndedAt, nil
	case g.State == approval.Active && !m.o.Clock.Now().Before(g.End):
		return g.End, nil
	}
	return time.Time{}, nil
}

// parallel runs do for each item, a few at once, and waits.
func parallel[T any](items []T, do func(T)) {
	slots := make(chan struct{}, sweepers)
	for _, item := range items {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			do(item)
		}()
	}
	for range sweepers {
		slots <- struct{}{}
	}
}
