package storetest

import (
	"encoding/json"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
	"jit-gateway/session"
)

func (s *suite) recording(sealed time.Time, days int) store.Recording {
	s.Helper()
	r := store.Recording{Session: s.id("S"), Grant: "G1", UserID: "U1", Target: "web01", Rule: "web", RetainDays: days,
		StartedAt: sealed.Add(-time.Hour), SealedAt: sealed, Size: 4711, Hash: "abc", Info: json.RawMessage(`{"user":"alice"}`)}
	if days > 0 {
		r.RetainUntil = sealed.AddDate(0, 0, days)
	}
	s.ok(s.AddRecording(s.ctx, r))
	return r
}

// names are the sessions that a filter finds.
func (s *suite) found(f store.RecordingFilter) (out []string) {
	s.Helper()
	for _, r := range must(s.Recordings(s.ctx, f))(s) {
		out = append(out, r.Session)
	}
	return out
}

func recordings(s *suite) {
	old, ever, late := s.recording(s.now.AddDate(0, 0, -10), 5), s.recording(s.now.AddDate(0, 0, -9), 0), s.recording(s.now, 5)
	same(s, must(s.Recording(s.ctx, old.Session))(s), old)
	_, err := s.Recording(s.ctx, "S-none")
	s.is(err, store.ErrNotFound)

	// The same seal twice changes nothing, whatever it says.
	again := old
	again.RetainUntil, again.Size = time.Time{}, 1
	s.ok(s.AddRecording(s.ctx, again))
	same(s, must(s.Recording(s.ctx, old.Session))(s), old)
	if s.AddRecording(s.ctx, store.Recording{Session: "S-odd", Deletion: &store.Deletion{}}) == nil {
		s.Error("a recording began as deleted")
	}

	same(s, s.found(store.RecordingFilter{}), []string{old.Session, ever.Session, late.Session})
	same(s, s.found(store.RecordingFilter{Limit: 1}), []string{old.Session})
	same(s, s.found(store.RecordingFilter{After: old.Session, Limit: 1}), []string{ever.Session})
	same(s, s.found(store.RecordingFilter{Due: s.now}), []string{old.Session})
	same(s, s.found(store.RecordingFilter{Due: old.RetainUntil}), nil) // not before it
	same(s, s.found(store.RecordingFilter{Local: true}), []string{old.Session, ever.Session, late.Session})

	// In the object store, and held there too.
	o := store.Object{Key: "r/x", Version: "v1", SHA256: "def", StoredAt: s.now, LockedUntil: s.now.AddDate(0, 0, 5)}
	s.ok(s.StoreRecording(s.ctx, ever.Session, o, ev(audit.RecordingArchived)))
	same(s, must(s.Recording(s.ctx, ever.Session))(s).Object, &o)
	s.is(s.StoreRecording(s.ctx, ever.Session, o, ev(audit.RecordingArchived)), store.ErrConflict)
	same(s, s.found(store.RecordingFilter{Local: true}), []string{old.Session, late.Session})
	h := store.Hold{By: "U7", ByName: "carol", Reason: "case 12", At: s.now}
	s.ok(s.HoldRecording(s.ctx, ever.Session, h, ev(audit.RecordingHeld)))
	same(s, must(s.Recording(s.ctx, ever.Session))(s).Hold, &h)
	same(s, s.found(store.RecordingFilter{Unequal: true}), []string{ever.Session})
	s.ok(s.ObjectHeld(s.ctx, ever.Session, true))
	same(s, s.found(store.RecordingFilter{Unequal: true}), nil)
	s.is(s.ObjectHeld(s.ctx, late.Session, true), store.ErrConflict) // there is no object

	// What is held is neither due nor deleted.
	s.ok(s.HoldRecording(s.ctx, old.Session, h, ev(audit.RecordingHeld)))
	s.is(s.HoldRecording(s.ctx, old.Session, h, ev(audit.RecordingHeld)), store.ErrConflict)
	same(s, s.found(store.RecordingFilter{Held: true}), []string{old.Session, ever.Session})
	same(s, s.found(store.RecordingFilter{Due: s.now}), nil)
	d := store.Deletion{By: "U7", ByName: "carol", Reason: "over", OrderedAt: s.now}
	s.is(s.OrderDeletion(s.ctx, old.Session, d, ev(audit.RecordingDeleteOrdered)), store.ErrConflict)
	s.ok(s.ReleaseRecording(s.ctx, old.Session, ev(audit.RecordingReleased)))
	s.is(s.ReleaseRecording(s.ctx, old.Session, ev(audit.RecordingReleased)), store.ErrConflict)

	// Deletion: ordered, tried, done; each once.
	s.is(s.DeletionDone(s.ctx, old.Session, s.now, ev(audit.RecordingDeleted)), store.ErrConflict)
	s.ok(s.OrderDeletion(s.ctx, old.Session, d, ev(audit.RecordingDeleteOrdered)))
	s.is(s.OrderDeletion(s.ctx, old.Session, d, ev(audit.RecordingDeleteOrdered)), store.ErrConflict)
	s.is(s.HoldRecording(s.ctx, old.Session, h, ev(audit.RecordingHeld)), store.ErrConflict)
	s.is(s.StoreRecording(s.ctx, old.Session, o, ev(audit.RecordingArchived)), store.ErrConflict)
	same(s, s.found(store.RecordingFilter{Ordered: true}), []string{old.Session})
	same(s, s.found(store.RecordingFilter{Deleted: true}), []string{old.Session})
	same(s, s.found(store.RecordingFilter{Present: true}), []string{ever.Session, late.Session})
	s.ok(s.DeletionFailed(s.ctx, old.Session, "locked", ev(audit.RecordingDeleted)))
	same(s, must(s.Recording(s.ctx, old.Session))(s).Deletion.LastError, "locked")
	s.ok(s.DeletionDone(s.ctx, old.Session, s.now.Add(time.Minute), ev(audit.RecordingDeleted)))
	same(s, s.found(store.RecordingFilter{Ordered: true}), nil)
	d.DoneAt = s.now.Add(time.Minute)
	same(s, must(s.Recording(s.ctx, old.Session))(s).Deletion, &d)
	same(s, s.found(store.RecordingFilter{}), []string{old.Session, ever.Session, late.Session}) // the row stays
	for _, err := range []error{
		s.HoldRecording(s.ctx, "S-none", h, ev(audit.RecordingHeld)), s.OrderDeletion(s.ctx, "S-none", d, ev(audit.RecordingDeleteOrdered)),
	} {
		s.is(err, store.ErrNotFound)
	}
}

