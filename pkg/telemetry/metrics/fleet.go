package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"drayage/pkg/job"
)

// fleet is what the coordinator that leads knows of all jobs. It collects nothing
// while another leads, but that it does not lead.
type fleet struct {
	leading, jobs, chunks, throttled        *prometheus.Desc
	lagChunks, lagBytes, remaining, stalled *prometheus.Desc

	mu    sync.Mutex
	terms int                // that have begun and are not over
	known map[string]*record // by the job's identifier; as many as there are records of jobs
}

// record is what is known of a job. Of one that has ended it is the state alone.
type record struct {
	state            job.State
	queued, inFlight uint64
	loaded, dead     uint64
	retired, total   uint64
	read, whole      int64 // bytes
	started          time.Time
	moved            time.Time // when it last had an outcome, or came to run
	slowed           bool
}

func newFleet() *fleet {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &fleet{
		leading:   desc("dray_coordinator_leading", "1 while this coordinator leads, else 0."),
		jobs:      desc("dray_jobs", "Jobs by state, those that have ended and are still on record included. Of the leading coordinator.", "state"),
		chunks:    desc("dray_chunks", "Chunks of jobs that have not ended, by state. Of the leading coordinator.", "state"),
		throttled: desc("dray_jobs_throttled", "Jobs with fewer chunks in flight because ClickHouse asked to slow down. Of the leading coordinator."),
		lagChunks: desc("dray_lag_chunks", "Chunks that are planned and have no outcome yet. Of the leading coordinator."),
		lagBytes:  desc("dray_lag_bytes", "Bytes of input that jobs still have to read, as far as that is known. Of the leading coordinator."),
		remaining: desc("dray_eta_seconds", "Time until the last of the running jobs has read its input at its rate so far; absent while that is unknown. Of the leading coordinator."),
		stalled:   desc("dray_stalled_seconds", "Longest time that any running job has been without a new outcome of a chunk; 0 when none runs. Of the leading coordinator."),
		known:     map[string]*record{},
	}
}

func (f *fleet) lead() (over func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.terms++
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.terms--; f.terms == 0 {
			clear(f.known)
		}
	}
}

func (f *fleet) tell(j job.Job, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.terms == 0 {
		return // nothing would ever say that it is gone
	}
	before := f.known[j.ID]
	r := &record{state: j.State, moved: now}
	if !j.State.Terminal() {
		r.loaded, r.dead, r.retired, r.total = j.Totals.Chunks, j.Totals.Dead, j.Totals.Retired, j.Plan.Total()
		r.read, r.whole, r.started, r.slowed = j.Totals.BytesRead, j.InputBytes(), j.StartedAt, j.InFlight > 0
		if before != nil {
			r.queued, r.inFlight = before.queued, before.inFlight
			if before.state == r.state && before.outcomes() == r.outcomes() {
				r.moved = before.moved
			}
		}
		if r.outcomes() >= r.total {
			r.queued, r.inFlight = 0, 0
		}
	}
	f.known[j.ID] = r
}

func (r *record) outcomes() uint64 { return r.loaded + r.dead + r.retired }

// eta is the time that the rest of the input takes at the rate so far.
func (r *record) eta(now time.Time) (time.Duration, bool) {
	if r.state != job.Running || r.read <= 0 || r.whole <= 0 || r.started.IsZero() {
		return 0, false
	}
	left := max(r.whole-r.read, 0)
	return time.Duration(float64(now.Sub(r.started)) * float64(left) / float64(r.read)), true
}

func (f *fleet) forget(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.known, id)
}

func (f *fleet) backlog(id string, queued, inFlight uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.known[id]; r != nil && !r.state.Terminal() {
		r.queued, r.inFlight = queued, inFlight
	}
}

// Describe implements prometheus.Collector.
func (f *fleet) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{f.leading, f.jobs, f.chunks, f.throttled, f.lagChunks, f.lagBytes, f.remaining, f.stalled} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (f *fleet) Collect(to chan<- prometheus.Metric) { f.collect(to, time.Now()) }

func (f *fleet) collect(to chan<- prometheus.Metric, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(f.leading, oneIf(f.terms > 0))
	if f.terms == 0 {
		return
	}
	jobs := map[job.State]int{}
	var sum record
	var eta, stalled time.Duration
	throttled, known := 0, false
	for _, r := range f.known {
		jobs[r.state]++
		if r.state.Terminal() {
			continue
		}
		sum.queued += r.queued
		sum.inFlight += r.inFlight
		sum.loaded += r.loaded
		sum.dead += r.dead
		sum.retired += r.retired
		sum.total += r.total - min(r.total, r.outcomes())
		sum.whole += max(r.whole-r.read, 0)
		if r.slowed {
			throttled++
		}
		if d, ok := r.eta(now); ok {
			eta, known = max(eta, d), true
		}
		if r.state == job.Running {
			stalled = max(stalled, now.Sub(r.moved))
		}
	}
	for _, s := range states() {
		gauge(f.jobs, float64(jobs[s]), string(s))
	}
	gauge(f.chunks, float64(sum.queued), chunksQueued)
	gauge(f.chunks, float64(sum.inFlight), chunksInFlight)
	gauge(f.chunks, float64(sum.loaded), chunksLoaded)
	gauge(f.chunks, float64(sum.dead), chunksDead)
	gauge(f.chunks, float64(sum.retired), chunksRetired)
	gauge(f.throttled, float64(throttled))
	gauge(f.lagChunks, float64(sum.total))
	gauge(f.lagBytes, float64(sum.whole))
	gauge(f.stalled, stalled.Seconds())
	if known {
		gauge(f.remaining, eta.Seconds())
	}
}
