package worker

import (
	"context"
	"errors"
	"fmt"
	"io"

	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/quarantine"
	"drayage/pkg/queue"
	"drayage/pkg/source"
	"drayage/pkg/source/kinds"
	"drayage/pkg/source/replay"
	"drayage/pkg/stage"
	"drayage/pkg/telemetry"
	"drayage/pkg/transform"
)

// task is what a worker prepares once for a job and uses for all its chunks.
type task struct {
	job       job.Job
	pipeline  *pipeline.Pipeline
	source    source.Source
	workspace transform.Workspace
	outputs   []output
	runner    *stage.Runner // of the stages; nil: there are none
	restarts  int           // of the engine when the workspace was made
}

// prepare makes the task of a job from what the job froze.
func (w *Worker) prepare(ctx context.Context, j job.Job) (*task, error) {
	eng, ch := w.eng, w.ch
	restarts := eng.Restarts()
	p, err := pipeline.Thaw(j.Frozen.Pipeline, j.Frozen.JobTime, w.allow)
	if err != nil {
		return nil, err
	}
	env := kinds.Env{Dir: j.Submission.Dir, Bounds: j.Frozen.Bounds, Custom: w.sources, Allow: w.allow}
	if l := p.Limits.Lease; l.Seats > 0 {
		env.Seats = telemetry.Seats(w.metrics, w.q.Seats(queue.SeatConfig{Name: l.Name, Seats: l.Seats, Holder: "worker " + w.cfg.ID}))
	}
	src, err := kinds.New(p, env)
	if unknown := new(source.UnknownKindError); errors.As(err, &unknown) {
		return nil, w.lacks(p, true, err)
	}
	if err != nil {
		return nil, job.WithClass(err, job.Permanent)
	}
	runner, err := w.runner(p, j.Frozen)
	if err != nil {
		return nil, p.Redact(err)
	}
	if r := j.Submission.Replay; r != nil {
		inner, ok := src.(replay.Recorder)
		if ok {
			src = replay.NewRejects(inner, quarantined{ch}, r.Job)
		} else if r.What == job.ReplayRejects {
			return nil, job.WithClass(errors.New("rows of this kind of source can not be loaded from quarantine"), job.Permanent)
		}
	}
	ws, err := transform.Prepare(ctx, eng.Client(), transform.WorkspaceName("work", j.ID))
	if err != nil {
		return nil, err
	}
	if err := w.loadLookups(ctx, ws, j, p); err != nil {
		ws.Drop(context.WithoutCancel(ctx))
		return nil, p.Redact(err)
	}
	t := &task{job: j, pipeline: p, source: src, workspace: ws, runner: runner, restarts: restarts}
	outputs := p.All()
	for i, target := range j.Frozen.Targets() {
		// The coordinator has looked at it; whoever wrote the job's record may
		// not have been one.
		if w.allow != nil {
			if err := transform.Sealed(ctx, ws, outputs[i].SQL(), j.Frozen.Chunk()); err != nil {
				ws.Drop(context.WithoutCancel(ctx))
				return nil, fmt.Errorf("looking at the SELECT: %w", p.Redact(err))
			}
		}
		t.outputs = append(t.outputs, output{
			Target: target, number: i, sql: outputs[i].SQL(),
			table: clickhouse.Table{Database: target.Database, Name: target.Table},
		})
	}
	return t, nil
}

// output is a SELECT of the pipeline and the table that its rows go to.
type output struct {
	job.Target
	number int // from 0
	sql    string
	table  clickhouse.Table
}

// of is what the SELECT is to give for chunk c.
func (o output) of(c job.Chunk) transform.Output {
	return transform.Output{
		Columns: o.Output, From: o.Selected, Provenance: o.Provenance, Job: c.Job, Chunk: c.Ordinal,
	}
}

// selects are the SELECTs of the task, for the separation of rows.
func (t *task) selects(c job.Chunk) []quarantine.Select {
	var all []quarantine.Select
	for _, o := range t.outputs {
		all = append(all, quarantine.Select{SQL: o.sql, Output: o.of(c)})
	}
	return all
}

// quarantined opens rejects; a worker plans none.
type quarantined struct{ *clickhouse.Client }

// RawRejects implements replay.Quarantine.
func (q quarantined) RawRejects(ctx context.Context, jobID string, chunk uint64) (io.ReadCloser, error) {
	return q.Client.RawRejects(ctx, jobID, chunk)
}

// Rejected implements replay.Quarantine.
func (q quarantined) Rejected(context.Context, string, uint64, func(replay.Rejected) error) error {
	return job.WithClass(errors.New("a worker plans no chunks"), job.Permanent)
}

// place says where the chunk's input is, for people.
func (t *task) place(c job.Chunk) string { return source.Place(t.source, c.Input) }

// offset is where the chunk's first byte is in its file, -1 when it has none.
func (t *task) offset(c job.Chunk) int64 {
	if l, ok := t.source.(source.Locator); ok {
		if at, err := l.Locate(c.Input); err == nil {
			return at.Offset
		}
	}
	return -1
}

// Engine is the worker's engine, which may be restarted while it is used.
type Engine interface {
	Client() *engine.Client
	Restarts() int // how often it was started anew: its tables are gone each time
	// Guard runs what uses the engine, and once more, alone, when the engine
	// ended meanwhile; see engine.Process.
	Guard(ctx context.Context, do func() error) error
}
