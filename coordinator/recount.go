package coordinator

import (
	"context"
	"errors"
	"fmt"

	"drayage/pkg/allow"
	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
	"drayage/pkg/source"
	"drayage/pkg/source/kinds"
)

// ErrUncountable means that a job's source can not count its records.
var ErrUncountable = errors.New("this kind of source can not count its records")

// Recounted is a chunk whose source does not have the records that were read.
type Recounted struct {
	Chunk   uint64 `json:"chunk"`
	Place   string `json:"place"`   // where its input is, for people
	Read    uint64 `json:"read"`    // as recorded
	Counted uint64 `json:"counted"` // in the source, now
	Err     error  `json:"-"`       // why it could not be counted, such as source.ErrChanged
}

// Recounter counts what jobs have read once more.
type Recounter struct {
	Queue  *queue.Queue
	Engine *engine.Client
	Custom source.Registry // the kinds of source that this dray was built with
	Allow  *allow.Rules    // what the pipeline may reach; nil: everything
}

// Recount counts the records of every chunk that a job has loaded, in the
// source as it is now, and gives those to fn that do not have as many as were
// read, or can not be counted any more. It returns the number of chunks counted.
// An error of fn ends it. ErrUncountable when the source can not count. It
// reads all of the input again.
func (c Recounter) Recount(ctx context.Context, j job.Job, fn func(Recounted) error) (uint64, error) {
	if j.Frozen == nil {
		return 0, nil
	}
	p, err := pipeline.Thaw(j.Frozen.Pipeline, j.Frozen.JobTime, c.Allow)
	if err != nil {
		return 0, err
	}
	env := kinds.Env{Dir: j.Submission.Dir, Bounds: j.Frozen.Bounds, Custom: c.Custom, Allow: c.Allow}
	if l := p.Limits.Lease; l.Seats > 0 {
		env.Seats = c.Queue.Seats(queue.SeatConfig{Name: l.Name, Seats: l.Seats, Holder: "verify"})
	}
	src, err := kinds.New(p, env)
	if err != nil {
		return 0, job.WithClass(fmt.Errorf("making the source: %w", err), job.Permanent)
	}
	counter, ok := src.(source.Counter)
	if r := j.Submission.Replay; !ok || r != nil && r.What == job.ReplayRejects {
		return 0, job.WithClass(ErrUncountable, job.Permanent)
	}
	retired := map[uint64]bool{}
	for _, r := range j.Plan.Replaced {
		retired[r.Chunk] = true
	}
	following, present := context.WithCancel(ctx)
	defer present()
	var chunks uint64
	err = c.Queue.Results(following, j.ID, func(r job.Result) error {
		if !r.Loaded() || retired[r.Chunk] {
			return nil
		}
		chunks++
		n, err := counter.Count(ctx, c.Engine, r.Input, j.Frozen.Columns)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil && n == r.RowsRead {
			return nil
		}
		return fn(Recounted{Chunk: r.Chunk, Place: source.Place(src, r.Input), Read: r.RowsRead, Counted: n, Err: err})
	}, queue.WhenCaughtUp(present))
	if err != nil && (following.Err() == nil || ctx.Err() != nil) {
		return chunks, fmt.Errorf("counting the records of the source: %w", err)
	}
	return chunks, nil
}
