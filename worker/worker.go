package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"drayage/pkg/allow"
	"drayage/pkg/clickhouse"
	"drayage/pkg/fault"
	"drayage/pkg/job"
	"drayage/pkg/queue"
	"drayage/pkg/source"
	"drayage/pkg/stage"
	"drayage/pkg/telemetry/metrics"
	"drayage/pkg/telemetry/trace"
	"drayage/pkg/version"
)

// Deps are what a worker works with. It closes none of them.
type Deps struct {
	Queue      *queue.Queue
	ClickHouse *clickhouse.Client
	Engine     Engine
	Log        zerolog.Logger
	Faults     *fault.Set // nil: none
	// Stages and Sources are what this dray was built with beside its own.
	Stages  stage.Registry
	Sources source.Registry
	Allow   *allow.Rules    // what pipelines may reach; nil: everything
	Metrics *metrics.Worker // nil: nobody looks at them
	Traces  *trace.Tracer   // nil: nobody traces
}

// Worker carries chunks. Make it with New and start it with Run, once.
type Worker struct {
	cfg     Config
	q       *queue.Queue
	ch      *clickhouse.Client
	eng     Engine
	log     zerolog.Logger
	jobs    *jobs
	fifos   *fifos
	started time.Time
	busy    sync.Map // slot number -> "job/chunk/generation" of the chunk it carries
	loaded  atomic.Uint64
	faults  *fault.Set
	stages  stage.Registry
	sources source.Registry
	allow   *allow.Rules
	metrics *metrics.Worker
	traces  *trace.Tracer
	// statements counts those given to the engine, so that each has a
	// query_id of its own.
	statements atomic.Uint64
}

// New checks the configuration and makes a worker that does nothing yet.
func New(cfg Config, deps Deps) (*Worker, error) {
	cfg.SetDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	w := &Worker{cfg: cfg, q: deps.Queue, ch: deps.ClickHouse, eng: deps.Engine, faults: deps.Faults, stages: deps.Stages, sources: deps.Sources, allow: deps.Allow, started: time.Now()}
	w.traces = deps.Traces
	if w.metrics = deps.Metrics; w.metrics == nil {
		w.metrics = metrics.NewWorker()
	}
	w.metrics.Slots(cfg.Slots)
	w.log = deps.Log.With().Str("worker", cfg.ID).Logger()
	w.jobs = newJobs()
	return w, nil
}

// Run carries chunks until ctx ends. It then takes no more, gives the chunks
// at work the grace period to finish, gives the rest back to the queue, and
// returns nil. It returns an error when it cannot begin.
func (w *Worker) Run(ctx context.Context) error {
	dir, err := os.MkdirTemp(w.cfg.WorkDir, "dray-worker-")
	if err != nil {
		return fmt.Errorf("making the folder for the engine's pipes: %w", err)
	}
	defer os.RemoveAll(dir)
	w.fifos = &fifos{dir: dir}

	updates, err := w.q.WatchJobs(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("watching the jobs: %w", err)
	}
	// working outlives ctx by the grace period, so that chunks can finish.
	working, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	grace := context.AfterFunc(ctx, func() {
		time.AfterFunc(w.cfg.Grace, func() { stop(job.ErrDraining) })
	})
	defer grace()

	w.log.Info().Int("slots", w.cfg.Slots).Msg("worker ready")
	var group errgroup.Group
	group.Go(func() error {
		for u := range updates {
			if w.cfg.Only == "" || u.Job.ID == w.cfg.Only {
				if err := w.jobs.update(u); err != nil {
					w.log.Warn().Err(err).Str("job", u.Job.ID).Msg("a job is left to other workers")
				}
				w.metrics.Jobs(w.jobs.len())
			}
		}
		return nil
	})
	group.Go(func() error { w.heartbeats(ctx); return nil })
	for i := range w.cfg.Slots {
		group.Go(func() error {
			s := &slot{w: w, number: i, copyBuf: make([]byte, 1<<20), blocks: blocks{limit: w.cfg.MaxBlock}}
			s.run(ctx, working)
			return nil
		})
	}
	err = group.Wait()
	w.jobs.close()
	w.log.Info().Uint64("chunks", w.loaded.Load()).Msg("worker drained")
	return err
}

// heartbeatEvery is the pause between heartbeats; the bucket forgets a worker
// after several of them.
const heartbeatEvery = 2 * time.Second

func (w *Worker) heartbeats(ctx context.Context) {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	for {
		if err := w.q.Heartbeat(ctx, w.status()); err != nil && ctx.Err() == nil {
			w.log.Warn().Err(err).Msg("heartbeat failed")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), heartbeatEvery)
			defer cancel()
			if err := w.q.Farewell(bye, w.cfg.ID); err != nil {
				w.log.Debug().Err(err).Msg("the worker is listed until its heartbeat expires")
			}
			return
		}
	}
}

