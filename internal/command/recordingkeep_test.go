package command

import (
	"strings"
	"testing"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/store"
)

// known makes the row of a sealed recording.
func (w *world) known(id string, days int, two bool, age time.Duration) {
	w.Helper()
	r := store.Recording{Session: id, Target: "web01", Rule: "web", RetainDays: days, TwoToDelete: two, SealedAt: time.Now().Add(-age), Size: 4711, Hash: "abc"}
	if days > 0 {
		r.RetainUntil = r.SealedAt.AddDate(0, 0, days)
	}
	w.must(w.db.AddRecording(w.Context(), r))
}

func (w *world) deletion(id string) *store.Deletion {
	w.Helper()
	r, err := w.db.Recording(w.Context(), id)
	w.must(err)
	return r.Deletion
}

const day = 24 * time.Hour

// A rule with two_to_delete takes two administrators, who are two people: not
// one under two accounts, not the local one, not one for want of another.
func TestG6TwoToDelete(t *testing.T) {
	story(t, func(w *world) {
		w.known("S2222221", 30, true, 40*day)
		w.known("S2222222", 30, true, 40*day)
		del := []string{"recording", "delete", "S2222221", "--reason", "case closed"}
		w.fails(Failed, "alice", "", del, "for administrators")
		w.fails(Failed, "carol", "", del, "for administrators")
		w.fails(Failed, "local", "", del, "takes two people, and the local administrator is nobody in particular")
		w.fails(Failed, "erin", w.code("erin")+"\n", del, "there is no second administrator")
		w.user("erin2", "admins")
		u := w.as("erin2").User
		u.Owner = "Uerin"
		w.must(w.db.UpdateUser(w.Context(), u, ev()))
		w.fails(Failed, "erin", w.code("erin")+"\n", del, "there is no second administrator")

		w.user("frank", "admins")
		time.Sleep(time.Minute)
		w.fails(Failed, "erin", "000000\n", del, "")
		if r := w.run("erin", w.code("erin")+"\n", "recording", "delete", "--due", "--reason", "case closed"); r.status != OK || !strings.Contains(r.err, "waits for a second administrator") {
			t.Fatalf("%+v", r)
		}
		var acts []struct{ ID, Kind, Summary string }
		w.json(&acts, "frank", "", "confirm")
		if len(acts) != 1 || acts[0].Kind != "recording.delete" || !strings.Contains(acts[0].Summary, "S2222221, S2222222: case closed") {
			t.Fatalf("%+v", acts)
		}
		w.fails(Failed, "erin2", w.code("erin2")+"\n", []string{"confirm", acts[0].ID}, "You asked for")
		w.fails(Failed, "frank", "000000\n", []string{"confirm", acts[0].ID}, "")
		if w.deletion("S2222221") != nil {
			t.Fatal("one person deleted it")
		}
		// What is held by then stays, although it was confirmed.
		w.ok("carol", w.code("carol")+"\n", "recording", "hold", "S2222222", "--reason", "case 12")
		w.fails(Failed, "frank", w.code("frank")+"\n", []string{"confirm", acts[0].ID}, "held by carol: case 12")
		d := w.deletion("S2222221")
		if d == nil || d.By != "Uerin" || d.ConfirmedBy != "Ufrank" || d.ByName != "erin and frank" || d.Early {
			t.Errorf("deleted as %+v", d)
		}
		if w.deletion("S2222222") != nil {
			t.Error("what is held was deleted")
		}
		evs, err := w.db.FindEvents(w.Context(), audit.Filter{Session: "S2222221"})
		w.must(err)
		if len(evs) != 2 || evs[1].Type != audit.RecordingDeleteOrdered || evs[0].Type != audit.RecordingDeleted || evs[1].Actor.Name != "frank" ||
			evs[1].Detail["asked_by"] != "Uerin" || evs[1].Detail["confirmed_by"] != "Ufrank" || evs[1].Reason != "case closed" || evs[1].Detail["hash"] != "abc" || evs[1].Detail["size"] != "4711" {
			t.Errorf("%+v", evs)
		}
		w.fails(Failed, "frank", w.code("frank")+"\n", []string{"confirm", acts[0].ID}, "does not wait any more")

		// Everybody who asks for it learns what became of it.
		out := w.ok("carol", "", "recording", "verify", "S2222221")
		for _, text := range []string{"was deleted on", `under rule "web" by erin and frank: case closed`} {
			if !strings.Contains(out, text) {
				t.Errorf("no %q in %q", text, out)
			}
		}
		w.fails(Failed, "carol", "", []string{"recording", "replay", "S2222221"}, "was deleted on")
		if out := w.ok("carol", "", "recording", "list", "--deleted"); !strings.Contains(out, "case closed") {
			t.Error(out)
		}
		w.fails(Failed, "alice", "", []string{"recording", "list", "--deleted"}, "for auditors and administrators")
		w.fails(Failed, "alice", "", []string{"recording", "replay", "S2222221"}, "There is no recording")
	})
}

