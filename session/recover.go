package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// recoverBatch is how many sessions are read at once.
const recoverBatch = 500

// Recover ends what dead instances left (G9): it kills their sessions'
// credentials, seals the recordings to the last durable event and closes the
// rows as crashed. Only instances without a beat are touched; a gateway that
// drains still beats. Run calls it first, and again while it runs.
func (m *Manager) Recover(ctx context.Context) error {
	now := m.o.Clock.Now().UTC()
	before := now.Add(-m.o.DeadAfter)
	if m.o.Exclusive {
		before = now.AddDate(100, 0, 0) // whoever beat is not running any more, whatever the clock was
	}
	dead, err := m.o.Instances.DeadInstances(ctx, before)
	if err != nil {
		return fmt.Errorf("look for dead gateways: %w", err)
	}
	known := slices.DeleteFunc(slices.Clone(m.o.Dead), func(i string) bool { return slices.Contains(dead, i) })
	for _, instance := range append(dead, known...) {
		if instance == m.o.Instance {
			continue
		}
		// Another gateway that is at it needs no help; what it leaves is found
		// the next time.
		if _, err := m.o.Alone(ctx, "recover "+instance, func(ctx context.Context) error { return m.recoverInstance(ctx, instance) }); err != nil {
			return fmt.Errorf("recover what gateway %s left: %w", instance, err)
		}
	}
	return nil
}

// sealLeftovers seals recordings in this gateway's directory whose sessions
// another gateway closed while this one was dead: the rows lie in the store
// that both share, the file only here.
func (m *Manager) sealLeftovers(ctx context.Context) error {
	if m.o.Exclusive {
		return nil // whoever recovers has the directory
	}
	_, err := m.o.Alone(ctx, "seal recordings", func(ctx context.Context) error {
		all, err := m.o.Recordings.List()
		if err != nil {
			return err
		}
		for _, info := range all {
			if info.Sealed || info.Live || info.Err != nil {
				continue
			}
			row, err := m.o.Store.Session(ctx, info.Session)
			switch {
			case errors.Is(err, store.ErrNotFound):
				continue
			case err != nil:
				return err
			case row.State == Open: // here and recovered with its instance, or alive on a gateway that shares the directory
				continue
			}
			seal, err := m.o.Recordings.Recover(ctx, info.Session)
			if err != nil {
				m.o.Logger.Error("seal the recording of a session that another gateway closed", "session", info.Session, "err", err)
				continue
			}
			if err := m.append(SealEvent(row, seal)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("seal recordings that a crash left: %w", err)
	}
	return nil
}

func (m *Manager) recoverInstance(ctx context.Context, instance string) error {
	var sessions, credentials, failed atomic.Int64
	for {
		rows, err := m.o.Store.ListSessions(ctx, Filter{State: Open, Gateway: instance, Limit: recoverBatch})
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			break
		}
		var errs = make(chan error, len(rows))
		parallel(rows, func(r Row) {
			n, bad, err := m.recoverSession(ctx, r)
			if err != nil {
				errs <- fmt.Errorf("session %s: %w", r.ID, err)
				return
			}
			sessions.Add(1)
			credentials.Add(int64(n))
			failed.Add(int64(bad))
		})
		select {
		case err := <-errs: // the store refuses: nothing may start on top of that
			return err
		default:
		}
	}
	if sessions.Load() == 0 {
		return nil // its credentials without a session are sweep's
	}
	ev := audit.Event{Type: audit.GatewayRecovered, Outcome: audit.Success, Actor: audit.Gateway, Detail: map[string]string{
		"instance": instance, "sessions": strconv.FormatInt(sessions.Load(), 10),
		"credentials_dead": strconv.FormatInt(credentials.Load(), 10), "credentials_alive": strconv.FormatInt(failed.Load(), 10)}}
	_, err := m.o.Log.Append(ctx, ev)
	return err
}

// recoverSession is step 12 for a session that nobody finished.
func (m *Manager) recoverSession(ctx context.Context, r Row) (killed, alive int, err error) {
	creds, err := m.o.Credentials.LiveCredentials(ctx, CredentialFilter{SessionID: r.ID})
	if err != nil {
		return 0, 0, err
	}
	now := m.o.Clock.Now().UTC()
	for _, c := range creds {
		if err := m.kill(ctx, c, time.Time{}); err != nil {
			alive++
			m.keepTrying(c, now, 1)
			continue
		}
		killed++
	}
	ev := rowEvent(r, audit.SessionCrashed)
	ev.Actor, ev.Detail = audit.Gateway, map[string]string{"instance": r.Gateway}
	r.State, r.EndedAt, r.Cause = Crashed, now, "crashed"
	r.Reason = "The gateway stopped without ending this session."
	// A recording that cannot be sealed blocks nothing else: the row says so.
	if seal, err := m.o.Recordings.Recover(ctx, r.ID); err != nil {
		ev.Detail["recording"] = err.Error()
		m.o.Logger.Error("seal the recording of a crashed session", "session", r.ID, "err", err)
	} else {
		ev.Detail["recorded_ms"] = ms(seal.Duration)
		ev.Detail["recording_hash"] = seal.Hash
		if err := m.append(SealEvent(r, seal)); err != nil {
			return killed, alive, err // again with the next recovery: sealing is idempotent
		}
	}
	err = m.o.Store.EndSession(ctx, End{Row: r, Event: ev})
	if errors.Is(err, store.ErrConflict) { // another gateway was faster
		err = nil
	}
	return killed, alive, err
}
