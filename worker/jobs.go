package worker

import (
	"context"
	"sync"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/queue"
	"drayage/pkg/telemetry/metrics"
	"drayage/pkg/telemetry/trace"
)

// jobs are the jobs that have chunks to be carried, as the jobs bucket tells,
// and those that are paused. Its size is that of the live jobs.
type jobs struct {
	drops sync.WaitGroup // of ended jobs' workspaces

	mu      sync.Mutex
	live    map[string]*liveJob
	changed chan struct{} // closed and made anew when live changes
	turn    uint64        // counts picks, so that equals take turns
}

// liveJob is a job with chunks and what this worker prepared for it.
type liveJob struct {
	record job.Job
	// ended is over when the job has: cancelled, failed, or verified, with
	// every chunk done. Its chunks must not be worked on any more.
	ended context.Context
	end   context.CancelFunc

	mu       sync.Mutex // guards what is made on first use
	pull     *queue.Puller
	prepared *task

	// guarded by jobs.mu
	paused bool
	newer  bool      // only newer workers may work on it
	shun   time.Time // until then its chunks are left to other workers
	slots  int       // that carry or wait for its chunks
	turn   uint64    // of its last pick
}

func newJobs() *jobs {
	return &jobs{live: map[string]*liveJob{}, changed: make(chan struct{})}
}

// update follows a change of the bucket. The error, told once a job, is a
// *job.NewerError: the job is one for newer workers.
func (js *jobs) update(u queue.JobUpdate) (left error) {
	js.mu.Lock()
	defer js.mu.Unlock()
	id := u.Job.ID
	j := js.live[id]
	state := u.Job.State
	switch {
	case !u.Deleted && state == job.Running:
		newer := u.Job.Understood()
		if j != nil && !j.paused && j.newer == (newer != nil) {
			return nil
		}
		if j == nil {
			j = &liveJob{record: u.Job}
			j.ended, j.end = context.WithCancel(context.Background())
			js.live[id] = j
		}
		if j.paused = false; newer != nil && !j.newer {
			left = newer
		}
		j.newer = newer != nil
	case j == nil:
		return nil
	case !u.Deleted && state == job.Paused:
		j.paused = true
	default:
		delete(js.live, id)
		j.end()
		if j.slots == 0 {
			js.drops.Go(j.drop)
		}
	}
	close(js.changed)
	js.changed = make(chan struct{})
	return left
}

// pick chooses the job with the fewest slots, so that a small job is not
// behind a large one, and the one that waited longest among equals. It returns
// nil when there is none. The channel is closed when the jobs change.
func (js *jobs) pick() (*liveJob, <-chan struct{}) {
	js.mu.Lock()
	defer js.mu.Unlock()
	var best *liveJob
	for _, j := range js.live {
		if j.paused || j.newer || time.Now().Before(j.shun) {
			continue
		}
		if best == nil || j.slots < best.slots || j.slots == best.slots && j.turn < best.turn {
			best = j
		}
	}
	if best != nil {
		js.turn++
		best.slots++
		best.turn = js.turn
	}
	return best, js.changed
}

// leave leaves the chunks of a job to others for a while.
func (js *jobs) leave(j *liveJob, wait time.Duration) {
	js.mu.Lock()
	defer js.mu.Unlock()
	j.shun = time.Now().Add(wait)
}

// put gives back what pick took.
func (js *jobs) put(j *liveJob) {
	js.mu.Lock()
	defer js.mu.Unlock()
	j.slots--
	if j.slots == 0 && js.live[j.record.ID] != j {
		js.drops.Go(j.drop)
	}
}

func (js *jobs) len() int {
	js.mu.Lock()
	defer js.mu.Unlock()
	return len(js.live)
}

// close drops everything that was prepared. No slot may be working.
func (js *jobs) close() {
	js.drops.Wait()
	js.mu.Lock()
	defer js.mu.Unlock()
	for id, j := range js.live {
		j.end()
		j.drop()
		delete(js.live, id)
	}
}

func (j *liveJob) puller(ctx context.Context, q *queue.Queue) (*queue.Puller, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.pull == nil {
		p, err := q.Puller(ctx, j.record.ID)
		if err != nil {
			return nil, err
		}
		j.pull = p
	}
	return j.pull, nil
}

// task prepares the job on first use, and again when the engine was started
// anew since, for the lookups went with it.
func (j *liveJob) task(ctx context.Context, w *Worker) (*task, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.prepared != nil && j.prepared.restarts == w.eng.Restarts() {
		return j.prepared, nil
	}
	inner, end := w.measure(ctx, metrics.Prepare, trace.Of{Job: j.record.ID})
	t, err := w.prepare(inner, j.record)
	end(err)
	if err != nil {
		return nil, err
	}
	j.prepared = t
	return t, nil
}

// dropWait bounds what the engine may take to drop a workspace.
const dropWait = 10 * time.Second

func (j *liveJob) drop() {
	ctx, cancel := context.WithTimeout(context.Background(), dropWait)
	defer cancel()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.prepared != nil {
		j.prepared.workspace.Drop(ctx)
		j.prepared = nil
	}
}
