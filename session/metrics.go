package session

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of sessions. A nil *Metrics counts nothing.
type Metrics struct {
	live    prometheus.Gauge
	begun   *prometheus.CounterVec
	ended   *prometheus.CounterVec
	cutLate prometheus.Histogram
	undead  prometheus.Gauge
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		live:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "jit_sessions_live", Help: "Sessions open on this gateway."}),
		begun:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "jit_sessions_begun_total", Help: "Sessions begun or refused at step 6, by protocol and result."}, []string{"protocol", "result"}),
		ended:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "jit_sessions_ended_total", Help: "Sessions ended, by cause."}, []string{"cause"}),
		cutLate: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "jit_session_cut_late_seconds", Help: "From the exact end of a grant to the cut of its session.", Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 5}}),
		undead:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "jit_credentials_undead", Help: "Credentials that outlive their session: alarm above 0."}),
	}
	r.MustRegister(m.live, m.begun, m.ended, m.cutLate, m.undead)
	return m
}

func (m *Metrics) begin(protocol string, err error) {
	if m == nil {
		return
	}
	result := "begun"
	if err != nil {
		result = "refused"
	}
	m.begun.WithLabelValues(protocol, result).Inc()
}

func (m *Metrics) end(cause string) {
	if m != nil {
		m.ended.WithLabelValues(cause).Inc()
	}
}

func (m *Metrics) late(d time.Duration) {
	if m != nil {
		m.cutLate.Observe(d.Seconds())
	}
}

func (m *Metrics) setLive(n int) {
	if m != nil {
		m.live.Set(float64(n))
	}
}

func (m *Metrics) setUndead(n int) {
	if m != nil {
		m.undead.Set(float64(n))
	}
}
