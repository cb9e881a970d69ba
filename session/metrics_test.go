package session_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"jit-gateway/internal/testenv/world"
	"jit-gateway/session"
)

func TestMetrics(t *testing.T) {
	r := prometheus.NewRegistry()
	o := world.Options{Session: func(o *session.Options) { o.Metrics = session.NewMetrics(r) }}
	bubble(t, o, func(t *testing.T, w *world.World) {
		g := w.Grant("web01", "deploy", time.Hour)
		a, b := w.Begin(g), w.Begin(g)
		a.Finish(t.Context(), session.Outcome{})
		ended(t, b)
		w.Sessions.Begin(t.Context(), b.Admission(), session.Meta{Protocol: "ssh"}) // refused: it is over
	})
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			switch {
			case m.Histogram != nil:
				got[name] = float64(m.Histogram.GetSampleCount())
			case m.Counter != nil:
				got[name] = m.Counter.GetValue()
			default:
				got[name] = m.Gauge.GetValue()
			}
		}
	}
	for name, want := range map[string]float64{
		"jit_sessions_live": 0, "jit_sessions_begun_total ssh begun": 2, "jit_sessions_begun_total ssh refused": 1, // labels by name: protocol, result
		"jit_sessions_ended_total expired": 1, "jit_sessions_ended_total logout": 1,
		"jit_session_cut_late_seconds": 1, "jit_credentials_undead": 0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
}
