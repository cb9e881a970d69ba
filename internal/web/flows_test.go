package web_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
)

// An emergency: loud before, open until somebody else has reviewed it.
func TestBreakGlassOnThePage(t *testing.T) {
	t.Parallel()
	s := newSite(t, policy.Rule{Name: "emergency", Groups: []string{"engineers"}, Targets: []string{"web*"}, Logins: []string{"admin"}, MaxDuration: policy.Duration(time.Hour),
		BreakGlass: &policy.BreakGlass{Notify: []string{"approvers"}, Reviews: []string{"approvers"}}},
		policy.Rule{Name: "everyday", Groups: []string{"engineers"}, Logins: []string{"deploy", "orders_*"}, Approve: []policy.Quorum{{Groups: []string{"approvers"}}}})
	b := s.browser(t, 360).noScript().signIn("alice")
	b.open("/access")
	b.click("a.ask.loud")
	b.sees("nobody is asked first, and everybody is told", "told at once: approvers", "must review it")
	b.shown("ask-emergency")
	b.fill("input[name=reason]", "the site is down")
	eval[bool](b, `document.querySelector("input[name=loud]").required = false, true`)
	if status := b.click("main form button.danger"); status != 400 {
		t.Errorf("without the confirmation it answers %d", status)
	}
	b.sees("say that you mean it")
	if n := len(s.Events(audit.RequestFiled)); n != 0 {
		t.Fatalf("%d requests were filed", n)
	}
	b.do(chromedp.Click(chromedp.CSS("input[name=loud]")))
	if status := b.click("main form button.danger"); status != 200 {
		t.Fatalf("breaking the glass answers %d\n%s", status, b.dump())
	}
	b.sees("emergency", "nobody approved this beforehand")
	b.wide(360)
	b.fill("form[action$=activate] input[name=code]", s.code("alice"))
	b.click("form[action$=activate] button.primary")
	b.sees("active", "has not been reviewed")
	b.shown("grant-emergency")
	id := strings.TrimPrefix(b.path(), "/grants/")

	bob := s.browser(t, 1280).noScript().signIn("bob")
	bob.sees("emergency to review")
	bob.shown("inbox-emergency")
	bob.click("a.card.alarm")
	bob.seesNot("close the review") // not before it is over
	b.click("form[action$=release] button")
	bob.open("/grants/" + id)
	bob.fill("form[action$=review] input[name=note]", "was needed: disk full")
	bob.fill("form[action$=review] input[name=code]", s.code("bob"))
	if status := bob.click("form[action$=review] button.primary"); status != 200 {
		t.Errorf("reviewing answers %d\n%s", status, bob.dump())
	}
	bob.sees("reviewed by bob", "was needed: disk full")
	bob.open("/")
	bob.seesNot("emergency to review")
	b.open("/")
	b.seesNot("emergency to review")
}

// A grant is extended by a new approval, with its session alive, and then
// revoked by who approved it, who says why.
func TestExtendAndRevoke(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	live := s.begin(t, "web01", "deploy", "long work", "ssh")
	id := live.Row().GrantID
	before, err := s.DB.Grant(t.Context(), id)
	check(t, err)
	b := s.browser(t, 360).noScript().signIn("alice")
	b.open("/grants/" + id)
	b.click("form[action$=extend] button")
	b.fill("input[name=reason]", "not done yet")
	b.fill("input[name=minutes]", "25")
	b.click("main form button.primary")
	b.sees("pending", "this extends grant", "25 min more", "approvers: 0 of 1", "can approve: bob, dave")
	bob := s.browser(t, 360).signIn("bob")
	bob.click("a.card")
	bob.fill("form[action$=approve] input[name=code]", s.code("bob"))
	bob.click("form[action$=approve] button.primary")
	after, err := s.DB.Grant(t.Context(), id)
	check(t, err)
	if d := after.End.Sub(before.End); d != 25*time.Minute {
		t.Errorf("the end moved by %s", d)
	}
	b.open("/grants/" + id)
	b.sees("extended", "active")

	bob.open("/grants/" + id)
	bob.fill("form[action$=revoke] input[name=reason]", "wrong host")
	bob.fill("form[action$=revoke] input[name=code]", "000000")
	if status := bob.click("form[action$=revoke] button.danger"); status != 403 {
		t.Errorf("revoking with a wrong code answers %d", status)
	}
	if v := eval[string](bob, `document.querySelector("form[action$=revoke] input[name=reason]").value`); v != "wrong host" {
		t.Errorf("the reason is now %q", v)
	}
	bob.fill("form[action$=revoke] input[name=code]", s.code("bob"))
	if status := bob.click("form[action$=revoke] button.danger"); status != 200 {
		t.Errorf("revoking answers %d", status)
	}
	bob.sees("ended", "revoked. wrong host")
	select {
	case <-live.Context().Done():
	case <-time.After(wait):
		t.Error("the session outlives its grant")
	}
	b.open("/grants/" + id)
	b.sees("revoked. wrong host")
}

