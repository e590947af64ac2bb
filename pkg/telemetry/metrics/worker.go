package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"drayage/pkg/job"
)

// Worker are the metrics of a worker. Its counters are of this process alone and
// of what it recorded itself: the sum over all workers is that of the fleet. The
// exact figures, which no crash falsifies, are those of the ledger.
type Worker struct {
	steps
	slots, busy, jobs prometheus.Gauge
	attempts          *prometheus.CounterVec
	duration          prometheus.Histogram
	redeliveries      prometheus.Counter
	results           *prometheus.CounterVec
	rowsRead          prometheus.Counter
	rowsLoaded        prometheus.Counter
	rowsRejected      prometheus.Counter
	bytesRead         prometheus.Counter
	bytesLoaded       prometheus.Counter
	dead              *prometheus.CounterVec
	insertErrors      *prometheus.CounterVec
}

// NewWorker makes metrics that nobody sees until Registry.Worker made them.
func NewWorker() *Worker {
	return &Worker{
		steps: newSteps(workerSteps(), Seat),
		slots: gauge("dray_worker_slots", "Chunks that this worker works on at once, at most."),
		busy:  gauge("dray_worker_slots_busy", "Chunks in flight: those that this worker works on now."),
		jobs:  gauge("dray_worker_jobs", "Jobs with chunks that this worker takes part in."),
		attempts: counters("dray_chunk_attempts_total", "Deliveries of chunks that this worker has settled, by what became of them.",
			"verdict", verdicts()),
		duration:     histogram("dray_chunk_duration_seconds", "Time of an attempt of a chunk, from its delivery until it was settled.", durations()),
		redeliveries: counter("dray_chunk_redeliveries_total", "Deliveries of chunks that were delivered before."),
		results: counters("dray_chunk_results_total", "Results of chunks that this worker was the first to record.",
			"outcome", texts(Loaded, Recovered, Cut)),
		rowsRead:     counter("dray_rows_read_total", "Rows that chunks with a result have read."),
		rowsLoaded:   counter("dray_rows_loaded_total", "Rows that chunks with a result have loaded, into all targets."),
		rowsRejected: counter("dray_rows_rejected_total", "Rows that chunks with a result have put into quarantine."),
		bytesRead:    counter("dray_bytes_read_total", "Bytes of input that chunks with a result have read, as stored."),
		bytesLoaded:  counter("dray_bytes_loaded_total", "Bytes of the Native blocks that chunks with a result have loaded."),
		dead:         counters("dray_dead_letters_total", "Chunks that this worker has given up, by the reason.", "reason", reasons()),
		insertErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dray_insert_errors_total", Help: "INSERTs into targets and quarantine that failed, by ClickHouse's code; code 0: without an answer of ClickHouse.",
		}, []string{"code", "name"}),
	}
}

// Worker makes the metrics of the worker of this process, once.
func (r *Registry) Worker() *Worker {
	w := NewWorker()
	w.steps = r.join(w.steps)
	r.all.MustRegister(w.slots, w.busy, w.jobs, w.attempts, w.duration, w.redeliveries, w.results,
		w.rowsRead, w.rowsLoaded, w.rowsRejected, w.bytesRead, w.bytesLoaded, w.dead, w.insertErrors)
	return w
}

// Slots tells how many there are.
func (w *Worker) Slots(n int) { w.slots.Set(float64(n)) }

// Jobs tells how many have chunks to work on.
func (w *Worker) Jobs(n int) { w.jobs.Set(float64(n)) }

// Delivered counts a chunk that comes into this worker's hands, as its attempt
// of that number. The function is called when the delivery was settled.
func (w *Worker) Delivered(attempt int) (settled func(job.VerdictKind)) {
	begun := time.Now()
	w.busy.Inc()
	if attempt > 1 {
		w.redeliveries.Inc()
	}
	return func(v job.VerdictKind) {
		w.busy.Dec()
		w.duration.Observe(time.Since(begun).Seconds())
		w.attempts.WithLabelValues(v.String()).Inc()
	}
}

// Recorded counts a result that this worker was the first to record.
func (w *Worker) Recorded(r job.Result) {
	switch {
	case !r.Loaded():
		w.results.WithLabelValues(string(Cut)).Inc()
		return
	case r.Recovered:
		w.results.WithLabelValues(string(Recovered)).Inc()
	default:
		w.results.WithLabelValues(string(Loaded)).Inc()
	}
	w.rowsRead.Add(float64(r.RowsRead))
	w.rowsLoaded.Add(float64(r.RowsLoaded))
	w.rowsRejected.Add(float64(r.RowsRejected))
	w.bytesRead.Add(float64(max(r.BytesRead, 0)))
	w.bytesLoaded.Add(float64(max(r.BytesLoaded, 0)))
}

// Dead counts a dead letter by its reason, one of the job.Reason constants.
func (w *Worker) Dead(reason string) { w.dead.WithLabelValues(reason).Inc() }

// InsertFailed counts an INSERT that failed. The caller gives the names of a
// closed set: those of clickhouse.ErrorLabel.
func (w *Worker) InsertFailed(code int32, name string) {
	w.insertErrors.WithLabelValues(strconv.Itoa(int(code)), name).Inc()
}

// steps are what worker and coordinator measure alike.
type steps struct {
	step, wait *prometheus.HistogramVec
	names      []string
	waits      []Wait
}

func newSteps(names []string, waits ...Wait) steps {
	return steps{
		step:  histograms("dray_step_duration_seconds", "Time of a step of a chunk or of a job.", "step", names),
		wait:  histograms("dray_lease_wait_seconds", "Time waited for a seat of limits.lease, or for the lead of the coordinators.", "lease", texts(waits...)),
		names: names, waits: waits,
	}
}

// join is s among what the registry has: a coordinator and a worker that are one
// process measure into the same histograms.
func (r *Registry) join(s steps) steps {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shared == nil {
		r.shared = &s
		r.all.MustRegister(s.step, s.wait)
		return s
	}
	for _, name := range s.names {
		r.shared.step.WithLabelValues(name)
	}
	for _, what := range s.waits {
		r.shared.wait.WithLabelValues(string(what))
	}
	return *r.shared
}

// Step measures a step that took d.
func (s steps) Step(name Step, d time.Duration) {
	s.step.WithLabelValues(string(name)).Observe(d.Seconds())
}

// Waited measures a wait of d.
func (s steps) Waited(what Wait, d time.Duration) {
	s.wait.WithLabelValues(string(what)).Observe(d.Seconds())
}
