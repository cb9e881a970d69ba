package policy

import (
	"strings"
	"testing"
	"time"
)

func TestDiff(t *testing.T) {
	rule := func(name string, change func(*Rule)) Rule {
		r := Rule{Name: name, Users: []string{"*"}, Auto: true, MaxDuration: Duration(8 * time.Hour), Labels: map[string]string{"role": "web"}}
		if change != nil {
			change(&r)
		}
		return r
	}
	set := func(rules ...Rule) *Set {
		s, err := NewSet(rules)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	old := set(rule("a", nil), rule("b", nil), rule("c", nil))
	for _, c := range []struct {
		after *Set
		want  string
	}{
		{old, ""},
		{set(rule("a", nil), rule("b", nil)), "c: removed"},
		{set(rule("a", nil), rule("b", nil), rule("d", nil), rule("c", nil)), "d: added"},
		{set(rule("b", nil), rule("a", nil), rule("c", nil)), "a: moved"},
		{set(rule("c", nil), rule("a", nil), rule("b", nil)), "a: moved\nb: moved"},
		{set(rule("a", func(r *Rule) { r.MaxDuration = Duration(4 * time.Hour) }), rule("b", nil), rule("c", nil)), `a: changed max_duration "8h" → "4h"`},
		{set(rule("a", nil), rule("b", func(r *Rule) { r.Recording.Strict = true; r.Labels["role"] = "db" }), rule("c", nil)),
			`b: changed labels {"role":"web"} → {"role":"db"}; recording.strict (none) → true`},
		{nil, "a: removed\nb: removed\nc: removed"},
	} {
		var got []string
		for _, ch := range Diff(old, c.after) {
			got = append(got, ch.String())
		}
		if s := strings.Join(got, "\n"); s != c.want {
			t.Errorf("got %q, want %q", s, c.want)
		}
	}
	if got := Diff(nil, old); len(got) != 3 || got[0].What != "added" {
		t.Errorf("from nothing: %v", got)
	}
}
