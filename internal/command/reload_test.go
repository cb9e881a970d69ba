package command

import (
	"errors"
	"strings"
	"testing"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
)

func TestReloadCommand(t *testing.T) {
	story(t, func(w *world) {
		g := w.grant("deploy@web01")
		dry := 0
		answer := Reloaded{Before: strings.Repeat("a", 64), After: strings.Repeat("b", 64), Changes: []policy.Change{{Rule: "web", What: "changed", Fields: []policy.Field{{Name: "max_duration", Before: `"8h"`, After: `"4h"`}}}},
			Restart: []string{"listen"}, Refused: []RefusedGrant{{Grant: g, User: "alice", Targets: []string{"web01"}, Live: true, Why: "rule web is for dba"}}}
		w.rules = func(d bool) (Reloaded, error) {
			if d {
				dry++
			}
			return answer, nil
		}
		out := w.ok("local", "", "reload", "--dry-run")
		for _, want := range []string{"would change from aaaaaaaaaaaa to bbbbbbbbbbbb", `web: changed max_duration "8h" → "4h"`, "need a restart: listen", "1 grant that", g + " (live) alice on web01: rule web is for dba"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
		if r := w.run("local", "", "reload"); r.status != OK || dry != 1 || !strings.Contains(r.err, "jit-gateway reload --end") {
			t.Errorf("%+v", r)
		}
		if got, _ := w.db.Grant(w.Context(), g); got.State != approval.Active {
			t.Fatal("a reload ended a grant by itself")
		}
		w.fails(Failed, "alice", "", []string{"reload"}, "for administrators")
		w.fails(Failed, "carol", "", []string{"reload"}, "for administrators")
		w.fails(Failed, "erin", "000000\n", []string{"reload", "--end"})
		if got, _ := w.db.Grant(w.Context(), g); got.State != approval.Active {
			t.Fatal("ended without a code")
		}
		var told Reloaded
		w.json(&told, "erin", w.code("erin")+"\n", "reload", "--end")
		got, _ := w.db.Grant(w.Context(), g)
		if got.State != approval.Ended || got.Cause != approval.CauseRevoked || !strings.Contains(got.EndReason, "the rules no longer allow it (bbbbbbbbbbbb)") || len(told.Ended) != 1 {
			t.Errorf("%+v, %+v", got, told)
		}
		w.rules = func(bool) (Reloaded, error) { return Reloaded{}, errors.New("gw.yaml:3: rules: bad\x1b[2J") }
		if r := w.fails(Failed, "local", "", []string{"reload"}, "stays in force", "gw.yaml:3: rules: bad"); strings.Contains(r.err, "\x1b") {
			t.Errorf("%q", r.err)
		}
	})
}
