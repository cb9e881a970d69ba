package archive

import "github.com/prometheus/client_golang/prometheus"

// Metrics of what is kept. A nil *Metrics counts nothing.
type Metrics struct {
	waiting, waitingBytes, oldest, undeleted, due prometheus.Gauge
	uploaded, failures                            prometheus.Counter
	deleted                                       prometheus.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		waiting:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "jit_archive_waiting_recordings", Help: "Sealed recordings that wait for the object store."}),
		waitingBytes: prometheus.NewGauge(prometheus.GaugeOpts{Name: "jit_archive_waiting_bytes", Help: "Bytes of those: the spool."}),
		oldest:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "jit_archive_lag_seconds", Help: "Age of the oldest recording that waits for the object store."}),
		undeleted:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "jit_recordings_undeleted", Help: "Recordings whose deletion was ordered and does not succeed: alarm above 0 for long."}),
		due:          prometheus.NewGauge(prometheus.GaugeOpts{Name: "jit_recordings_due", Help: "Recordings past their retention that wait for two people to delete them."}),
		uploaded:     prometheus.NewCounter(prometheus.CounterOpts{Name: "jit_archive_uploaded_bytes_total", Help: "Bytes that the object store has taken and given back right."}),
		failures:     prometheus.NewCounter(prometheus.CounterOpts{Name: "jit_archive_failures_total", Help: "Uploads that failed and are tried again."}),
		deleted:      prometheus.NewCounter(prometheus.CounterOpts{Name: "jit_recordings_deleted_total", Help: "Recordings deleted."}),
	}
	r.MustRegister(m.waiting, m.waitingBytes, m.oldest, m.undeleted, m.due, m.uploaded, m.failures, m.deleted)
	return m
}

func (m *Metrics) spool(n int, bytes int64, oldest float64) {
	if m != nil {
		m.waiting.Set(float64(n))
		m.waitingBytes.Set(float64(bytes))
		m.oldest.Set(oldest)
	}
}

func (m *Metrics) stored(bytes int64) {
	if m != nil {
		m.uploaded.Add(float64(bytes))
	}
}

func (m *Metrics) failed() {
	if m != nil {
		m.failures.Inc()
	}
}

func (m *Metrics) gone() {
	if m != nil {
		m.deleted.Inc()
	}
}

func (m *Metrics) left(undeleted, due int) {
	if m != nil {
		m.undeleted.Set(float64(undeleted))
		m.due.Set(float64(due))
	}
}
