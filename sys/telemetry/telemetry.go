// Package telemetry is how a running process is seen: logs, metrics, profiles.
//
// A part takes a *slog.Logger and a *Registry and keeps what it makes from them; nothing is
// global. The Prometheus client stands behind this package alone, so that a part's metrics are
// three small types: Counter, Gauge and Latency.
//
// # Invariants
//
// A metric's name is surety_<part>_<noun>_<unit> and a counter's ends in _total; a name that does
// not is a defect and panics when the metric is made. Labels have few values and are never ids.
//
// # Concurrency
//
// All methods are safe for concurrent use. Observing a latency takes one uncontended lock for
// under 100 ns; counting takes none.
package telemetry

import (
	"net/http"
	"net/http/pprof"
	"regexp"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"surety/base/clock"
	"surety/base/invariant"
	"surety/sys/wallclock"
)

// Registry holds the metrics of one process, or of one test.
type Registry struct {
	metrics *prometheus.Registry
	clock   wallclock.Clock
}

// NewRegistry returns a registry that already shows the runtime, the process and, as the label of
// surety_node_build_info, the version.
func NewRegistry(clock wallclock.Clock, version string) *Registry {
	r := &Registry{metrics: prometheus.NewRegistry(), clock: clock}
	r.metrics.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "surety_node_build_info",
		Help:        "Always 1; the label is the version that runs.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	r.metrics.MustRegister(build)
	return r
}

// Handler serves the metrics in Prometheus's text format.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.metrics, promhttp.HandlerOpts{
		MaxRequestsInFlight: scrapesMax,
	})
}

// Profiles serves the runtime's profiles below /debug/pprof/. They show memory and slow the
// process down, so they are mounted only where the configuration asks for them.
func Profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// Counter counts up.
type Counter struct{ counter prometheus.Counter }

// Counter returns a new counter. A name that is already taken panics.
func (r *Registry) Counter(name, help string) Counter {
	checkName(name, true)
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	r.metrics.MustRegister(c)
	return Counter{c}
}

// Add counts n more.
func (c Counter) Add(n uint64) { c.counter.Add(float64(n)) }

// Inc counts one more.
func (c Counter) Inc() { c.counter.Inc() }

// Counters returns one counter for each value of the label, so that a value which never happened
// shows as zero instead of being absent.
func (r *Registry) Counters(name, help, label string, values ...string) map[string]Counter {
	checkName(name, true)
	vector := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help},
		[]string{label})
	r.metrics.MustRegister(vector)
	counters := make(map[string]Counter, len(values))
	for _, value := range values {
		counters[value] = Counter{vector.WithLabelValues(value)}
	}
	return counters
}

// Gauge shows a level.
type Gauge struct{ gauge prometheus.Gauge }

// Gauge returns a new gauge at zero. A name that is already taken panics.
func (r *Registry) Gauge(name, help string) Gauge {
	checkName(name, false)
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	r.metrics.MustRegister(g)
	return Gauge{g}
}

// Set shows n.
func (g Gauge) Set(n int64) { g.gauge.Set(float64(n)) }

// Watch shows what level returns whenever the metrics are read; it must not block.
func (r *Registry) Watch(name, help string, level func() int64) {
	checkName(name, false)
	r.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
		func() float64 { return float64(level()) }))
}

// Latency returns a new latency: a histogram for Prometheus, whose name ends in _seconds, and a
// window of the last minute for Quantile.
func (r *Registry) Latency(name, help string) *Latency {
	checkName(name, false)
	invariant.Check(strings.HasSuffix(name, "_seconds"), "telemetry: a latency is in seconds")
	histogram := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(0.000_1, 2, 18),
	})
	r.metrics.MustRegister(histogram)
	return &Latency{histogram: histogram, clock: r.clock, began: r.clock.Now()}
}

// Observe adds one measurement; a negative one counts as zero.
func (l *Latency) Observe(d clock.Duration) {
	d = max(d, 0)
	l.histogram.Observe(float64(d) / float64(clock.Second))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(l.clock.Now())
	l.slots[l.slot].counts[bucketOf(d)]++
}

var namePattern = regexp.MustCompile(`^surety(_[a-z][a-z0-9]*){3,}$`)

// checkName panics where a name breaks the package's first invariant.
func checkName(name string, counter bool) {
	if !namePattern.MatchString(name) || strings.HasSuffix(name, "_total") != counter {
		invariant.Fail("telemetry: %q is not the name of a metric of its kind", name)
	}
}
