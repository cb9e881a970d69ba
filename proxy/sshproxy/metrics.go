package sshproxy

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

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

// channel counts what was opened or asked for. what is in the words of the
// audit log.
func (m *Metrics) channel(what, result string) {
	if m != nil {
		m.channels.WithLabelValues(channelType(what), result).Inc()
	}
}

// channelTypes are all the values of the label: peers choose destinations and
// names, and would choose how many series there are, and what stands in them.
var channelTypes = []string{"shell", "exec", "sftp", "subsystem", "session", "forward", "hop", "local forward", "stream forward", "remote forward",
	"agent", "X11 forwarding", "direct-tcpip", "direct-streamlocal", "forwarded-tcpip", "forwarded-streamlocal"}

func channelType(what string) string {
	for _, t := range channelTypes {
		if rest, ok := strings.CutPrefix(what, t); ok && (rest == "" || rest[0] == ' ' || rest[0] == '@') {
			return t
		}
	}
	return "other"
}

func (m *Metrics) upstream(seconds float64) {
	if m != nil {
		m.setup.Observe(seconds)
	}
}
