package policy

import (
	"testing"
	"time"
)

// Whatever somebody writes into when:, loading and evaluating it ends soon and without a panic.
func FuzzWhen(f *testing.F) {
	for _, s := range []string{
		`user.name == "alice"`, `target.labels["env"] == "prod"`, `[1,2,3].all(x, x > 0)`, `request.duration < duration("1h")`, `now.getHours("Europe/Berlin") == 10`,
		`inNetwork(source, "10.0.0.0/8")`, `"a".matches("(a+)+$")`, `request.reason.split("").map(a, a + a).size() > 0`, `has(user.name)`, `1/0 == 1`, `timestamp("x") == now`, `"é" < "\u0000"`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		w, err := compileWhen(s)
		if err != nil {
			return
		}
		begin := time.Now()
		_, _ = w.eval(input())
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("%q took %s", s, d)
		}
	})
}
