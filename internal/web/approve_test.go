package web_test

import (
	"sync"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
)

// An approver on a phone: the inbox shows a request as it comes in, and is
// answered with a code.
func TestApproveShorterOnAPhone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t, 360).signIn("bob")
	b.sees("no request waits for your answer")
	r := s.ask(t, "web01", "deploy", "nginx 502s, <b>INC-4211</b>\u202e", time.Hour)
	b.sees("alice asks for deploy on web01", "<b>INC-4211</b>\\u{202e}", r.ID) // by itself, and hostile text stays text (G11)

	b.click("a.card")
	b.sees("1 h", "everyday", "approvers", "192.0.2.7")
	b.fill("input[name=minutes]", "20")
	b.fill("form[action$=approve] input[name=code]", "000000")
	if status := b.click("form[action$=approve] button"); status != 403 {
		t.Errorf("a wrong code answers %d", status)
	}
	b.sees("that code is wrong")
	if v := eval[string](b, `document.querySelector("input[name=minutes]").value`); v != "20" {
		t.Errorf("after a wrong code the minutes are %s", v)
	}
	b.fill("form[action$=approve] input[name=code]", s.code("bob"))
	if status := b.click("form[action$=approve] button"); status != 200 {
		t.Errorf("approving answers %d", status)
	}
	b.sees("approved", "by bob", "20 min")
	g, err := s.DB.ListGrants(t.Context(), approval.GrantFilter{UserID: "Ualice"})
	check(t, err)
	if len(g) != 1 || g[0].Duration != 20*time.Minute {
		t.Errorf("the grants are %+v", g)
	}
	b.wide(360)
}

// wide fails when a page must be scrolled sideways.
func (b *tab) wide(width int) {
	b.t.Helper()
	if w := eval[int](b, `document.documentElement.scrollWidth`); w > width {
		b.t.Errorf("%s is %d px wide on a screen of %d", b.path(), w, width)
	}
}

// G6: a requester has no answer form for their own request, and posting one
// is refused.
func TestG6OwnRequest(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.ask(t, "web01", "deploy", "mine", 0)
	b := s.browser(t, 1280).signIn("alice")
	b.open("/requests/" + r.ID)
	b.sees("withdraw this request")
	b.seesNot("deny")
	status := eval[int](b, `(async () => (await fetch("/requests/`+r.ID+`/approve", {method: "POST", body: new URLSearchParams({code: "`+s.code("alice")+
		`", digest: "`+r.Digest()+`", minutes: "10"})})).status)()`)
	if status != 403 {
		t.Errorf("approving one's own request answers %d", status)
	}
	b.click("form[action$=withdraw] button")
	b.sees("withdrawn")
}

func TestDenyWithoutJavaScript(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.ask(t, "web01", "deploy", "just looking", 0)
	b := s.browser(t, 360).noScript().signIn("bob")
	b.click("a.card")
	b.fill("form[action$=deny] input[name=reason]", "Ask the owner first")
	b.fill("form[action$=deny] input[name=code]", s.code("bob"))
	if status := b.click("form[action$=deny] button"); status != 200 {
		t.Errorf("denying answers %d", status)
	}
	b.sees("denied", "Ask the owner first", "by bob")
	got, err := s.DB.Request(t.Context(), r.ID)
	check(t, err)
	if got.State != approval.Denied || got.Decision.Reason != "Ask the owner first" {
		t.Errorf("the request is %s: %+v", got.State, got.Decision)
	}
}

func TestApproveWithoutJavaScript(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.ask(t, "orders", "orders_ro", "refund 118", 0)
	b := s.browser(t, 1280).noScript().signIn("bob")
	b.click("a.card")
	b.fill("form[action$=approve] input[name=code]", s.code("bob"))
	b.click("form[action$=approve] button")
	b.sees("approved", "by bob")
	b.click(".who button")
	b.sees("one-time link")
	b.seesNot("sign in with a passkey") // which would need a script
}

// Two approvers have the same request open; one denies and the other approves
// in the same moment. One answer counts and the other is told.
func TestTwoBrowsersRace(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.ask(t, "web01", "deploy", "race", 0)
	bob, dave := s.browser(t, 1280).signIn("bob"), s.browser(t, 360).signIn("dave")
	for b, user := range map[*tab]string{bob: "bob", dave: "dave"} {
		b.open("/requests/" + r.ID)
		b.fill("form[action$=approve] input[name=code]", s.code(user))
	}
	var wg sync.WaitGroup
	statuses := make([]int, 2)
	for i, b := range []*tab{bob, dave} {
		wg.Go(func() { statuses[i] = b.click("form[action$=approve] button") })
	}
	wg.Wait()
	if statuses[0]+statuses[1] != 200+409 {
		t.Fatalf("the answers are %v, want one 200 and one 409", statuses)
	}
	late := bob
	if statuses[1] == 409 {
		late = dave
	}
	late.sees("approved")
	late.sees("already") // "R7K2 was approved by bob already."
	if n := len(s.Events(audit.RequestApproved)); n != 1 {
		t.Errorf("%d approvals in the log, want 1", n)
	}
}

// Someone else answers while the request lies open: the page says so, unless a
// form is being filled in, which stays.
func TestAnsweredMeanwhile(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.ask(t, "web01", "deploy", "slow", 0)
	idle, typing := s.browser(t, 1280).signIn("bob"), s.browser(t, 1280).signIn("dave")
	idle.open("/requests/" + r.ID)
	typing.open("/requests/" + r.ID)
	typing.fill("form[action$=deny] input[name=reason]", "half a sen")
	refused := s.browser(t, 360).signIn("dave")
	refused.open("/requests/" + r.ID)
	refused.fill("form[action$=approve] input[name=code]", "000000")
	if status := refused.click("form[action$=approve] button"); status != 403 {
		t.Errorf("a wrong code answers %d", status)
	}
	s.approve(t, r)
	idle.sees("approved by")
	refused.sees("this was answered or ended meanwhile", "code")
	if status := refused.click("#changed a"); status != 200 || refused.path() != "/requests/"+r.ID {
		t.Errorf("from the refused form it leads to %s: %d", refused.path(), status)
	}
	typing.sees("this was answered or ended meanwhile")
	if v := eval[string](typing, `document.querySelector("form[action$=deny] input[name=reason]").value`); v != "half a sen" {
		t.Errorf("what was typed is now %q", v)
	}
}
