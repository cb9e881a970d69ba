package policy

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func TestMistakesAreNamedByField(t *testing.T) {
	for _, c := range []struct {
		field, says string
		spoil       func(*Rule)
	}{
		{"name", "not a name", func(r *Rule) { r.Name = "" }},
		{"name", "not a name", func(r *Rule) { r.Name = "-x" }},
		{"name", "not a name", func(r *Rule) { r.Name = "a\nb" }},
		{"effect", `"permit" is not one of allow, deny`, func(r *Rule) { r.Effect = "permit" }},
		{"users", "for nobody", func(r *Rule) { r.Groups = nil }},
		{"users[1]", "is empty", func(r *Rule) { r.Users = []string{"a", ""} }},
		{"groups[0]", "is empty", func(r *Rule) { r.Groups = []string{""} }},
		{"targets[0]", "is empty", func(r *Rule) { r.Targets = []string{""} }},
		{"logins[0]", "is empty", func(r *Rule) { r.Logins = []string{""} }},
		{"kinds[0]", "ssh, postgres", func(r *Rule) { r.Kinds = []string{"mysql"} }},
		{"labels", "lacks", func(r *Rule) { r.Labels = map[string]string{"env": ""} }},
		{"sources", "not a network", func(r *Rule) { r.Sources = []netip.Prefix{{}} }},
		{"hours.days", `"monday" is not a day`, func(r *Rule) { r.Hours = &Hours{Days: []string{"monday"}} }},
		{"hours.from", "HH:MM", func(r *Rule) { r.Hours = &Hours{From: "8:00"} }},
		{"hours.from", "00:00", func(r *Rule) { r.Hours = &Hours{From: "24:00"} }},
		{"hours.to", "HH:MM", func(r *Rule) { r.Hours = &Hours{To: "24:01"} }},
		{"hours.to", "HH:MM", func(r *Rule) { r.Hours = &Hours{To: "12:60"} }},
		{"hours.to", "empty", func(r *Rule) { r.Hours = &Hours{From: "09:00", To: "09:00"} }},
		{"hours.zone", "Europe/Berlin", func(r *Rule) { r.Hours = &Hours{Zone: "CEST"} }},
		{"hours.zone", "Europe/Berlin", func(r *Rule) { r.Hours = &Hours{Zone: "Local"} }},
		{"ticket", "regular expression", func(r *Rule) { r.Ticket = "(" }},
		{"when", "undefined field 'nam'", func(r *Rule) { r.When = `user.nam == "x"` }},
		{"when", "undeclared reference", func(r *Rule) { r.When = `usr.name == "x"` }},
		{"when", "must give true or false", func(r *Rule) { r.When = `request.duration` }},
		{"when", "Syntax error", func(r *Rule) { r.When = `user.name ==` }},
		{"when", "no matching overload", func(r *Rule) { r.When = `user.name == 7` }},
		{"when", "longer than", func(r *Rule) { r.When = strings.Repeat("true || ", 400) + "true" }},
		{"when", "", func(r *Rule) { r.When = strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300) }},
		{"max_duration", "negative", func(r *Rule) { r.MaxDuration = -1 }},
		{"max_duration", "longer than 30d", func(r *Rule) { r.MaxDuration = Duration(31 * 24 * time.Hour) }},
		{"default_duration", "longer than max_duration, 1h", func(r *Rule) { r.DefaultDuration = Duration(2 * time.Hour) }},
		{"request_lifetime", "negative", func(r *Rule) { r.RequestLifetime = -1 }},
		{"activate_within", "negative", func(r *Rule) { r.ActivateWithin = -1 }},
		{"max_ahead", "negative", func(r *Rule) { r.MaxAhead = -1 }},
		{"approve", "in one way", func(r *Rule) { r.Approve = nil }},
		{"approve", "in one way", func(r *Rule) { r.Auto = true }},
		{"approve[0]", "names nobody", func(r *Rule) { r.Approve = []Quorum{{}} }},
		{"approve[1].count", "between 1 and 20", func(r *Rule) { r.Approve = append(r.Approve, Quorum{Owners: true, Count: -1}) }},
		{"approve[0].groups[0]", "is empty", func(r *Rule) { r.Approve[0].Groups = []string{""} }},
		{"escalate.after", "such as 15m", func(r *Rule) { r.Escalate = &Escalation{Groups: []string{"x"}} }},
		{"escalate.groups", "which groups", func(r *Rule) { r.Escalate = &Escalation{After: 1} }},
		{"escalate", "without approve", func(r *Rule) {
			r.Approve, r.Auto, r.Escalate = nil, true, &Escalation{After: 1, Groups: []string{"x"}}
		}},
		{"break_glass.notify", "who is told", func(r *Rule) { r.Approve, r.BreakGlass = nil, &BreakGlass{Reviews: []string{"x"}} }},
		{"break_glass.reviews", "which groups", func(r *Rule) { r.Approve, r.BreakGlass = nil, &BreakGlass{Notify: []string{"x"}} }},
		{"factor.kinds[0]", "totp", func(r *Rule) { r.Factor.Kinds = []string{"sms"} }},
		{"factor.approve_kinds[1]", "approve nothing", func(r *Rule) { r.Factor.ApproveKinds = []string{"totp", "client_certificate"} }},
		{"max_duration", "too long for an emergency", func(r *Rule) {
			r.Approve, r.BreakGlass, r.MaxDuration = nil, &BreakGlass{Notify: []string{"a"}, Reviews: []string{"a"}}, Duration(4*time.Hour+1)
		}},
		{"factor.kinds", "only machines", func(r *Rule) { r.Factor.Kinds = []string{"oidc_job_token"} }},
		{"factor.kinds", "no machine has", func(r *Rule) { r.Machines, r.Factor.Kinds = true, []string{"totp", "passkey"} }},
		{"session.idle_timeout", "no meaning in a rule that denies", func(r *Rule) { r.Effect, r.Approve, r.Session.IdleTimeout = Deny, nil, 1 }},
		{"banner", "no meaning in a rule that denies", func(r *Rule) { r.Effect, r.Approve, r.Banner = Deny, nil, "x" }},
		{"channels", "no meaning in a rule that denies", func(r *Rule) { r.Effect, r.Approve, r.Channels = Deny, nil, &Channels{Shell: true} }},
		{"factor.approve_kinds[0]", "totp", func(r *Rule) { r.Factor.ApproveKinds = []string{"sms"} }},
		{"factor.per", "grant, session", func(r *Rule) { r.Factor.Per = "day" }},
		{"factor.max_age", "negative", func(r *Rule) { r.Factor.MaxAge = -1 }},
		{"factor.shared_sources", "not a network", func(r *Rule) { r.Factor.SourcesShared = []netip.Prefix{{}} }},
		{"channels.sftp", "read, write, both", func(r *Rule) { r.Channels = &Channels{SFTP: "all"} }},
		{"channels.sftp_paths", "without sftp", func(r *Rule) { r.Channels = &Channels{SFTPPaths: []string{"/x"}} }},
		{"channels.sftp_paths[0]", "absolute", func(r *Rule) { r.Channels = &Channels{SFTP: "read", SFTPPaths: []string{"x"}} }},
		{"channels.exec_patterns", "without exec", func(r *Rule) { r.Channels = &Channels{ExecPatterns: []string{"ls"}} }},
		{"channels.force_command", "one line", func(r *Rule) { r.Channels = &Channels{ForceCommand: "a\nb"} }},
		{"budget", "negative", func(r *Rule) { r.Budget.Rows = -1 }},
		{"budget.per", "session, grant", func(r *Rule) { r.Budget.Per = "day" }},
		{"recording.index", "metadata", func(r *Rule) { r.Recording.Index = "some" }},
		{"recording.retain_days", "negative", func(r *Rule) { r.Recording.RetainDays = -1 }},
		{"recording.redact_params[0]", "regular expression", func(r *Rule) { r.Recording.RedactParams = []string{"["} }},
		{"recording.recipients[0]", "age", func(r *Rule) { r.Recording.Recipients = []string{"ssh-rsa"} }},
		{"session.max", "negative", func(r *Rule) { r.Session.Max = -1 }},
		{"session.idle_timeout", "negative", func(r *Rule) { r.Session.IdleTimeout = -1 }},
		{"postgres.defaults", "not the name", func(r *Rule) { r.Postgres.Defaults = map[string]string{"a b": "c"} }},
		{"postgres.statement_timeout", "negative", func(r *Rule) { r.Postgres.StatementTimeout = -1 }},
		{"banner", "longer", func(r *Rule) { r.Banner = strings.Repeat("x", 5000) }},
		{"max_duration", "no meaning in a rule that denies", func(r *Rule) { r.Effect, r.Approve, r.MaxDuration = Deny, nil, 1 }},
		{"approve", "no meaning in a rule that denies", func(r *Rule) { r.Effect = Deny }},
		{"ticket", "no meaning in a rule that denies", func(r *Rule) { r.Effect, r.Approve, r.Ticket = Deny, nil, "x" }},
	} {
		r := rule()
		c.spoil(&r)
		_, err := NewSet([]Rule{{Name: "fine", Users: []string{"*"}, Auto: true}, r})
		var fe *FieldError
		if !errors.As(err, &fe) || fe.Field != c.field || !strings.Contains(fe.Msg, c.says) || fe.Index != 1 || fe.Rule != r.Name || strings.Contains(fe.Error(), "\n") {
			t.Errorf("want %s: …%s…, got %v", c.field, c.says, err)
		}
	}
	_, err := NewSet([]Rule{rule(), rule()})
	var fe *FieldError
	if !errors.As(err, &fe) || fe.Field != "name" || fe.Index != 1 || !strings.Contains(fe.Msg, "rule number 1 has the same") {
		t.Errorf("two of one name: %v", err)
	}
	two := rule()
	two.Name, two.Kinds, two.Ticket = "two", []string{"x"}, "("
	_, err = NewSet([]Rule{two})
	if joined, ok := err.(interface{ Unwrap() []error }); !ok || len(joined.Unwrap()) != 2 {
		t.Errorf("two mistakes: %v", err)
	}
}

