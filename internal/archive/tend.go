package archive

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// tend looks at retention, and carries out what was decided: at the start, at
// intervals, and when somebody decided something.
func (k *Keeper) tend(ctx context.Context) error {
	for {
		if err := k.round(ctx); err != nil && ctx.Err() == nil {
			k.o.Logger.Error("look after recordings", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(k.o.Every):
		case <-k.again:
		}
	}
}

// round does everything that is due. Trouble with one recording does not keep
// the others.
func (k *Keeper) round(ctx context.Context) error {
	var errs []error
	note := func(r store.Recording, err error) {
		if err != nil && len(errs) < 20 {
			errs = append(errs, fmt.Errorf("recording %s: %w", r.Session, err))
		}
	}
	undeleted, due := 0, 0
	errs = append(errs, k.each(ctx, store.RecordingFilter{Due: k.o.Now()}, func(r store.Recording) error {
		waits, err := k.expire(ctx, r)
		if waits {
			due++
		}
		note(r, err)
		return nil
	}))
	errs = append(errs, k.each(ctx, store.RecordingFilter{Ordered: true}, func(r store.Recording) error {
		k.work.Lock()
		err := k.carryOut(ctx, r.Session)
		k.work.Unlock()
		if err != nil {
			undeleted++
		}
		note(r, err)
		return nil
	}))
	if k.o.Bucket != nil && k.o.Bucket.Locks() {
		errs = append(errs, k.each(ctx, store.RecordingFilter{Unequal: true}, func(r store.Recording) error {
			note(r, k.equal(ctx, r.Session))
			return nil
		}))
	}
	k.o.Metrics.left(undeleted, due)
	return errors.Join(errs...)
}

// expire orders the deletion of a recording whose retention has ended; waits
// says that it ended and that two people have to.
func (k *Keeper) expire(ctx context.Context, r store.Recording) (waits bool, err error) {
	v := k.judge(r)
	if v.Refused != "" || v.Early {
		return false, nil
	}
	if v.Two {
		return true, nil
	}
	return false, k.order(ctx, v, audit.Gateway, store.DeletionOrder{Session: r.Session, ByName: "the gateway",
		Reason: fmt.Sprintf("it was kept for %d days, until %s", r.RetainDays, v.Until.Format("2006-01-02"))})
}

// Due lists what is past its retention and waits for two people.
func (k *Keeper) Due(ctx context.Context) ([]store.Recording, error) {
	var out []store.Recording
	err := k.each(ctx, store.RecordingFilter{Due: k.o.Now()}, func(r store.Recording) error {
		if v := k.judge(r); v.Refused == "" && !v.Early {
			out = append(out, r)
		}
		return nil
	})
	return out, err
}

// Hold keeps a recording whatever its retention. The object store's own hold
// follows; until it does, this gateway alone refuses.
func (k *Keeper) Hold(ctx context.Context, session, reason string, actor audit.Actor, name string) error {
	r, err := k.o.Store.Recording(ctx, session)
	if err != nil {
		return err
	}
	if r.Hold != nil {
		return fmt.Errorf("the recording of session %s is held already, by %s: %s", session, r.Hold.ByName, r.Hold.Reason)
	}
	ev := event(r, audit.RecordingHeld)
	ev.Actor, ev.Reason = actor, reason
	err = k.o.Store.HoldRecording(ctx, session, store.Hold{By: actor.ID, ByName: name, Reason: reason, At: k.o.Now().UTC()}, ev)
	if errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("the recording of session %s cannot be held: it was deleted, or held at the same moment", session)
	}
	poke(k.again)
	return err
}

// Release ends a hold. What is past its retention is then deleted.
func (k *Keeper) Release(ctx context.Context, session, reason string, actor audit.Actor) error {
	r, err := k.o.Store.Recording(ctx, session)
	if err != nil {
		return err
	}
	ev := event(r, audit.RecordingReleased)
	ev.Actor, ev.Reason = actor, strings.TrimSpace(reason)
	if r.Hold != nil {
		ev.Detail = map[string]string{"held_by": r.Hold.ByName, "held_since": r.Hold.At.UTC().Format(time.RFC3339), "hold_reason": r.Hold.Reason}
	}
	err = k.o.Store.ReleaseRecording(ctx, session, ev)
	if errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("the recording of session %s is not held", session)
	}
	poke(k.again)
	return err
}

// equal makes the object store's legal hold what the row's is.
func (k *Keeper) equal(ctx context.Context, session string) error {
	k.work.Lock()
	defer k.work.Unlock()
	r, err := k.o.Store.Recording(ctx, session)
	if err != nil || r.Object == nil || r.Deleted() || (r.Hold != nil) == r.Object.Held {
		return err
	}
	if err := k.o.Bucket.Hold(ctx, r.Object.Key, r.Object.Version, r.Hold != nil); err != nil {
		return err
	}
	return k.o.Store.ObjectHeld(ctx, session, r.Hold != nil)
}
