package archive

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
	"jit-gateway/internal/testenv"
	"jit-gateway/internal/testenv/world"
	"jit-gateway/recording"
	"jit-gateway/recording/objects"
	"jit-gateway/session"
)

// place is a gateway's recordings with a Keeper, whose clock can be put ahead.
type place struct {
	*testing.T
	w     *world.World
	rule  policy.Recording
	ahead atomic.Int64
	k     *Keeper
	o     Options
	stop  func()
}

func newPlace(t *testing.T, rule policy.Recording, change func(*Options)) *place {
	t.Helper()
	p := &place{T: t, rule: rule}
	p.w = world.New(t, world.Options{Rule: func(r *policy.Rule) { r.Recording = rule }})
	p.w.Run(false)
	set, err := policy.NewSet([]policy.Rule{{Name: "all", Users: []string{"*"}, Auto: true, Recording: rule}})
	p.ok(err)
	p.o = Options{Store: p.w.DB, Recordings: p.w.Recordings, Rules: func() *policy.Set { return set }, Every: 50 * time.Millisecond,
		Now: func() time.Time { return time.Now().UTC().Add(time.Duration(p.ahead.Load())) }, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&p.o)
	}
	p.start()
	return p
}

// start starts a Keeper, as a gateway does.
func (p *place) start() {
	p.Helper()
	var err error
	p.k, err = New(p.o)
	p.ok(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.k.Run(ctx) }()
	stopped := false
	p.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			p.ok(<-ended)
		}
	}
	p.Cleanup(func() { p.stop() })
}

func (p *place) ok(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// record is one sealed session.
func (p *place) record(text string) string {
	p.Helper()
	s := p.w.Begin(p.w.Grant("web01", "deploy", time.Hour))
	p.ok(s.Recorder().Output(0, 1, []byte(text)))
	p.ok(s.Finish(p.Context(), session.Outcome{}))
	return s.ID()
}

// wait waits for a recording's row to be as wanted.
func (p *place) wait(session, what string, done func(store.Recording) bool) store.Recording {
	p.Helper()
	var r store.Recording
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var err error
		if r, err = p.w.DB.Recording(p.Context(), session); err == nil && done(r) {
			return r
		}
	}
	p.Fatalf("recording %s: not %s: %+v", session, what, r)
	return r
}

func stored(r store.Recording) bool { return r.Object != nil }
func gone(r store.Recording) bool   { return r.Deletion != nil && !r.Deletion.DoneAt.IsZero() }

// local reports whether the file is in the directory.
func (p *place) local(session string) bool {
	p.Helper()
	_, err := p.w.Recordings.LocalSize(session)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.Fatal(err)
	}
	return err == nil
}

// intact reads and verifies a recording, and compares it with the log.
func (p *place) intact(session, text string) {
	p.Helper()
	r, err := p.w.Recordings.Open(session)
	p.ok(err)
	defer r.Close()
	if rep := r.Verify(); !rep.OK {
		p.Errorf("%s: %s", session, rep.String())
	}
	var out bytes.Buffer
	p.ok(recording.ExportText(r, &out, recording.ExportOptions{}))
	if !strings.Contains(out.String(), text) {
		p.Errorf("%s: no %q in %q", session, text, out.String())
	}
	p.logAgrees("")
}

// logAgrees compares all recordings with the log; problem is what it must find.
func (p *place) logAgrees(problem string) {
	p.Helper()
	c := p.w.Recordings.NewLogCheck()
	for _, e := range p.w.Events() {
		p.ok(c.Event(e))
	}
	err := c.Finish(p.Context())
	if (problem == "" && err != nil) || (problem != "" && (err == nil || !strings.Contains(err.Error(), problem))) {
		p.Errorf("the log: %v, want %q", err, problem)
	}
}