func TestRuleSurvivesYAMLAndJSON(t *testing.T) {
	const text = `
name: orders
groups: [dba]
kinds: [postgres]
labels: {env: prod}
sources: [10.0.0.0/8, "2001:db8::/32"]
hours: {days: [mon, fri], from: "08:00", to: "18:00", zone: Europe/Berlin}
ticket: 'INC-\d+'
when: '!("first_target" in risk)'
max_duration: 1h30m
default_duration: 45m
request_lifetime: 2d
approve:
  - {groups: [peers], count: 2}
  - {owners: true}
escalate: {after: 15m, groups: [directors]}
factor: {kinds: [passkey], per: session, max_age: 4h, shared_sources: [192.0.2.0/24]}
budget: {rows: 1000, per: grant}
recording: {strict: true, retain_days: 90}
postgres: {read_only: true, statement_timeout: 30s}
`
	var r Rule
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&r); err != nil {
		t.Fatal(err)
	}
	if r.MaxDuration.Std() != 90*time.Minute || r.Lifetime() != 48*time.Hour || len(r.Sources) != 2 || r.Factor.MaxAge.Std() != 4*time.Hour {
		t.Errorf("read %+v", r)
	}
	if _, err := NewSet([]Rule{r}); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Rule
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if back.Hash() != r.Hash() {
		t.Errorf("the hash changed: %s", b)
	}
	back.Approve[0].Count = 1
	if back.Hash() == r.Hash() {
		t.Error("another rule has the same hash")
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "30m": 30 * time.Minute, "8h": 8 * time.Hour, "7d": 168 * time.Hour, "1d12h": 36 * time.Hour, "0s": 0, "1h30m": 90 * time.Minute} {
		d, err := ParseDuration(text)
		if err != nil || d.Std() != want {
			t.Errorf("%s: %s, %v", text, d.Std(), err)
		}
		if again, err := ParseDuration(d.String()); err != nil || again != d {
			t.Errorf("%s is written %s, which reads as %s, %v", text, d, again, err)
		}
	}
	for _, text := range []string{"", "8", "d", "-1h", "1.5d", "-1d", "99999999999d", "1w", "eight"} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("%q was read as %s", text, d)
		}
	}
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"90s", "7d", "1d12h", "1h30m0s", "1.5h", "-1h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if again, err := ParseDuration(d.String()); err != nil || again != d || d < 0 {
			t.Errorf("%q reads as %d, is written %q, which reads as %d, %v", s, d, d, again, err)
		}
	})
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "any/thing", true}, {"a*", "a", true}, {"a*c", "abbc", true}, {"a*c", "abbcd", false},
		{"*b*", "abc", true}, {"?", "ä", true}, {"?", "", false}, {"a?c", "abc", true}, {"a?c", "ac", false}, {"**", "x", true}, {"a", "A", false},
		{"[ab]", "a", false}, {"[ab]", "[ab]", true}, {`\*`, `\x`, true}, {"*.prod", "web.prod", true}, {"*a*a*a*b", strings.Repeat("a", 5000), false},
	} {
		if got := Glob(c.pattern, c.s); got != c.want {
			t.Errorf("Glob(%q, %.20q) is %v", c.pattern, c.s, got)
		}
	}
}

