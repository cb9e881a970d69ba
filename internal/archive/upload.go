package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
	"jit-gateway/recording/objects"
)

// page is how many rows are read at once.
const page = 200

// Back-off of uploads while the store is unreachable.
const (
	firstWait = time.Second
	lastWait  = 2 * time.Minute
)

// upload sends what waits, whenever something does.
func (k *Keeper) upload(ctx context.Context) error {
	wait := firstWait
	for {
		err := k.pass(ctx)
		if ctx.Err() != nil {
			return nil
		}
		k.report(err)
		sleep := k.o.Every
		if err == nil {
			wait = firstWait
		} else {
			sleep = wait + rand.N(wait/2)
			wait = min(wait*2, lastWait)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(sleep):
		case <-nudged(k.nudge, err == nil): // a store in trouble is left alone
		}
	}
}

// nudged is c, or a channel that never speaks.
func nudged(c chan struct{}, on bool) chan struct{} {
	if on {
		return c
	}
	return nil
}

// report logs trouble once, and that it is over.
func (k *Keeper) report(err error) {
	before := k.trouble.Load()
	switch {
	case err != nil:
		k.o.Metrics.failed()
		text := err.Error()
		if before == nil || *before != text {
			k.o.Logger.Error("recordings wait for the object store", "error", err, "waiting_bytes", k.spooled.Load(), "limit", k.o.Spool)
		}
		k.trouble.Store(&text)
	case before != nil:
		k.trouble.Store(nil)
		k.o.Logger.Info("the object store takes recordings again")
	}
}

// mostFailures is how many recordings in a row may fail before a pass ends:
// then it is the store that fails, not they.
const mostFailures = 2

// pass uploads everything that waits in this gateway's directory, oldest
// first. What other gateways have is theirs to upload. A recording that cannot
// be stored, because its file cannot be read for instance, blocks no other: it
// comes last from then on.
func (k *Keeper) pass(ctx context.Context) error {
	list, err := k.waiting(ctx)
	if err != nil {
		return err
	}
	slices.SortStableFunc(list, func(a, b store.Recording) int {
		return cmp.Compare(k.failures[a.Session], k.failures[b.Session])
	})
	var left []store.Recording
	failures, row := map[string]int{}, 0
	for i, r := range list {
		if row == mostFailures || ctx.Err() != nil {
			if n := k.failures[r.Session]; n > 0 {
				failures[r.Session] = n
			}
			left = append(left, r)
			continue
		}
		row++
		if serr := k.store(ctx, r); serr != nil {
			failures[r.Session] = k.failures[r.Session] + 1
			left, err = append(left, r), cmp.Or(err, serr)
			continue
		}
		row = 0
		k.count(slices.Concat(left, list[i+1:]))
	}
	k.failures = failures
	k.count(left)
	if err != nil {
		return err
	}
	k.work.Lock()
	defer k.work.Unlock()
	return k.trim(ctx)
}

// waiting lists what has no copy in the object store and lies here.
func (k *Keeper) waiting(ctx context.Context) ([]store.Recording, error) {
	var out []store.Recording
	err := k.each(ctx, store.RecordingFilter{Local: true}, func(r store.Recording) error {
		n, err := k.o.Recordings.LocalSize(r.Session)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil { // else to store it fails, and says so
			r.Size = n
		}
		out = append(out, r)
		return nil
	})
	k.count(out)
	return out, err
}

// count says how much waits.
func (k *Keeper) count(list []store.Recording) {
	var bytes int64
	oldest := 0.0
	for _, r := range list {
		bytes += r.Size
		oldest = max(oldest, k.o.Now().Sub(r.SealedAt).Seconds())
	}
	k.spooled.Store(bytes)
	k.o.Metrics.spool(len(list), bytes, oldest)
}

