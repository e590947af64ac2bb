// Package metrics is what Drayage counts and measures, for Prometheus. It is the
// only importer of the Prometheus client.
//
// Names begin with dray_, units are seconds and bytes, counters end in _total.
// The values of every label are a closed set, listed in labels.go: no metric has
// the name of a job, of a pipeline, of a table or of a worker, since their number
// grows with use. What is asked of one job is answered by ClickHouse's views and
// by the API. docs/metrics.md lists all.
//
// There is no global state: a process makes a Registry and hands its parts on.
package metrics

import (
	"net/http"
	"runtime"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Build says which build is measured.
type Build struct{ Version, Revision string }

// Registry holds the metrics of one process. It is safe for concurrent use.
type Registry struct {
	all         *prometheus.Registry
	coordinator func() *Coordinator // makes it once

	mu     sync.Mutex
	shared *steps // what a coordinator and a worker of one process have in common
}

// New makes a Registry with what every process exposes: its build, the Go
// runtime, the process as the operating system sees it.
func New(b Build) *Registry {
	r := &Registry{all: prometheus.NewRegistry()}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "dray_build_info", Help: "1, with the build that runs as labels.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": runtime.Version()},
	})
	info.Set(1)
	r.coordinator = sync.OnceValue(r.newCoordinator)
	r.all.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Handler serves the metrics in the text formats of Prometheus. A metric that
// can not be gathered is left out, and the others are served.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.all, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true, MaxRequestsInFlight: maxScrapes,
	})
}

// maxScrapes bounds the scrapes that are answered at once; the others are told
// to come later.
const maxScrapes = 8

// Process are the parts of a service that can tell how they are at any time.
type Process struct {
	NATSConnected  func() bool // whether there is a connection now
	EngineRestarts func() int  // how often the engine was started anew; it never falls
}

// Watch adds the metrics of p. It is called once.
func (r *Registry) Watch(p Process) {
	r.all.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "dray_nats_connected", Help: "1 while this process has a connection to NATS.",
		}, func() float64 { return oneIf(p.NATSConnected()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "dray_engine_restarts_total", Help: "Times that the ClickHouse engine of this process was started anew after it ended.",
		}, func() float64 { return float64(p.EngineRestarts()) }),
	)
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// counter makes a counter without labels.
func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}

// counters makes a counter for each value of one label, which are there from the
// start with 0: a rate sees the first event too.
func counters(name, help, label string, values []string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	for _, value := range values {
		v.WithLabelValues(value)
	}
	return v
}

// histograms is counters for durations in seconds.
func histograms(name, help, label string, values []string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: durations()}, []string{label})
	for _, value := range values {
		v.WithLabelValues(value)
	}
	return v
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
}

// durations are the bounds of the buckets for steps of a chunk, in seconds: from
// what an answer of NATS takes to DRAY_CHUNK_TIMEOUT.
func durations() []float64 {
	return []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}
}

// jobDurations are those for whole jobs: from a second to a week.
func jobDurations() []float64 {
	return []float64{1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 12 * 3600, 24 * 3600, 7 * 24 * 3600}
}
