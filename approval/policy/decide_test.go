package policy

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func nets(ss ...string) (out []netip.Prefix) {
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func rule() Rule {
	return Rule{Name: "web", Groups: []string{"sre"}, Approve: []Quorum{{Groups: []string{"leads"}}}}
}

// Tuesday, half past ten in Berlin.
func input() Input {
	return Input{
		User: identity.User{ID: "U1", Name: "alice", Kind: identity.Human, Groups: []string{"sre", "all"}},
		Target: inventory.Target{Name: "web01", Kind: inventory.SSH, Labels: map[string]string{"role": "web", "env": "prod"}, Owners: []string{"web-owners"},
			SSH: &inventory.SSHTarget{Logins: []string{"deploy", "admin"}}},
		Login: "deploy", Reason: "nginx 502s", Ticket: "INC-4211", Duration: 30 * time.Minute,
		Now: at("2026-11-24T09:30:00Z"), Source: netip.MustParseAddr("10.1.2.3"),
	}
}

// row is one line of the decision table: what differs from rule() and
// input(), and whether that is allowed.
type row struct {
	name string
	rule func(*Rule)
	in   func(*Input)
	want bool
	says string // part of the reason
}

func office(r *Rule) {
	r.Hours = &Hours{Days: []string{"mon", "tue", "wed", "thu", "fri"}, From: "08:00", To: "18:00", Zone: "Europe/Berlin"}
}

func night(r *Rule) {
	r.Hours = &Hours{Days: []string{"fri"}, From: "22:00", To: "06:00", Zone: "Europe/Berlin"}
}

func now(s string) func(*Input) { return func(in *Input) { in.Now = at(s) } }

func cond(s string) func(*Rule) { return func(r *Rule) { r.When = s } }

var table = []row{
	{name: "as it is", want: true},

	{name: "groups: another", rule: func(r *Rule) { r.Groups = []string{"dba"} }, says: "no rule"},
	{name: "groups: one of several", rule: func(r *Rule) { r.Groups = []string{"dba", "all"} }, want: true},
	{name: "groups: no globs", rule: func(r *Rule) { r.Groups = []string{"s*"} }},
	{name: "users: named", rule: func(r *Rule) { r.Groups, r.Users = nil, []string{"alice"} }, want: true},
	{name: "users: another", rule: func(r *Rule) { r.Groups, r.Users = nil, []string{"bob"} }},
	{name: "users: glob", rule: func(r *Rule) { r.Groups, r.Users = nil, []string{"al*"} }, want: true},
	{name: "users: everybody", rule: func(r *Rule) { r.Groups, r.Users = nil, []string{"*"} }, want: true},
	{name: "users or groups", rule: func(r *Rule) { r.Groups, r.Users = []string{"dba"}, []string{"alice"} }, want: true},

	{name: "machines: a machine under a rule for people", in: func(in *Input) { in.User.Kind = identity.Machine }},
	{name: "machines: a person under a rule for machines", rule: func(r *Rule) { r.Machines = true }},
	{name: "machines: a machine", rule: func(r *Rule) { r.Machines = true }, in: func(in *Input) { in.User.Kind = identity.Machine }, want: true},

	{name: "targets: named", rule: func(r *Rule) { r.Targets = []string{"web01"} }, want: true},
	{name: "targets: another", rule: func(r *Rule) { r.Targets = []string{"web02"} }},
	{name: "targets: glob", rule: func(r *Rule) { r.Targets = []string{"db*", "web0?"} }, want: true},
	{name: "targets: glob too short", rule: func(r *Rule) { r.Targets = []string{"web?"} }},
	{name: "targets: a dot is a dot", rule: func(r *Rule) { r.Targets = []string{"web.1"} }},
	{name: "kinds: this", rule: func(r *Rule) { r.Kinds = []string{"postgres", "ssh"} }, want: true},
	{name: "kinds: another", rule: func(r *Rule) { r.Kinds = []string{"postgres"} }},
	{name: "labels: equal", rule: func(r *Rule) { r.Labels = map[string]string{"role": "web"} }, want: true},
	{name: "labels: all of them", rule: func(r *Rule) { r.Labels = map[string]string{"role": "web", "env": "prod"} }, want: true},
	{name: "labels: one differs", rule: func(r *Rule) { r.Labels = map[string]string{"role": "web", "env": "test"} }},
	{name: "labels: one is missing", rule: func(r *Rule) { r.Labels = map[string]string{"tier": "*"} }},
	{name: "labels: glob", rule: func(r *Rule) { r.Labels = map[string]string{"env": "pr*"} }, want: true},
	{name: "logins: this", rule: func(r *Rule) { r.Logins = []string{"deploy"} }, want: true},
	{name: "logins: another", rule: func(r *Rule) { r.Logins = []string{"admin"} }},
	{name: "logins: glob", rule: func(r *Rule) { r.Logins = []string{"de*"} }, want: true},
	{name: "logins: not of the target", in: func(in *Input) { in.Login = "root" }},
	{name: "logins: none", in: func(in *Input) { in.Login = "" }},
	{name: "targets and labels", rule: func(r *Rule) { r.Targets, r.Labels = []string{"web01"}, map[string]string{"role": "db"} }},

	{name: "sources: inside", rule: func(r *Rule) { r.Sources = nets("10.0.0.0/8") }, want: true},
	{name: "sources: first address", rule: func(r *Rule) { r.Sources = nets("10.1.2.3/32") }, want: true},
	{name: "sources: just outside", rule: func(r *Rule) { r.Sources = nets("10.1.2.4/30") }, says: "not from 10.1.2.3"},
	{name: "sources: one of several", rule: func(r *Rule) { r.Sources = nets("192.0.2.0/24", "10.1.0.0/16") }, want: true},
	{name: "sources: mapped into IPv6", rule: func(r *Rule) { r.Sources = nets("10.0.0.0/8") }, in: func(in *Input) { in.Source = netip.MustParseAddr("::ffff:10.1.2.3") }, want: true},
	{name: "sources: IPv6 inside", rule: func(r *Rule) { r.Sources = nets("2001:db8::/32") }, in: func(in *Input) { in.Source = netip.MustParseAddr("2001:db8::1") }, want: true},
	{name: "sources: IPv6 outside", rule: func(r *Rule) { r.Sources = nets("2001:db8::/32") }, in: func(in *Input) { in.Source = netip.MustParseAddr("2001:db9::1") }},
	{name: "sources: not known", rule: func(r *Rule) { r.Sources = nets("10.0.0.0/8") }, in: func(in *Input) { in.Source = netip.Addr{} }, says: "not known"},

	{name: "hours: inside", rule: office, want: true},
	{name: "hours: last minute before", rule: office, in: now("2026-11-24T06:59:59Z"), says: "only mon tue wed thu fri 08:00 to 18:00 Europe/Berlin"},
	{name: "hours: first instant", rule: office, in: now("2026-11-24T07:00:00Z"), want: true},
	{name: "hours: last instant", rule: office, in: now("2026-11-24T16:59:59.999Z"), want: true},
	{name: "hours: closed", rule: office, in: now("2026-11-24T17:00:00Z")},
	{name: "hours: Saturday", rule: office, in: now("2026-11-28T09:30:00Z")},
	{name: "hours: summer, opens an hour earlier in UTC", rule: office, in: now("2026-07-14T06:00:00Z"), want: true},
	{name: "hours: summer, before", rule: office, in: now("2026-07-14T05:59:59Z")},
	{name: "hours: night, Friday evening", rule: night, in: now("2026-11-27T21:00:00Z"), want: true},
	{name: "hours: night, Friday before", rule: night, in: now("2026-11-27T20:59:59Z")},
	{name: "hours: night, Saturday morning belongs to Friday", rule: night, in: now("2026-11-28T04:59:59Z"), want: true},
	{name: "hours: night, over", rule: night, in: now("2026-11-28T05:00:00Z")},
	{name: "hours: night, Friday morning belongs to Thursday", rule: night, in: now("2026-11-27T03:00:00Z")},
	{name: "hours: whole days", rule: func(r *Rule) { r.Hours = &Hours{Days: []string{"Tue"}} }, want: true},
	{name: "hours: other whole days", rule: func(r *Rule) { r.Hours = &Hours{Days: []string{"wed"}} }},
	{name: "hours: until midnight", rule: func(r *Rule) { r.Hours = &Hours{From: "09:00", To: "24:00"} }, in: now("2026-11-24T23:59:59Z"), want: true},
	{name: "hours: after midnight", rule: func(r *Rule) { r.Hours = &Hours{From: "09:00", To: "24:00"} }, in: now("2026-11-25T00:00:00Z")},
	{name: "hours: of the asked start", rule: office, in: func(in *Input) { in.StartAt = at("2026-11-24T20:00:00Z") }},
	{name: "hours: closed now, open at the asked start", rule: office, in: func(in *Input) { in.Now, in.StartAt = at("2026-11-23T22:00:00Z"), at("2026-11-24T08:00:00Z") }, want: true},
	// Clocks go forward on 29 March 2026 at 02:00, back on 25 October 2026 at 03:00, in Berlin.
	{name: "hours: DST gap, before it", rule: func(r *Rule) { r.Hours = &Hours{From: "02:30", To: "05:00", Zone: "Europe/Berlin"} }, in: now("2026-03-29T00:59:59Z")},
	{name: "hours: DST gap, opens when the gap ends", rule: func(r *Rule) { r.Hours = &Hours{From: "02:30", To: "05:00", Zone: "Europe/Berlin"} }, in: now("2026-03-29T01:00:00Z"), want: true},
	{name: "hours: DST gap swallows the window", rule: func(r *Rule) { r.Hours = &Hours{From: "02:00", To: "03:00", Zone: "Europe/Berlin"} }, in: now("2026-03-29T01:00:00Z")},
	{name: "hours: DST twice, first time", rule: func(r *Rule) { r.Hours = &Hours{From: "02:00", To: "03:00", Zone: "Europe/Berlin"} }, in: now("2026-10-25T00:30:00Z"), want: true},
	{name: "hours: DST twice, second time", rule: func(r *Rule) { r.Hours = &Hours{From: "02:00", To: "03:00", Zone: "Europe/Berlin"} }, in: now("2026-10-25T01:30:00Z"), want: true},
	{name: "hours: DST twice, over", rule: func(r *Rule) { r.Hours = &Hours{From: "02:00", To: "03:00", Zone: "Europe/Berlin"} }, in: now("2026-10-25T02:00:00Z")},
	{name: "hours: half-hour zone", rule: func(r *Rule) { r.Hours = &Hours{From: "15:00", To: "16:00", Zone: "Asia/Kolkata"} }, want: true},
	{name: "hours: another date over there", rule: func(r *Rule) { r.Hours = &Hours{Days: []string{"wed"}, Zone: "Pacific/Auckland"} }, in: now("2026-11-24T11:00:00Z"), want: true},

	{name: "ticket: of the form", rule: func(r *Rule) { r.Ticket = `INC-\d+` }, want: true},
	{name: "ticket: none", rule: func(r *Rule) { r.Ticket = `INC-\d+` }, in: func(in *Input) { in.Ticket = "" }, says: "a ticket is needed"},
	{name: "ticket: none yet", rule: func(r *Rule) { r.Ticket = `INC-\d+` }, in: func(in *Input) { in.Ticket, in.Preview = "", true }, want: true},
	{name: "ticket: more than the pattern", rule: func(r *Rule) { r.Ticket = `INC-\d+` }, in: func(in *Input) { in.Ticket = "INC-1; rm" }},
	{name: "ticket: a second line", rule: func(r *Rule) { r.Ticket = `INC-\d+` }, in: func(in *Input) { in.Ticket = "INC-1\n" }},
	{name: "ticket: alternatives as a whole", rule: func(r *Rule) { r.Ticket = `INC-\d+|CHG-\d+` }, in: func(in *Input) { in.Ticket = "xCHG-1" }},
	{name: "ticket: given though none is asked for", want: true},

	{name: "max_duration: default is an hour", in: func(in *Input) { in.Duration = time.Hour }, want: true},
	{name: "max_duration: more than the default", in: func(in *Input) { in.Duration = time.Hour + 1 }, says: "at most 1h"},
	{name: "max_duration: the longest", rule: func(r *Rule) { r.MaxDuration = Duration(8 * time.Hour) }, in: func(in *Input) { in.Duration = 8 * time.Hour }, want: true},
	{name: "max_duration: longer", rule: func(r *Rule) { r.MaxDuration = Duration(8 * time.Hour) }, in: func(in *Input) { in.Duration = 8*time.Hour + time.Second }},
	{name: "max_duration: not said", in: func(in *Input) { in.Duration = 0 }, want: true},
	{name: "max_duration: negative", in: func(in *Input) { in.Duration = -1 }},
	{name: "max_ahead: default is a week", in: func(in *Input) { in.StartAt = in.Now.Add(7 * 24 * time.Hour) }, want: true},
	{name: "max_ahead: later", in: func(in *Input) { in.StartAt = in.Now.Add(7*24*time.Hour + time.Second) }, says: "at most 7d ahead"},
	{name: "max_ahead: said", rule: func(r *Rule) { r.MaxAhead = Duration(time.Hour) }, in: func(in *Input) { in.StartAt = in.Now.Add(time.Hour) }, want: true},
	{name: "max_ahead: said, later", rule: func(r *Rule) { r.MaxAhead = Duration(time.Hour) }, in: func(in *Input) { in.StartAt = in.Now.Add(time.Hour + 1) }},

	{name: "break_glass: not asked for", rule: breakGlass},
	{name: "break_glass: asked for", rule: breakGlass, in: func(in *Input) { in.BreakGlass = true }, want: true},
	{name: "break_glass: of a plain rule", in: func(in *Input) { in.BreakGlass = true }},

	{name: "when: user", rule: cond(`user.name == "alice" && "sre" in user.groups && user.kind == "human" && !user.machine && user.owner == ""`), want: true},
	{name: "when: target", rule: cond(`target.name.startsWith("web") && target.kind == "ssh" && target.labels["env"] == "prod" && "web-owners" in target.owners`), want: true},
	{name: "when: request", rule: cond(`request.login == "deploy" && request.reason.contains("502") && request.ticket.matches("^INC-") && request.duration <= duration("30m") && !request.break_glass && !request.scheduled`), want: true},
	{name: "when: duration is the default when not said", rule: cond(`request.duration == duration("30m")`), in: func(in *Input) { in.Duration = 0 }, want: true},
	{name: "when: start", rule: cond(`request.scheduled && request.start - now > duration("1h")`), in: func(in *Input) { in.StartAt = in.Now.Add(2 * time.Hour) }, want: true},
	{name: "when: time in a zone", rule: cond(`now.getHours("Europe/Berlin") == 10 && now.getDayOfWeek() == 2`), want: true},
	{name: "when: source", rule: cond(`source == "10.1.2.3" && inNetwork(source, "10.0.0.0/8") && !inNetwork(source, "192.0.2.0/24")`), want: true},
	{name: "when: risk", rule: cond(`!("first_target" in risk)`), want: true},
	{name: "when: risk is there", rule: cond(`!("first_target" in risk)`), in: func(in *Input) { in.Risk = []string{"unusual_hour", "first_target"} }, says: "its condition is false"},
	{name: "when: history", rule: cond(`history.requests_30d < 5 && history.denials_7d == 0 && history.sessions_30d >= 0 && history.on_target_30d >= 0 && history.failures_1h < 3`), want: true},
	{name: "when: history says no", rule: cond(`history.requests_30d < 5`), in: func(in *Input) { in.History.Requests30d = 5 }},
	{name: "when: false", rule: cond(`false`), says: "its condition is false"},
	{name: "when: an error denies", rule: cond(`target.labels["tier"] == "1"`), says: "which denies"},
	{name: "when: an error on the way to true", rule: cond(`1 / (history.requests_30d) > 0`), says: "which denies"},
	{name: "when: an unreadable network", rule: cond(`!inNetwork(source, "nonsense")`), says: "which denies"},
	{name: "when: no source", rule: cond(`!inNetwork(source, "10.0.0.0/8")`), in: func(in *Input) { in.Source = netip.Addr{} }, says: "which denies"},
	{name: "when: too expensive", rule: cond(`[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, [1,2,3,4,5,6,7,8,9].all(d, a+b+c+d > 0))))`), says: "which denies"},
	{name: "when: a long reason cannot make it expensive", rule: cond(`request.reason.split("a").map(x, x + request.reason).size() > 0`), in: func(in *Input) { in.Reason = strings.Repeat("a", 20_000) }, says: "which denies"},
}

func breakGlass(r *Rule) {
	r.Approve, r.BreakGlass = nil, &BreakGlass{Notify: []string{"leads"}, Reviews: []string{"leads"}}
}

func TestDecisionTable(t *testing.T) {
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			r, in := rule(), input()
			if c.rule != nil {
				c.rule(&r)
			}
			if c.in != nil {
				c.in(&in)
			}
			s, err := NewSet([]Rule{r})
			if err != nil {
				t.Fatal(err)
			}
			v := s.Decide(in)
			if v.Allowed != c.want || !strings.Contains(v.Reason, c.says) || (v.Reason == "") != c.want {
				t.Errorf("allowed %v (%q), want %v (%q)", v.Allowed, v.Reason, c.want, c.says)
			}
			// Explain must agree: an allow rule allows if and only if all of its conditions hold.
			all := true
			for _, step := range s.Explain(in) {
				all = all && step.OK
			}
			if all != c.want {
				t.Errorf("explained as %v: %+v", all, s.Explain(in))
			}
		})
	}
	t.Logf("%d rows", len(table))
}

