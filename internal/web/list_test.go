package web_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"jit-gateway/internal/audit"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// An auditor narrows the list by who, where, when, how it ended and what was
// odd about it, pages, and may send the address to a colleague. Without
// JavaScript.
func TestSessionFilters(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ev := func(ty audit.Type, id string) audit.Event {
		return audit.Event{Type: ty, Outcome: audit.Success, Actor: audit.Gateway, Session: id}
	}
	start := s.Clock.Now().Add(-100 * 24 * time.Hour)
	for i := range 60 {
		row := session.Row{ID: fmt.Sprintf("SOLD%02d", i), GrantID: "GOLD", UserID: "Ualice", User: "alice", Target: "web01", Login: "deploy", Protocol: "ssh", Gateway: "I1",
			StartedAt: start.Add(time.Duration(i) * time.Hour), State: session.Open}
		if i == 7 {
			row.Target, row.Login, row.Protocol = "orders", "orders_ro", "postgres"
		}
		check(t, s.DB.BeginSession(t.Context(), row, ev(audit.SessionStarted, row.ID)))
		row.State, row.EndedAt, row.Cause = session.Closed, row.StartedAt.Add(time.Minute), "logout"
		switch i {
		case 8:
			row.Cause, row.Reason = "terminated", `Terminated by bob: "flags":["denied"]`
		case 9:
			row.Flags = []string{session.FlagDenied, session.FlagWatched}
		case 10:
			row.State, row.Cause = session.Crashed, "crashed"
		}
		check(t, s.DB.EndSession(t.Context(), session.End{Row: row, Event: ev(audit.SessionEnded, row.ID)}))
	}
	b := s.browser(t, 1280).noScript().signIn("carol")
	b.open("/sessions")
	b.sees("SOLD59", "SOLD10", "older sessions")
	b.seesNot("SOLD09")
	b.click("a[rel=next]")
	b.sees("SOLD09", "SOLD00", "newest")
	b.seesNot("SOLD10", "older sessions")
	day := func(i int) string { return start.Add(time.Duration(i) * time.Hour).UTC().Format(time.DateOnly) }
	for query, want := range map[string][]string{
		"target=orders": {"SOLD07"}, "outcome=terminated": {"SOLD08"}, "outcome=crashed": {"SOLD10"}, "flag=denied": {"SOLD09"}, "flag=watched&user=alice": {"SOLD09"},
		"user=nobody": nil, "flag=trouble": nil, "grant=gold&target=orders": {"SOLD07"}, "grant=GOTHER": nil, "to=" + day(-24): nil, "from=" + day(100): nil,
	} {
		b.open("/sessions?" + query)
		got := eval[[]string](b, `[...document.querySelectorAll("tbody .id")].map(e => e.textContent)`)
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s lists %v, want %v", query, got, want)
		}
	}
	b.open("/sessions?from=yesterday")
	b.sees("a day is written like")
	b.open("/sessions?from=" + day(0) + "&to=" + day(59) + "&outcome=logout")
	if n := eval[int](b, `document.querySelectorAll("tbody tr").length`); n != 50 {
		t.Errorf("%d of 58 rows are on the page", n)
	}
	b.click("a[rel=next]")
	if n := eval[int](b, `document.querySelectorAll("tbody tr").length`); n != 8 || !strings.Contains(eval[string](b, `location.search`), "outcome=logout") {
		t.Errorf("%d rows are on the last page, want 8, at %s", n, eval[string](b, `location.search`))
	}
	// One's own list is the same, of oneself.
	a := s.browser(t, 360).noScript().signIn("alice")
	a.open("/sessions?user=bob&outcome=terminated")
	a.sees("SOLD08")
	a.wide(360)
}

// What goes on now: who, where, how long still, what was last done; never of a
// session whose recording is encrypted.
func TestLive(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t, 360).signIn("bob")
	b.open("/live")
	b.sees("nobody is connected")
	live := s.begin(t, "orders", "orders_ro", "figures", "postgres")
	live.Count(2048, 5<<20)
	check(t, live.Recorder().SQL(0, &recording.SQL{Op: "query", Seq: 1, Statement: "SELECT count(*) FROM orders -- <b>"}))
	check(t, live.Recorder().SQL(0, &recording.SQL{Op: "result", Seq: 1, Tag: "SELECT 1"}))
	b.open("/live")
	b.sees("alice as orders_ro on orders", "min left", "2.0 KiB in, 5.0 MiB out", "SELECT count(*) FROM orders -- <b>")
	view, err := live.Recorder().Watch("carol")
	check(t, err)
	b.sees("watched by carol") // it looks again by itself
	view.Close()
	b.wide(360)
	d := s.browser(t, 360).signIn("dave")
	d.open("/live")
	d.seesNot("orders_ro")
	check(t, live.Finish(t.Context(), session.Outcome{}))
	b.sees("nobody is connected")
}

// A recording may be damaged, encrypted, or gone: the page says so, shows what
// there is, and gives what may be given.
func TestStatesOfRecordings(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	file := func(id string) string { return filepath.Join(s.Dir, "recordings", id+".jitrec") }
	damaged, encrypted, gone := s.copied(t), s.shell(t), s.sql(t)
	raw, err := os.ReadFile(file(damaged.ID))
	check(t, err)
	raw[len(raw)/2] ^= 0xff
	check(t, os.WriteFile(file(damaged.ID), raw, 0o600))
	key, err := age.GenerateX25519Identity()
	check(t, err)
	check(t, s.Recordings.Remove(encrypted.ID))
	w, err := s.Recordings.Create(recording.Header{Session: encrypted.ID, Protocol: "ssh"}, recording.Options{Recipients: []string{key.Recipient().String()}})
	check(t, err)
	check(t, w.Event(recording.Event{Channel: 1, Payload: recording.Exec{Command: "cat secret"}}))
	if w.Doing() != "" {
		t.Errorf("the list of live sessions would show %q of an encrypted one", w.Doing())
	}
	_, err = w.Seal("logout")
	check(t, err)
	check(t, s.Recordings.Remove(gone.ID))

	b := s.browser(t, 360).signIn("carol")
	b.open("/sessions/" + damaged.ID)
	b.sees("damaged after", "all that is intact is shown")
	if text := s.body(t, s.httpSignIn(t, "carol"), "/sessions/"+damaged.ID+"/download/text"); !strings.Contains(text, "***") {
		t.Errorf("the text of a damaged recording does not say so: %q", text)
	}
	b.shown("damaged")
	b.open("/sessions/" + encrypted.ID)
	b.sees("encrypted", key.Recipient().String(), "this is not what was sealed")
	b.seesNot("cat secret", "replay from here")
	b.shown("encrypted")
	for path, want := range map[string]int{"/play": 404, "/download/text": 404, "/download/cast": 404, "/download/json": 404, "/download/container": 200} {
		if got := eval[int](b, `fetch("/sessions/`+encrypted.ID+path+`").then(r => r.status)`); got != want {
			t.Errorf("an encrypted recording: %s answers %d, want %d", path, got, want)
		}
	}
	b.open("/sessions/" + gone.ID)
	b.sees("the recording is not here, and nothing says that it was deleted")
	b.shown("gone")
	b.wide(360)
}
