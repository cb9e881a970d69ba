package config

import (
	"strings"
	"testing"
)

// wrong parses good with something more, and wants each of the texts among the
// errors, and as many errors.
func wrong(t *testing.T, name, more string, texts ...string) {
	t.Helper()
	_, err := Parse("gw.yaml", []byte(good+more))
	if err == nil {
		t.Errorf("%s: taken", name)
		return
	}
	if n := len(split(err)); n != len(texts) {
		t.Errorf("%s: %d errors, want %d:\n%v", name, n, len(texts), err)
	}
	for _, s := range texts {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%s: no %q in\n%v", name, s, err)
		}
	}
}

func channel(fields string) string {
	return "notify:\n  channels:\n    - {name: c, " + fields + "}\n"
}

func TestNotifyIsChecked(t *testing.T) {
	const mail = "kind: mail, server: 'mail.example.org:587', from: jit@example.org"
	for _, ok := range []string{
		channel(mail), channel(mail + ", user: u, password: 'file:/p'"), channel("kind: mail, server: '127.0.0.1:25', from: jit@example.org, tls: none"),
		channel(mail + ", tls: none, clear_text_is_all_right: true"), channel("kind: slack, url_from: 'file:/u'"), channel("kind: slack, url: 'http://127.0.0.1:1/x'"),
		channel("kind: webhook, url: 'https://h.example/x', secret: 'env:S', about: [request, alarm]"), "notify: {expiring: 0s}\n",
	} {
		if _, err := Parse("gw.yaml", []byte(good+ok)); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	for _, c := range [][]string{
		{channel("kind: pigeon"), `notify.channels[0].kind: "pigeon"`},
		{channel("kind: slack"), "channels[0].url: give url, or url_from"},
		{channel("kind: slack, url: 'https://h.example/x', url_from: 'file:/u'"), "and not both"},
		{channel("kind: slack, url_from: 'https://h.example/x'"), "url_from: secrets are not written here"},
		{channel("kind: slack, url_from: 'file:/u', secret: 'file:/s'"), "their address is the secret"},
		{channel("kind: webhook, url: 'http://h.example/x', secret: 'env:S'"), "plain http to another host"},
		{channel("kind: webhook, url: 'https://u:p@h.example/x', secret: 'env:S'"), "holds a password"},
		{channel("kind: webhook, url: 'ftp://h.example/x', secret: 'env:S'"), "not an http(s) address"},
		{channel("kind: webhook, url: 'https://h.example/x'"), "needs a secret to sign with"},
		{channel("kind: webhook, url: 'https://h.example/x', secret: 'env:S', server: 'a:1'"), "channels[0].server: is for mail alone"},
		{channel("kind: webhook, url: 'https://h.example/x', secret: 'env:S', about: [everything]"), `about[0]: "everything" is not one of request, decision`},
		{channel(mail + ", tls: none"), "would go to mail.example.org in clear"},
		{channel(mail + ", tls: none, clear_text_is_all_right: true, user: u, password: 'file:/p'"), "a password is not sent in clear"},
		{channel(mail + ", tls: maybe"), `tls: "maybe"`},
		{channel(mail + ", user: u"), "user and password go together"},
		{channel(mail + ", url: 'https://x.example'"), "url: is not for mail"},
		{channel("kind: mail, server: mail, from: jit"), `server: "mail" is not host:port`, `from: "jit" is not a mail address`},
		{channel("kind: slack, url_from: 'file:/u'") + "    - {name: c, kind: slack, url_from: 'file:/u'}\n", "channels[1].name"},
		{"notify: {expiring: 25h}\n", "notify.expiring"},
	} {
		wrong(t, c[0], c[0], c[1:]...)
	}
}

func TestTicketsAreChecked(t *testing.T) {
	tickets := func(fields string) string {
		return "tickets: {url: 'https://t.example/{ticket}', " + fields + "}\n"
	}
	for _, ok := range []string{tickets("method: GET"), tickets("secret: 'file:/s', state: fields.status.name, allowed: [Open], assignee: a.0.b, assignee_is: name"),
		tickets("note: {url: 'https://t.example/{ticket}/c'}"), "tickets: {url: 'https://t.example/find?number={ticket}'}\n"} {
		if _, err := Parse("gw.yaml", []byte(good+ok)); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	for _, c := range [][]string{
		{"tickets: {url: 'https://t.example/'}\n", "tickets.url: must hold {ticket} once"},
		{"tickets: {url: 'https://{ticket}.example/'}\n", "the host cannot depend on the ticket"},
		{"tickets: {url: 'http://t.example/{ticket}'}\n", "plain http"},
		{tickets("method: DELETE"), `tickets.method: "DELETE"`},
		{tickets("header: 'X Y', secret: 'file:/s'"), "tickets.header"},
		{tickets("header: X-Token"), "tickets.secret: say where"},
		{tickets("secret: s3cret"), "tickets.secret: secrets are not written here"},
		{tickets("state: a.b"), "state and allowed go together"},
		{tickets("state: 'a..b', allowed: [x]"), `tickets.state: "a..b" is not a path`},
		{tickets("assignee: a"), "assignee and assignee_is go together"},
		{tickets("assignee: a, assignee_is: phone"), `tickets.assignee_is: "phone"`},
		{tickets("timeout: 1m"), "tickets.timeout"},
		{tickets("note: {url: 'https://t.example/c', method: GET}"), "tickets.note.url: must hold", `tickets.note.method: "GET"`},
		{tickets(`note: {url: 'https://t.example/{ticket}', body: '{"body": "{text}"}'}`), "tickets.note.body: is not JSON"},
		{tickets(`note: {url: 'https://t.example/{ticket}', body: '{}'}`), "must hold {text} once"},
	} {
		wrong(t, c[0], c[0], c[1:]...)
	}
}

// Mistakes of shape and of sense are told together; what only follows from
// another is not.
func TestEveryMistakeAtOnce(t *testing.T) {
	_, err := Parse("gw.yaml", []byte(`name: Not A Host
listen:
  ssh: [a, list]
limits:
  wait: soon
  store_grace: 0s
colour: red
rules:
  - {name: a, users: [x], max_duration: for ever, approve: []}
  - {name: b, users: [x], auto: true, max_duration: 2h, default_duration: 3h}
`))
	want := []string{"gw.yaml:1: name", "gw.yaml:3: listen.ssh: needs text", "gw.yaml:5: limits.wait", "gw.yaml:6: limits.store_grace", "gw.yaml:7: colour: unknown field",
		"gw.yaml:9: rules[0].max_duration", "gw.yaml:9: rules[0].approve: say in one way", "gw.yaml:10: rules[1].default_duration"}
	if err == nil || len(split(err)) != len(want) {
		t.Fatalf("%d errors, want %d:\n%v", len(split(err)), len(want), err)
	}
	for i, e := range split(err) {
		if !strings.HasPrefix(e.Error(), want[i][:strings.Index(want[i], ":")+2]) {
			t.Errorf("error %d: %v, want %s", i, e, want[i])
		}
	}
	for _, s := range want {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("no %q in\n%v", s, err)
		}
	}
}
