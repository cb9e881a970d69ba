package policy

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"jit-gateway/internal/identity"
)

// Each condition of a rule as a switch: what the rule says, and what input it
// then holds or fails for.
var switches = []struct {
	field string
	rule  func(*Rule)
	fail  func(*Input)
	deny  bool // a deny rule has it, too
}{
	{"users", nil, func(in *Input) { in.User.Groups = []string{"dba"} }, true},
	{"machines", nil, func(in *Input) { in.User.Kind = identity.Machine }, false},
	{"targets", func(r *Rule) { r.Targets = []string{"web*"} }, func(in *Input) { in.Target.Name = "db01" }, true},
	{"kinds", func(r *Rule) { r.Kinds = []string{"ssh"} }, func(in *Input) { in.Target.Kind = "postgres" }, true},
	{"labels", func(r *Rule) { r.Labels = map[string]string{"env": "prod"} }, func(in *Input) { in.Target.Labels = map[string]string{"env": "test"} }, true},
	{"logins", func(r *Rule) { r.Logins = []string{"deploy"} }, func(in *Input) { in.Login = "admin" }, true},
	{"break_glass", nil, func(in *Input) { in.BreakGlass = true }, false},
	{"sources", func(r *Rule) { r.Sources = nets("10.0.0.0/8") }, func(in *Input) { in.Source = netip.MustParseAddr("192.0.2.1") }, true},
	{"hours", func(r *Rule) { r.Hours = &Hours{From: "09:00", To: "10:00"} }, func(in *Input) { in.Now = in.Now.Add(time.Hour) }, true},
	{"ticket", func(r *Rule) { r.Ticket = `INC-\d+` }, func(in *Input) { in.Ticket = "CHG-1" }, false},
	{"max_duration", nil, func(in *Input) { in.Duration = time.Hour + 1 }, false},
	{"max_ahead", func(r *Rule) { r.MaxAhead = Duration(time.Minute) }, func(in *Input) { in.StartAt = in.Now.Add(time.Minute + 1) }, false},
	{"when", func(r *Rule) { r.When = `history.denials_7d == 0` }, func(in *Input) { in.History.Denials7d = 1 }, true},
}

// TestEveryCombination plays each combination of conditions that hold and fail
// against one rule that has them all: it allows where all hold and nowhere else,
// and names the first that failed; the same rule as a deny rule denies where all
// that it has hold.
func TestEveryCombination(t *testing.T) {
	allow := rule()
	for _, s := range switches {
		if s.rule != nil {
			s.rule(&allow)
		}
	}
	deny := allow
	deny.Name, deny.Effect, deny.Approve, deny.Ticket, deny.MaxAhead = "no", Deny, nil, "", 0
	everybody := Rule{Name: "people", Users: []string{"*"}, Auto: true, MaxDuration: Duration(24 * time.Hour)}
	machines, urgent := everybody, everybody
	machines.Name, machines.Machines, machines.MaxDuration = "machines", true, Duration(4*time.Hour)
	urgent.MaxDuration = Duration(4 * time.Hour)
	urgent.Name, urgent.Auto, urgent.BreakGlass = "urgent", false, &BreakGlass{Notify: []string{"a"}, Reviews: []string{"a"}}
	urgentMachines := urgent
	urgentMachines.Name, urgentMachines.Machines, urgentMachines.MaxDuration = "urgent machines", true, Duration(4*time.Hour)
	yes, err := NewSet([]Rule{allow})
	if err != nil {
		t.Fatal(err)
	}
	no, err := NewSet([]Rule{everybody, machines, urgent, urgentMachines, deny})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for bits := range 1 << len(switches) {
		in := input()
		in.Target.SSH.Logins = []string{"deploy", "admin"}
		failed, denied := "", true
		for i, s := range switches {
			if bits>>i&1 == 1 {
				s.fail(&in)
				if failed == "" {
					failed = s.field
				}
				denied = denied && !s.deny
			}
		}
		v := yes.Decide(in)
		if v.Allowed != (bits == 0) {
			t.Fatalf("combination %013b: allowed %v", bits, v.Allowed)
		}
		for _, step := range yes.Explain(in) {
			if !step.OK {
				if step.Field != failed {
					t.Fatalf("combination %013b: explained by %s, want %s", bits, step.Field, failed)
				}
				break
			}
		}
		if v := no.Decide(in); v.Allowed == denied {
			t.Fatalf("combination %013b of the deny rule: allowed %v (%s)", bits, v.Allowed, v.Reason)
		}
		n += 2
	}
	t.Logf("%d cases", n)
}

