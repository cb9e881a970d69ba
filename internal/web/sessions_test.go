package web_test

import (
	"strings"
	"testing"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// shell is a finished terminal session with something to see.
func (s *site) shell(t *testing.T) session.Row {
	t.Helper()
	live := s.begin(t, "web01", "deploy", "nginx 502s, INC-4211", "ssh")
	play(t, live.Recorder())
	check(t, live.Finish(t.Context(), session.Outcome{}))
	return live.Row()
}

func play(t *testing.T, w *recording.Writer) {
	t.Helper()
	check(t, w.Event(recording.Event{Channel: 1, Payload: recording.Open{Type: "session", Term: "xterm-256color"}}))
	check(t, w.Resize(1, 80, 24))
	check(t, w.Event(recording.Event{Channel: 1, Payload: recording.Shell{}}))
	for _, line := range []string{
		"\x1b[32mdeploy@web01\x1b[0m:~$ systemctl status nginx\r\n",
		"\x1b[1;32m●\x1b[0m nginx.service - A high performance web server\r\n     Loaded: loaded (/lib/systemd/system/nginx.service)\r\n     Active: \x1b[1;31mfailed\x1b[0m (Result: exit-code)\r\n",
		"\x1b[32mdeploy@web01\x1b[0m:~$ sudo systemctl restart nginx\r\n\x1b[32mdeploy@web01\x1b[0m:~$ ",
	} {
		check(t, w.Output(1, 1, []byte(line)))
		time.Sleep(15 * time.Millisecond)
	}
	check(t, w.Event(recording.Event{Payload: recording.SFTP{Op: "write", Path: "/etc/nginx/nginx.conf", Bytes: 4212, Result: "ok"}}))
}

// sql is a finished database session.
func (s *site) sql(t *testing.T) session.Row {
	t.Helper()
	live := s.begin(t, "orders", "orders_rw", "refund 118", "postgres")
	w := live.Recorder()
	check(t, w.SQL(0, &recording.SQL{Op: "query", Seq: 1, Statement: "SELECT id, total FROM orders WHERE id = $1", Params: []recording.Param{{Text: "118"}}}))
	check(t, w.SQL(0, &recording.SQL{Op: "result", Seq: 1, Tag: "SELECT 1", Rows: 1, Duration: 3 * time.Millisecond}))
	check(t, w.SQL(0, &recording.SQL{Op: "query", Seq: 2, Statement: "UPDATE orders SET total = '<script>alert(1)</script>' WHERE id = 118"}))
	check(t, w.SQL(0, &recording.SQL{Op: "result", Seq: 2, SQLSTATE: "22P02", Error: "invalid input syntax for type numeric", Duration: time.Millisecond}))
	check(t, live.Finish(t.Context(), session.Outcome{}))
	return live.Row()
}

// An auditor finds a session and replays it; the player runs under the CSP.
func TestReplay(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	row := s.shell(t)
	b := s.browser(t, 1280).signIn("carol")
	b.open("/sessions")
	b.sees(row.ID, "deploy@web01", "logged out")
	b.open("/sessions?target=orders")
	b.sees("no session matches")
	b.open("/sessions?user=alice&outcome=logout")
	b.click("tbody a")
	b.sees("alice as deploy on web01", "intact", "/etc/nginx/nginx.conf")
	b.click2("#player .ap-overlay-start, #player .ap-play-button")
	for deadline := time.Now().Add(wait); ; time.Sleep(50 * time.Millisecond) {
		if strings.Contains(eval[string](b, `document.getElementById("player").innerText`), "systemctl restart nginx") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the player shows nothing: %s\n%v", eval[string](b, `document.getElementById("player").innerHTML`), b.complaints())
		}
	}
	if c := b.complaints(); len(c) > 0 {
		t.Errorf("the console says %q", c)
	}
	if n := len(s.Events(audit.RecordingViewed)); n != 1 {
		t.Errorf("looking left %d events, want 1", n)
	}
}

func TestSQLTimeline(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	row := s.sql(t)
	b := s.browser(t, 360).noScript().signIn("carol")
	b.open("/sessions/" + row.ID)
	b.sees("SELECT id, total FROM orders WHERE id = $1", "$1 = '118'", "1 row", "22P02", "<script>alert(1)</script>")
	b.wide(360)
}

// Who may not see is told that there is nothing.
func TestSessionsAreHidden(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	row := s.shell(t)
	bob := s.browser(t, 1280).signIn("bob")
	bob.open("/sessions")
	bob.seesNot(row.ID)
	for _, path := range []string{"/sessions/" + row.ID, "/sessions/" + row.ID + "/play", "/sessions/SNONE", "/requests/RNONE"} {
		if status := bob.open(path); status != 404 {
			t.Errorf("bob: %s answers %d", path, status)
		}
	}
	alice := s.browser(t, 360).signIn("alice")
	alice.open("/sessions")
	alice.sees(row.ID)
	alice.open("/sessions/" + row.ID)
	alice.seesNot("timeline", "replay") // what a target once showed would be standing access to it
	if status := alice.open("/sessions/" + row.ID + "/play"); status != 404 {
		t.Errorf("alice's own cast answers %d", status)
	}
}

func TestTerminate(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	live := s.begin(t, "web01", "deploy", "long work", "ssh")
	b := s.browser(t, 360).signIn("bob")
	b.open("/sessions")
	b.click("tbody a")
	b.fill("form[action$=terminate] input[name=reason]", "wrong host")
	b.fill("form[action$=terminate] input[name=code]", "000000")
	if status := b.click("form[action$=terminate] button"); status != 403 {
		t.Errorf("terminating with a wrong code answers %d", status)
	}
	select {
	case <-live.Context().Done():
		t.Fatal("a wrong code ended the session")
	default:
	}
	b.fill("form[action$=terminate] input[name=reason]", "wrong host")
	b.fill("form[action$=terminate] input[name=code]", s.code("bob"))
	b.click("form[action$=terminate] button")
	select {
	case <-live.Context().Done():
	case <-time.After(wait):
		t.Fatal("the session goes on")
	}
	check(t, live.Finish(t.Context(), session.Outcome{}))
	row, err := s.DB.Session(t.Context(), live.ID())
	check(t, err)
	if row.Cause != "terminated" || !strings.Contains(row.Reason, "wrong host") || row.EndedBy != "Ubob" {
		t.Errorf("the session ended as %+v", row)
	}
	carol := s.browser(t, 360).signIn("carol")
	carol.open("/sessions/" + live.ID())
	carol.sees("terminated by bob: wrong host")
}
