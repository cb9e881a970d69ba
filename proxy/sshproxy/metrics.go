package sshproxy

import "github.com/prometheus/client_golang/prometheus"

// Metrics of the SSH handler. A nil *Metrics counts nothing.
type Metrics struct {
	logins   *prometheus.CounterVec
	inner    *prometheus.CounterVec
	channels *prometheus.CounterVec
	setup    prometheus.Histogram
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		logins:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "jit_ssh_logins_total", Help: "Outer SSH connections, by result."}, []string{"result"}),
		inner:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "jit_ssh_inner_total", Help: "Connections to SSH targets, by result."}, []string{"result"}),
		channels: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "jit_ssh_channels_total", Help: "Channels and requests inside sessions, by type and result."}, []string{"type", "result"}),
		setup:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "jit_ssh_upstream_seconds", Help: "Dialling, verifying and logging in at a target.", Buckets: prometheus.ExponentialBuckets(.005, 2, 12)}),
	}
	r.MustRegister(m.logins, m.inner, m.channels, m.setup)
	return m
}

func (m *Metrics) login(result string) {
	if m != nil {
		m.logins.WithLabelValues(result).Inc()
	}
}

func (m *Metrics) innerResult(result string) {
	if m != nil {
		m.inner.WithLabelValues(result).Inc()
	}
}

func (m *Metrics) channel(typ, result string) {
	if m != nil {
		m.channels.WithLabelValues(typ, result).Inc()
	}
}

func (m *Metrics) upstream(seconds float64) {
	if m != nil {
		m.setup.Observe(seconds)
	}
}
