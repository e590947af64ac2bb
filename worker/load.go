package worker

import (
	"context"
	"crypto/rand"
	"fmt"

	"drayage/pkg/clickhouse"
	"drayage/pkg/fault"
	"drayage/pkg/job"
	"drayage/pkg/queue"
	"drayage/pkg/telemetry/metrics"
	"drayage/pkg/telemetry/trace"
)

// load puts the rejects into quarantine and the blocks into their targets, unless
// an attempt before has done it.
func (s *slot) load(ctx context.Context, lease *queue.Lease, t *task, d *queue.Delivery, res *job.Result) error {
	if err := s.keepRejects(ctx, t, d); err != nil {
		return err
	}
	return t.each(func(o output) (found bool, err error) {
		rows := res.Of(o.number).RowsLoaded
		if rows == 0 {
			return false, nil
		}
		if found, err = s.there(ctx, o, d, rows); found || err != nil {
			return found, err
		}
		if err := s.insert(ctx, lease, o, d, 0, rows); err != nil || len(t.outputs) == 1 {
			return false, err
		}
		return false, s.w.faults.At(fault.Output)
	}, res)
}

// each loads the outputs, those first whose rows can be taken out again: a chunk
// that is cut then, for ClickHouse has no memory for a block of it, leaves
// nothing behind. Load reports whether all rows were there already.
func (t *task) each(load func(output) (found bool, err error), res *job.Result) error {
	res.Recovered = false
	final := false // something was loaded that can not be taken out
	for _, traceable := range []bool{true, false} {
		for _, o := range t.outputs {
			if o.Provenance != traceable {
				continue
			}
			found, err := load(o)
			if err != nil && final && job.ClassOf(err) == job.TooBig {
				err = job.WithClass(err, job.Retry)
			}
			if err != nil {
				return t.naming(o, err)
			}
			res.Recovered = res.Recovered || found
			final = final || !traceable
		}
	}
	return nil
}

// naming tells which of several outputs an error is of.
func (t *task) naming(o output, err error) error {
	if len(t.outputs) == 1 {
		return err
	}
	return fmt.Errorf("output %d, for %s: %w", o.number, o.table, err)
}

// share adds what an output gave to the chunk's result.
func (t *task) share(o output, share job.Share, res *job.Result) {
	res.RowsLoaded += share.RowsLoaded
	res.BytesLoaded += share.BytesLoaded
	if o.number == 0 {
		res.Hash = share.Hash
	}
	if len(t.outputs) > 1 {
		res.Shares = append(res.Shares, share)
	}
}

// keepRejects puts the chunk's rejects into quarantine, once: they have a token
// like the rows.
func (s *slot) keepRejects(ctx context.Context, t *task, d *queue.Delivery) (err error) {
	c := d.Chunk()
	if len(s.rejects) > 0 {
		var end func(error)
		ctx, end = s.w.measure(ctx, metrics.Reject, trace.Of{Table: clickhouse.RejectsTable.String()})
		defer func() { end(err) }()
	}
	batch := clickhouse.RejectBatch{
		Chunk: c, Table: t.outputs[0].table, Pipeline: t.pipeline.Name, Input: t.place(c), Worker: s.w.cfg.ID, Rows: s.rejects,
	}
	if err := s.inserted(ctx, s.w.ch.AppendRejects(ctx, batch)); err != nil {
		return err
	}
	if len(t.outputs[0].Shards) > 0 { // which has the records of its rows
		shard, err := s.server(ctx, t.outputs[0], c)
		if err == nil {
			err = s.inserted(ctx, shard.AppendRejects(ctx, batch))
		}
		if err != nil {
			return err
		}
	}
	return s.w.faults.At(fault.Rejected)
}

// server is where an output's rows of a chunk go.
func (s *slot) server(ctx context.Context, o output, c job.Chunk) (*clickhouse.Client, error) {
	if name := o.Shard(c.Ordinal); name != "" {
		return s.w.ch.Shard(ctx, name)
	}
	return s.w.ch, nil
}

// there reports whether an attempt before has loaded all rows of the chunk. If
// there are some, it died between the partitions of a block, or between two
// blocks: the same blocks under the same tokens complete them. So it is with
// views: an attempt may have died when the table had its rows and the view had
// none, and only the same block, sent again, feeds the view.
func (s *slot) there(ctx context.Context, o output, d *queue.Delivery, rows uint64) (bool, error) {
	if d.Attempt() == 1 && !d.Hedge() || !o.Provenance || o.Views || s.w.faults.Skips(fault.Found) {
		return false, nil
	}
	c := d.Chunk()
	server, err := s.server(ctx, o, c)
	if err != nil {
		return false, err
	}
	found, err := server.ChunkRows(ctx, o.table, c.Job, c.Ordinal)
	if err != nil {
		return false, fmt.Errorf("asking ClickHouse for the chunk: %w", err)
	}
	return found == rows, nil
}

// insert sends what is in an output's block as the chunk's block number n.
func (s *slot) insert(ctx context.Context, lease *queue.Lease, o output, d *queue.Delivery, n int, rows uint64) error {
	c := d.Chunk()
	b := s.blocks.list[o.number]
	token := c.Token(o.number, n)
	if s.w.faults.Skips(fault.Token) {
		token += rand.Text()
	}
	server, err := s.server(ctx, o, c)
	if err != nil {
		return err
	}
	ctx, end := s.w.measure(ctx, metrics.Load, trace.Of{Table: o.table.String()})
	err = server.Load(ctx, clickhouse.Load{
		Table: o.table, Columns: o.of(c).Names(),
		Body: b.reader(lease), Length: b.size, Rows: rows,
		Token: token, QueryID: token,
		Comment: fmt.Sprintf("drayage job=%s chunk=%d attempt=%d worker=%s", c.Job, c.Ordinal, d.Attempt(), s.w.cfg.ID),
	})
	end(err)
	return s.inserted(ctx, err)
}
