package notify

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/testenv/office"
)

// room is a channel that remembers, and fails as often as it is told to.
type room struct {
	mu    sync.Mutex
	got   []Message
	fails int
	took  chan struct{}
}

func newRoom() *room { return &room{took: make(chan struct{}, 1000)} }

func (r *room) Name() string { return "room" }
func (r *room) Send(_ context.Context, m Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, m)
	if r.fails--; r.fails >= 0 {
		return errors.New("down")
	}
	r.took <- struct{}{}
	return nil
}

// next waits for the next message that is taken.
func (r *room) next(t *testing.T) Message {
	t.Helper()
	select {
	case <-r.took:
	case <-time.After(40 * time.Second):
		t.Fatal("nothing was told")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got[len(r.got)-1]
}

func (r *room) want(t *testing.T, about About, title string, to ...string) Message {
	t.Helper()
	m := r.next(t)
	if m.About != about || m.Title.Plain() != title || !slices.Equal(m.names(), to) {
		t.Errorf("told of %s to %v: %q\nwant %s to %v: %q", m.About, m.names(), m.Title.Plain(), about, to, title)
	}
	return m
}

var notFindings = slices.DeleteFunc(slices.Clone(Abouts), func(a About) bool { return a == Finding })

func TestARequestsWay(t *testing.T) {
	t.Parallel()
	f, r := office.New(t, office.Options{Approval: func(o *approval.Options) { o.Expiring = 10 * time.Minute }}), newRoom()
	tell(f, map[string][]About{"room": notFindings}, r)

	req := f.Ask(approval.Ask{Targets: []string{"web01"}, Duration: time.Hour})
	r.want(t, Request, "alice asks for deploy on web01", "bob", "carol")
	f.Pass(15 * time.Minute)
	f.Run() // catches up: the request escalates
	m := r.want(t, Escalation, "alice asks for deploy on web01", "dave")
	if m.Link != "https://gate.example.org/requests/"+req.ID {
		t.Errorf("link %q", m.Link)
	}
	g := f.Approve("dave", req)
	m = r.want(t, Decision, "dave approved your request for deploy on web01", "alice")
	if m.Next.Plain() != "ssh jit-gateway activate "+g.ID {
		t.Errorf("next %q", m.Next.Plain())
	}
	g = f.Activate(g.ID)
	f.Pass(g.End.Add(-10 * time.Minute).Sub(f.Now()))
	nudge(f)
	m = r.want(t, Expiring, "your access to web01 ends at "+stamp(g.End), "alice")
	if m.Next.Plain() != "ssh jit-gateway extend "+g.ID {
		t.Errorf("next %q", m.Next.Plain())
	}
	more := f.Ask(approval.Ask{Extends: g.ID, Duration: 30 * time.Minute})
	r.want(t, Request, "alice asks for deploy on web01", "bob", "carol")
	f.Approve("bob", more)
	r.want(t, Decision, "bob approved your request for deploy on web01", "alice")
	g, err := f.DB.Grant(t.Context(), g.ID)
	if err != nil {
		t.Fatal(err)
	}
	f.Pass(g.End.Add(-9 * time.Minute).Sub(f.Now()))
	nudge(f)
	r.want(t, Expiring, "your access to web01 ends at "+stamp(g.End), "alice") // of the new end, once more
	if _, err := f.Approvals.Revoke(t.Context(), f.As("bob"), g.ID, "the incident is over", f.Proof("bob")); err != nil {
		t.Fatal(err)
	}
	r.want(t, Ended, "bob ended your access to web01", "alice")
	if n := len(f.Events(audit.GrantExpiring)); n != 2 {
		t.Errorf("the log spoke of the end %d times", n)
	}

	req = f.Ask(approval.Ask{Targets: []string{"web02"}})
	r.want(t, Request, "alice asks for deploy on web02", "bob", "carol")
	if _, err := f.Approvals.Deny(t.Context(), f.As("carol"), req.ID, "not today", f.Proof("carol")); err != nil {
		t.Fatal(err)
	}
	m = r.want(t, Decision, "carol denied your request for deploy on web02", "alice")
	if !slices.Contains(m.Facts, Fact{"they said", "not today"}) {
		t.Errorf("facts %v", m.Facts)
	}
}

// nudge lets the timers look at the clock: an event wakes them.
func nudge(f *office.Office) {
	f.T.Helper()
	u, err := f.DB.UserByName(f.T.Context(), "ann")
	if err != nil {
		f.T.Fatal(err)
	}
	u.ValidUntil = f.Now().Add(48 * time.Hour)
	if err := f.DB.UpdateUser(f.T.Context(), u, audit.Event{Type: audit.UserUpdated, Outcome: audit.Success, Actor: audit.Gateway, User: u.ID}); err != nil {
		f.T.Fatal(err)
	}
}

// TestG6EmergencyIsLoud: everybody named is told at once, the requester is
// not asked to watch themself, and the review is asked for when it is over.
func TestG6EmergencyIsLoud(t *testing.T) {
	t.Parallel()
	f, r := office.New(t, office.Options{}), newRoom()
	r.fails = 2 // the room is closed at first; nothing is lost
	tell(f, map[string][]About{"room": notFindings}, r)
	req := f.Ask(approval.Ask{Targets: []string{"web01"}, Login: "root", BreakGlass: true, Reason: "everything burns"})
	m := r.want(t, BreakGlass, "EMERGENCY: alice took root on web01 without approval", "bob", "carol", "dave", "erin")
	if !m.Urgent || len(r.got) != 3 || r.got[0].ID != m.ID {
		t.Errorf("got %+v", r.got)
	}
	f.Activate(req.GrantID)
	f.Pass(26 * time.Hour) // nobody looked for a day: a review is asked for however late
	f.Run()
	m = r.want(t, Review, "the emergency of alice on web01 is over and waits for a review", "bob", "carol")
	if m.Next.Plain() != "ssh jit-gateway review "+req.GrantID || m.Link != "https://gate.example.org/grants/"+req.GrantID {
		t.Errorf("got %+v", m)
	}
}

func TestWhoElseIsTold(t *testing.T) {
	t.Parallel()
	f, r := office.New(t, office.Options{}), newRoom()
	f.Hire("otto", "", "admins")
	tell(f, nil, r)
	f.Dismiss("dave", "left the firm")
	m := r.want(t, Account, "the account dave was disabled by ann", "dave", "ann", "otto")
	if !slices.Contains(m.Facts, Fact{"reason", "left the firm"}) {
		t.Errorf("facts %v", m.Facts)
	}
	appendEvent := func(e audit.Event) {
		t.Helper()
		if _, err := f.DB.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	appendEvent(audit.Event{Type: audit.UserExpiring, Outcome: audit.Success, Actor: audit.Gateway, User: people(f, "alice")[0].ID, Reason: "the account's last day comes",
		Detail: map[string]string{"on": "2026-12-01T00:00:00Z"}})
	r.want(t, Account, "the account alice will be disabled on 2026-12-01T00:00:00Z", "alice", "ann", "otto")
	appendEvent(audit.Event{Type: audit.CredentialAlive, Outcome: audit.Failure, Actor: audit.Gateway, Target: "orders", Session: "S1", Reason: "the role is still there",
		Detail: map[string]string{"name": "jit_x"}})
	if m := r.want(t, Alarm, "a credential for orders outlived its session: jit_x", "ann", "otto"); !m.Urgent {
		t.Error("an alarm is not urgent")
	}
	appendEvent(audit.Event{Type: audit.AdminActRequested, Outcome: audit.Success, Actor: audit.Actor{ID: "Uann", Name: "ann"},
		Detail: map[string]string{"act": "A1", "summary": "add the user eve in sre"}})
	r.want(t, Change, "ann asks a second administrator to add the user eve in sre", "otto")
	// A finding is for auditors, never for the one it is about.
	appendEvent(audit.Event{Type: audit.FindingRaised, Outcome: audit.Success, Actor: audit.Gateway, User: "Uerin", Reason: "3 wrong codes",
		Detail: map[string]string{"finding": "D1", "code": "failure_burst"}})
	r.want(t, Finding, "unusual, about erin: 3 wrong codes")
	appendEvent(audit.Event{Type: audit.FindingRaised, Outcome: audit.Success, Actor: audit.Gateway, User: "Ualice", Reason: "3 wrong codes",
		Detail: map[string]string{"finding": "D2", "code": "failure_burst"}})
	r.want(t, Finding, "unusual, about alice: 3 wrong codes", "erin")
}

// What became pointless is not told: requests that were answered, windows that
// have closed, decisions of last week.
func TestWhatBecamePointless(t *testing.T) {
	t.Parallel()
	f := office.New(t, office.Options{})
	r, err := New(Options{Store: f.DB, Approvers: f.Approvals, Roles: f.Roles, Gateway: "gw", Now: f.Now})
	if err != nil {
		t.Fatal(err)
	}
	silent := func(what string, evs []audit.Event) {
		t.Helper()
		if len(evs) == 0 {
			t.Fatalf("%s: there is no such event", what)
		}
		for _, ev := range evs {
			if m, ok, err := r.compose(t.Context(), ev); ok || err != nil {
				t.Errorf("%s: told %q, %v", what, m.Title.Plain(), err)
			}
		}
	}
	req := f.Ask(approval.Ask{Targets: []string{"web01"}})
	f.Approve("bob", req)
	silent("a request that was answered", f.Events(audit.RequestFiled))
	f.Pass(25 * time.Hour)
	silent("a decision of yesterday", f.Events(audit.RequestApproved))
	silent("what was refused", []audit.Event{{ID: "E", Type: audit.RequestFiled, Outcome: audit.Denied, Request: req.ID}})
	silent("what is gone", []audit.Event{{ID: "E", Type: audit.GrantRevoked, Outcome: audit.Success, Grant: "G404", Time: f.Now()}})
	silent("what nobody needs to know", []audit.Event{{ID: "E", Type: audit.SessionStarted, Outcome: audit.Success}})
	f.Dismiss("dave", "by mistake")
	u := people(f, "dave")[0]
	u.State = identity.Active
	if err := f.DB.UpdateUser(t.Context(), u, audit.Event{Type: audit.UserEnabled, Outcome: audit.Success, Actor: audit.Gateway, User: u.ID}); err != nil {
		t.Fatal(err)
	}
	silent("an account that is enabled again", f.Events(audit.UserDisabled))
}

// A message that no channel takes for a day makes way for those behind it.
func TestGivingUp(t *testing.T) {
	t.Parallel()
	f, r := office.New(t, office.Options{}), newRoom()
	r.fails = 1 << 30
	tell(f, map[string][]About{"room": {Request}}, r)
	f.Ask(approval.Ask{Targets: []string{"web01"}, StartAt: f.Now().Add(6 * 24 * time.Hour)})
	tried := func(n int) {
		t.Helper()
		for end := time.Now().Add(40 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			r.mu.Lock()
			got := len(r.got)
			r.mu.Unlock()
			if got >= n {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("tried %d times, want %d", got, n)
			}
		}
	}
	tried(2)
	f.Pass(23 * time.Hour)
	r.mu.Lock()
	n := len(r.got)
	r.mu.Unlock()
	tried(n + 1)
	if len(f.Events(audit.NotificationLost)) > 0 {
		t.Error("given up before a day was over")
	}
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	f := office.New(t, office.Options{})
	if _, err := New(Options{}); err == nil {
		t.Error("nothing is no good")
	}
	_, err := New(Options{Store: f.DB, Approvers: f.Approvals, Gateway: "gw", Channels: []Channel{newRoom(), newRoom()}})
	if err == nil || !strings.Contains(err.Error(), "room") {
		t.Errorf("got %v", err)
	}
}