// TestHoursAgainstAnOracle compares windows with a slow, obvious answer, for
// every 105 minutes of a year, and every minute around changes of the
// clock, in zones with and without summer time, half and quarter hours, and on
// both sides of the date line.
func TestHoursAgainstAnOracle(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Auckland", "Pacific/Chatham", "America/St_Johns", "Pacific/Apia", "America/Sao_Paulo"}
	windows := []Hours{{From: "08:00", To: "18:00", Days: []string{"mon", "tue", "wed", "thu", "fri"}}, {From: "22:00", To: "06:00"}, {From: "22:30", To: "02:30", Days: []string{"sat", "sun"}},
		{From: "01:45", To: "02:15"}, {From: "00:00", To: "24:00", Days: []string{"sun"}}}
	n := 0
	for _, zone := range zones {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		var instants []time.Time
		begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		_, before := begin.In(loc).Zone()
		for at := begin; at.Year() == 2026; at = at.Add(105 * time.Minute) {
			instants = append(instants, at)
			if _, offset := at.In(loc).Zone(); offset != before {
				before = offset
				for m := at.Add(-4 * time.Hour); m.Before(at.Add(3 * time.Hour)); m = m.Add(time.Minute) {
					instants = append(instants, m.Add(-time.Nanosecond), m)
				}
			}
		}
		for _, w := range windows {
			w.Zone = zone
			h, _, err := compileHours(&w)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range instants {
				if got, want := h.open(at), oracle(w, at.In(loc)); got != want {
					t.Fatalf("%s %v at %s: open %v, want %v", zone, w, at.In(loc), got, want)
				}
				n++
			}
		}
	}
	t.Logf("%d cases", n)
}

// oracle reads the clock on the wall as text.
func oracle(h Hours, wall time.Time) bool {
	clock := wall.Format("15:04")
	today, yesterday := strings.ToLower(wall.Format("Mon")), strings.ToLower(wall.AddDate(0, 0, -1).Format("Mon"))
	on := func(day string) bool {
		return len(h.Days) == 0 || strings.Contains(strings.Join(h.Days, " "), day)
	}
	if h.From < h.To {
		return on(today) && h.From <= clock && clock < h.To
	}
	return on(today) && h.From <= clock || on(yesterday) && clock < h.To
}

// elsewhere says which test holds a field that decides nothing here, but in the
// service, in a session or in a protocol.
var elsewhere = map[string]string{
	"name": "approval/policy/check_test.go", "effect": "approval/policy/decide_test.go", "default_duration": "approval/bounds_test.go",
	"request_lifetime": "approval/bounds_test.go", "activate_within": "approval/bounds_test.go", "approve": "approval/bounds_test.go", "auto": "approval/flow_test.go",
	"escalate": "approval/bounds_test.go", "factor": "approval/bounds_test.go", "channels": "proxy/sshproxy", "tunnel": "proxy/pgproxy", "budget": "proxy/pgproxy",
	"recording": "approval/policy/stricter_test.go", "session": "approval/bounds_test.go", "postgres": "proxy/pgproxy", "direct": "proxy/sshproxy", "banner": "internal/dialogue",
}

// TestEveryFieldIsInTheTable: a new field of a rule needs its rows here, or a
// test elsewhere.
func TestEveryFieldIsInTheTable(t *testing.T) {
	words := map[string]string{}
	for f := range reflect.TypeFor[Rule]().Fields() {
		name := f.Tag.Get("yaml")
		for _, r := range table {
			if strings.HasPrefix(r.name, name+":") {
				words[name] += "x"
			}
		}
		if len(words[name]) >= 2 {
			continue
		}
		where, ok := elsewhere[name]
		if !ok {
			t.Errorf("%s: no rows in the table, and no test elsewhere is named", name)
			continue
		}
		if !mentioned(t, filepath.Join("..", "..", where), f.Name) {
			t.Errorf("%s: the tests of %s do not mention %s", name, where, f.Name)
		}
	}
}

func mentioned(t *testing.T, path, word string) bool {
	t.Helper()
	files := []string{path}
	if !strings.HasSuffix(path, ".go") {
		var err error
		if files, err = filepath.Glob(filepath.Join(path, "*_test.go")); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), word) {
			return true
		}
	}
	return false
}

// Printed with -v, for who wants to know how large the table is.
func TestSizeOfTheTable(t *testing.T) {
	combos := 2 << len(switches)
	t.Logf("decision table: %d rows by hand, %d combinations", len(table), combos)
}
