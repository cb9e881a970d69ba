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
		refused:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "jit_connections_refused_total", Help: "Connections closed by a limit, by reason."}, []string{"listener", "reason"}),
		live:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "jit_connections_live", Help: "Connections open now."}, []string{"listener"}),
		panics:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "jit_panics_total", Help: "Panics that ended one connection."}, []string{"where"}),
	}
	r.MustRegister(m.accepted, m.refused, m.live, m.panics)
	return m
}