// The row of the session says that its recording is held, or deleted.
func recordingFlags(s *suite) {
	row := s.session(s.liveGrant(s.user("alice")))
	s.ok(s.AddRecording(s.ctx, store.Recording{Session: row.ID, SealedAt: s.now}))
	flags := func() []string { return must(s.Session(s.ctx, row.ID))(s).Flags }
	s.ok(s.HoldRecording(s.ctx, row.ID, store.Hold{ByName: "carol"}, ev(audit.RecordingHeld)))
	same(s, flags(), []string{session.FlagHeld})
	s.ok(s.ReleaseRecording(s.ctx, row.ID, ev(audit.RecordingReleased)))
	same(s, len(flags()), 0)
	s.ok(s.OrderDeletion(s.ctx, row.ID, store.Deletion{OrderedAt: s.now}, ev(audit.RecordingDeleteOrdered)))
	same(s, flags(), []string{session.FlagRecordingDeleted})
}

// A hold and a deletion at once: one wins, whichever.
func recordingRaces(s *suite) {
	s.race("hold against delete", store.ErrConflict, func() func(int) error {
		r := s.recording(s.now, 1)
		return func(i int) error {
			if i%2 == 0 {
				return s.HoldRecording(s.ctx, r.Session, store.Hold{ByName: "carol"}, ev(audit.RecordingHeld))
			}
			return s.OrderDeletion(s.ctx, r.Session, store.Deletion{ByName: "gateway", OrderedAt: s.now}, ev(audit.RecordingDeleteOrdered))
		}
	})
}

// recordingChanges are the mutations of this file, for G7.
func (s *suite) recordingChanges() []change {
	r := func() store.Recording { return s.recording(s.now, 1) }
	held := func() store.Recording {
		r := r()
		s.ok(s.HoldRecording(s.ctx, r.Session, store.Hold{ByName: "x"}, ev(audit.RecordingHeld)))
		return r
	}
	ordered := func() store.Recording {
		r := r()
		s.ok(s.OrderDeletion(s.ctx, r.Session, store.Deletion{OrderedAt: s.now}, ev(audit.RecordingDeleteOrdered)))
		return r
	}
	with := func(prepare func() store.Recording, f func(id string, e audit.Event) error) func() func(audit.Event) error {
		return func() func(audit.Event) error {
			r := prepare()
			return func(e audit.Event) error { return f(r.Session, e) }
		}
	}
	return []change{
		{"HoldRecording", false, with(r, func(id string, e audit.Event) error { return s.HoldRecording(s.ctx, id, store.Hold{}, e) })},
		{"ReleaseRecording", false, with(held, func(id string, e audit.Event) error { return s.ReleaseRecording(s.ctx, id, e) })},
		{"StoreRecording", false, with(r, func(id string, e audit.Event) error {
			return s.StoreRecording(s.ctx, id, store.Object{StoredAt: s.now}, e)
		})},
		{"OrderDeletion", false, with(r, func(id string, e audit.Event) error {
			return s.OrderDeletion(s.ctx, id, store.Deletion{OrderedAt: s.now}, e)
		})},
		{"DeletionFailed", true, with(ordered, func(id string, e audit.Event) error { return s.DeletionFailed(s.ctx, id, "x", e) })},
		{"DeletionDone", false, with(ordered, func(id string, e audit.Event) error { return s.DeletionDone(s.ctx, id, s.now, e) })},
	}
}