// The same conditions on a deny rule, before an allow rule for everything:
// where the condition holds, or cannot be evaluated, it denies.
func TestDenyTable(t *testing.T) {
	everything := Rule{Name: "all", Users: []string{"*"}, Auto: true, MaxDuration: Duration(24 * time.Hour)}
	n := 0
	for _, c := range table {
		field, _, _ := strings.Cut(c.name, ":")
		if strings.Contains("machines ticket max_duration max_ahead break_glass as it is", field) || strings.HasPrefix(c.name, "logins: no") {
			continue // not conditions of a deny rule
		}
		n++
		t.Run(c.name, func(t *testing.T) {
			r, in := rule(), input()
			if c.rule != nil {
				c.rule(&r)
			}
			if c.in != nil {
				c.in(&in)
			}
			r.Effect, r.Approve = Deny, nil
			s, err := NewSet([]Rule{everything, r})
			if err != nil {
				t.Fatal(err)
			}
			denies := c.want || strings.Contains(c.says, "which denies") || strings.Contains(c.says, "not known")
			if v := s.Decide(in); v.Allowed == denies {
				t.Errorf("allowed %v: %s", v.Allowed, v.Reason)
			}
		})
	}
	machine := input()
	machine.User.Kind = identity.Machine
	r := rule()
	r.Effect, r.Approve = Deny, nil
	bots := everything
	bots.Machines, bots.MaxDuration = true, Duration(4*time.Hour)
	s, err := NewSet([]Rule{bots, r})
	if err != nil {
		t.Fatal(err)
	}
	if v := s.Decide(machine); v.Allowed {
		t.Error("a deny rule does not deny machines")
	}
	t.Logf("%d rows", n)
}

