package chaos

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// watched is a job that was submitted, and what was seen of it.
type watched struct {
	spec
	record    job.Job
	submitted time.Time
	atEnd     *tally    // the target as it was when the job was seen to have ended
	read      bool      // that was read, or can not be
	askedFor  bool      // its cancellation
	inFlight  uint64    // most seen
	ended     time.Time // seen
}

// watch submits jobs, follows them, and writes down what must be true at a
// moment and can not be found out later.
type watch struct {
	f   *fleet
	log func(format string, args ...any)

	mu   sync.Mutex
	jobs map[string]*watched
	list []*watched

	work sync.WaitGroup

	// Deduplicated blocks, as ClickHouse counts them since its last start.
	duplicates, lastDuplicates uint64
}

func newWatch(f *fleet, log func(string, ...any)) *watch {
	return &watch{f: f, log: log, jobs: map[string]*watched{}}
}

// follow watches the jobs until ctx ends.
func (w *watch) follow(ctx context.Context) error {
	updates, err := w.f.queue.WatchJobs(ctx)
	if err != nil {
		return err
	}
	w.work.Go(func() {
		for u := range updates {
			if !u.Deleted {
				w.update(ctx, u.Job)
			}
		}
	})
	w.work.Go(func() { w.poll(ctx) })
	return nil
}

func (w *watch) update(ctx context.Context, j job.Job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := w.jobs[j.ID]
	if known == nil {
		return
	}
	over := known.record.State.Terminal()
	if over && j.State != known.record.State {
		w.log("job %s was %s and is %s", j.ID, known.record.State, j.State)
	}
	known.record = j
	if over || !j.State.Terminal() {
		return
	}
	known.ended = time.Now()
	w.log("job %s is %s: %d chunks, %d rows, %d redelivered, %d dead, %d repairs %s", j.ID, j.State, j.Plan.Chunks, j.Totals.RowsLoaded, j.Totals.Redelivered, j.Totals.Dead, j.Repairs, j.Error)
	// What is in the table at this very moment is what the job promised.
	w.work.Go(func() {
		var t *tally
		err := eventually(ctx, startTimeout, "the rows can be read", func(ctx context.Context) (err error) {
			t, err = known.count(ctx, w.f.holders(known.spec))
			return err
		})
		if err != nil {
			w.log("job %s: %v", j.ID, err)
		}
		w.mu.Lock()
		known.atEnd, known.read = t, true
		w.mu.Unlock()
	})
}

// submit gives the fleet a job.
func (w *watch) submit(ctx context.Context, s spec) error {
	if err := s.write(); err != nil {
		return err
	}
	known := &watched{spec: s, submitted: time.Now()}
	w.mu.Lock()
	w.jobs[s.id] = known
	w.list = append(w.list, known)
	w.mu.Unlock()
	if err := eventually(ctx, startTimeout, "the job is submitted", func(ctx context.Context) error { return w.f.queue.Submit(ctx, s.submission()) }); err != nil {
		return err
	}
	w.log("job %s is submitted: %d rows of %s into %s", s.id, s.rows, s.format, s.table)
	return nil
}

// poll looks at how many chunks are in flight, cancels the jobs that are to be
// cancelled, and counts what ClickHouse deduplicates.
func (w *watch) poll(ctx context.Context) {
	for ctx.Err() == nil {
		for _, j := range w.live() {
			_, inFlight, err := w.f.queue.Backlog(ctx, j.id)
			if err != nil {
				continue
			}
			w.mu.Lock()
			j.inFlight = max(j.inFlight, inFlight)
			due := j.cancel && !j.askedFor && j.record.Totals.Chunks >= 2
			j.askedFor = j.askedFor || due
			w.mu.Unlock()
			if due {
				w.work.Go(func() { w.cancelJob(ctx, j) })
			}
		}
		w.countDuplicates(ctx)
		wait(ctx, 200*time.Millisecond)
	}
}

// live are the jobs that have not ended.
func (w *watch) live() []*watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*watched
	for _, j := range w.list {
		if !j.record.State.Terminal() {
			out = append(out, j)
		}
	}
	return out
}

// running are the names of the jobs that run.
func (w *watch) running() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, j := range w.list {
		if j.record.State == job.Running {
			out = append(out, j.id)
		}
	}
	return out
}

// readAll waits until the targets of all jobs that have ended were read.
func (w *watch) readAll(ctx context.Context) {
	for ctx.Err() == nil {
		reading := false
		for _, j := range w.all() {
			reading = reading || j.record.State.Terminal() && !j.read
		}
		if !reading {
			return
		}
		wait(ctx, 50*time.Millisecond)
	}
}

// all are the jobs, each as it is now.
func (w *watch) all() []watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []watched
	for _, j := range w.list {
		out = append(out, *j)
	}
	return out
}

// begun says whether any job has loaded something.
func (w *watch) begun() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, j := range w.list {
		if j.record.Totals.Chunks > 0 {
			return true
		}
	}
	return false
}

// cancelJob cancels as a person would.
func (w *watch) cancelJob(ctx context.Context, j *watched) {
	err := eventually(ctx, startTimeout, "the job is cancelled", func(ctx context.Context) error {
		w.mu.Lock()
		over := j.record.State.Terminal()
		w.mu.Unlock()
		if over {
			return nil // it was faster
		}
		out, err := w.f.dray(ctx, "cancel", j.id)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		w.log("job %s could not be cancelled: %v", j.id, err)
		return
	}
	w.log("job %s: cancellation was asked for", j.id)
}

// dray runs a verb of the command line to its end, on the suite's own
// connections.
func (f *fleet) dray(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, f.cfg.Dray[0], append(append([]string{}, f.cfg.Dray[1:]...), args...)...) //nolint:gosec // our own binary
	cmd.Env = environment("DRAY_NATS_URL="+f.natsURLs(), "DRAY_NATS_REPLICAS=3", "DRAY_CLICKHOUSE_URL="+f.url(), "DRAY_CLICKHOUSE_SHARDS="+f.shardURLs(), "DRAY_LEASE="+f.cfg.Lease.String())
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (w *watch) countDuplicates(ctx context.Context) {
	var n uint64
	b := &buffer{}
	if w.f.sql.Query(ctx, "SELECT sum(value) FROM system.events WHERE event = 'DuplicatedInsertedBlocks'", "TabSeparated", b) != nil {
		return
	}
	if _, err := fmt.Sscan(string(*b), &n); err != nil {
		return
	}
	if n < w.lastDuplicates {
		w.lastDuplicates = 0 // it was started anew
	}
	w.duplicates += n - w.lastDuplicates
	w.lastDuplicates = n
}

type buffer []byte

func (b *buffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

// results reads the results of a job there are, each once.
func (f *fleet) results(ctx context.Context, id string) ([]job.Result, error) {
	following, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var out []job.Result
	caught := false
	err := f.queue.Results(following, id, func(r job.Result) error {
		out = append(out, r)
		return nil
	}, queue.WhenCaughtUp(func() { caught = true; cancel() }))
	if caught || errors.Is(err, queue.ErrStop) {
		return out, nil
	}
	return nil, err
}
