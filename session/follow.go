package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/store"
)

// follow ends and extends sessions by what the audit feed says, whichever
// gateway wrote it. Every event after the cursor is handled, in order; after
// trouble it goes on where it was.
func (m *Manager) follow(ctx context.Context, cursor int64) {
	wait := 100 * time.Millisecond
	for ctx.Err() == nil {
		var err error
		for ev, tailErr := range audit.Tail(ctx, m.o.Feed, cursor) {
			if err = tailErr; err != nil {
				break
			}
			if err = m.handle(ctx, ev); err != nil {
				break
			}
			cursor, wait = ev.Seq, 100*time.Millisecond
		}
		if ctx.Err() != nil {
			return
		}
		m.o.Logger.Error("follow the audit log; trying again", "after", cursor, "err", err)
		// While the feed is deaf the store counts as unseen: beat tells.
		m.setFeed(err)
		select {
		case <-time.After(wait):
			wait = min(2*wait, 2*time.Second)
		case <-ctx.Done():
		}
		m.setFeed(nil)
	}
}

func (m *Manager) handle(ctx context.Context, ev audit.Event) error {
	switch ev.Type {
	case audit.GrantReleased, audit.GrantRevoked, audit.GrantExpired:
		m.endGrant(ev)
	case audit.GrantExtended:
		// Approved extensions move the end of what is live; without the store's
		// word the old end holds, and the event is handled again.
		ctx, cancel := context.WithTimeout(ctx, stepTimeout)
		defer cancel()
		g, err := m.o.Grants.Grant(ctx, ev.Grant)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read extended grant %s: %w", ev.Grant, err)
		}
		m.extend(g)
	case audit.TargetRemoved:
		m.cutWhere(func(s *Session) bool { return s.row.Target == ev.Target }, Termination{
			Cause: string(approval.CauseVanished), Reason: display.Line(ev.Target, 64) + " was removed from the inventory.", By: ev.Actor.ID})
	case audit.UserDisabled:
		m.bury(tombUser + ev.User)
		m.cutWhere(func(s *Session) bool { return s.row.UserID == ev.User }, Termination{
			Cause: string(approval.CauseDisabled), Reason: "Your account was disabled.", By: ev.Actor.ID})
	case audit.UserEnabled:
		m.mu.Lock()
		delete(m.gone, tombUser+ev.User)
		m.mu.Unlock()
	case audit.KeyRemoved:
		key := cmp.Or(ev.Detail["fingerprint"], ev.Detail["key"])
		if key == "" {
			m.bury(tombNoKeys + ev.User)
		} else {
			m.bury(tombKey + key)
		}
		m.cutWhere(func(s *Session) bool {
			have := s.adm.KeyFingerprint()
			return have != "" && (have == key || key == "" && s.row.UserID == ev.User)
		}, Termination{Cause: "key_removed", Reason: "The key that you signed in with was removed.", By: ev.Actor.ID})
	case audit.KeyAdded: // registered again
		m.mu.Lock()
		delete(m.gone, tombKey+cmp.Or(ev.Detail["fingerprint"], ev.Detail["key"]))
		delete(m.gone, tombNoKeys+ev.User)
		m.mu.Unlock()
	case audit.SessionTerminated: // on another gateway, for a session here
		if s, ok := m.Get(ev.Session); ok {
			m.cut(s, &Termination{Cause: cmp.Or(ev.Detail["cause"], "terminated"), Reason: ev.Reason, By: ev.Actor.ID, At: m.o.Clock.Now()})
		}
	}
	return nil
}

// endGrant cuts the sessions of a grant that ended, and has sweep kill and
// check its session tokens.
func (m *Manager) endGrant(ev audit.Event) {
	t := Termination{By: ev.Actor.ID}
	switch ev.Type {
	case audit.GrantReleased:
		t.Cause, t.Reason = string(approval.CauseReleased), "Your access was released."
		if ev.Detail["cause"] == string(approval.CauseLast) {
			t.Cause, t.Reason = string(approval.CauseLast), "Your access ended with its last session."
		}
	case audit.GrantRevoked:
		t.Cause, t.Reason = string(approval.CauseRevoked), "Your access was revoked"
		if ev.Actor.Name != "" {
			t.Reason += " by " + display.Line(ev.Actor.Name, 64)
		}
		if ev.Reason != "" {
			t.Reason += ": " + display.Line(ev.Reason, 200)
		}
		t.Reason += "."
		if ev.Detail["cause"] == string(approval.CauseVanished) {
			t.Cause, t.Reason = string(approval.CauseVanished), "Your access has ended: "+display.Line(ev.Reason, 200)+"."
		}
		if ev.Detail["cause"] == string(approval.CauseDisabled) {
			t.Cause, t.Reason = string(approval.CauseDisabled), "Your account was disabled."
		}
	default:
		t.Cause, t.Reason = string(approval.CauseExpired), "Your access has ended."
	}
	m.cutWhere(func(s *Session) bool { return s.row.GrantID == ev.Grant }, t)
	// Its session tokens are dead already, since logins read the grant; to say
	// so in their rows, and to check, must not hold up the next revocation.
	m.mu.Lock()
	m.mourned = append(m.mourned, ev.Grant)
	m.mu.Unlock()
	m.hasWork()
}

// cutWhere cuts matching sessions.
func (m *Manager) cutWhere(match func(*Session) bool, t Termination) {
	t.At = m.o.Clock.Now()
	for _, s := range m.sessions() {
		if match(s) {
			own := t
			m.cut(s, &own)
		}
	}
}

func (m *Manager) bury(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gone.add(what, m.o.Clock.Boot())
}
