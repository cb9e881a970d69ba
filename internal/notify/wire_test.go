package notify

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/mail"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
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

const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func ref(s string) func() (string, error) { return func() (string, error) { return s, nil } }

func loopbackClient() *webhook.Client {
	return webhook.NewClient(webhook.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
}

// tell runs a Runner over the office's log with the channels.
func tell(f *office.Office, only map[string][]About, channels ...Channel) (stop func()) {
	f.T.Helper()
	r, err := New(Options{Store: f.DB, Approvers: f.Approvals, Channels: channels, Only: only, Roles: f.Roles, Gateway: "jit-gateway",
		URL: "https://gate.example.org/", Now: f.Now, Pause: 20 * time.Millisecond})
	if err == nil {
		err = r.Begin(f.T.Context())
	}
	if err != nil {
		f.T.Fatal(err)
	}
	return f.Go(r.Run)
}

// hookLine is what the independent receiver tells of one post.
type hookLine struct {
	Path      string
	Verified  bool
	Refused   bool
	ID        string
	Signature string
	Body      struct {
		Type string
		Data struct {
			About, Title, Next, Link, Request, Grant string
			Urgent                                   bool
			To                                       []string
			Facts                                    []struct{ Name, Value string }
		}
	}
}

// The receiver is a process that checks signatures by its own means. It
// refuses each message once: the same one comes again under the same id.
func TestWebhookOverTheWire(t *testing.T) {
	t.Parallel()
	receiver := testenv.StartTeller(t, "testdata/receiver.py", hookSecret)
	f := office.New(t, office.Options{})
	old := f.Ask(approval.Ask{Targets: []string{"web02"}}) // before there was a channel: never told
	asked := map[string][]About{"ops": {Request, Decision}}
	stop := tell(f, asked, NewHook("ops", ref(fmt.Sprintf("http://127.0.0.1:%d/hook", receiver.Port)), ref(hookSecret), loopbackClient()))
	r := f.Ask(approval.Ask{Targets: []string{"web01"}, Reason: "nginx\n502s \u202e<!channel>"})

	var first, again hookLine
	receiver.Decode(1, &first)
	receiver.Decode(2, &again)
	filed := f.Events(audit.RequestFiled)
	if !first.Verified || !first.Refused || !again.Verified || first.ID != again.ID || again.ID != filed[1].ID {
		t.Fatalf("got %+v, then %+v", first, again)
	}
	d := again.Body.Data
	if d.About != "request" || d.Request != r.ID || d.Link != "https://gate.example.org/requests/"+r.ID || d.Next != "ssh jit-gateway approve "+r.ID ||
		d.Title != "alice asks for deploy on web01" || !slices.Equal(d.To, []string{"bob", "carol"}) || again.Body.Type != "request.filed" {
		t.Errorf("got %+v", again.Body)
	}
	if !slices.ContainsFunc(d.Facts, func(f struct{ Name, Value string }) bool {
		return f.Name == "reason" && f.Value == `nginx\n502s \u{202e}<!channel>`
	}) {
		t.Errorf("facts: %+v", d.Facts)
	}
	t.Logf("verified by the independent receiver: %s", receiver.Lines()[2])

	// A restart goes on behind what was delivered.
	for len(f.Events(audit.NotificationSent)) < 1 {
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	f.Approve("bob", r)
	tell(f, asked, NewHook("ops", ref(fmt.Sprintf("http://127.0.0.1:%d/hook", receiver.Port)), ref(hookSecret), loopbackClient()))
	var approved hookLine
	receiver.Decode(4, &approved)
	for i, l := range receiver.Lines()[1:] {
		if strings.Contains(string(l), old.ID) {
			t.Errorf("line %d tells of what happened before: %s", i, l)
		}
	}
	if approved.Body.Type != "request.approved" || !slices.Equal(approved.Body.Data.To, []string{"alice"}) || !strings.HasPrefix(approved.Body.Data.Next, "ssh jit-gateway activate G") {
		t.Errorf("got %+v", approved)
	}
}

// A message that the receiver will never take does not hold up the next, and
// the log says that it was lost; another secret is refused and tried again.
func TestWebhookThatIsRefused(t *testing.T) {
	t.Parallel()
	receiver := testenv.StartTeller(t, "testdata/receiver.py", hookSecret)
	f := office.New(t, office.Options{})
	base := fmt.Sprintf("http://127.0.0.1:%d", receiver.Port)
	secret := "whsec_c29tZWJvZHkgZWxzZSdzIHNlY3JldA=="
	tell(f, map[string][]About{"never": {Request}}, NewHook("never", ref(base+"/never"), ref(hookSecret), loopbackClient()),
		NewHook("wrong", ref(base+"/wrong"), ref(secret), loopbackClient()),
		NewSlack("inner", ref(base+"/chat"), webhook.NewClient(webhook.Options{}))) // loopback is not allowed here
	f.Ask(approval.Ask{Targets: []string{"web01"}})
	var l hookLine
	receiver.Decode(2, &l) // at least twice: it is tried again
	if l.Verified || l.Path != "/wrong" {
		t.Errorf("got %+v", l)
	}
	for end := time.Now().Add(40 * time.Second); len(f.Events(audit.NotificationLost)) < 1 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	lost := f.Events(audit.NotificationLost)
	if len(lost) != 1 || lost[0].Detail["channel"] != "never" || lost[0].Outcome != audit.Failure || !strings.Contains(lost[0].Reason, "422") {
		t.Errorf("got %+v", lost)
	}
	for _, line := range receiver.Lines()[1:] {
		if strings.Contains(string(line), "/chat") {
			t.Error("the guard let loopback pass")
		}
	}
}

func TestSlackOverTheWire(t *testing.T) {
	t.Parallel()
	receiver := testenv.StartTeller(t, "testdata/receiver.py", hookSecret)
	f := office.New(t, office.Options{})
	tell(f, map[string][]About{"chat": {Request}}, NewSlack("chat", ref(fmt.Sprintf("http://127.0.0.1:%d/chat", receiver.Port)), loopbackClient()))
	// What chats would make a mention, a link, a break-out of the span, or bold.
	r := f.Ask(approval.Ask{Targets: []string{"web01"}, Reason: "<!channel> <https://evil.example|Approve> `@all` [x](https://evil.example) *now* & \n> quote"})
	f.Approve("bob", r) // of which this channel is not told
	f.Ask(approval.Ask{Targets: []string{"web02"}})
	var told, next struct {
		Body struct {
			Text      string
			LinkNames int  `json:"link_names"`
			Unfurl    bool `json:"unfurl_links"`
		}
	}
	receiver.Decode(1, &told)
	receiver.Decode(2, &next)
	want := "`alice` asks for `deploy` on `web01`\n" +
		"• request: `" + r.ID + "`\n" +
		"• reason: `&lt;!channel&gt; &lt;https://evil.example|Approve&gt; '@all' [x](https://evil.example) *now* &amp; \\n&gt; quote`\n" +
		"• for: `30m`\n"
	if !strings.HasPrefix(told.Body.Text, want) || told.Body.LinkNames != 0 || told.Body.Unfurl {
		t.Errorf("got\n%s\nwant\n%s", told.Body.Text, want)
	}
	if !strings.HasSuffix(told.Body.Text, "In a terminal: `ssh jit-gateway approve "+r.ID+"`\n<https://gate.example.org/requests/"+r.ID+"|Open it on the page>") {
		t.Errorf("got\n%s", told.Body.Text)
	}
	if !strings.Contains(next.Body.Text, "web02") {
		t.Errorf("it was told of more than it asked for: %s", next.Body.Text)
	}
}

// mailLine is what the mail server tells of one mail.
type mailLine struct {
	Sender, User, Body, Raw string
	To, Defects             []string
	TLS                     bool
	Headers                 [][2]string
	Longest                 int
}

func (m mailLine) header(name string) (all []string) {
	for _, h := range m.Headers {
		if strings.EqualFold(h[0], name) {
			all = append(all, h[1])
		}
	}
	return all
}

// mailServer starts one in a mode, and returns what trusts it.
func mailServer(t *testing.T, mode string) (*testenv.Teller, *tls.Config) {
	t.Helper()
	key, cert, ca, err := testenv.ServerCertificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, b := range map[string][]byte{"key": key, "cert": cert} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return testenv.StartTeller(t, "testdata/mailserver.py", mode, filepath.Join(dir, "cert"), filepath.Join(dir, "key")), &tls.Config{RootCAs: roots}
}

func mailer(t *testing.T, f *office.Office, s *testenv.Teller, conf *tls.Config, change func(*MailOptions)) *Mail {
	t.Helper()
	o := MailOptions{Name: "mail", Server: fmt.Sprintf("127.0.0.1:%d", s.Port), TLS: conf, User: "gateway", Password: ref("correct horse"),
		From: &mail.Address{Name: "Tür-Wächter", Address: "jit@example.org"}, Gateway: "jit-gateway", Now: f.Now}
	if change != nil {
		change(&o)
	}
	m, err := NewMail(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMailOverTheWire(t *testing.T) {
	t.Parallel()
	server, conf := mailServer(t, "starttls")
	f := office.New(t, office.Options{})
	f.Hire("frank", "later@example.org", "sre-leads")
	f.Hire("gerd", "gone@example.org", "sre-leads")
	f.Hire("heidi", "heidi@example.org>\r\nBcc: everybody@example.org", "sre-leads")
	tell(f, map[string][]About{"mail": {Request, Decision}}, mailer(t, f, server, conf, nil))
	reason := strings.Repeat("ünïcode und mehr ", 12) + "\r\nBcc: evil@example.org\r\n\r\nApprove: https://evil.example/approve"
	r := f.Ask(approval.Ask{Targets: []string{"web01"}, Reason: reason})

	var bob, frank mailLine
	server.Decode(1, &bob)
	server.Decode(2, &frank) // after his mailbox was busy, and without a second mail to bob
	t.Logf("mail as received:\n%s", bob.Raw)
	if !bob.TLS || bob.User != "gateway" || bob.Sender != "jit@example.org" || !slices.Equal(bob.To, []string{"bob@example.org"}) || !slices.Equal(frank.To, []string{"later@example.org"}) {
		t.Errorf("got %+v and %+v", bob, frank)
	}
	if len(bob.Defects) > 0 || bob.Longest > 78 {
		t.Errorf("malformed: %v, longest line %d", bob.Defects, bob.Longest)
	}
	for name, want := range map[string]string{"subject": "[jit-gateway] alice asks for deploy on web01", "to": "bob@example.org", "from": "Tür-Wächter <jit@example.org>",
		"auto-submitted": "auto-generated", "content-type": `text/plain; charset="utf-8"`, "mime-version": "1.0"} {
		if got := bob.header(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if len(bob.header("bcc")) > 0 || len(bob.Headers) != 10 {
		t.Errorf("headers: %q", bob.Headers)
	}
	if bob.header("message-id")[0] == frank.header("message-id")[0] {
		t.Error("two people have one Message-ID")
	}
	for _, want := range []string{"alice asks for deploy on web01\n", "\nOn the page, after signing in: https://gate.example.org/requests/" + r.ID + "\n",
		"\nIn a terminal: ssh jit-gateway approve " + r.ID + "\n", `\r\nBcc: evil@example.org\r\n\r\nApprove: https[://]evil.example/approve`, "decides nothing"} {
		if !strings.Contains(strings.ReplaceAll(bob.Body, "\r\n", "\n"), want) {
			t.Errorf("%q is missing in\n%s", want, bob.Body)
		}
	}
	for end := time.Now().Add(40 * time.Second); len(f.Events(audit.NotificationLost)) < 1 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	// gerd's mailbox is gone: that is in the log, and holds up nobody.
	lost := f.Events(audit.NotificationLost)
	if len(lost) != 1 || !strings.Contains(lost[0].Reason, "gerd") || lost[0].Detail["to"] != "bob,carol,frank,gerd,heidi" || lost[0].Detail["reached"] != "3" {
		t.Errorf("got %+v", lost)
	}
	f.Approve("bob", r)
	var alice mailLine
	server.Decode(3, &alice)
	if !slices.Equal(alice.To, []string{"alice@example.org"}) || alice.header("subject")[0] != "[jit-gateway] bob approved your request for deploy on web01" {
		t.Errorf("got %+v", alice)
	}
}

// One full mailbox holds up the others for a while, not for ever.
func TestMailIsNotHeldUpByAFullMailbox(t *testing.T) {
	t.Parallel()
	server, conf := mailServer(t, "starttls")
	f := office.New(t, office.Options{})
	f.Hire("paul", "full@example.org")
	now := f.Now()
	m := mailer(t, f, server, conf, func(o *MailOptions) { o.Now = func() time.Time { return now } })
	msg := Message{ID: "E1", Title: text("hello"), To: people(f, "paul", "bob")}
	var lost *Lost
	for _, step := range []time.Duration{0, time.Second, patience - time.Minute} {
		now = now.Add(step)
		if err := m.Send(t.Context(), msg); err == nil || errors.As(err, &lost) || !strings.Contains(err.Error(), "paul") {
			t.Errorf("after %s: got %v", step, err)
		}
	}
	now = now.Add(time.Minute)
	if err := m.Send(t.Context(), msg); !errors.As(err, &lost) || !strings.Contains(err.Error(), "paul") {
		t.Errorf("after %s: got %v", patience, err)
	}
	if n := len(server.Lines()); n != 2 { // its port, and one mail to bob
		t.Errorf("the server told of %d things", n)
	}
}

func TestMailWithoutEncryptionIsNotSent(t *testing.T) {
	t.Parallel()
	server, conf := mailServer(t, "clear")
	f := office.New(t, office.Options{})
	m := Message{ID: "E1", Title: text("hello"), To: people(f, "bob")}
	if err := mailer(t, f, server, conf, nil).Send(t.Context(), m); err == nil || !strings.Contains(err.Error(), "STARTTLS") {
		t.Errorf("got %v", err)
	}
	plain := func(o *MailOptions) { o.Security, o.User = Plain, "" }
	if err := mailer(t, f, server, conf, plain).Send(t.Context(), m); err != nil {
		t.Errorf("in clear on loopback, as configured: %v", err)
	}
	var got mailLine
	server.Decode(1, &got)
	if got.TLS || len(server.Lines()) != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestMailServerIsVerified(t *testing.T) {
	t.Parallel()
	f := office.New(t, office.Options{})
	m := Message{ID: "E1", Title: text("hello"), To: people(f, "bob")}
	for _, mode := range []string{"starttls", "tls"} {
		server, conf := mailServer(t, mode)
		how := func(o *MailOptions) {
			if o.Security = mode; mode == "tls" {
				o.User = ""
			}
		}
		if err := mailer(t, f, server, &tls.Config{}, how).Send(t.Context(), m); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s with a stranger's certificate: %v", mode, err)
		}
		if err := mailer(t, f, server, conf, how).Send(t.Context(), m); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		wrong := func(o *MailOptions) { how(o); o.User, o.Password = "gateway", ref("wrong") }
		if err := mailer(t, f, server, conf, wrong).Send(t.Context(), m); err == nil || strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s with a wrong password: %v", mode, err)
		}
	}
}

func people(f *office.Office, names ...string) (out []identity.User) {
	f.T.Helper()
	for _, n := range names {
		u, err := f.DB.UserByName(f.T.Context(), n)
		if err != nil {
			f.T.Fatal(err)
		}
		out = append(out, u)
	}
	return out
}
