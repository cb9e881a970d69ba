package sink

import "github.com/prometheus/client_golang/prometheus"

// Metrics of the sinks. A nil *Metrics counts nothing.
type Metrics struct {
	events   *prometheus.CounterVec
	failures *prometheus.CounterVec
	behind   *prometheus.GaugeVec
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		events:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "jit_sink_events_total", Help: "Audit events that the sink has taken."}, []string{"sink"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "jit_sink_failures_total", Help: "Attempts that failed; the events are sent again."}, []string{"sink"}),
		behind:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "jit_sink_lag_events", Help: "Audit events that the sink has not taken yet."}, []string{"sink"}),
	}
	r.MustRegister(m.events, m.failures, m.behind)
	return m
}

func (m *Metrics) sent(sink string, n int, lag int64) {
	if m != nil {
		m.events.WithLabelValues(sink).Add(float64(n))
		m.behind.WithLabelValues(sink).Set(float64(lag))
	}
}

func (m *Metrics) failed(sink string) {
	if m != nil {
		m.failures.WithLabelValues(sink).Inc()
	}
}

func (m *Metrics) lag(sink string, n int64) {
	if m != nil {
		m.behind.WithLabelValues(sink).Set(float64(n))
	}
}
