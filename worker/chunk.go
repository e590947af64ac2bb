package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/fault"
	"drayage/pkg/job"
	"drayage/pkg/quarantine"
	"drayage/pkg/queue"
	"drayage/pkg/source"
	"drayage/pkg/telemetry/metrics"
	"drayage/pkg/telemetry/trace"
)

var (
	// errAttempts is why a chunk was given up that might have succeeded once more.
	errAttempts = errors.New("no attempt is left")
	// errTooLong is the cancellation cause of a chunk that took too long.
	errTooLong = errors.New("the chunk took longer than DRAY_CHUNK_TIMEOUT")
)

// carry takes one delivered chunk the whole way and settles it. The order of
// the steps is what makes a kill between any two of them harmless: the rows
// are in ClickHouse before the result is recorded, and the result is recorded
// before the chunk is acknowledged.
func (s *slot) carry(ctx context.Context, j *liveJob, d *queue.Delivery) {
	started := time.Now()
	c := d.Chunk()
	ctx, over := s.follow(ctx, d)
	var verdict job.Verdict
	defer func() { over(verdict) }()
	// The end of the job ends the chunk; a pause does not.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(j.ended, func() { cancel(job.ErrCancelled) })()
	held, lease := d.Hold(ctx)
	defer lease.Stop()

	log := s.w.logger(ctx, c, d.Attempt())
	res := job.Result{
		Job: c.Job, Chunk: c.Ordinal, Generation: c.Generation, Input: c.Input, Bytes: c.Bytes,
		Attempt: d.Attempt(), Worker: s.w.cfg.ID, StartedAt: started.UTC(),
	}
	t, err := s.guarded(held, lease, j, d, &res)
	if t == nil {
		verdict = s.refuse(held, d, j, err)
		return
	}
	defer s.w.loaded.Add(1)
	err = t.pipeline.Redact(err)
	verdict = job.Judge(held, err, t.pipeline.Retry.Backoff.Delay(d.Attempt()))
	switch {
	case d.Hedge() && (verdict.Kind == job.VerdictRetry || verdict.Kind == job.VerdictSlowDown || verdict.Kind == job.VerdictDead):
		// The chunk itself is in other hands, whose failure it would be.
		verdict.Kind = job.VerdictStale
	case verdict.Kind == job.VerdictRetry && s.counted(ctx, d) >= t.pipeline.Retry.Attempts:
		verdict = job.Verdict{Kind: job.VerdictDead, Err: fmt.Errorf("%w: %w", errAttempts, err)}
	}
	// The lease's context may have ended; what is left to say must still go
	// out, and has as long as the server would wait for it.
	saying, stop := context.WithTimeout(context.WithoutCancel(ctx), d.Lease())
	defer stop()

	if verdict.Kind == job.VerdictDead {
		if dead := s.bury(saying, d, verdict.Err); dead != nil {
			log.Error().Err(dead).Msg("could not record the dead letter; the chunk stays in the queue")
			verdict = job.Verdict{Kind: job.VerdictRetry, After: time.Second, Err: dead}
		}
	}
	if verdict.Err != nil {
		_ = s.w.q.PublishAttempt( // for watching: nothing rests on it
			saying, job.Attempt{
				Job: c.Job, Chunk: c.Ordinal, Generation: c.Generation, Attempt: d.Attempt(), Worker: s.w.cfg.ID,
				Verdict: verdict.Kind.String(), Error: verdict.Err.Error(), At: time.Now().UTC(),
				TookMS: time.Since(started).Milliseconds(), TransformMS: res.TransformMS, LoadMS: res.LoadMS,
				RetryMS: verdict.After.Milliseconds(),
			})
		log.Warn().Err(verdict.Err).Stringer("verdict", verdict.Kind).Msg("chunk not loaded")
	} else {
		log.Debug().Uint64("rows_read", res.RowsRead).Uint64("rows_loaded", res.RowsLoaded).Uint64("rows_rejected", res.RowsRejected).
			Int64("transform_ms", res.TransformMS).Int64("load_ms", res.LoadMS).Msg("chunk loaded")
	}
	if err := s.settle(saying, d, verdict); err != nil {
		// The message will come again and its result will be found.
		log.Warn().Err(err).Stringer("verdict", verdict.Kind).Msg("could not settle the delivery")
	}
	_ = s.w.faults.At(fault.Settled) // nothing is left that could fail
}

// guarded prepares the job and does the chunk, beside what the other slots do.
// When the engine ends in the middle, which may be the fault of another chunk, it
// does both anew with nothing beside it. It returns no task when the job can not
// be worked on here.
func (s *slot) guarded(ctx context.Context, lease *queue.Lease, j *liveJob, d *queue.Delivery, res *job.Result) (t *task, err error) {
	begun := *res
	moving := keepMoving(lease.Progress) // while others are waited for
	err = s.w.eng.Guard(ctx, func() error {
		defer func() { moving = keepMoving(lease.Progress) }()
		*res = begun
		t, err = s.prepared(ctx, j, d) // it may be large: the chunk is held meanwhile
		moving()
		if err != nil {
			return err
		}
		return s.attempt(ctx, lease, t, d, res)
	})
	moving()
	return t, err
}

