// Package archive keeps sealed recordings: for how long, under which hold,
// where, and until they are deleted.
//
// The story: a Keeper follows the audit log. Each seal gives the recording a
// row in the store, with the retention of the rule that the session was under.
// Where an object store is configured, the recording is then uploaded under
// Object Lock, read back, and only then may the local file go. A job deletes
// what is past its retention; people delete with a reason; both leave an event
// before a byte is touched and another when nothing is left. Every step can be
// repeated after a crash.
//
// It refuses: to delete what is held, what the object store has locked, what
// one person alone may not delete; and new sessions while more recordings wait
// for the object store than the spool may hold.
//
// Start reading at Keeper.Run.
package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
	"jit-gateway/recording"
	"jit-gateway/recording/objects"
)

// Store is what the Keeper needs of the store.
type Store interface {
	audit.Source
	Recordings
	Append(ctx context.Context, ev audit.Event) (audit.Event, error)
	Cursor(ctx context.Context, name string) (int64, error)
	SaveCursor(ctx context.Context, name string, seq int64) error
	DropIndex(ctx context.Context, session string) error
	Grant(ctx context.Context, id string) (approval.Grant, error)
}

// Recordings are the rows. Both stores have them.
type Recordings interface {
	AddRecording(ctx context.Context, r store.Recording) error
	Recording(ctx context.Context, session string) (store.Recording, error)
	Recordings(ctx context.Context, f store.RecordingFilter) ([]store.Recording, error)
	HoldRecording(ctx context.Context, session string, h store.Hold, ev audit.Event) error
	ReleaseRecording(ctx context.Context, session string, ev audit.Event) error
	StoreRecording(ctx context.Context, session string, o store.Object, ev audit.Event) error
	ObjectHeld(ctx context.Context, session string, held bool) error
	OrderDeletion(ctx context.Context, session string, d store.Deletion, ev audit.Event) error
	DeletionDone(ctx context.Context, session string, when time.Time, ev audit.Event) error
	DeletionFailed(ctx context.Context, session, why string, ev audit.Event) error
}

// Options builds a Keeper. Store, Recordings, Rules, Now and Logger are required.
type Options struct {
	Store      Store
	Recordings *recording.Dir
	Rules      func() *policy.Set
	Now        func() time.Time
	Logger     *slog.Logger
	Metrics    *Metrics

	Node string // this gateway among several on one store; empty: it is the only one

	Bucket   *objects.Bucket // nil: recordings stay in the directory
	Spool    int64           // bytes that may wait for the bucket; beyond, no new session
	Cache    int64           // bytes of local copies that are kept beside the bucket
	LockDays int             // Object Lock of recordings that their rule keeps for ever
	Every    time.Duration   // how often retention is looked at; 15 min if zero
}

// Keeper keeps recordings. It is safe for concurrent use.
type Keeper struct {
	o     Options
	work  sync.Mutex    // held for what touches a recording's bytes
	nudge chan struct{} // there is something to upload
	again chan struct{} // there is a hold or a deletion to carry out

	failures map[string]int // of recordings that could not be stored; upload's own

	spooled atomic.Int64 // bytes that wait for the bucket
	trouble atomic.Pointer[string]
}

// New checks the options. It makes the Keeper the directory's archive.
func New(o Options) (*Keeper, error) {
	if o.Store == nil || o.Recordings == nil || o.Rules == nil || o.Now == nil || o.Logger == nil {
		return nil, errors.New("archive: an option is missing")
	}
	if o.Every == 0 {
		o.Every = 15 * time.Minute
	}
	k := &Keeper{o: o, nudge: make(chan struct{}, 1), again: make(chan struct{}, 1)}
	o.Recordings.SetArchive(k)
	return k, nil
}

// cursor is this gateway's own: each follows for the recordings that it has.
func (k *Keeper) cursor() string {
	if k.o.Node == "" {
		return "archive"
	}
	return "archive/" + k.o.Node
}

// Run keeps until ctx is done.
func (k *Keeper) Run(ctx context.Context) error {
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error { return k.follow(inner) })
	g.Go(func() error { return k.tend(inner) })
	if k.o.Bucket != nil {
		g.Go(func() error { return k.upload(inner) })
	}
	if err := g.Wait(); ctx.Err() == nil {
		return err
	}
	return nil // what was interrupted is done with the next start
}

