package sqlstore

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"jit-gateway/internal/audit"
)

func leaves(from, n int64) (out []recentLeaf) {
	for seq := from; seq < from+n; seq++ {
		out = append(out, recentLeaf{Leaf: audit.Leaf{Seq: seq, Data: fmt.Appendf(nil, `{"seq":%d,"type":"heartbeat"}`, seq)}})
	}
	return out
}

// TestRecentHasNoGap: what it cannot answer whole it does not answer.
func TestRecentHasNoGap(t *testing.T) {
	var r recent
	check := func(after int64, n int, ok bool, first, count int64) {
		t.Helper()
		evs, got, err := r.after(after, n)
		if err != nil || got != ok || int64(len(evs)) != count {
			t.Fatalf("after %d: %d events, %v, %v; want %d, %v", after, len(evs), got, err, count, ok)
		}
		for i, e := range evs {
			if e.Seq != first+int64(i) {
				t.Errorf("after %d: event %d is number %d", after, i, e.Seq)
			}
		}
	}
	check(-1, 10, false, 0, 0)
	r.add(leaves(5, 3))
	check(3, 10, false, 0, 0) // 4 is not here
	check(4, 10, true, 5, 3)
	check(4, 2, true, 5, 2)
	check(7, 10, true, 0, 0)
	check(9, 10, true, 0, 0)
	r.add(leaves(8, recentMax))
	check(6, 10, false, 0, 0) // made room
	check(7, recentMax+1, true, 8, recentMax)
	r.add(leaves(9000, 1)) // somebody else wrote in between
	check(8998, 10, false, 0, 0)
	check(8999, 10, true, 9000, 1)
	r.forget()
	check(8999, 10, false, 0, 0)
}

// TestRecentIsWhatTheLogSays: an event that was kept is the one that its leaf
// decodes to, in every field, and nobody's to change.
func TestRecentIsWhatTheLogSays(t *testing.T) {
	at := time.Date(2026, 11, 29, 7, 0, 0, 123456789, time.UTC)
	whole := audit.Event{Seq: 7, ID: "E1", Time: at, Type: "a.b", Outcome: audit.Denied, User: "U1", Target: "web01", Request: "R1", Grant: "G1", Session: "S1",
		Actor: audit.Actor{ID: "U1", Name: "<alice & \"bob\">", Source: "192.0.2.1", Via: "ssh"}, Reason: "line\u2028 \x00 \U0001F600", Detail: map[string]string{"k": "v", "": "é"}}
	for f := range reflect.TypeFor[audit.Event]().NumField() {
		if reflect.ValueOf(whole).Field(f).IsZero() {
			t.Errorf("the event of this test has no %s", reflect.TypeFor[audit.Event]().Field(f).Name)
		}
	}
	empty, odd, local := whole, whole, whole
	empty.Detail = map[string]string{}
	odd.Detail = map[string]string{"k": "\xff"}
	local.Time = at.In(time.FixedZone("X", 3600))
	for name, c := range map[string]struct {
		e    audit.Event
		kept bool
	}{
		"whole": {whole, true}, "bare": {audit.Event{Time: at}, true}, "no detail": {empty, true}, "no text": {odd, false}, "another zone": {local, false},
	} {
		got := asDecoded(c.e)
		if (got != nil) != c.kept {
			t.Errorf("%s: kept: %v", name, got != nil)
		}
		if got == nil {
			continue
		}
		leaf, err := audit.Encode(c.e)
		if err != nil {
			t.Fatal(err)
		}
		want, err := decode[audit.Event](string(leaf))
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: kept %+v, the leaf says %+v, %v", name, *got, want, err)
		}
	}
	kept := asDecoded(whole)
	whole.Detail["k"] = "changed"
	if kept.Detail["k"] != "v" {
		t.Error("who gave the event changed what was kept")
	}
}