// prepared makes ready what the job needs here.
func (s *slot) prepared(ctx context.Context, j *liveJob, d *queue.Delivery) (*task, error) {
	if err := d.Chunk().Understood(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeoutCause(ctx, s.w.cfg.ChunkTimeout, errTooLong)
	defer stop()
	return j.task(ctx, s.w)
}

// attempt does everything up to the recorded result.
func (s *slot) attempt(ctx context.Context, lease *queue.Lease, t *task, d *queue.Delivery, res *job.Result) error {
	if err := s.w.faults.At(fault.Pulled); err != nil {
		return err
	}
	c := d.Chunk()
	if s.counted(ctx, d) > t.pipeline.Retry.Attempts {
		// Nobody lived to say so at the last attempt.
		return job.WithClass(fmt.Errorf("%w: its workers died or lost it each time", errAttempts), job.Permanent)
	}
	switch _, err := s.w.q.Result(ctx, c.Job, c.Ordinal, c.Generation); {
	case err == nil:
		return nil
	case !errors.Is(err, queue.ErrNotFound):
		return fmt.Errorf("looking for a result of the chunk: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.w.cfg.ChunkTimeout, errTooLong)
	defer cancel()
	err := s.compute(ctx, lease, t, d, res)
	if err != nil && errors.Is(context.Cause(ctx), errTooLong) {
		err = job.WithClass(fmt.Errorf("%w: %w", errTooLong, err), job.TooBig)
	}
	if s.starved(ctx, d, err) {
		err = job.WithClass(err, job.TooBig)
	}
	if err != nil && job.ClassOf(err) == job.TooBig {
		// Memory may have been short because of others; the size of the
		// output is the chunk's own.
		if !errors.Is(err, ErrTooBig) && d.Attempt() <= patience && s.counted(ctx, d) < min(2, t.pipeline.Retry.Attempts) {
			return err
		}
		err = s.cut(context.WithoutCancel(ctx), lease, t, d, res, err)
	}
	if err != nil {
		return err
	}
	if err = s.record(ctx, *res); err != nil {
		return fmt.Errorf("recording the result: %w", err)
	}
	return s.w.faults.At(fault.Recorded)
}

// patience is how often ClickHouse may lack the memory for a chunk's block before
// the chunk is thought to be too big for it: a limit of the user's own does not
// pass by waiting.
const patience = 10

// starved reports whether ClickHouse has refused the chunk's block for want of
// memory more often than that.
func (s *slot) starved(ctx context.Context, d *queue.Delivery, err error) bool {
	var x *clickhouse.Exception
	if !errors.As(err, &x) || !x.Memory() || d.Attempt() <= patience {
		return false
	}
	excused, err := d.Excused(ctx)
	return err == nil && excused >= patience
}

// compute makes the chunk's block and loads it.
func (s *slot) compute(ctx context.Context, lease *queue.Lease, t *task, d *queue.Delivery, res *job.Result) error {
	begin := time.Now()
	s.extracting.Store(0)
	inner, end := s.w.measure(ctx, metrics.Transform, trace.Of{})
	err := s.transform(inner, lease, t, d, res, func(in *source.Input, judged bool) error {
		return s.statements(inner, lease, t, d, in, judged, res)
	})
	end(err)
	s.w.metrics.Step(metrics.Extract, time.Duration(s.extracting.Load()))
	res.TransformMS = time.Since(begin).Milliseconds()
	if err != nil {
		return fmt.Errorf("transforming the chunk: %w", err)
	}
	if err := s.w.faults.At(fault.Transformed); err != nil {
		return err
	}
	begin = time.Now()
	err = s.load(ctx, lease, t, d, res)
	res.LoadMS = time.Since(begin).Milliseconds()
	if err != nil {
		return fmt.Errorf("loading the chunk: %w", err)
	}
	return s.w.faults.At(fault.Loaded)
}

// counted is the number of attempts of the chunk that count, this one
// included: not those that ended because ClickHouse asked to slow down or a
// worker stopped. When that can not be told, all count.
func (s *slot) counted(ctx context.Context, d *queue.Delivery) int {
	if d.Attempt() == 1 {
		return 1
	}
	excused, err := d.Excused(ctx)
	if err != nil {
		s.w.log.Warn().Err(err).Msg("could not tell which attempts count")
	}
	return d.Attempt() - excused
}

// bury records a dead letter.
func (s *slot) bury(ctx context.Context, d *queue.Delivery, why error) error {
	reason := job.ReasonPermanent
	var tooMany *quarantine.TooManyError
	switch {
	case errors.Is(why, errAttempts):
		reason = job.ReasonAttempts
	case errors.Is(why, errFloor):
		reason = job.ReasonTooBig
	case errors.As(why, &tooMany):
		reason = job.ReasonRejects
	}
	err := s.w.q.PublishDead(ctx, job.Dead{
		Chunk: d.Chunk(), Worker: s.w.cfg.ID, Attempts: d.Attempt(),
		Reason: reason, Error: why.Error(), At: time.Now().UTC(),
	})
	if errors.Is(err, queue.ErrExists) {
		return nil
	}
	if err == nil {
		s.w.metrics.Dead(reason)
	}
	return err
}
