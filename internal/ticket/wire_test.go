package ticket

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/testenv"
	"jit-gateway/internal/testenv/office"
	"jit-gateway/internal/webhook"
)

// tracked starts a ticket system, and returns options that ask it.
func tracked(t *testing.T) (*testenv.Teller, Options) {
	t.Helper()
	s := testenv.StartTeller(t, "testdata/tracker.py")
	return s, Options{URL: fmt.Sprintf("http://127.0.0.1:%d/issue/{ticket}", s.Port), Secret: func() (string, error) { return "Bearer s3cret", nil },
		State: "fields.status.name", Allowed: []string{"Open", "In Progress"}, Assignee: "fields.assignee.emailAddress", AssigneeIs: "email",
		Timeout: 300 * time.Millisecond, Client: webhook.NewClient(webhook.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})}
}

func system(t *testing.T, o Options) *System {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var alice = identity.User{ID: "Ualice", Name: "alice", Email: "alice@example.org"}

func TestCheckOverTheWire(t *testing.T) {
	t.Parallel()
	_, o := tracked(t)
	named, list, guarded, stranger := o, o, o, o
	named.Assignee, named.AssigneeIs = "fields.assignee.name", "name"
	list.URL = strings.Replace(o.URL, "/issue/{ticket}", "/table?number={ticket}&limit=1", 1)
	list.State, list.Allowed, list.Assignee, list.AssigneeIs = "result.0.state", []string{"1", "2"}, "", ""
	guarded.Client = webhook.NewClient(webhook.Options{})
	stranger.Secret = func() (string, error) { return "Bearer wrong", nil }
	noMail := alice
	noMail.Email = ""
	for _, c := range []struct {
		name, ticket string
		o            Options
		u            identity.User
		refused      string // the answer is no, in these words
		trouble      string // there was no answer
	}{
		{"open and hers", "INC-1", o, alice, "", ""},
		{"hers by name", "INC-1", named, alice, "", ""},
		{"done", "INC-2", o, alice, "ticket INC-2 is Done; it must be Open or In Progress", ""},
		{"bob's", "INC-3", o, alice, "ticket INC-3 is assigned to somebody else", ""},
		{"bob's by name", "INC-3", named, alice, "ticket INC-3 is assigned to somebody else", ""},
		{"nobody's", "INC-4", o, alice, "ticket INC-4 is assigned to nobody; it must be assigned to you", ""},
		{"no address is known", "INC-1", o, noMail, "the gateway knows no mail address of yours", ""},
		{"not there", "INC-404", o, alice, "there is no ticket INC-404", ""},
		{"slow", "INC-5", o, alice, "", "deadline exceeded"},
		{"no JSON", "INC-6", o, alice, "", "not JSON"},
		{"an error", "INC-7", o, alice, "", "status 500"},
		{"sent elsewhere", "INC-8", o, alice, "", "status 302"},
		{"a flood", "INC-9", o, alice, "", "larger than"},
		{"a number in a list, by query", "INC-1", list, alice, "", ""},
		{"a wrong secret", "INC-1", stranger, alice, "", "status 401"},
		{"an inner address that is not allowed", "INC-1", guarded, alice, "", "not a public one"},
		{"a path", "group/admin", o, alice, "there is no ticket", ""},
		{"a step up", "../../admin", o, alice, "not the name of a ticket", ""},
		{"a step up in the middle", `INC-1\..\admin`, o, alice, "not the name of a ticket", ""},
		{"slashes", "//", o, alice, "not the name of a ticket", ""},
		{"a parameter", "INC-1?x=INC-1", o, alice, "there is no ticket", ""},
		{"a parameter in a query", "INC-1&number=INC-2#", list, alice, "", ""},
		{"dots", "..", o, alice, "not the name of a ticket", ""},
		{"a line break", "INC-1\r\nX: y", o, alice, "not the name of a ticket", ""},
	} {
		err := system(t, c.o).Check(t.Context(), c.ticket, c.u)
		var no *approval.TicketRefused
		switch {
		case c.refused != "":
			if !errors.As(err, &no) || !strings.Contains(no.Text, c.refused) {
				t.Errorf("%s: got %v, want a refusal: %s", c.name, err, c.refused)
			}
		case c.trouble != "":
			if err == nil || errors.As(err, &no) || !strings.Contains(err.Error(), c.trouble) || strings.Contains(err.Error(), "wrong") {
				t.Errorf("%s: got %v, want trouble: %s", c.name, err, c.trouble)
			}
		case err != nil:
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// What the ticket system is asked is one name in one place, whatever people type.
func TestAddress(t *testing.T) {
	for _, c := range [][3]string{
		{"https://t/issue/{ticket}/x", "INC-1", "https://t/issue/INC-1/x"},
		{"https://t/issue/{ticket}", "a/b?c#d e", "https://t/issue/a%2Fb%3Fc%23d%20e"},
		{"https://t/find?n={ticket}&o=1", "a&o=2#x y", "https://t/find?n=a%26o%3D2%23x+y&o=1"},
		{"https://t/{ticket}", "{ticket}", "https://t/%7Bticket%7D"},
	} {
		if got, err := address(c[0], c[1]); err != nil || got != c[2] {
			t.Errorf("%s with %q: got %q, %v", c[0], c[1], got, err)
		}
	}
}

// tracking is an office whose requests are checked.
func tracking(t *testing.T, change func(*Options)) (*testenv.Teller, *office.Office, *System) {
	t.Helper()
	tracker, o := tracked(t)
	if change != nil {
		change(&o)
	}
	rules := office.Rules()
	rules[2].Ticket = "INC-[0-9]+" // emergencies, too
	f := office.New(t, office.Options{Rules: rules, Approval: func(ao *approval.Options) {
		o.Now, o.Gateway, o.Pause = ao.Now, "jit-gateway", 20*time.Millisecond
		o.Store = ao.Requests.(Store)
		o.Note = &Note{URL: strings.TrimSuffix(o.URL, "{ticket}") + "{ticket}/comment", Body: `{"body": {text}, "public": false}`}
		ao.Tickets = system(t, o)
	}})
	s := system(t, o)
	if err := s.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return tracker, f, s
}

func TestNothingIsFiledWithoutATicket(t *testing.T) {
	t.Parallel()
	_, f, _ := tracking(t, nil)
	ask := func(ticket string) error {
		_, err := f.Approvals.File(t.Context(), f.As("alice"), approval.Ask{Targets: []string{"orders"}, Reason: "slow queries", Ticket: ticket})
		return err
	}
	for ticket, want := range map[string]string{
		"":        "a ticket is needed",
		"XYZ":     "not a ticket of the form",
		"INC-2":   "ticket INC-2 is Done",
		"INC-5":   "ticket INC-5 could not be checked, so nothing was filed",
		"INC-404": "there is no ticket INC-404",
	} {
		if err := ask(ticket); !errors.Is(err, approval.ErrForbidden) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", ticket, err, want)
		}
	}
	if n := len(f.Events(audit.RequestFiled)); n != 0 {
		t.Errorf("%d requests were filed", n)
	}
	if n := len(f.Events(audit.RequestRefused)); n != 5 {
		t.Errorf("%d refusals are in the log, want 5", n)
	}
	if err := ask("INC-1"); err != nil {
		t.Error(err)
	}
	// An emergency is not held up by a ticket system that is down, and says
	// so; but one that says no is heard.
	emergency := approval.Ask{Targets: []string{"web01"}, Login: "root", BreakGlass: true, Reason: "everything burns", Ticket: "INC-7"}
	r, err := f.Approvals.File(t.Context(), f.As("alice"), emergency)
	if err != nil || r.State != approval.Approved {
		t.Fatalf("got %v, %v", r.State, err)
	}
	raised := f.Events(audit.FindingRaised)
	if last := raised[len(raised)-1]; last.Detail["code"] != "unchecked_ticket" || last.Detail["evidence_ticket"] != "INC-7" {
		t.Errorf("got %+v", last)
	}
	emergency.Ticket = "INC-404"
	if _, err := f.Approvals.File(t.Context(), f.As("alice"), emergency); !errors.Is(err, approval.ErrForbidden) {
		t.Errorf("got %v", err)
	}
}

// At the end of a grant its ticket is told, once the ticket system takes it.
func TestNoteOverTheWire(t *testing.T) {
	t.Parallel()
	tracker, f, s := tracking(t, nil)
	stop := f.Go(s.Run)
	f.Ask(approval.Ask{Targets: []string{"web01"}}) // no ticket, no note
	r := f.Ask(approval.Ask{Targets: []string{"orders"}, Ticket: "INC-1"})
	g := f.Activate(f.Approve("bob", r).ID)
	f.Pass(12 * time.Minute)
	if _, err := f.Approvals.Release(t.Context(), f.As("alice"), g.ID); err != nil {
		t.Fatal(err)
	}
	var first, again struct {
		Method, Path, Auth, ID string
		Body                   struct {
			Body   string
			Public *bool
		}
	}
	tracker.Decode(2, &first) // line 1 is the check
	tracker.Decode(3, &again)
	want := fmt.Sprintf("jit-gateway: alice had access as orders_ro to orders from %s to %s (approved by bob; 0 sessions; it ended: released). Request %s, grant %s.",
		g.Start.Format("2 Jan 2006 15:04:05"), f.Now().Format("15:04:05 UTC"), r.ID, g.ID)
	if again.Body.Body != want || again.Body.Public == nil || first.ID != again.ID || again.ID == "" || again.Path != "/issue/INC-1/comment" || again.Auth != "Bearer s3cret" {
		t.Errorf("got %+v, then %+v\nwant %s", first, again, want)
	}
	t.Logf("note as received: %s", again.Body.Body)
	for end := time.Now().Add(40 * time.Second); len(f.Events(audit.NotificationSent)) == 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if sent := f.Events(audit.NotificationSent); len(sent) != 1 || sent[0].Detail["ticket"] != "INC-1" || sent[0].Grant != g.ID {
		t.Errorf("got %+v", sent)
	}
	stop()
}

// A note that the ticket system will never take is told to the log, and holds
// up none of those behind it.
func TestNoteThatIsRefused(t *testing.T) {
	t.Parallel()
	tracker, f, s := tracking(t, func(o *Options) { o.Allowed = append(o.Allowed, "Done") })
	f.Go(s.Run)
	for _, ticket := range []string{"INC-2", "INC-1"} {
		g := f.Activate(f.Approve("bob", f.Ask(approval.Ask{Targets: []string{"orders"}, Ticket: ticket})).ID)
		if _, err := f.Approvals.Release(t.Context(), f.As("alice"), g.ID); err != nil {
			t.Fatal(err)
		}
	}
	tracker.Wait(1 + 2 + 3) // two checks; one note refused for good, one at first
	for end := time.Now().Add(40 * time.Second); len(f.Events(audit.NotificationSent)) == 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	lost := f.Events(audit.NotificationLost)
	if len(lost) != 1 || lost[0].Detail["ticket"] != "INC-2" || !strings.Contains(lost[0].Reason, "422") {
		t.Errorf("got %+v", lost)
	}
}
