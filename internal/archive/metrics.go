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
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &Metrics{
		waiting:      gauge("jit_archive_waiting_recordings", "Sealed recordings that wait for the object store."),
		waitingBytes: gauge("jit_archive_waiting_bytes", "Bytes of those: the spool."),
		oldest:       gauge("jit_archive_lag_seconds", "Age of the oldest recording that waits for the object store."),
		undeleted:    gauge("jit_recordings_undeleted", "Recordings whose deletion was ordered and does not succeed: alarm above 0 for long."),
		due:          gauge("jit_recordings_due", "Recordings past their retention that wait for two people to delete them."),
		uploaded:     counter("jit_archive_uploaded_bytes_total", "Bytes that the object store has taken and given back right."),
		failures:     counter("jit_archive_failures_total", "Uploads that failed and are tried again."),
		deleted:      counter("jit_recordings_deleted_total", "Recordings deleted."),
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