func bucketOptions(t testing.TB, lock string) (*testenv.ObjectStore, func(*Options)) {
	t.Helper()
	s := testenv.NewObjectStore(t)
	c := client(t, s)
	if err := c.MakeBucket(t.Context(), "recordings", minio.MakeBucketOptions{ObjectLocking: lock != ""}); err != nil {
		t.Fatal(err)
	}
	b, err := objects.New(objects.Options{Endpoint: s.Endpoint(), Bucket: "recordings", Prefix: "gw/", AccessKey: s.AccessKey, SecretKey: s.SecretKey, Lock: lock})
	if err != nil {
		t.Fatal(err)
	}
	return s, func(o *Options) { o.Bucket, o.Spool, o.LockDays = b, 1<<30, 1 }
}

// client is somebody else with the bucket's keys.
func client(t testing.TB, s *testenv.ObjectStore) *minio.Client {
	t.Helper()
	c, err := minio.New(s.Address, &minio.Options{Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (p *place) versions(s *testenv.ObjectStore) (n int) {
	p.Helper()
	for o := range client(p, s).ListObjects(p.Context(), "recordings", minio.ListObjectsOptions{WithVersions: true, Recursive: true}) {
		p.ok(o.Err)
		n++
	}
	return n
}

// A recording goes to the bucket, is read back, and only then leaves the
// directory; whoever opens it does not notice.
func TestG9ArchivedRecordingIsWhole(t *testing.T) {
	t.Parallel()
	s, o := bucketOptions(t, "")
	p := newPlace(t, policy.Recording{RetainDays: 30}, o)
	id := p.record("hello archive")
	r := p.wait(id, "stored", stored)
	if len(r.Object.SHA256) != 64 || r.Rule != "all" || r.RetainDays != 30 || !r.RetainUntil.Equal(r.SealedAt.AddDate(0, 0, 30)) {
		t.Errorf("the row is %+v", r)
	}
	p.wait(id, "out of the directory", func(store.Recording) bool { return !p.local(id) })
	p.intact(id, "hello archive")
	list, err := p.w.Recordings.List()
	p.ok(err)
	if len(list) != 1 || list[0].Session != id || !list[0].Sealed || list[0].Header.User != "alice" || list[0].Seal.Hash != r.Hash {
		t.Errorf("the list is %+v", list)
	}
	var pack bytes.Buffer
	if n, err := p.w.Recordings.Copy(id, &pack); err != nil || n != r.Size {
		t.Errorf("copied %d bytes of %d: %v", n, r.Size, err)
	}

	// Another start finds everything done.
	p.stop()
	p.start()
	again := p.record("another")
	p.wait(again, "stored", stored)
	if n := p.versions(s); n != 2 {
		t.Errorf("%d versions of 2 recordings", n)
	}
	if n := len(p.w.Events(audit.RecordingArchived)); n != 2 {
		t.Errorf("%d events", n)
	}
	// Somebody with the keys changes an object: it is found.
	p.stop()
	c := client(t, s)
	flipped := pack.Bytes()
	flipped[len(flipped)/2] ^= 1
	_, err = c.PutObject(t.Context(), "recordings", r.Object.Key, bytes.NewReader(flipped), r.Size, minio.PutObjectOptions{})
	p.ok(err)
	p.logAgrees("damaged")
	p.ok(c.RemoveObject(t.Context(), "recordings", r.Object.Key, minio.RemoveObjectOptions{}))
	p.logAgrees("missing")
}

// While the store is away recordings wait in the directory. Over its limit
// the spool admits nobody; nothing is lost, and all goes when the store is
// back.
func TestG5FullSpoolAdmitsNobody(t *testing.T) {
	t.Parallel()
	s, o := bucketOptions(t, "")
	p := newPlace(t, policy.Recording{}, func(x *Options) { o(x); x.Spool = 1000 })
	p.ok(s.Stop())
	first := p.record("one")
	p.ok(p.k.Check())
	for range 3 {
		p.record(strings.Repeat("x", 100))
	}
	var err error
	for deadline := time.Now().Add(10 * time.Second); err == nil && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		err = p.k.Check()
	}
	if err == nil || !strings.Contains(err.Error(), "no session begins") {
		t.Fatalf("with a full spool: %v", err)
	}
	p.intact(first, "one")
	p.ok(s.Start(t.Context()))
	p.wait(first, "stored", stored)
	for deadline := time.Now().Add(10 * time.Second); p.k.Check() != nil && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
	}
	p.ok(p.k.Check())
	p.intact(first, "one")
}

// What is past its retention is deleted, with the reason in the log, unless it
// is held; what can be found by its words goes first; and verify does not call
// it missing.
func TestG7DeletionIsAnEvent(t *testing.T) {
	t.Parallel()
	p := newPlace(t, policy.Recording{RetainDays: 30}, nil)
	id, held := p.record("secret words"), p.record("evidence")
	p.wait(id, "known", func(store.Recording) bool { return true })
	p.wait(held, "known", func(store.Recording) bool { return true })
	p.ok(p.w.DB.IndexLines(t.Context(), id, []store.Line{{Kind: "output", Text: "secret words"}}))
	p.ok(p.k.Hold(t.Context(), held, "case 12", audit.Actor{ID: "U7", Name: "carol"}, "carol"))
	if _, err := p.k.Delete(t.Context(), audit.Actor{}, store.DeletionOrder{Session: held, ByName: "dave", Reason: "tidy"}); err == nil || !strings.Contains(err.Error(), "held by carol: case 12") {
		t.Errorf("delete what is held: %v", err)
	}
	p.ahead.Store(int64(29 * 24 * time.Hour))
	p.ok(p.k.round(t.Context()))
	p.intact(id, "secret words")
	p.ahead.Store(int64(31 * 24 * time.Hour))
	r := p.wait(id, "deleted", gone)
	if p.local(id) || r.Deletion.Early {
		t.Errorf("deleted as %+v", r.Deletion)
	}
	p.intact(held, "evidence") // the log check finds nothing missing either
	if hits, err := p.w.DB.SearchLines(t.Context(), "secret", store.LineFilter{}); err != nil || len(hits) != 0 {
		t.Errorf("found by its words: %v %v", hits, err)
	}
	_, err := p.w.Recordings.Open(id)
	var why *recording.Deleted
	if !errors.As(err, &why) || !errors.Is(err, fs.ErrNotExist) || why.Rule != "all" || !strings.Contains(err.Error(), `under rule "all" by the gateway: it was kept for 30 days`) {
		t.Errorf("open what was deleted: %v", err)
	}
	for _, typ := range []audit.Type{audit.RecordingDeleteOrdered, audit.RecordingDeleted} {
		evs := p.w.Events(typ)
		if len(evs) != 1 || evs[0].Session != id || evs[0].Detail["hash"] != r.Hash || evs[0].Detail["rule"] != "all" || evs[0].Detail["size"] == "0" ||
			evs[0].Actor.Name != "gateway" || !strings.Contains(evs[0].Reason, "30 days") {
			t.Errorf("%s: %+v", typ, evs)
		}
	}
	// Released, it goes too.
	p.ok(p.k.Release(t.Context(), held, "settled", audit.Actor{ID: "U7"}))
	p.wait(held, "deleted", gone)
	p.logAgrees("")
	if _, err := p.k.Delete(t.Context(), audit.Actor{}, store.DeletionOrder{Session: held, Reason: "again"}); err == nil {
		t.Error("deleted twice")
	}
	if err := p.k.Hold(t.Context(), held, "late", audit.Actor{}, "x"); err == nil {
		t.Error("what was deleted is held")
	}
	// Gone without an order is missing, as ever.
	p.ahead.Store(0) // or the job is faster
	lost := p.record("lost")
	p.ok(os.Remove(filepath.Join(p.w.Dir, "recordings", lost+".jitrec")))
	p.logAgrees("missing, and no event says that it was deleted")
}

// What is older than its retention when it is uploaded (a store that was away
// for long, or configured late) is stored, and not locked until a date that
// has gone by; and nobody deletes it whom the rule does not let.
func TestOldRecordingIsStoredWithoutALock(t *testing.T) {
	t.Parallel()
	s, o := bucketOptions(t, objects.Compliance)
	p := newPlace(t, policy.Recording{RetainDays: 1, TwoToDelete: true}, func(x *Options) {
		o(x)
		x.Now = func() time.Time { return time.Now().UTC().AddDate(0, 0, 40) }
	})
	r := p.wait(p.record("late"), "stored", stored)
	if !r.Object.LockedUntil.IsZero() || p.versions(s) != 1 {
		t.Errorf("%+v", r.Object)
	}
	for days, want := range map[int]int{0: 1, 1: 2026, 36_500: 2125, 1 << 40: 2125} {
		if y := end(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), days).Year(); y != want {
			t.Errorf("%d days end in %d", days, y)
		}
	}
}

