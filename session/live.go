package session

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// Info is a live session as lists show it.
type Info struct {
	Row
	End      time.Time `json:"end"`       // exact
	LastUsed time.Time `json:"last_used"` // last traffic
}

// Live lists the live sessions of this gateway, oldest first.
func (m *Manager) Live() []Info {
	now := m.o.Clock.Now()
	var list []Info
	for _, s := range m.sessions() {
		list = append(list, Info{Row: s.Row(), End: s.End(), LastUsed: now.Add(-s.unused())})
	}
	slices.SortFunc(list, func(a, b Info) int {
		return cmp.Or(a.StartedAt.Compare(b.StartedAt), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// Get returns a live session of this gateway.
func (m *Manager) Get(id string) (*Session, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.live[id]
	return s, ok
}

// Terminate ends a session, on this gateway or, through the audit log, on
// another. It returns once a local session is cut and the event written; it
// does not wait for step 12. That t.By may do it is the caller's to check.
// store.ErrNotFound: no such open session.
func (m *Manager) Terminate(ctx context.Context, id string, t Termination) error {
	t.At = m.o.Clock.Now()
	t.Cause = cmp.Or(t.Cause, "terminated")
	var row Row
	if s, ok := m.Get(id); ok {
		m.cut(s, &t) // a cut never waits for its record
		row = s.Row()
	} else {
		var err error
		if row, err = m.o.Store.Session(ctx, id); err != nil {
			return fmt.Errorf("terminate session %q: %w", id, err)
		}
		if row.State != Open {
			return fmt.Errorf("terminate session %q: it has ended already: %w", id, store.ErrNotFound)
		}
	}
	actor := audit.Gateway
	if t.By != "" {
		actor = audit.Actor{ID: t.By}
	}
	ev := rowEvent(row, audit.SessionTerminated)
	ev.Actor, ev.Reason, ev.Detail = actor, t.Reason, map[string]string{"cause": t.Cause}
	if _, err := m.o.Log.Append(context.WithoutCancel(ctx), ev); err != nil {
		return fmt.Errorf("record the termination of session %q: %w", id, err)
	}
	return nil
}

// OpenSessions counts the open sessions of a grant, on every gateway.
func (m *Manager) OpenSessions(ctx context.Context, grantID string) (int, error) {
	rows, err := m.o.Store.ListSessions(ctx, Filter{GrantID: grantID, State: Open, Limit: 1000})
	if err != nil {
		return 0, fmt.Errorf("count the sessions of grant %s: %w", grantID, err)
	}
	return len(rows), nil
}

// rowEvent is an event with the correlation ids of a session.
func rowEvent(r Row, typ audit.Type) audit.Event {
	return audit.Event{Type: typ, Outcome: audit.Success, User: r.UserID, Target: r.Target,
		Request: r.RequestID, Grant: r.GrantID, Session: r.ID}
}