// One request for every host with a label, beginning later; a rule that wants
// two groups shows how far it is; one code answers several requests.
func TestLabelsQuorumAndOneCode(t *testing.T) {
	t.Parallel()
	s := newSite(t, policy.Rule{Name: "two-keys", Groups: []string{"engineers"}, Targets: []string{"web*"}, Logins: []string{"deploy"}, MaxDuration: policy.Duration(4 * time.Hour),
		Ticket: "CHG-[0-9]+", Approve: []policy.Quorum{{Groups: []string{"approvers"}}, {Groups: []string{"admins"}}},
		Escalate: &policy.Escalation{After: policy.Duration(20 * time.Minute), Groups: []string{"auditors"}}},
		policy.Rule{Name: "databases", Groups: []string{"engineers"}, Kinds: []string{"postgres"}, Approve: []policy.Quorum{{Groups: []string{"approvers"}}}},
		policy.Rule{Name: "admin", Groups: []string{"engineers"}, Targets: []string{"web*"}, Logins: []string{"admin"}, Approve: []policy.Quorum{{Groups: []string{"approvers"}}}})
	b := s.browser(t, 360).noScript().signIn("alice")
	b.open("/access")
	b.click("a[href='/ask?label=role%3dweb'], a[href='/ask?label=role%3Dweb'], a[href='/ask?label=role=web']")
	b.sees("as whom")
	b.click("main a.ask[href*=deploy]")
	b.sees("deploy on 2 targets", "web01", "web02", "ticket")
	b.fill("input[name=reason]", "roll out")
	b.fill("input[name=ticket]", "none")
	b.do(chromedp.Click(chromedp.CSS("form details summary")))
	start := s.Clock.Now().Add(3 * time.Hour).UTC().Truncate(time.Minute)
	eval[bool](b, `document.querySelector("input[name=start]").value = "`+start.Format("2006-01-02T15:04")+`", true`)
	if status := b.click("main form button.primary"); status != 403 {
		t.Errorf("a ticket that is none answers %d", status)
	}
	b.fill("input[name=ticket]", "CHG-17")
	if status := b.click("main form button.primary"); status != 200 {
		t.Fatalf("asking answers %d\n%s", status, b.dump())
	}
	b.shown("request-quorum")
	b.sees("approvers and admins: 0 of 2", "can approve: dana", "label:role=web", start.Format("2 Jan 2006, 15:04 UTC"), "it goes to auditors too")
	list, err := s.DB.ListRequests(t.Context(), approval.RequestFilter{UserID: "Ualice"})
	check(t, err)
	if len(list) != 1 || len(list[0].Targets) != 2 || !list[0].StartAt.Equal(start) || list[0].Ticket != "CHG-17" {
		t.Fatalf("filed was %+v", list)
	}
	// Several by name, picked from the list.
	b.open("/access")
	b.do(chromedp.Click(chromedp.CSS("input[value=web01]")), chromedp.Click(chromedp.CSS("input[value=web02]")))
	b.click("form.several button")
	b.sees("as whom")
	s.ask(t, "orders", "orders_ro", "count", 0)

	// bob answers both with one code; of the first it is one of two.
	bob := s.browser(t, 360).noScript().signIn("bob")
	bob.do(chromedp.Click(chromedp.CSS("li:nth-child(1) input[name=pick]")), chromedp.Click(chromedp.CSS("li:nth-child(2) input[name=pick]")), chromedp.Click(chromedp.CSS("form.several summary")))
	bob.fill("form.several input[name=code]", s.code("bob"))
	bob.shown("inbox-several")
	if status := bob.click("form.several button"); status != 200 {
		t.Errorf("answering both gives %d\n%s", status, bob.dump())
	}
	bob.sees("approved", "pending", "others must approve too")
	bob.shown("answers")
	b.open("/requests/" + list[0].ID)
	b.sees("approvers and admins: 1 of 2", "approved by")
	b.open("/")
	b.sees("waits for admins")
	if n := len(s.Events(audit.FactorPassed)); n == 0 {
		t.Error("no factor was passed")
	}
}

// The code given on the page opens the grant for the key that asked for the
// sign-in link only when the browser sits where that key did.
func TestPageBindsNoKeyFromElsewhere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for source, silent := range map[string]bool{"127.0.0.1": true, "192.0.2.7": false} {
		g := s.approve(t, s.ask(t, "web01", "deploy", "from "+source, 0)).GrantID
		b := s.browser(t, 360).noScript()
		b.open(s.keyLink(t, "alice", source))
		b.fill("input[name=code]", s.code("alice"))
		b.click("main form button.primary")
		b.open("/grants/" + g)
		b.fill("form[action$=activate] input[name=code]", s.code("alice"))
		b.click("form[action$=activate] button.primary")
		b.sees(map[bool]string{true: "passes with the key that brought you here", false: "asks for one more code"}[silent])
		_, err := s.approvals.Admit(t.Context(), approval.AdmitInput{Caller: approval.Caller{UserID: "Ualice", KeyFingerprint: caller("alice").KeyFingerprint, Source: "127.0.0.1", Via: "ssh"},
			Target: "web01", Login: "deploy", GrantID: g})
		if (err == nil) != silent {
			t.Errorf("the link was asked for from %s, the browser is at 127.0.0.1: ssh from there gets %v", source, err)
		}
	}
}
