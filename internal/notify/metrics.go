package notify

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts notifications. A nil *Metrics counts nothing.
type Metrics struct{ n *prometheus.CounterVec }

// NewMetrics registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{Name: "jit_notifications_total",
		Help: "Notifications by channel and result: sent, retried (one failed try), lost."}, []string{"channel", "result"})}
	r.MustRegister(m.n)
	return m
}

func (m *Metrics) count(channel, result string) {
	if m != nil {
		m.n.WithLabelValues(channel, result).Inc()
	}
}