// each calls fn with every row that the filter selects.
func (k *Keeper) each(ctx context.Context, f store.RecordingFilter, fn func(store.Recording) error) error {
	for f.Limit = page; ; {
		rows, err := k.o.Store.Recordings(ctx, f)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := fn(r); err != nil {
				return err
			}
		}
		if len(rows) < page {
			return nil
		}
		f.After = rows[len(rows)-1].Session
	}
}

// store puts one recording into the bucket. A crash anywhere repeats it: Put
// finds what is there.
func (k *Keeper) store(ctx context.Context, r store.Recording) error {
	k.work.Lock()
	defer k.work.Unlock()
	now, err := k.o.Store.Recording(ctx, r.Session)
	if err != nil || now.Deleted() || now.Object != nil {
		return err
	}
	file, err := k.o.Recordings.Bytes(r.Session)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer file.Close()
	o, err := k.o.Bucket.Put(ctx, k.o.Bucket.Key(r.Session), file, file.Size(), objects.Lock{Until: k.lockUntil(now), Hold: now.Hold != nil})
	if err != nil {
		return fmt.Errorf("recording %s: %w", r.Session, err)
	}
	ob := store.Object{Key: o.Key, Version: o.Version, SHA256: o.SHA256, StoredAt: k.o.Now().UTC(), LockedUntil: o.LockedUntil,
		Held: now.Hold != nil && k.o.Bucket.Locks()}
	ev := event(now, audit.RecordingArchived)
	ev.Detail = map[string]string{"bucket": k.o.Bucket.Name(), "key": o.Key, "version": o.Version, "sha256": o.SHA256, "size": strconv.FormatInt(o.Size, 10)}
	if !o.LockedUntil.IsZero() {
		ev.Detail["locked_until"] = o.LockedUntil.UTC().Format(time.RFC3339)
	}
	err = k.o.Store.StoreRecording(ctx, r.Session, ob, ev)
	if errors.Is(err, store.ErrConflict) { // its deletion was ordered meanwhile; that finds the object
		poke(k.again)
		return nil
	}
	if err != nil {
		return err
	}
	k.o.Metrics.stored(o.Size)
	k.o.Logger.Info("a recording is in the object store", "session", r.Session, "bytes", o.Size)
	poke(k.again) // a hold may have come meanwhile
	return k.trim(ctx)
}

// lockUntil is how long the object store has to refuse deletion.
// What is past its retention already is not locked: stores refuse a date that
// has gone by.
func (k *Keeper) lockUntil(r store.Recording) time.Time {
	until := r.RetainUntil
	if until.IsZero() {
		until = end(r.SealedAt, k.o.LockDays)
	}
	if !k.o.Bucket.Locks() || until.Before(k.o.Now().Add(time.Minute)) {
		return time.Time{}
	}
	return until
}

// trim removes local copies of what the bucket has, oldest first, until the
// rest fits the cache. The caller holds work.
func (k *Keeper) trim(ctx context.Context) error {
	files, err := k.o.Recordings.LocalFiles()
	if err != nil {
		return err
	}
	type copied struct {
		session string
		size    int64
		at      time.Time
	}
	var copies []copied
	var total int64
	for _, f := range files {
		r, err := k.o.Store.Recording(ctx, f.Session)
		if errors.Is(err, store.ErrNotFound) || err == nil && r.Object == nil {
			continue
		}
		if err != nil {
			return err
		}
		copies = append(copies, copied{f.Session, f.Size, r.Object.StoredAt})
		total += f.Size
	}
	slices.SortFunc(copies, func(a, b copied) int { return a.at.Compare(b.at) })
	for _, c := range copies {
		if total <= k.o.Cache {
			return nil
		}
		if err := k.o.Recordings.Remove(c.session); err != nil {
			return err
		}
		total -= c.size
	}
	return nil
}

// event is about a recording.
func event(r store.Recording, t audit.Type) audit.Event {
	return audit.Event{Type: t, Outcome: audit.Success, Actor: audit.Gateway, User: r.UserID, Target: r.Target, Grant: r.Grant, Session: r.Session}
}
