package worker

import (
	"context"

	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/source"
	"drayage/pkg/source/kinds"
	"drayage/pkg/transform"
)

// task is what a worker prepares once for a job and uses for all its chunks.
type task struct {
	job       job.Job
	pipeline  *pipeline.Pipeline
	source    source.Source
	workspace transform.Workspace
	table     clickhouse.Table
	restarts  int // of the engine when the workspace was made
}

// prepare makes the task of a job from what the job froze.
func prepare(ctx context.Context, j job.Job, eng Engine) (*task, error) {
	restarts := eng.Restarts()
	p, err := pipeline.Thaw(j.Frozen.Pipeline, j.Frozen.JobTime)
	if err != nil {
		return nil, err
	}
	src, err := kinds.New(p, j.Submission.Dir)
	if err != nil {
		return nil, job.WithClass(err, job.Permanent)
	}
	ws, err := transform.Prepare(ctx, eng.Client(), transform.WorkspaceName("work", j.ID), j.Submission.Dir, p.Lookups)
	if err != nil {
		return nil, err
	}
	return &task{
		job: j, pipeline: p, source: src, workspace: ws, restarts: restarts,
		table: clickhouse.Table{Database: j.Frozen.Database, Name: j.Frozen.Table},
	}, nil
}

// output is what the SQL is to give for chunk c.
func (t *task) output(c job.Chunk) transform.Output {
	return transform.Output{
		Columns: t.job.Frozen.Output, From: t.job.Frozen.Selected,
		Provenance: t.job.Frozen.Provenance, Job: c.Job, Chunk: c.Ordinal,
	}
}

// Engine is the worker's engine, which may be restarted while it is used.
type Engine interface {
	Client() *engine.Client
	Restarts() int // how often it was started anew: its tables are gone each time
}
