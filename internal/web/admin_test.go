package web_test

import (
	"strings"
	"testing"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
)

// An administrator disables and enables, changes groups, hands out a code; a
// wrong code changes nothing. Without JavaScript, on a phone.
func TestAdminUser(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t, 360).noScript().signIn("dana")
	b.open("/admin/users?group=engineers")
	b.sees("alice", "authenticator app")
	b.seesNot("carol")
	b.click("tbody a")
	b.fill("form[action$=disable] input[name=reason]", "left the company")
	b.fill("form[action$=disable] input[name=code]", "000000")
	if status := b.click("form[action$=disable] button"); status != 403 {
		t.Errorf("disabling with a wrong code answers %d", status)
	}
	alice := func() identity.User {
		u, err := s.DB.User(t.Context(), "Ualice")
		check(t, err)
		return u
	}
	if alice().State != identity.Active {
		t.Fatal("a wrong code disabled alice")
	}
	b.fill("form[action$=disable] input[name=code]", s.code("dana"))
	b.click("form[action$=disable] button")
	b.sees("disabled", "enable alice")
	if ev := s.Events(audit.UserDisabled); len(ev) != 1 || ev[0].Reason != "left the company" || ev[0].Actor.ID != "Udana" {
		t.Errorf("the log says %+v", ev)
	}
	b.fill("form[action$=enable] input[name=code]", s.code("dana")) // she is the only administrator
	b.click("form[action$=enable] button")
	b.sees("active", "disable alice")
	b.fill("form[action$=groups] input[name=groups]", "engineers, approvers")
	b.fill("form[action$=groups] input[name=code]", s.code("dana"))
	b.click("form[action$=groups] button")
	b.sees("approvers, engineers")
	b.fill("form[action$=invite] input[name=code]", s.code("dana"))
	b.click("form[action$=invite] button")
	b.sees("shown once", "ssh -t -p 2222 enroll@gw.example enroll ")
	b.open("/admin/users/alice")
	b.seesNot("shown once")
	b.open("/admin/users/dana")
	b.seesNot("disable dana")
	b.wide(360)
}

// G6: with two administrators one asks and the other confirms; neither the
// same person nor a wrong code does.
func TestG6AdminOnThePage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.administrator(t, "frank", "")
	s.administrator(t, "dana2", "Udana") // an account of the same person
	b := s.browser(t, 1280).signIn("dana")
	b.open("/admin/users/alice")
	b.sees("waits for a second administrator")
	b.fill("form[action$=groups] input[name=groups]", "approvers")
	b.fill("form[action$=groups] input[name=code]", s.code("dana"))
	b.click("form[action$=groups] button")
	b.sees("change the user alice, groups: approvers", "another administrator must confirm it")
	if b.path() != "/admin/changes" {
		t.Errorf("a change that waits leads to %s", b.path())
	}
	in := func() bool {
		u, err := s.DB.User(t.Context(), "Ualice")
		check(t, err)
		return u.In("approvers")
	}
	if in() {
		t.Fatal("one administrator made an approver")
	}
	same := s.browser(t, 1280).signIn("dana2")
	same.open("/admin/changes")
	if n := eval[int](same, `document.querySelectorAll("button[value=confirm]").length`); n != 0 {
		t.Error("the same person may confirm")
	}
	eval[bool](same, `document.querySelector("main input[name=answer]").value = "confirm", true`)
	same.fill("main input[name=code]", s.code("dana2"))
	if status := same.click("main form button"); status != 403 || in() {
		t.Errorf("the same person confirmed: %d", status)
	}
	second := s.browser(t, 360).noScript().signIn("frank")
	second.open("/admin")
	second.sees("changes wait")
	second.open("/admin/changes")
	second.fill("main input[name=code]", "000000")
	if status := second.click("button[value=confirm]"); status != 403 || in() {
		t.Errorf("a wrong code confirmed: %d", status)
	}
	second.fill("main input[name=code]", s.code("frank"))
	second.click("button[value=confirm]")
	second.sees("nothing waits")
	if !in() {
		t.Error("a confirmed change was not made")
	}
	second.wide(360)
}

