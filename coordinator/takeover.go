package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
	"drayage/pkg/source"
	"drayage/pkg/source/kinds"
	"drayage/pkg/source/replay"
)

// takeOver claims what the job replays. Chunks that are loaded again leave
// nothing of themselves behind in the job they come from.
func (d *driver) takeOver(ctx context.Context, j job.Job) error {
	old, err := claim(ctx, d.c.Queue, j)
	if err != nil {
		return fmt.Errorf("taking over from job %s: %w", j.Submission.Replay.Job, err)
	}
	if j.Submission.Replay.What == job.ReplayRejects {
		return nil
	}
	if err := StopInserts(ctx, d.c.ClickHouse, old, j.Submission.Replay.Chunks); err != nil && job.ClassOf(err) != job.Permanent {
		return err
	}
	return retire(ctx, d.c.ClickHouse, old, j.Submission.Replay.Chunks, "taken over by job "+j.ID)
}

// source makes the source of a job: that of its pipeline, or what it replays.
func (d *driver) source(ctx context.Context, j job.Job, p *pipeline.Pipeline) (source.Source, error) {
	before, err := d.seen(ctx, j, p)
	if err != nil {
		return nil, err
	}
	src, err := kinds.New(p, kinds.Env{Dir: j.Submission.Dir, Seats: d.c.seats(p), Bounds: j.Frozen.Bounds, Seen: before.has, Custom: d.c.Sources, Allow: d.c.Allow})
	if errors.As(err, new(*source.UnknownKindError)) {
		return nil, fmt.Errorf("making the source, as a coordinator that has it can: %w", err)
	}
	if err != nil {
		return nil, job.WithClass(fmt.Errorf("making the source: %w", err), job.Permanent)
	}
	r := j.Submission.Replay
	if r == nil {
		return src, nil
	}
	old, _, err := d.c.Queue.Job(ctx, r.Job)
	if err != nil {
		return nil, fmt.Errorf("reading the job that is replayed: %w", err)
	}
	inner, ok := src.(replay.Recorder)
	switch {
	case ok:
		rejects := replay.NewRejects(inner, &quarantined{d, old, r.Chunks}, old.ID)
		if src = rejects; r.What == job.ReplayRejects {
			return src, nil
		}
	case r.What == job.ReplayRejects:
		return nil, job.WithClass(errors.New("rows of this kind of source can not be loaded from quarantine"), job.Permanent)
	}
	return replay.New(src, func(ctx context.Context, from uint64, fn func(uint64, json.RawMessage, int64) error) error {
		for _, chunk := range r.Chunks {
			if chunk < from {
				continue
			}
			part, err := d.input(ctx, old, r.What, chunk)
			if err != nil {
				return fmt.Errorf("reading chunk %d of job %s: %w", chunk, old.ID, err)
			}
			if err := fn(chunk, part.Input, part.Bytes); err != nil {
				return err
			}
		}
		return nil
	}), nil
}

// quarantined are the rejects of some chunks of an ended job.
type quarantined struct {
	d      *driver
	old    job.Job
	chunks []uint64 // ascending
}

// Rejected implements replay.Quarantine.
func (q *quarantined) Rejected(ctx context.Context, _ string, from uint64, fn func(replay.Rejected) error) error {
	return q.d.c.ClickHouse.RejectedChunks(ctx, q.old.ID, func(chunk, rows, bytes uint64) error {
		if _, claimed := slices.BinarySearch(q.chunks, chunk); !claimed || chunk < from || rows == 0 {
			return nil
		}
		part, err := q.d.input(ctx, q.old, job.ReplayChunks, chunk)
		if err != nil {
			return fmt.Errorf("reading chunk %d of job %s: %w", chunk, q.old.ID, err)
		}
		return fn(replay.Rejected{Chunk: chunk, Input: part.Input, Rows: rows, Bytes: int64(bytes)}) //nolint:gosec // far below
	})
}

// RawRejects implements replay.Quarantine.
func (q *quarantined) RawRejects(ctx context.Context, jobID string, chunk uint64) (io.ReadCloser, error) {
	return q.d.c.ClickHouse.RawRejects(ctx, jobID, chunk)
}

// input finds what a chunk of an earlier job read.
func (d *driver) input(ctx context.Context, old job.Job, what string, chunk uint64) (job.Part, error) {
	generation := old.Plan.Generation(chunk)
	if what == job.ReplayDead {
		dead, err := d.c.Queue.DeadLetter(ctx, old.ID, chunk, generation)
		return job.Part{Input: dead.Chunk.Input, Bytes: dead.Chunk.Bytes}, gone(err)
	}
	r, err := d.c.Queue.Result(ctx, old.ID, chunk, generation)
	return job.Part{Input: r.Input, Bytes: r.Bytes}, gone(err)
}

// gone makes an absence permanent: records expire, and do not come back.
func gone(err error) error {
	if errors.Is(err, queue.ErrNotFound) {
		return job.WithClass(err, job.Permanent)
	}
	return err
}

// release gives back what a replay took over and did not come to before it
// ended, so that another may. What has an outcome here is loaded, or a dead
// letter of this job.
func (d *driver) release(ctx context.Context, j job.Job) error {
	r := j.Submission.Replay
	if r == nil || r.What == job.ReplayRejects && j.Plan.Chunks > 0 {
		return nil
	}
	ended := map[uint64]bool{} // ordinals here; the n-th chunk is the n-th of the claim
	following, present := context.WithCancel(ctx)
	defer present()
	err := d.c.Queue.Results(following, j.ID, func(res job.Result) error { ended[res.Chunk] = true; return nil }, queue.WhenCaughtUp(present))
	if err != nil && (following.Err() == nil || ctx.Err() != nil) {
		return fmt.Errorf("reading what was loaded: %w", err)
	}
	following, present = context.WithCancel(ctx)
	defer present()
	err = d.c.Queue.FollowDead(following, j.ID, func(dead job.Dead) error { ended[dead.Chunk.Ordinal] = true; return nil }, queue.WhenCaughtUp(present))
	if err != nil && (following.Err() == nil || ctx.Err() != nil) {
		return fmt.Errorf("reading the dead letters: %w", err)
	}
	var kept []uint64
	for n, chunk := range r.Chunks {
		if ended[uint64(n)] { //nolint:gosec // an index
			kept = append(kept, chunk)
		}
	}
	_, err = d.c.Queue.EditJob(ctx, r.Job, func(old *job.Job) error {
		for i, c := range old.Claims {
			if c.Job == j.ID {
				old.Claims[i].Chunks = kept
			}
		}
		old.Claims = slices.DeleteFunc(old.Claims, func(c job.Claim) bool { return c.Job == j.ID && len(c.Chunks) == 0 })
		return nil
	})
	if errors.Is(err, queue.ErrNotFound) {
		return nil
	}
	return err
}