func (w *Worker) status() job.Worker {
	host, _ := os.Hostname() // a worker without a host name is still itself
	s := job.Worker{
		ID: w.cfg.ID, Host: host, PID: os.Getpid(), Version: version.Version, Protocol: job.Protocol, Slots: w.cfg.Slots,
		EngineRestarts: w.eng.Restarts(), Stages: w.stages.Names(), Sources: w.sources.Names(), StartedAt: w.started.UTC(), At: time.Now().UTC(),
	}
	w.busy.Range(func(_, chunk any) bool {
		s.Current = append(s.Current, chunk.(string))
		return true
	})
	s.Busy = len(s.Current)
	return s
}

// slot is a place for one chunk. A slot pulls only when it is empty, so the
// worker never holds more chunks than it has slots: that is the backpressure.
type slot struct {
	w       *Worker
	number  int
	copyBuf []byte
	blocks  blocks
	rejects []job.Reject // of the chunk at work, beside its blocks
	// extracting is how long the chunk at work has waited for its source, in
	// nanoseconds: whoever feeds the engine adds to it.
	extracting atomic.Int64
}

// Waits of a slot that found no chunk.
const (
	longWait  = 5 * time.Second        // when every job has a slot waiting for it
	shortWait = 250 * time.Millisecond // when there are more jobs than slots
	errorWait = time.Second            // after an error of the queue
)

// run pulls and carries chunks until ctx ends; working is the context of a
// chunk once it was taken.
func (s *slot) run(ctx, working context.Context) {
	for ctx.Err() == nil {
		j, changed := s.w.jobs.pick()
		if j == nil {
			select {
			case <-changed:
			case <-time.After(longWait): // one may be left alone for a while only
			case <-ctx.Done():
			}
			continue
		}
		err := s.step(ctx, working, j, changed)
		s.w.jobs.put(j)
		if err == nil || errors.Is(err, queue.ErrEmpty) || ctx.Err() != nil {
			continue
		}
		if errors.Is(err, queue.ErrNotFound) {
			s.w.log.Debug().Str("job", j.record.ID).Msg("the job has no queue")
		} else {
			s.w.log.Warn().Err(err).Str("job", j.record.ID).Msg("could not take a chunk")
		}
		select {
		case <-time.After(errorWait):
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// step waits a while for one chunk of the job and carries it.
func (s *slot) step(ctx, working context.Context, j *liveJob, changed <-chan struct{}) error {
	puller, err := j.puller(ctx, s.w.q)
	if err != nil {
		return err
	}
	wait := longWait
	if s.w.jobs.len() > s.w.cfg.Slots {
		wait = shortWait
	}
	// A change of jobs ends the wait: the slot may be wanted elsewhere.
	waiting, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-changed:
			cancel()
		case <-waiting.Done():
		}
	}()
	d, err := puller.Next(waiting, wait)
	changing := waiting.Err() != nil
	cancel()
	if err != nil {
		if changing {
			return queue.ErrEmpty
		}
		return err
	}
	c := d.Chunk()
	s.w.busy.Store(s.number, fmt.Sprintf("%s/%d/%d", c.Job, c.Ordinal, c.Generation))
	defer s.w.busy.Delete(s.number)
	s.carry(working, j, d)
	return nil
}

// refuse settles a chunk whose job could not be prepared here.
func (s *slot) refuse(ctx context.Context, d *queue.Delivery, j *liveJob, why error) job.Verdict {
	s.w.log.Error().Err(why).Str("job", j.record.ID).Uint64("chunk", d.Chunk().Ordinal).Msg("a chunk can not be worked on here")
	v := job.Judge(ctx, why, errorWait)
	if newer := new(job.NewerError); errors.As(why, &newer) && v.Kind == job.VerdictRetry {
		v = s.leaving(d, j, why)
	}
	if lack := new(lackError); errors.As(why, &lack) && v.Kind == job.VerdictRetry {
		v = s.lacking(ctx, d, j, lack)
		why = v.Err
	}
	saying, stop := context.WithTimeout(context.WithoutCancel(ctx), d.Lease())
	defer stop()
	if v.Kind == job.VerdictDead {
		if err := s.bury(saying, d, why); err != nil {
			v = job.Verdict{Kind: job.VerdictRetry, After: errorWait, Err: err}
		}
	}
	if err := s.settle(saying, d, v); err != nil {
		s.w.log.Warn().Err(err).Msg("could not settle the delivery")
	}
	return v
}
