package pgproxy

import (
	"github.com/prometheus/client_golang/prometheus"

	"jit-gateway/proxy"
)

// Metrics of this package. A nil *Metrics counts nothing.
type Metrics struct {
	logins   *prometheus.CounterVec
	live     prometheus.Gauge
	cancels  *prometheus.CounterVec
	protocol prometheus.Counter
	shared   *proxy.Metrics
}

// NewMetrics registers the metrics. shared (may be nil) counts contained
// panics.
func NewMetrics(r prometheus.Registerer, shared *proxy.Metrics) *Metrics {
	m := &Metrics{
		logins:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "jit_postgres_logins_total", Help: "Logins of PostgreSQL clients, by result."}, []string{"result"}),
		live:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "jit_postgres_sessions", Help: "PostgreSQL sessions relayed now."}),
		cancels:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "jit_postgres_cancels_total", Help: "Cancel requests, by whether their key was known."}, []string{"known"}),
		protocol: prometheus.NewCounter(prometheus.CounterOpts{Name: "jit_postgres_protocol_errors_total", Help: "Connections ended because a peer broke the protocol."}),
		shared:   shared,
	}
	r.MustRegister(m.logins, m.live, m.cancels, m.protocol)
	return m
}

func (m *Metrics) proxy() *proxy.Metrics {
	if m == nil {
		return nil
	}
	return m.shared
}

func (m *Metrics) login(result string) {
	if m != nil {
		m.logins.WithLabelValues(result).Inc()
	}
}

func (m *Metrics) session(n float64) {
	if m != nil {
		m.live.Add(n)
	}
}

func (m *Metrics) cancel(known string) {
	if m != nil {
		m.cancels.WithLabelValues(known).Inc()
	}
}

func (m *Metrics) broken() {
	if m != nil {
		m.protocol.Inc()
	}
}
