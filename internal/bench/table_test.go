package bench

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 2, 3}, 2.5}, {[]float64{7}, 7}} {
		if got := median(c.in); got != c.want {
			t.Errorf("median(%v) = %v, not %v", c.in, got, c.want)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("the median of nothing is a number")
	}
}

// On a machine that gets slower from round to round the ratio stays: it is
// taken within each round. What failed on one path leaves the others alone,
// and is said.
func TestTheRatioSurvivesDrift(t *testing.T) {
	speed, runs := 100.0, 0
	direct, tool, gateway := &path{name: "direct"}, &path{name: "tool"}, &path{name: "gateway"}
	gateway.cpu = func() (float64, error) { return float64(runs), nil }
	c := cell{name: "upload", unit: "MiB/s", per: "s/GiB", scale: 1, paths: []*path{direct, tool, gateway},
		run: func(_ context.Context, p *path) (sample, error) {
			if runs++; runs%3 == 0 {
				speed /= 2
			}
			switch p {
			case direct:
				return sample{}, errors.New("the cable is out")
			case tool:
				return sample{value: speed, work: 1}, nil
			}
			return sample{value: 2 * speed, work: 1, also: map[string]float64{"goroutines": 3}}, nil
		}}
	r := &runner{Options: Options{Rounds: 3, Log: io.Discard}, began: time.Now()}
	if err := r.measure(t.Context(), []cell{c}); err != nil {
		t.Fatal(err)
	}
	if len(r.result) != 2 || r.failed != 3 || r.verdict() == nil {
		t.Fatalf("%d rows, %d failures", len(r.result), r.failed)
	}
	var out strings.Builder
	write(&out, [3]string{"direct", "tool", "gateway"}, r.result)
	for _, want := range []string{"| upload, MiB/s      |", "1.00 s/GiB", "CPU gateway", "upload, goroutines", " 3.00 |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table has no %q:\n%s", want, out.String())
		}
	}
	// Within a round the two differ by the change of speed at most.
	if got := r.result[0].ratio(2, 1); got < 1 || got > 4 {
		t.Errorf("the ratio is %v", got)
	}
	if !math.IsNaN(r.result[0].ratio(2, 0)) {
		t.Error("there is a ratio to a path that failed")
	}
}

func TestTimeUpIsSaid(t *testing.T) {
	r := &runner{Options: Options{Rounds: 1, Limit: time.Nanosecond, Log: io.Discard}, began: time.Now()}
	if err := r.measure(t.Context(), []cell{{name: "upload"}}); err != nil {
		t.Fatal(err)
	}
	if len(r.notes) != 1 || !strings.Contains(r.notes[0], "upload: not measured") || r.verdict() == nil {
		t.Errorf("got %q", r.notes)
	}
}