// Whatever matches a covered pattern matches the covering one.
func FuzzCovers(f *testing.F) {
	for _, s := range [][3]string{{"a*", "ab*", "abc"}, {"?", "*", "x"}, {"*x*", "a*x", "abx"}, {"a?", "a*", "ab"}} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, p, q, s string) {
		if covers(p, q) && Glob(q, s) && !Glob(p, s) {
			t.Errorf("%q is said to cover %q, but %q matches only the latter", p, q, s)
		}
	})
}

func TestElectorates(t *testing.T) {
	web, db := input().Target, input().Target
	db.Name, db.Owners = "orders", []string{"db-owners"}
	r := rule()
	r.Approve = []Quorum{{Groups: []string{"leads"}, Count: 2}, {Owners: true}}
	r.Escalate = &Escalation{After: 1, Groups: []string{"directors"}}
	labels := func(es []Electorate) (out []string) {
		for _, e := range es {
			out = append(out, e.Label)
		}
		return out
	}
	es := r.Electorates([]inventoryTarget{web, web, db}, false)
	if got := labels(es); !slices.Equal(got, []string{"leads", "owners of web01", "owners of orders"}) || es[0].Need != 2 || es[1].Need != 1 {
		t.Errorf("%v", es)
	}
	u := input().User
	u.Groups = []string{"directors"}
	for i, e := range es {
		if e.Fits(u) {
			t.Errorf("a director fits quorum %d before the escalation", i)
		}
	}
	for i, e := range r.Electorates([]inventoryTarget{web, db}, true) {
		if !e.Fits(u) {
			t.Errorf("a director does not fit quorum %d after the escalation", i)
		}
	}
	u.Groups, u.Kind = []string{"leads"}, "machine"
	if es[0].Fits(u) {
		t.Error("a machine votes")
	}
}
