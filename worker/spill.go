package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/queue"
	"drayage/pkg/source"
	"drayage/pkg/transform"
)

// spill computes the rows of a chunk into tables on the engine's disk and loads
// them from there, in blocks that are always the same for the same rows.
func (s *slot) spill(ctx context.Context, lease *queue.Lease, t *task, d *queue.Delivery, res *job.Result) error {
	c := d.Chunk()
	begin := time.Now()
	table := func(o output) string {
		return fmt.Sprintf("%s.%s", transform.Identifier(t.workspace.Database), transform.Identifier(fmt.Sprintf("spill_%d_%d", s.number, o.number)))
	}
	drop := func() error {
		for _, o := range t.outputs {
			_, err := s.w.eng.Client().Exec(context.WithoutCancel(ctx), engine.Statement{SQL: "DROP TABLE IF EXISTS " + table(o) + " SYNC", QueryID: s.queryID(d)})
			if err != nil {
				return err
			}
		}
		return nil
	}
	defer func() { _ = drop() }() // or the next one does, or the job's end
	err := s.transform(ctx, lease, t, d, res, func(in *source.Input, judged bool) error {
		if err := drop(); err != nil {
			return fmt.Errorf("making room to spill: %w", err)
		}
		for _, o := range t.outputs {
			if err := s.spillInto(ctx, lease, t, o, d, table(o), in, judged, res); err != nil {
				return t.naming(o, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("computing the rows of a chunk of several blocks: %w", err)
	}
	res.TransformMS = time.Since(begin).Milliseconds()
	begin = time.Now()
	if err := s.keepRejects(ctx, t, d); err != nil {
		return err
	}
	res.RowsLoaded, res.BytesLoaded = 0, 0
	shares := make([]job.Share, len(t.outputs))
	err = t.each(func(o output) (found bool, err error) {
		size, err := s.spilled(ctx, o, c, table(o))
		if err != nil {
			return false, fmt.Errorf("measuring the rows of a chunk of several blocks: %w", err)
		}
		shares[o.number], found, err = s.loadSpilled(ctx, lease, o, d, table(o), size)
		return found, err
	}, res)
	if err != nil {
		return err
	}
	res.Shares = nil
	for _, o := range t.outputs {
		t.share(o, shares[o.number], res)
	}
	res.LoadMS = time.Since(begin).Milliseconds()
	return nil
}

// loadSpilled loads the spilled rows of an output block by block, and reports
// whether they were there already.
func (s *slot) loadSpilled(ctx context.Context, lease *queue.Lease, o output, d *queue.Delivery, table string, size spillSize) (share job.Share, there bool, err error) {
	if there, err = s.there(ctx, o, d, size.Rows); err != nil {
		return share, false, err
	}
	share.RowsLoaded = size.Rows
	each := size.block(s.blocks.limit)
	whole := xxhash.New()
	for n := 0; uint64(n)*each < size.Rows; n++ {
		s.blocks.reset(o.number + 1)
		b := s.blocks.list[o.number]
		if err := s.slice(ctx, lease, d, b, table, uint64(n)*each, each); err != nil {
			return share, false, fmt.Errorf("taking block %d from the spilled rows: %w", n, err)
		}
		_, _ = whole.WriteString(b.hash()) // it can not fail
		share.BytesLoaded += b.size
		if there {
			continue
		}
		if err := s.insert(ctx, lease, o, d, n, min(each, size.Rows-uint64(n)*each)); err != nil {
			return share, false, fmt.Errorf("loading block %d of the chunk: %w", n, err)
		}
	}
	share.Hash = fmt.Sprintf("%x", whole.Sum64())
	return share, there, nil
}

// spillInto computes the rows of an output from an open input into the table.
func (s *slot) spillInto(ctx context.Context, lease *queue.Lease, t *task, o output, d *queue.Delivery, table string, in *source.Input, judged bool, res *job.Result) error {
	path, fed, err := s.inlet(in, lease.Progress)
	if err != nil {
		return err
	}
	rel := s.w.input(t, t.job.Frozen.Chunk(), path, in, judged)
	settings := settings(in, rel)
	maps.Copy(settings, spillSettings())
	rows := transform.Select(o.sql, rel, o.of(d.Chunk()))
	if in.Unordered {
		// The blocks are cut by the rows' numbers and must be the same at each
		// attempt. Rows that are equal are as good as each other.
		rows = fmt.Sprintf("SELECT * FROM (%s) ORDER BY tuple(*)", rows)
		settings["max_bytes_before_external_sort"] = sortMemory
	}
	sum, err := s.w.eng.Client().Exec(ctx, engine.Statement{
		SQL: fmt.Sprintf("CREATE TABLE %s ENGINE = MergeTree ORDER BY %s AS SELECT *, rowNumberInAllBlocks() AS %s FROM (%s)",
			table, spillRow, spillRow, rows),
		Database: t.workspace.Database, QueryID: s.queryID(d), Settings: settings,
	})
	if err := ended(err, fed(), nil); err != nil {
		return err
	}
	if o.number > 0 || t.runner != nil {
		return nil
	}
	return s.countRead(ctx, o, path, in, sum, settings, res)
}

// sortMemory is what sorting may take before it goes to the disk, in bytes.
const sortMemory = "268435456"

// spillRow is the column that numbers the rows of a spilled chunk.
const spillRow = "`_dray_row`"

// spillSize is what a spilled chunk holds.
type spillSize struct {
	Rows     uint64 `json:"rows"`
	Bytes    uint64 `json:"bytes"`
	Numbered uint64 `json:"numbered"` // the highest number and one: Rows, or some have the same
}

// block is the number of rows of a block: a power of two, so that it does not
// hang on the last byte, and a quarter of what may fit, for rows differ.
func (z spillSize) block(limit int64) uint64 {
	fit := uint64(limit) / 4 / max(1, z.Bytes/max(1, z.Rows))
	each := uint64(1)
	for each*2 <= fit {
		each *= 2
	}
	return each
}

func (s *slot) spilled(ctx context.Context, o output, c job.Chunk, table string) (spillSize, error) {
	var names []string
	for _, name := range o.of(c).Names() {
		names = append(names, transform.Identifier(name))
	}
	var rows []spillSize
	err := s.w.eng.Client().Rows(ctx, engine.Statement{
		SQL: "SELECT count() AS rows, sum(byteSize(" + strings.Join(names, ", ") + ")) AS bytes, if(count() = 0, 0, max(" + spillRow + ") + 1) AS numbered FROM " + table,
	}, &rows)
	switch {
	case err != nil:
	case len(rows) != 1:
		err = errors.New("the engine gave no answer")
	case rows[0].Numbered != rows[0].Rows:
		err = job.WithClass(fmt.Errorf("the engine numbered %d rows up to %d", rows[0].Rows, rows[0].Numbered), job.Permanent)
	}
	if err != nil {
		return spillSize{}, err
	}
	return rows[0], nil
}

// slice makes the block of some spilled rows.
func (s *slot) slice(ctx context.Context, lease *queue.Lease, d *queue.Delivery, b *block, table string, from, rows uint64) error {
	out, err := s.outlet(b, lease.Progress)
	if err != nil {
		return err
	}
	_, err = s.w.eng.Client().Exec(ctx, engine.Statement{
		SQL: transform.Into(out.path, fmt.Sprintf("SELECT * EXCEPT %s FROM %s WHERE %s >= %d AND %s < %d ORDER BY %s",
			spillRow, table, spillRow, from, spillRow, from+rows, spillRow)),
		QueryID: s.queryID(d), Settings: transform.OneBlock(),
	})
	if err := ended(err, nil, out.end()); err != nil {
		return err
	}
	got, err := b.rows()
	if err == nil && got == 0 {
		err = job.WithClass(errors.New("the engine gave an empty block"), job.Retry)
	}
	return err
}

// spillSettings let the rows of a spilled chunk go to the disk piece by piece;
// one thread keeps them in order.
func spillSettings() map[string]string {
	return map[string]string{
		"max_block_size": "65536", "max_insert_block_size": "1000000",
		"min_insert_block_size_rows": "1000000", "min_insert_block_size_bytes": "67108864",
		// Or rows would be numbered before they are multiplied, or sorted.
		"query_plan_lift_up_array_join": "0", "query_plan_execute_functions_after_sorting": "0",
	}
}