// Check refuses new sessions while the spool is over its limit (G5): what
// waits for the object store must not fill the disk that recordings need.
func (k *Keeper) Check() error {
	n := k.spooled.Load()
	if k.o.Bucket == nil || k.o.Spool <= 0 || n <= k.o.Spool {
		return nil
	}
	return fmt.Errorf("%s of recordings wait for the object store, which may be %s at most: no session begins until it takes them", size(n), size(k.o.Spool))
}

// follow makes a row of each seal in the log.
func (k *Keeper) follow(ctx context.Context) (err error) {
	after, err := k.o.Store.Cursor(ctx, k.cursor())
	if err != nil {
		return err
	}
	mark := audit.Bookmark{Save: func(ctx context.Context, seq int64) error { return k.o.Store.SaveCursor(ctx, k.cursor(), seq) }}
	defer func() { err = errors.Join(err, mark.Close(ctx)) }()
	for ev, err := range audit.Tail(ctx, k.o.Store, after) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("follow the audit log for recordings to keep: %w", err)
		}
		if ev.Type != audit.RecordingSealed {
			continue // the cursor moves with what matters here
		}
		if err := k.sealed(ctx, ev); err != nil {
			return err
		}
		if err := mark.At(ctx, ev.Seq); err != nil {
			return err
		}
	}
	return nil
}

// about is what a list shows of a recording without opening it.
type about struct {
	Header recording.Header `json:"header"`
	Seal   recording.Seal   `json:"seal"`
}

// sealed keeps what is known of a recording from now on. One that cannot be
// read has its row too, and is kept for ever: that it is missing must be seen.
func (k *Keeper) sealed(ctx context.Context, ev audit.Event) error {
	r := store.Recording{Session: ev.Session, Grant: ev.Grant, UserID: ev.User, Target: ev.Target, Node: k.o.Node,
		StartedAt: ev.Time, SealedAt: ev.Time, Hash: ev.Detail["hash"]}
	if _, err := k.o.Store.Recording(ctx, ev.Session); !errors.Is(err, store.ErrNotFound) {
		return err // known already
	}
	rd, err := k.o.Recordings.Open(ev.Session)
	if k.o.Node != "" && errors.Is(err, fs.ErrNotExist) {
		return nil // another gateway has it
	}
	if err != nil {
		k.o.Logger.Warn("a sealed recording cannot be opened", "session", ev.Session, "error", err)
		return k.o.Store.AddRecording(ctx, r)
	}
	defer rd.Close()
	a := about{Header: rd.Header()}
	a.Seal, _ = rd.Sealed()
	if r.Info, err = json.Marshal(a); err != nil {
		return fmt.Errorf("encode what is known of recording %s: %w", ev.Session, err)
	}
	r.Rule, r.StartedAt, r.Size = a.Header.Rule, a.Header.Start.UTC(), a.Seal.Size
	if err := k.retention(ctx, &r); err != nil {
		return err
	}
	if err := k.o.Store.AddRecording(ctx, r); err != nil {
		return err
	}
	if k.o.Bucket != nil {
		k.spooled.Add(r.Size) // exact again with the next pass
		poke(k.nudge)
	}
	return nil
}

// retention notes how long the rule wants the recording kept: the rule as it
// was approved and as it is now, whichever keeps it longer.
func (k *Keeper) retention(ctx context.Context, r *store.Recording) error {
	var rules []policy.Recording
	if r.Grant != "" {
		g, err := k.o.Store.Grant(ctx, r.Grant)
		switch {
		case err == nil:
			rules = append(rules, g.Rule.Recording)
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	if now, ok := k.o.Rules().Rule(r.Rule); ok {
		rules = append(rules, now.Recording)
	}
	for i, rule := range rules {
		if i == 0 {
			r.RetainDays = rule.RetainDays
		}
		r.RetainDays = longer(r.RetainDays, rule.RetainDays)
		r.TwoToDelete = r.TwoToDelete || rule.TwoToDelete
	}
	r.RetainUntil = end(r.SealedAt, r.RetainDays)
	return nil
}

// longer of two retentions in days; 0 is for ever.
func longer(a, b int) int {
	if a == 0 || b == 0 {
		return 0
	}
	return max(a, b)
}

// maxDays is the longest retention that is not "for ever": dates have to fit
// everything that keeps them.
const maxDays = 36_500

// end of a retention; zero for one that has none.
func end(sealed time.Time, days int) time.Time {
	if days <= 0 {
		return time.Time{}
	}
	return sealed.UTC().AddDate(0, 0, min(days, maxDays))
}

// poke wakes a loop that may be awake.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// size words bytes.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", (n+1023)>>10)
}
