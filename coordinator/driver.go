package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
)

// driver leads one job from state to state until it has ended. All that it
// knows is in the job's record and in the streams, so another driver can go on
// at any point; two at once disturb each other only by lost compare-and-sets.
type driver struct {
	c   *Coordinator
	id  string
	log zerolog.Logger
}

func (d *driver) run(ctx context.Context) {
	for ctx.Err() == nil {
		done, err := d.step(ctx)
		if done {
			return
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, queue.ErrConflict) {
			d.log.Warn().Err(err).Msg("the job can not go on now; it is tried again")
			pause(ctx, retryEvery)
		}
	}
}

// step does what the job's state asks for, up to its next state. It reports
// true when nothing is left to do.
func (d *driver) step(ctx context.Context) (bool, error) {
	j, rev, err := d.c.Queue.Job(ctx, d.id)
	if errors.Is(err, queue.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the job: %w", err)
	}
	switch j.State {
	case job.Submitted:
		j.StartedAt = time.Now().UTC()
		return false, d.advance(ctx, j, rev, job.Planning)
	case job.Planning:
		err = d.freeze(ctx, j, rev)
	case job.Running:
		err = d.process(ctx, j, rev)
	case job.Verifying:
		err = d.verify(ctx, j, rev)
	case job.Cancelling:
		if err := d.c.Queue.CloseJob(ctx, d.id); err != nil {
			return false, fmt.Errorf("taking back the job's chunks: %w", err)
		}
		return false, d.advance(ctx, j, rev, job.Cancelled)
	case job.Paused:
		pause(ctx, d.c.cfg.Account)
		return false, nil
	default:
		return true, d.c.Queue.CloseJob(ctx, d.id)
	}
	if err != nil && ctx.Err() == nil && job.ClassOf(err) == job.Permanent {
		return false, d.fail(ctx, err)
	}
	return false, err
}

// advance moves the job, if nobody else changed it since it was read.
func (d *driver) advance(ctx context.Context, j job.Job, rev queue.Revision, to job.State) error {
	from := j.State
	if err := move(&j, to); err != nil {
		return err
	}
	if _, err := d.c.Queue.UpdateJob(ctx, j, rev); err != nil {
		return fmt.Errorf("moving the job from %s to %s: %w", from, to, err)
	}
	d.log.Info().Str("from", string(from)).Str("state", string(to)).Msg("job moved")
	return nil
}

// fail ends the job with a reason. It reads the record anew, for the driver's
// own may be behind.
func (d *driver) fail(ctx context.Context, why error) error {
	j, rev, err := d.c.Queue.Job(ctx, d.id)
	if err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	j.Error = why.Error()
	return d.advance(ctx, j, rev, job.Failed)
}

// freeze finds out what the job depends on and records it.
func (d *driver) freeze(ctx context.Context, j job.Job, rev queue.Revision) error {
	doc, err := document(j)
	if err != nil {
		return err
	}
	frozen, err := Freezer{
		Engine: d.c.Engine.Client(), ClickHouse: d.c.ClickHouse, Create: true,
	}.Freeze(ctx, doc, j.ID, j.CreatedAt)
	if err != nil {
		return err
	}
	// Before the job is seen to run, so that no worker looks for it in vain.
	if err := d.open(ctx, doc.Pipeline); err != nil {
		return err
	}
	j.Frozen = &frozen.Frozen
	j.Frozen.At = time.Now().UTC()
	j.Plan.EstimatedBytes = frozen.Source.Size(ctx)
	return d.advance(ctx, j, rev, job.Running)
}

// open makes the job's queue, or sets its limits anew.
func (d *driver) open(ctx context.Context, p *pipeline.Pipeline) error {
	inFlight := d.c.cfg.InFlight
	if p.Limits.InFlight > 0 {
		inFlight = p.Limits.InFlight
	}
	if err := d.c.Queue.OpenJob(ctx, d.id, queue.JobQueue{MaxInFlight: inFlight}); err != nil {
		return fmt.Errorf("opening the job's queue: %w", err)
	}
	return nil
}

// table is the target of a job that was frozen.
func (d *driver) table(j job.Job) clickhouse.Table {
	return clickhouse.Table{Database: j.Frozen.Database, Name: j.Frozen.Table}
}

// verify asks ClickHouse for the job's rows and ends the job.
func (d *driver) verify(ctx context.Context, j job.Job, rev queue.Revision) error {
	table := d.table(j)
	proof, err := d.c.ClickHouse.Verify(ctx, table, j.ID, j.Frozen.Provenance)
	if err != nil {
		return fmt.Errorf("verifying the job: %w", err)
	}
	j.Proof = &proof
	to := job.Done
	switch {
	case len(proof.Differ) > 0:
		first := proof.Differ[0]
		j.Error = fmt.Sprintf("ClickHouse does not hold what was recorded: %d chunks differ, the first is chunk %d with %d rows recorded and %d found in %s",
			len(proof.Differ), first.Chunk, first.Recorded, first.Found, table)
		to = job.Failed
	case proof.Rows != j.Totals.RowsLoaded:
		j.Error = fmt.Sprintf("ClickHouse vouches for %d rows in %s, %d were recorded", proof.Rows, table, j.Totals.RowsLoaded)
		to = job.Failed
	case j.Totals.Dead > 0 && j.Totals.Chunks == 0:
		j.Error = "no chunk could be loaded"
		if dead, err := d.c.Queue.DeadLetters(ctx, j.ID, 1); err == nil && len(dead) > 0 {
			j.Error = fmt.Sprintf("no chunk could be loaded; chunk %d: %s", dead[0].Chunk.Ordinal, dead[0].Error)
		}
		to = job.Failed
	case j.Totals.Dead > 0 || j.Totals.RowsRejected > 0:
		to = job.DoneWithRejects
	}
	return d.advance(ctx, j, rev, to)
}
