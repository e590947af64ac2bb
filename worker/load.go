package worker

import (
	"context"
	"crypto/rand"
	"fmt"

	"drayage/pkg/clickhouse"
	"drayage/pkg/fault"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// load puts the rejects into quarantine and the block into the target, unless an
// attempt before has done it.
func (s *slot) load(ctx context.Context, lease *queue.Lease, t *task, d *queue.Delivery, res *job.Result) error {
	if err := s.keepRejects(ctx, t, d); err != nil {
		return err
	}
	if res.RowsLoaded == 0 {
		return nil
	}
	there, err := s.there(ctx, t, d, res.RowsLoaded)
	if there || err != nil {
		res.Recovered = there
		return err
	}
	return s.insert(ctx, lease, t, d, 0, res.RowsLoaded)
}

// keepRejects puts the chunk's rejects into quarantine, once: they have a token
// like the rows.
func (s *slot) keepRejects(ctx context.Context, t *task, d *queue.Delivery) error {
	c := d.Chunk()
	err := s.w.ch.AppendRejects(ctx, clickhouse.RejectBatch{
		Chunk: c, Table: t.table, Pipeline: t.pipeline.Name, Input: t.place(c), Worker: s.w.cfg.ID, Rows: s.rejects,
	})
	if err != nil {
		return err
	}
	return s.w.faults.At(fault.Rejected)
}

// there reports whether an attempt before has loaded all rows of the chunk. If
// there are some, it died between the partitions of a block, or between two
// blocks: the same blocks under the same tokens complete them. So it is with
// views: an attempt may have died when the table had its rows and the view had
// none, and only the same block, sent again, feeds the view.
func (s *slot) there(ctx context.Context, t *task, d *queue.Delivery, rows uint64) (bool, error) {
	if d.Attempt() == 1 && !d.Hedge() || !t.job.Frozen.Provenance || t.job.Frozen.Views || s.w.faults.Skips(fault.Found) {
		return false, nil
	}
	c := d.Chunk()
	found, err := s.w.ch.ChunkRows(ctx, t.table, c.Job, c.Ordinal)
	if err != nil {
		return false, fmt.Errorf("asking ClickHouse for the chunk: %w", err)
	}
	return found == rows, nil
}

// insert sends what is in the slot's block as the chunk's block number n.
func (s *slot) insert(ctx context.Context, lease *queue.Lease, t *task, d *queue.Delivery, n int, rows uint64) error {
	c := d.Chunk()
	token := c.Token(n)
	if s.w.faults.Skips(fault.Token) {
		token += rand.Text()
	}
	return s.w.ch.Load(ctx, clickhouse.Load{
		Table: t.table, Columns: t.output(c).Names(),
		Body: s.block.reader(lease), Length: s.block.size, Rows: rows,
		Token: token, QueryID: token,
		Comment: fmt.Sprintf("drayage job=%s chunk=%d attempt=%d worker=%s", c.Job, c.Ordinal, d.Attempt(), s.w.cfg.ID),
	})
}
