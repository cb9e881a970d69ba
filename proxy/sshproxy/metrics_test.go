package sshproxy

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// What peers name becomes no label: not their destinations, nor what is no
// UTF-8, over which the library panics.
func TestPeersMakeNoSeries(t *testing.T) {
	r := prometheus.NewRegistry()
	m := NewMetrics(r)
	for i := range 1000 {
		for _, what := range []string{"forward to 10.0.0.%d:80", "remote forward from \xff%d", "agent sign with %d", "subsystem \xff%d", "made-up-%d@example.com", "exec%d"} {
			m.channel(fmt.Sprintf(what, i), "denied")
		}
	}
	m.channel("direct-streamlocal@openssh.com", "denied")
	m.channel("agent forwarding", "allowed")
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, f := range families {
		for _, s := range f.GetMetric() {
			for _, l := range s.GetLabel() {
				if l.GetName() == "type" {
					got[l.GetValue()] = true
				}
			}
		}
	}
	for _, want := range []string{"forward", "remote forward", "agent", "subsystem", "other", "direct-streamlocal"} {
		if !got[want] {
			t.Errorf("%q is not counted", want)
		}
		delete(got, want)
	}
	if len(got) != 0 {
		t.Errorf("made by peers: %v", got)
	}
}
