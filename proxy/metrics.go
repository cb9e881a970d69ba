package proxy

import "github.com/prometheus/client_golang/prometheus"

// Metrics of the accept loops. A nil *Metrics counts nothing.
type Metrics struct {
	accepted *prometheus.CounterVec
	refused  *prometheus.CounterVec
	live     *prometheus.GaugeVec
	panics   *prometheus.CounterVec
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		accepted: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "jit_connections_accepted_total", Help: "Connections that passed the limits."}, []string{"listener"}),
		refused:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "jit_connections_refused_total", Help: "Connections closed by a limit, by reason: total, source, rate, proxy_header."}, []string{"listener", "reason"}),
		live:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "jit_connections_live", Help: "Connections open now."}, []string{"listener"}),
		panics:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "jit_panics_total", Help: "Panics that ended one connection: alarm on any."}, []string{"where"}),
	}
	r.MustRegister(m.accepted, m.refused, m.live, m.panics)
	return m
}

func (m *Metrics) open(listener string, n float64) {
	if m == nil {
		return
	}
	if n > 0 {
		m.accepted.WithLabelValues(listener).Inc()
	}
	m.live.WithLabelValues(listener).Add(n)
}

func (m *Metrics) refuse(listener, why string) {
	if m != nil {
		m.refused.WithLabelValues(listener, why).Inc()
	}
}

func (m *Metrics) panic(where string) {
	if m != nil {
		m.panics.WithLabelValues(where).Inc()
	}
}
