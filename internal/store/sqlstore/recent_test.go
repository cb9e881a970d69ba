package sqlstore

import (
	"fmt"
	"testing"

	"jit-gateway/internal/audit"
)

func leaves(from, n int64) (out []audit.Leaf) {
	for seq := from; seq < from+n; seq++ {
		out = append(out, audit.Leaf{Seq: seq, Data: fmt.Appendf(nil, `{"seq":%d,"type":"heartbeat"}`, seq)})
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
