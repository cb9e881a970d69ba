package web_test

import (
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// The approver watches a terminal as it happens, from the present screen on;
// that they do is in the log and in the recording.
func TestWatchTerminal(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	live := s.begin(t, "web01", "deploy", "watch me", "ssh")
	w := live.Recorder()
	check(t, w.Resize(1, 80, 24))
	check(t, w.Output(1, 1, []byte("$ early\r\n")))
	check(t, w.Flush())
	b := s.browser(t, 1280).signIn("bob")
	b.open("/sessions/" + live.ID())
	if n := len(s.Events(audit.SessionWatched)); n != 0 {
		t.Errorf("opening the page counts as watching: %d", n)
	}
	b.click2("#watch-button")
	b.sees("$ early", "that you watch is recorded")
	check(t, w.Output(1, 1, []byte("$ later\r\n")))
	b.sees("$ later")
	if n := len(s.Events(audit.SessionWatched)); n != 1 {
		t.Errorf("%d events of watching, want 1", n)
	}
	check(t, live.Finish(t.Context(), session.Outcome{}))
	b.sees("the session has ended")
	for deadline := time.Now().Add(wait); len(s.Events(audit.SessionLeft)) != 1; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("leaving is not in the log")
		}
	}
	if c := b.complaints(); len(c) > 0 {
		t.Errorf("the console says %q", c)
	}
}

func TestWatchSQL(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	live := s.begin(t, "orders", "orders_ro", "watch me", "postgres")
	b := s.browser(t, 360).signIn("bob")
	b.open("/sessions/" + live.ID())
	b.click2("#watch-button")
	b.until(`document.getElementById("watch-state").textContent.startsWith("Live")`)
	for deadline := time.Now().Add(wait); len(s.Events(audit.SessionWatched)) == 0 && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond) // the view begins just after its event
	check(t, live.Recorder().SQL(0, &recording.SQL{Op: "query", Seq: 1, Statement: "SELECT '<img src=x>'\nFROM orders"}))
	b.sees(`SELECT '<img src=x>'\nFROM orders`)
	b.wide(360)
	// Who may not watch gets nothing.
	dave := s.browser(t, 360).signIn("dave")
	if status := dave.open("/sessions/" + live.ID() + "/watch"); status != 404 {
		t.Errorf("dave, who did not approve it, gets %d", status)
	}
}

// A requester's way, on a phone without JavaScript: ask, activate, token,
// release.
func TestRequester(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t, 360).noScript().signIn("alice")
	b.open("/access")
	b.sees("web01", "orders", "rule everyday")
	b.click(`a[href="/ask?target=orders&login=orders_ro"]`)
	b.sees("at most 8 h", "goes to approvers")
	b.fill("input[name=reason]", "monthly figures")
	b.fill("input[name=minutes]", "600")
	b.do(removeMax(b))
	if status := b.click("form[action='/requests'] button"); status != 403 {
		t.Errorf("asking for ten hours answers %d", status)
	}
	b.fill("input[name=minutes]", "45")
	if status := b.click("form[action='/requests'] button"); status != 200 {
		t.Fatalf("asking answers %d", status)
	}
	b.sees("pending", "monthly figures", "45 min")
	list, err := s.DB.ListRequests(t.Context(), approval.RequestFilter{UserID: "Ualice"})
	check(t, err)
	r := s.approve(t, list[0])

	b.open("/grants/" + r.GrantID)
	b.fill("form[action$=activate] input[name=code]", s.code("alice"))
	b.click("form[action$=activate] button")
	b.sees("active", "window")
	b.fill("form[action$=token] input[name=code]", "000000")
	if status := b.click("form[action$=token] button"); status != 403 {
		t.Errorf("a token for a wrong code: %d", status)
	}
	b.fill("form[action$=token] input[name=code]", s.code("alice"))
	b.click("form[action$=token] button")
	b.sees("jit_pg_", "shown once")
	if eval[bool](b, `document.body.hasAttribute("data-live")`) {
		t.Error("a page that is shown this once would look again, and be gone")
	}
	b.open("/grants/" + r.GrantID)
	b.seesNot("jit_pg_")
	b.wide(360)
	b.click("form[action$=release] button")
	b.sees("ended", "released")
	for _, other := range []string{"carol", "dave"} { // may look, has no form
		o := s.browser(t, 360).signIn(other)
		o.open("/grants/" + r.GrantID)
		if n := eval[int](o, `document.querySelectorAll("main form").length`); n != 0 {
			t.Errorf("%s has %d forms on alice's grant", other, n)
		}
	}
}

// An auditor reads the log, searches, jumps to the moment and takes the pack;
// nobody else sees any of it, and each look is in the log.
func TestAuditor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	row := s.shell(t)
	s.more(t, row, row)
	b := s.browser(t, 1280).signIn("carol")
	b.click("a[href='/audit']")
	b.sees("grant.activated", "session.started", row.ID)
	b.open("/audit?type=grant.activated&user=alice")
	b.seesNot("session.started")
	b.open("/search")
	b.fill("input[name=q]", "restart nginx")
	b.click("main form button")
	b.sees("sudo systemctl restart nginx <b>")
	b.click("ol a.card")
	if got := b.path(); got != "/sessions/"+row.ID {
		t.Errorf("the hit leads to %s", got)
	}
	b.until(`document.querySelector(".ap-player")`)
	b.open("/grants/" + row.GrantID)
	pack := eval[string](b, `fetch(document.querySelector("a[download]").href).then(r => r.text())`)
	if pack != "PK pack of "+row.GrantID {
		t.Errorf("the pack is %q", pack)
	}
	if b.open("/findings"); len(s.Events(audit.FindingRaised)) > 0 {
		b.look(look{360, "dark"})
		b.wide(360)
		b.fill("main form input", "known")
		b.click("main form button")
		b.open("/findings?all")
		b.sees("looked at by carol", "known")
	} else {
		t.Error("nothing unusual was found: this test needs a finding")
	}
	if n := len(s.Events(audit.AuditRead)); n != 2 {
		t.Errorf("reading the log left %d events, want 2", n)
	}
	for _, user := range []string{"alice", "bob"} {
		o := s.browser(t, 360).signIn(user)
		for _, path := range []string{"/audit", "/search?q=nginx", "/findings", "/grants/" + row.GrantID + "/evidence"} {
			if status := o.open(path); status != 404 {
				t.Errorf("%s: %s answers %d", user, path, status)
			}
		}
	}
}
