package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
	"drayage/pkg/stage"
	"drayage/pkg/stage/chain"
	"drayage/pkg/transform"
	"drayage/pkg/version"
)

// lackError says that this worker's dray was built without something that a job
// needs. Another worker of the fleet may have it: one that was upgraded already.
type lackError struct {
	worker   string
	err      error
	pipeline *pipeline.Pipeline // of the job
	// named says that the names of the stages and of the kind of source tell who
	// has them. Else it is a version that is another one.
	named bool
}

func (e *lackError) Error() string {
	return fmt.Sprintf("the dray of worker %s (version %s) can not do this job: %s", e.worker, version.Version, e.err)
}

// Unwrap gives what is missing.
func (e *lackError) Unwrap() error { return e.err }

func (w *Worker) lacks(p *pipeline.Pipeline, named bool, err error) error {
	return &lackError{worker: w.cfg.ID, err: err, pipeline: p, named: named}
}

// has reports whether a worker has all that the job needs, by name.
func (e *lackError) has(w job.Worker) bool {
	for _, s := range e.pipeline.Stages {
		if !slices.Contains(w.Stages, s.Name) {
			return false
		}
	}
	c := e.pipeline.Source.Custom
	return c == nil || slices.Contains(w.Sources, c.Kind)
}

const (
	leftFor   = 30 * time.Second // how long the chunks of a job are left to workers that can do it
	leftAfter = time.Second      // when a chunk that was given back is delivered again
)

// lacking decides on a chunk of a job that this worker can not do. While another
// worker lives that can, the chunk is given back, that does not count as an
// attempt, and the job is left to the others for a while: so it is while a fleet
// is upgraded. When there is none, it is a failed attempt as any other, and the
// last one makes a dead letter, which says what was missing where.
func (s *slot) lacking(ctx context.Context, d *queue.Delivery, j *liveJob, lack *lackError) job.Verdict {
	if lack.named {
		workers, err := s.w.q.Workers(ctx)
		if err == nil && slices.ContainsFunc(workers, lack.has) {
			s.w.jobs.leave(j, leftFor)
			return job.Verdict{Kind: job.VerdictSlowDown, After: leftAfter, Err: lack}
		}
	}
	v := job.Verdict{Kind: job.VerdictRetry, After: lack.pipeline.Retry.Backoff.Delay(d.Attempt()), Err: lack}
	switch {
	case d.Hedge():
		v.Kind = job.VerdictStale
	case s.counted(ctx, d) >= lack.pipeline.Retry.Attempts:
		v.Kind, v.Err = job.VerdictDead, fmt.Errorf("%w: %w", errAttempts, lack)
	}
	c := d.Chunk()
	_ = s.w.q.PublishAttempt(ctx, job.Attempt{ // for watching: nothing rests on it
		Job: c.Job, Chunk: c.Ordinal, Generation: c.Generation, Attempt: d.Attempt(), Worker: s.w.cfg.ID,
		Verdict: v.Kind.String(), Error: v.Err.Error(), At: time.Now().UTC(), RetryMS: v.After.Milliseconds(),
	})
	return v
}

// leaving gives back a chunk that only a newer worker can do. It does not count
// as an attempt, and the job is left to others for a while.
func (s *slot) leaving(d *queue.Delivery, j *liveJob, why error) job.Verdict {
	if d.Hedge() {
		return job.Verdict{Kind: job.VerdictStale, Err: why}
	}
	s.w.jobs.leave(j, leftFor)
	return job.Verdict{Kind: job.VerdictSlowDown, After: leftAfter, Err: why}
}

// runner makes the stages of a job ready; nil when it has none.
func (w *Worker) runner(p *pipeline.Pipeline, f *job.Frozen) (*stage.Runner, error) {
	if len(p.Stages) == 0 {
		return nil, nil //nolint:nilnil // no stages are no error
	}
	stages, err := chain.New(p, w.stages)
	var use *stage.UseError
	if errors.As(err, &use) && use.Unknown {
		return nil, w.lacks(p, true, err)
	}
	if err != nil {
		return nil, job.WithClass(fmt.Errorf("making the stages: %w", err), job.Permanent)
	}
	columns, err := stages.Columns(f.Columns)
	if err == nil && !slices.Equal(names(columns), names(f.Staged)) {
		err = fmt.Errorf("its stages make the columns %s, and those of the coordinator that planned the job %s", transform.Structure(columns), transform.Structure(f.Staged))
	}
	if err != nil {
		return nil, w.lacks(p, false, err)
	}
	return stage.NewRunner(stages.Stage(), f.Columns)
}

func names(columns []job.Column) []string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = c.Name
	}
	return all
}