// administrator adds one, with a factor.
func (s *site) administrator(t *testing.T, name, owner string) {
	t.Helper()
	ev := audit.Event{Type: audit.UserAdded, Outcome: audit.Success, Actor: audit.Gateway, User: "U" + name}
	check(t, s.DB.CreateUser(t.Context(), identity.User{ID: "U" + name, Name: name, Kind: identity.Human, State: identity.Active, Owner: owner,
		Groups: []string{"admins"}, CreatedAt: s.Clock.Now()}, ev))
	e := s.mfa.BeginTOTP(name)
	s.mu.Lock()
	s.keys[name] = e.Secret
	s.mu.Unlock()
	_, _, err := s.mfa.ResetTOTP(t.Context(), "U"+name, "Itest", e, s.code(name), audit.Gateway)
	check(t, err)
}

// Targets are checked, rules read and explained, the gateway's health told.
func TestAdminReads(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t, 1280).noScript().signIn("dana")
	b.open("/admin")
	b.sees("2 things need attention", "pg_role jit_x", "make room")
	b.open("/admin/targets?label=role=web")
	b.sees("web01", "web02")
	b.seesNot("orders")
	b.click("tbody a")
	b.click2("input[name=standing]")
	b.click("form[action$=check] button")
	b.sees("something is wrong", "does not trust the user CA <b>", "systemctl reload ssh", "other ways in")
	b.open("/admin/targets/web02")
	b.click("form[action$=check] button")
	b.sees("connection refused")
	b.open("/admin/rules")
	b.sees("everyday", "group engineers", "1 of approvers", "at most 8 h", "sha-256")
	b.open("/admin/rules/explain")
	b.fill("input[name=user]", "alice")
	b.fill("input[name=target]", "orders")
	b.fill("input[name=minutes]", "30")
	b.click("main form button")
	b.sees("allowed", "needs 1 of approvers: bob, dave", "which decides")
	b.open("/admin/rules/explain?user=alice&target=orders&minutes=600")
	b.sees("refused", "does not hold")
	b.open("/admin/rules/explain?user=mallory&target=orders")
	b.sees(`there is no user "mallory"`)
}

// The log can be filtered and paged; a checkpoint and the proof of an event
// can be taken away, and hold without this gateway.
func TestAuditLogProof(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.shell(t)
	vkey, err := s.checkpoint(t)
	check(t, err)
	b := s.browser(t, 1280).signIn("carol")
	b.open("/audit?type=grant.activated&from=2020-01-01")
	b.sees("grant.activated")
	b.click("ol.log .at a")
	b.sees("proof of inclusion", "the event's bytes")
	get := func(css string) string {
		return eval[string](b, `fetch(document.querySelector("`+css+`").href).then(r => r.ok ? r.text() : "status " + r.status)`)
	}
	leaf, proof := get(`a[href$=leaf]`), get(`a[href$=proof]`)
	seq, _, err := audit.CheckProof([]byte(proof), []byte(leaf), vkey)
	if err != nil || !strings.HasSuffix(b.path(), "/"+eval[string](b, `document.querySelector(".id").textContent.split(" ")[1]`)) {
		t.Errorf("the proof of event %d at %s: %v\n%s", seq, b.path(), err, proof)
	}
	if _, _, err := audit.CheckProof([]byte(proof), []byte(strings.Replace(leaf, "success", "failure", 1)), vkey); err == nil {
		t.Error("a changed event is proved")
	}
	b.open("/audit")
	if c, err := audit.OpenCheckpoint(get(`a[href$=checkpoint]`), vkey); err != nil || c.Size == 0 {
		t.Errorf("the checkpoint: %v", err)
	}
	b.open("/audit?of=X1")
	b.sees("ids of requests begin with r")
	b.open("/report?from=2026-11-01&to=2026-11-30")
	b.sees("approved by", "grants (1)", "1 h", "<i>", "2026-11-03 09:00", "users who may ask")
	if csv := get(`a[href$=csv]`); !strings.Contains(csv, "alice,web01,bob,3600") {
		t.Errorf("the report is %q", csv)
	}
	b.open("/report?from=2026-12-01&to=2026-11-30")
	b.sees("in that order")
	if n := len(s.Events(audit.AuditRead)); n < 7 {
		t.Errorf("reading left %d events", n)
	}
}
