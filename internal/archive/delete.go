package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
	"jit-gateway/recording/objects"
)

// Judge looks at a recording. The error is store.ErrNotFound if there is no
// sealed one of that session.
func (k *Keeper) Judge(ctx context.Context, session string) (store.DeletionVerdict, error) {
	r, err := k.o.Store.Recording(ctx, session)
	if err != nil {
		return store.DeletionVerdict{}, err
	}
	return k.judge(r), nil
}

func (k *Keeper) judge(r store.Recording) store.DeletionVerdict {
	v := store.DeletionVerdict{Recording: r, Two: r.TwoToDelete}
	days := r.RetainDays
	if rule, ok := k.o.Rules().Rule(r.Rule); ok { // who lengthened it meant what is there, too
		days = longer(days, rule.Recording.RetainDays)
		v.Two = v.Two || rule.Recording.TwoToDelete
	}
	v.Until = end(r.SealedAt, days)
	now := k.o.Now()
	v.Early = v.Until.IsZero() || now.Before(v.Until)
	switch {
	case r.Deleted():
		v.Refused = deleted(r).Error()
	case r.Hold != nil:
		v.Refused = fmt.Sprintf("the recording of session %s is held by %s: %s", r.Session, r.Hold.ByName, r.Hold.Reason)
	case r.Object != nil && now.Before(r.Object.LockedUntil):
		v.Refused = fmt.Sprintf("the object store has locked the recording of session %s until %s", r.Session, r.Object.LockedUntil.UTC().Format("2006-01-02"))
	}
	return v
}

// Delete orders the deletion, and carries it out at once unless an upload is
// under way; done says whether nothing is left. The caller has made sure that
// the actor may: Delete itself refuses what nobody may.
func (k *Keeper) Delete(ctx context.Context, actor audit.Actor, o store.DeletionOrder) (done bool, err error) {
	v, err := k.Judge(ctx, o.Session)
	if err != nil {
		return false, err
	}
	if v.Refused != "" {
		return false, errors.New(v.Refused)
	}
	if err := k.order(ctx, v, actor, o); err != nil {
		return false, err
	}
	if v.Recording.Node != k.o.Node || !k.work.TryLock() {
		poke(k.again)
		return false, nil
	}
	defer k.work.Unlock()
	if err := k.carryOut(ctx, o.Session); err != nil {
		poke(k.again)
		return false, fmt.Errorf("it is not read any more, but its bytes are still there, which is tried again: %w", err)
	}
	return true, nil
}

// order writes the decision and its event: the intent before the act.
func (k *Keeper) order(ctx context.Context, v store.DeletionVerdict, actor audit.Actor, o store.DeletionOrder) error {
	r := v.Recording
	d := store.Deletion{By: actor.ID, ByName: o.ByName, ConfirmedBy: o.ConfirmedBy, Reason: o.Reason, Early: v.Early, OrderedAt: k.o.Now().UTC()}
	if o.AskedBy != "" {
		d.By = o.AskedBy
	}
	ev := deletionEvent(r, d, audit.RecordingDeleteOrdered)
	ev.Actor = actor
	if err := k.o.Store.OrderDeletion(ctx, r.Session, d, ev); err != nil {
		if errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("the recording of session %s was held or deleted at the same moment", r.Session)
		}
		return err
	}
	return nil
}

// deletionEvent says who, why and under which rule, what, and how large it was.
func deletionEvent(r store.Recording, d store.Deletion, t audit.Type) audit.Event {
	ev := event(r, t)
	ev.Reason = d.Reason
	ev.Detail = map[string]string{"rule": r.Rule, "retain_days": strconv.Itoa(r.RetainDays), "size": strconv.FormatInt(r.Size, 10), "hash": r.Hash, "by": d.ByName}
	if !r.RetainUntil.IsZero() {
		ev.Detail["retain_until"] = r.RetainUntil.UTC().Format(time.RFC3339)
	}
	if d.Early {
		ev.Detail["early"] = "true"
	}
	if d.ConfirmedBy != "" {
		ev.Detail["asked_by"], ev.Detail["confirmed_by"] = d.By, d.ConfirmedBy
	}
	if r.Object != nil {
		ev.Detail["key"], ev.Detail["version"] = r.Object.Key, r.Object.Version
	}
	return ev
}

// carryOut removes what is left of a recording whose deletion was ordered:
// what can be found by its words first, then the bytes. The caller holds work.
func (k *Keeper) carryOut(ctx context.Context, session string) error {
	r, err := k.o.Store.Recording(ctx, session)
	if err != nil || !r.Deleted() || !r.Deletion.DoneAt.IsZero() || r.Node != k.o.Node {
		return err // of another gateway: it has the file, and does this
	}
	if err := k.remove(ctx, r); err != nil {
		if ctx.Err() == nil && err.Error() != r.Deletion.LastError { // once for each reason
			ev := deletionEvent(r, *r.Deletion, audit.RecordingDeleted)
			ev.Outcome, ev.Reason = audit.Failure, err.Error()
			err = errors.Join(err, k.o.Store.DeletionFailed(ctx, session, err.Error(), ev))
		}
		return err
	}
	if err := k.o.Store.DeletionDone(ctx, session, k.o.Now().UTC(), deletionEvent(r, *r.Deletion, audit.RecordingDeleted)); err != nil {
		return err
	}
	k.o.Metrics.gone()
	k.o.Logger.Info("a recording was deleted", "session", session, "rule", r.Rule, "bytes", r.Size)
	return nil
}

func (k *Keeper) remove(ctx context.Context, r store.Recording) error {
	if err := k.o.Store.DropIndex(ctx, r.Session); err != nil {
		return err
	}
	if err := k.o.Recordings.Remove(r.Session); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch {
	case r.Object != nil && k.o.Bucket == nil:
		return errors.New("it is in an object store, and none is configured")
	case k.o.Bucket == nil:
		return nil
	case r.Object == nil:
		// An upload may have ended in a crash before it was noted.
		o, err := k.o.Bucket.Stat(ctx, k.o.Bucket.Key(r.Session), "")
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		r.Object = &store.Object{Key: o.Key, Version: o.Version}
	case r.Object.Held:
		if err := k.o.Bucket.Hold(ctx, r.Object.Key, r.Object.Version, false); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	err := k.o.Bucket.Remove(ctx, r.Object.Key, r.Object.Version)
	var locked *objects.LockedError
	if errors.As(err, &locked) {
		return fmt.Errorf("the object store refuses, since the object is locked or the key may not delete: %w", err)
	}
	return err
}