// The job never deletes what two people have to, however old.
func TestG6JobDeletesNothingThatTakesTwo(t *testing.T) {
	t.Parallel()
	p := newPlace(t, policy.Recording{RetainDays: 1, TwoToDelete: true}, nil)
	id := p.record("for two")
	p.wait(id, "known", func(r store.Recording) bool { return r.TwoToDelete })
	p.ahead.Store(int64(1000 * 24 * time.Hour))
	p.ok(p.k.round(t.Context()))
	p.intact(id, "for two")
	due, err := p.k.Due(t.Context())
	p.ok(err)
	if len(due) != 1 || due[0].Session != id {
		t.Errorf("due: %+v", due)
	}
	if v, err := p.k.Judge(t.Context(), id); err != nil || !v.Two || v.Early || v.Refused != "" {
		t.Errorf("judged %+v, %v", v, err)
	}
}

// Object Lock and legal hold are the store's own: deletion is refused there
// too, the log says so, and nobody reads what was ordered to go.
func TestG9StoreKeepsWhatIsLockedAndHeld(t *testing.T) {
	t.Parallel()
	s, o := bucketOptions(t, objects.Compliance)
	p := newPlace(t, policy.Recording{RetainDays: 2}, o)
	id := p.record("locked")
	r := p.wait(id, "stored", stored)
	if d := r.Object.LockedUntil.Sub(r.RetainUntil).Abs(); d > time.Minute {
		t.Errorf("locked until %s, kept until %s", r.Object.LockedUntil, r.RetainUntil)
	}
	if _, err := p.k.Delete(t.Context(), audit.Actor{}, store.DeletionOrder{Session: id, ByName: "eve", Reason: "hide it"}); err == nil || !strings.Contains(err.Error(), "has locked") {
		t.Errorf("delete what is locked: %v", err)
	}
	p.ok(p.k.Hold(t.Context(), id, "case 13", audit.Actor{Name: "carol"}, "carol"))
	p.wait(id, "held in the store", func(r store.Recording) bool { return r.Object.Held })
	status, err := client(t, s).GetObjectLegalHold(t.Context(), "recordings", r.Object.Key, minio.GetObjectLegalHoldOptions{VersionID: r.Object.Version})
	if err != nil || *status != minio.LegalHoldEnabled {
		t.Errorf("the store's hold: %v %v", status, err)
	}
	p.ok(p.k.Release(t.Context(), id, "settled", audit.Actor{}))
	p.wait(id, "not held in the store", func(r store.Recording) bool { return !r.Object.Held })

	// A gateway whose clock is wrong thinks that it may: the store does not.
	p.ahead.Store(int64(10 * 24 * time.Hour))
	p.wait(id, "refused", func(r store.Recording) bool { return r.Deletion != nil && r.Deletion.LastError != "" })
	if n := p.versions(s); n != 1 {
		t.Errorf("%d versions", n)
	}
	if evs := p.w.Events(audit.RecordingDeleted); len(evs) != 1 || evs[0].Outcome != audit.Failure || !strings.Contains(evs[0].Reason, "Object Lock") {
		t.Errorf("events: %+v", evs)
	}
	if _, err := p.w.Recordings.Open(id); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it can still be read: %v", err)
	}
}