// Too early takes a second administrator once there are two; due by a rule
// that says nothing of two, one is enough.
func TestG6EarlyDeletion(t *testing.T) {
	story(t, func(w *world) {
		w.known("S3333331", 0, false, 40*day)
		w.known("S3333332", 90, false, 40*day)
		w.known("S3333333", 30, false, 40*day)
		w.ok("erin", w.code("erin")+"\n", "recording", "delete", "S3333332", "-r", "a password was typed") // the only administrator
		if d := w.deletion("S3333332"); d == nil || !d.Early || d.ByName != "erin" {
			t.Errorf("%+v", d)
		}
		w.user("frank", "admins")
		time.Sleep(time.Minute)
		if r := w.run("erin", w.code("erin")+"\n", "recording", "delete", "S3333331", "S3333333", "-r", "tidy"); r.status != OK ||
			!strings.Contains(r.err, "waits for a second administrator") || w.deletion("S3333331") != nil || w.deletion("S3333333") == nil {
			t.Errorf("%+v", r)
		}
		w.fails(Failed, "erin", w.code("erin")+"\n", []string{"recording", "delete", "S3333333", "-r", "again"}, "was deleted on")
		w.fails(Failed, "local", "", []string{"recording", "delete", "S3333339", "-r", "x"}, "There is no sealed recording")
		w.fails(Usage, "local", "", []string{"recording", "delete"}, "--due")
		w.ok("local", "", "recording", "delete", "S3333331", "-r", "root said so")
	})
}

func TestHolds(t *testing.T) {
	story(t, func(w *world) {
		w.known("S4444441", 30, false, day)
		hold := []string{"recording", "hold", "S4444441", "--reason", "case \x1b[31m12"}
		w.fails(Failed, "alice", "", hold, "for auditors")
		w.fails(Failed, "carol", "000000\n", hold, "")
		w.ok("carol", w.code("carol")+"\n", hold...)
		r := w.fails(Failed, "carol", w.code("carol")+"\n", hold, "held already, by carol")
		if strings.Contains(r.err, "\x1b") {
			t.Errorf("%q", r.err)
		}
		w.fails(Failed, "local", "", []string{"recording", "delete", "S4444441", "-r", "x"}, "held by carol")
		w.ok("carol", w.code("carol")+"\n", "recording", "release-hold", "S4444441", "-r", "settled")
		w.fails(Failed, "carol", w.code("carol")+"\n", []string{"recording", "release-hold", "S4444441", "-r", "again"}, "is not held")
		w.fails(Failed, "carol", w.code("carol")+"\n", []string{"recording", "hold", "S4444449", "-r", "x"}, "There is no sealed recording")
		evs, err := w.db.FindEvents(w.Context(), audit.Filter{Session: "S4444441"})
		w.must(err)
		if len(evs) != 2 || evs[0].Type != audit.RecordingReleased || evs[0].Reason != "settled" || evs[1].Actor.Name != "carol" {
			t.Errorf("%+v", evs)
		}
	})
}

// A backup holds the keys of the certificate authorities: no administrator
// gets one over ssh, and the log says who took one.
func TestG8BackupIsForTheMachineItself(t *testing.T) {
	story(t, func(w *world) {
		for _, who := range []string{"alice", "carol", "erin"} {
			r := w.fails(Failed, who, "", []string{"backup"}, "on the gateway's own machine")
			if r.out != "" {
				t.Errorf("%s got %q", who, r.out)
			}
		}
		if out := w.ok("local", "", "backup", "--recordings"); !strings.Contains(out, "{true []}") {
			t.Error(out)
		}
		evs, err := w.db.FindEvents(w.Context(), audit.Filter{Types: []audit.Type{audit.BackupMade, audit.CommandRefused}})
		w.must(err)
		if len(evs) != 4 || evs[0].Type != audit.BackupMade || evs[0].Actor.Name != "local-admin" || evs[0].Detail["recordings"] != "true" {
			t.Errorf("%+v", evs)
		}
	})
}
