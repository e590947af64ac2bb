package worker

import (
	"context"
	"errors"
	"fmt"
	"os"

	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/quarantine"
	"drayage/pkg/queue"
	"drayage/pkg/source"
	"drayage/pkg/telemetry/metrics"
	"drayage/pkg/telemetry/trace"
	"drayage/pkg/transform"
)

// computing is a chunk of a job with stages on its way.
type computing struct {
	*slot
	lease    *queue.Lease
	task     *task
	delivery *queue.Delivery
	result   *job.Result
	run      func(in *source.Input, judged bool) error // as of transform

	// rows are those of an input without text of its own, once all of them were
	// read: what is refused of them is kept as JSON.
	rows  *os.File
	whole bool
}

// transformStaged is transform for a job with stages. When it fails, and values
// of the records or the stages are at fault, the chunk is sifted.
func (c *computing) transformStaged(ctx context.Context) error {
	c.rejects = nil
	defer func() {
		if c.rows != nil {
			c.rows.Close()
		}
	}()
	doubt := false
	err := c.reading(ctx, c.lease, c.task, c.delivery.Chunk(), func(in *source.Input) error {
		c.result.BytesRead = in.Bytes
		if doubt = in.Doubt != "" && c.w.cfg.Strict; doubt {
			return job.WithClass(errors.New("the input could not be cut into records: "+in.Doubt), job.Permanent)
		}
		return c.once(ctx, in)
	})
	switch {
	case err == nil, c.rows != nil && !c.whole:
		return err
	case errors.Is(err, errRefused), doubt, quarantine.Suspicious(err) && c.w.cfg.Strict:
	default:
		return err
	}
	cause := err
	if c.rows != nil {
		return c.sift(ctx, (&staged{rows: c.rows}).input(c.task.job.Frozen.Columns), -1, cause)
	}
	return c.reading(ctx, c.lease, c.task, c.delivery.Chunk(), func(in *source.Input) error {
		return c.sift(ctx, in, c.task.offset(c.delivery.Chunk()), cause)
	})
}

// once computes the chunk as one whose records are all good.
func (c *computing) once(ctx context.Context, in *source.Input) (err error) {
	st := c.staging(in)
	if !quarantine.Cuts(in) {
		if c.rows, err = c.nameless("*.kept"); err != nil {
			return err
		}
		st.keep = c.rows
	}
	made, err := st.run(ctx)
	if c.whole = err == nil || errors.Is(err, errRefused); err != nil {
		return err
	}
	defer made.rows.Close()
	if err := c.run(made.input(c.task.job.Frozen.Staged), false); err != nil {
		return err
	}
	c.result.RowsRead = made.read
	return nil
}

func (c *computing) staging(in *source.Input) *staging {
	return &staging{slot: c.slot, lease: c.lease, task: c.task, delivery: c.delivery, in: in}
}

// sift finds the records that do not fit, those that the stages refuse and those
// of whose rows one does not fit or fails in a SELECT, and computes the others.
// Offset is where the input begins in its file, -1 when it has none.
func (c *computing) sift(ctx context.Context, in *source.Input, offset int64, cause error) error {
	columns := c.task.job.Frozen.Columns
	records, err := c.separate(ctx, quarantine.Request{
		Input: in, Columns: columns, Selects: []quarantine.Select{{SQL: "SELECT * FROM " + transform.Chunk, Output: transform.Output{Columns: columns}}},
		Limit: c.task.pipeline.Reject.Limit(), Offset: offset, Cause: cause,
	})
	if err != nil {
		return fmt.Errorf("separating the records of the chunk: %w", err)
	}
	defer func() { _ = records.Close() }() // they were only read
	refused := map[uint64]bool{}
	refuse := func(record uint64, column, reason string) error {
		refused[record] = true
		return records.Refuse(record, column, reason)
	}
	// The second time the rows are known to be good.
	for judged := false; ; judged = true {
		st := c.staging(records.Input)
		st.judged, st.count = true, !judged
		st.skip = func(record uint64) bool { return refused[record] }
		st.refuse = func(record uint64, reason string) error { return refuse(record, "", reason) }
		made, err := st.run(ctx)
		if err != nil {
			return fmt.Errorf("staging the good records of the chunk: %w", err)
		}
		if err = c.computed(made, records, judged); err != nil && !judged && quarantine.Suspicious(err) {
			if err = c.blame(ctx, made, err, refused, refuse); err == nil {
				made.rows.Close()
				continue
			}
		}
		made.rows.Close()
		return err
	}
}

// computed computes the rows that the stages have made of the good records.
func (c *computing) computed(made *staged, records *quarantine.Separated, judged bool) error {
	if made.read != records.Good() {
		return job.WithClass(fmt.Errorf("the engine read %d rows in %d records", made.read, records.Good()), job.Permanent)
	}
	if err := c.run(made.input(c.task.job.Frozen.Staged), judged); err != nil {
		return fmt.Errorf("computing the good rows of the chunk: %w", err)
	}
	c.rejects = records.Rejects()
	c.result.RowsRead, c.result.RowsRejected = records.Records, uint64(len(c.rejects))
	return nil
}

// blame finds the rows for which the statement over what the stages made fails,
// and refuses the records that they came of.
func (c *computing) blame(ctx context.Context, made *staged, cause error, refused map[uint64]bool, refuse func(record uint64, column, reason string) error) error {
	rows, err := c.separate(ctx, quarantine.Request{
		Input: made.input(c.task.job.Frozen.Staged), Columns: c.task.job.Frozen.Staged, Selects: c.task.selects(c.delivery.Chunk()),
		Limit: pipeline.RowLimit{Percent: 100, Relative: true}, Offset: -1, Cause: cause, // records are what is counted
	})
	if err != nil {
		return fmt.Errorf("separating the rows that the stages made: %w", err)
	}
	defer func() { _ = rows.Close() }()  // they were only read
	record, last := uint64(0), uint64(0) // and the last of its rows
	for _, r := range rows.Rejects() {
		for last < r.Record {
			last += uint64(made.counts[record])
			record++
		}
		if refused[record] {
			continue
		}
		if err := refuse(record, r.Column, "after the stages: "+r.Reason); err != nil {
			return err
		}
	}
	return nil
}

func (c *computing) separate(ctx context.Context, req quarantine.Request) (*quarantine.Separated, error) {
	req.Engine, req.Database = c.w.eng.Client(), c.task.workspace.Database
	req.Dir, req.Progress = c.w.fifos.dir, c.lease.Progress
	ctx, end := c.w.measure(ctx, metrics.Quarantine, trace.Of{})
	separated, err := quarantine.Separate(ctx, req)
	end(err)
	return separated, err
}