func TestOrderOfRules(t *testing.T) {
	set := func(rs ...Rule) *Set {
		s, err := NewSet(rs)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first, second := rule(), rule()
	second.Name, second.MaxDuration = "long", Duration(8*time.Hour)
	deny := Rule{Name: "no", Effect: Deny, Users: []string{"*"}, Targets: []string{"web*"}}
	broken := rule()
	broken.Name, broken.When = "broken", `target.labels["tier"] == "1"`
	in := input()
	if v := set(first, second).Decide(in); v.Rule.Name != "web" {
		t.Errorf("took %s, want the first that allows", v.Rule.Name)
	}
	in.Duration = 2 * time.Hour
	if v := set(first, second).Decide(in); !v.Allowed || v.Rule.Name != "long" {
		t.Errorf("took %+v, want the first whose conditions all hold", v)
	}
	if v := set(first, second, deny).Decide(in); v.Allowed || v.Rule.Name != "no" {
		t.Errorf("a deny at the end: %+v", v)
	}
	in.Duration = 30 * time.Minute
	if v := set(broken, second).Decide(in); v.Allowed || !strings.Contains(v.Reason, "which denies") {
		t.Errorf("an error did not deny: %+v", v)
	}
	var none *Set
	if v := none.Decide(in); v.Allowed || v.Known {
		t.Errorf("no rules: %+v", v)
	}
	if v := set().Decide(in); v.Allowed || v.Known {
		t.Errorf("empty rules: %+v", v)
	}
	if v := set(first).Check("gone", in); v.Allowed {
		t.Errorf("a rule that is gone: %+v", v)
	}
	in.Duration = 30 * time.Minute
	if v := set(first, second).Check("long", in); !v.Allowed || v.Rule.Name != "long" {
		t.Errorf("one rule alone: %+v", v)
	}
}

func TestAllTargetsUnderOneRule(t *testing.T) {
	a, b := rule(), rule()
	a.Targets, b.Name, b.Targets = []string{"web01"}, "other", []string{"web02"}
	s, err := NewSet([]Rule{a, b})
	if err != nil {
		t.Fatal(err)
	}
	in := input()
	web02 := in.Target
	web02.Name = "web02"
	if v := s.DecideAll(in, []inventory.Target{in.Target, web02}); v.Allowed {
		t.Errorf("two rules together allowed one request: %+v", v)
	}
	if v := s.DecideAll(in, nil); v.Allowed {
		t.Error("no target at all was allowed")
	}
}

func TestWhoMayKnow(t *testing.T) {
	deny := Rule{Name: "no", Effect: Deny, Users: []string{"*"}, Targets: []string{"web01"}}
	later := deny
	later.Hours = &Hours{From: "00:00", To: "24:00"}
	for name, c := range map[string]struct {
		rules []Rule
		want  bool
	}{
		"allowed": {[]Rule{rule()}, true}, "always denied": {[]Rule{rule(), deny}, false}, "denied at times": {[]Rule{rule(), later}, true}, "no rule": {nil, false},
	} {
		s, err := NewSet(c.rules)
		if err != nil {
			t.Fatal(err)
		}
		if v := s.Decide(input()); v.Known != c.want {
			t.Errorf("%s: known %v", name, v.Known)
		}
		if got := len(s.Logins(input(), []inventory.Target{input().Target})); (got == 2) != c.want {
			t.Errorf("%s: %d logins", name, got)
		}
	}
}

// When a deny rule with hours comes to match: at the wall clock's time, also
// on the day that clocks change, and only where all else of it matches then.
func TestDeniedFrom(t *testing.T) {
	deny := func(f func(*Rule)) Rule {
		r := Rule{Name: "freeze", Effect: Deny, Users: []string{"*"}, Hours: &Hours{From: "22:00", To: "02:30", Zone: "Europe/Berlin"}}
		if f != nil {
			f(&r)
		}
		return r
	}
	for name, c := range map[string]struct {
		rule       Rule
		start, end string
		want       string
	}{
		"at its hour":                          {deny(nil), "2026-11-24T20:10:30Z", "2026-11-25T04:00:00Z", "2026-11-24T21:00:00Z"},
		"in summer":                            {deny(nil), "2026-07-01T18:00:00Z", "2026-07-02T02:00:00Z", "2026-07-01T20:00:00Z"},
		"the window ends right then":           {deny(nil), "2026-11-24T20:00:00Z", "2026-11-24T21:00:00Z", ""},
		"the window ends a second later":       {deny(nil), "2026-11-24T20:00:00Z", "2026-11-24T21:00:01Z", "2026-11-24T21:00:00Z"},
		"clocks go forward over its beginning": {deny(func(r *Rule) { r.Hours.From, r.Hours.To = "02:15", "06:00" }), "2026-03-28T23:00:00Z", "2026-03-29T08:00:00Z", "2026-03-29T01:00:00Z"},
		"clocks go back":                       {deny(func(r *Rule) { r.Hours.From, r.Hours.To = "03:00", "06:00" }), "2026-10-24T23:00:00Z", "2026-10-25T08:00:00Z", "2026-10-25T02:00:00Z"},
		"another day":                          {deny(func(r *Rule) { r.Hours.Days = []string{"fri"} }), "2026-11-24T20:00:00Z", "2026-11-25T04:00:00Z", ""},
		"another user":                         {deny(func(r *Rule) { r.Users = []string{"bob"} }), "2026-11-24T20:00:00Z", "2026-11-25T04:00:00Z", ""},
		"another target":                       {deny(func(r *Rule) { r.Targets = []string{"db*"} }), "2026-11-24T20:00:00Z", "2026-11-25T04:00:00Z", ""},
		"no hours":                             {deny(func(r *Rule) { r.Hours = nil; r.When = "false" }), "2026-11-24T20:00:00Z", "2026-11-25T04:00:00Z", ""},
		"a condition that comes to hold":       {deny(func(r *Rule) { r.When = `now >= timestamp("2026-11-24T23:30:00Z")` }), "2026-11-24T20:00:00Z", "2026-11-25T04:00:00Z", "2026-11-24T23:30:00Z"},
		"a condition that cannot be evaluated": {deny(func(r *Rule) { r.When = `target.labels["none"] == "x"` }), "2026-11-24T20:00:00Z", "2026-11-25T04:00:00Z", "2026-11-24T21:00:00Z"},
		"an allow rule is none":                {deny(func(r *Rule) { r.Effect, r.Auto = Allow, true }), "2026-11-24T20:00:00Z", "2026-11-25T04:00:00Z", ""},
	} {
		set, err := NewSet([]Rule{c.rule})
		if err != nil {
			t.Fatal(err)
		}
		want, by := at(c.end), ""
		if c.want != "" {
			want, by = at(c.want), "freeze"
		}
		if got, rule := set.DeniedFrom(input(), at(c.start), at(c.end)); !got.Equal(want) || rule != by {
			t.Errorf("%s: %s by %q, want %s", name, got, rule, want)
		}
	}
}
