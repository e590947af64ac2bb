package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"drayage/coordinator"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
)

// Scratch starts a Drayage of its own for fn, with a ClickHouse of its own, which
// is thrown away after it. It plans no more than the first chunk of a job.
func Scratch(ctx context.Context, cfg Config, log zerolog.Logger, fn func(*Stack) error) (err error) {
	if cfg.DataDir, err = os.MkdirTemp("", "dray-scratch-*"); err != nil {
		return fmt.Errorf("making a folder for a scratch ClickHouse: %w", err)
	}
	defer os.RemoveAll(cfg.DataDir)
	cfg.ClickHouse.URL, cfg.Coordinator.First = "", 1
	stack, err := Start(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() { _, _ = stack.Close() }() // nothing of it is kept
	if err := stack.Queue.Ensure(ctx); err != nil {
		return fmt.Errorf("setting up the streams: %w", err)
	}
	return fn(stack)
}

// Try runs a pipeline on a scratch stack, whose relative paths start at dir, and
// returns its job. That a job fails, or its chunk would be a dead letter, is an
// error.
func (s *Stack) Try(ctx context.Context, p *pipeline.Pipeline, file, dir string) (job.Job, error) {
	text, err := p.Text()
	if err != nil {
		return job.Job{}, fmt.Errorf("writing the pipeline: %w", err)
	}
	id := coordinator.NewID(p.Name, time.Now())
	if err := coordinator.Create(ctx, s.Queue, job.Submission{Job: id, Pipeline: text, File: file, Dir: dir}); err != nil {
		return job.Job{}, fmt.Errorf("creating the job: %w", err)
	}
	j, err := s.finish(ctx, id)
	switch {
	case err != nil:
		return j, err
	case j.State == job.Failed:
		return j, errors.New(j.Error)
	case j.Totals.Dead > 0:
		dead, err := s.Queue.DeadLetter(ctx, j.ID, 0, 0)
		if err != nil {
			return j, fmt.Errorf("reading why the chunk failed: %w", err)
		}
		return j, fmt.Errorf("the chunk would be a dead letter: %s", dead.Error)
	}
	return j, nil
}

// finish runs a job of the stack until it has ended.
func (s *Stack) finish(ctx context.Context, id string) (job.Job, error) {
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	updates, err := s.Queue.WatchJobs(running)
	if err != nil {
		return job.Job{}, fmt.Errorf("watching the job: %w", err)
	}
	ended := make(chan error, 1)
	go func() {
		err := s.Run(running, id)
		stop(err)
		ended <- err
	}()
	var j job.Job
	for u := range updates {
		if u.Job.ID == id {
			j = u.Job
		}
		if j.State.Terminal() {
			stop(nil)
		}
	}
	err = <-ended
	switch {
	case j.State.Terminal():
		return j, nil
	case ctx.Err() != nil:
		return j, context.Cause(ctx)
	}
	return j, fmt.Errorf("running the job: %w", err)
}

// Scratched is a pipeline as it runs on a scratch stack, into ScratchTable, which
// load makes of each output, from 0. Any number of its rows may be rejected.
func Scratched(p pipeline.Pipeline, table string, load func(output int) pipeline.Load) *pipeline.Pipeline {
	into := func(i int) pipeline.Load {
		l := load(i)
		l.Table = ScratchTable(table, i)
		return l
	}
	if p.Outputs = slices.Clone(p.Outputs); len(p.Outputs) == 0 {
		p.Load = into(0)
	}
	for i := range p.Outputs {
		p.Outputs[i].Load = into(i)
	}
	p.Incremental = nil
	p.Reject.Max = &pipeline.RowLimit{Percent: 100, Relative: true}
	return &p
}

// ScratchTable is the table of an output, from 0, on a scratch stack.
func ScratchTable(table string, output int) string {
	if output == 0 {
		return table
	}
	return fmt.Sprintf("%s_%d", table, output)
}

// Unsorted is a table for rows that are only looked at.
func Unsorted(int) pipeline.Load {
	return pipeline.Load{Create: "ENGINE = MergeTree ORDER BY tuple()"}
}
