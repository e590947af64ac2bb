package cli

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"drayage/coordinator"
	"drayage/pkg/local"
	"drayage/pkg/pipeline"
)

// estimate is what a whole job comes to when all its chunks are like the first.
type estimate struct {
	RowsRead     uint64   `json:"rows_read"`
	RowsLoaded   uint64   `json:"rows_loaded"`
	RowsRejected uint64   `json:"rows_rejected"`
	BytesLoaded  int64    `json:"bytes_loaded"` // of Native blocks, not compressed
	Parts        []uint64 `json:"parts"`        // of each target, before merges
	Slots        int      `json:"slots"`
	Seconds      float64  `json:"seconds"` // with that many slots
}

func (e *estimate) String() string {
	rejected := ""
	if e.RowsRejected > 0 {
		rejected = fmt.Sprintf(", about %s rejected", humanize.Comma(int64(e.RowsRejected))) //nolint:gosec // a count
	}
	took := time.Duration(e.Seconds * float64(time.Second)).Round(time.Second)
	return fmt.Sprintf("%s rows read, %s loaded (%s)%s, %s at %d slots", humanize.Comma(int64(e.RowsRead)), //nolint:gosec // a count
		humanize.Comma(int64(e.RowsLoaded)), sizeOrNone(e.BytesLoaded), rejected, max(took, time.Second), e.Slots) //nolint:gosec // a count
}

// estimatedTable is the table of a chunk that a job is estimated by.
const estimatedTable = "estimated"

// estimate carries the first chunk of a job the whole way, on a scratch stack
// into tables that are partitioned like the targets.
func (a *app) estimate(ctx context.Context, doc *pipeline.Document, frozen *coordinator.Frozen, chunks uint64, bytes int64) (*estimate, error) {
	outputs := doc.Pipeline.All()
	p := local.Scratched(*doc.Pipeline, estimatedTable, func(i int) pipeline.Load {
		l := outputs[i].Load
		if frozen.Found[i].Exists {
			return pipeline.Load{OrderBy: "tuple()", PartitionBy: pipeline.Expressions(frozen.Found[i].PartitionKey)}
		}
		return pipeline.Load{Create: l.Create, Engine: l.Engine, OrderBy: l.OrderBy, PartitionBy: l.PartitionBy, Settings: l.Settings}
	})
	e := &estimate{Slots: a.cfg.Worker.Slots, Parts: make([]uint64, len(outputs))}
	return e, local.Scratch(ctx, a.cfg, a.log, func(stack *local.Stack) error {
		j, err := stack.Try(ctx, p, doc.File, doc.Dir)
		if err != nil {
			return err
		}
		t := j.Totals
		// By bytes, for the last chunk of many is smaller; by chunks where their
		// bytes are not known, or are not what was read.
		scale := float64(chunks)
		if bytes > 0 && t.BytesRead > 0 {
			scale = min(scale, max(1, float64(bytes)/float64(t.BytesRead)))
		}
		times := func(n uint64) uint64 { return uint64(math.Round(float64(n) * scale)) }
		e.RowsRead, e.RowsLoaded, e.RowsRejected = times(t.RowsRead), times(t.RowsLoaded), times(t.RowsRejected)
		e.BytesLoaded = int64(float64(t.BytesLoaded) * scale)
		e.Seconds = float64(t.TransformMS+t.LoadMS) / 1000 * scale / float64(min(uint64(e.Slots), chunks)) //nolint:gosec // positive
		for i := range outputs {
			var count strings.Builder
			query := "SELECT uniqExact(_partition_id) FROM " + local.ScratchTable(estimatedTable, i)
			if err := stack.ClickHouse.Query(ctx, query, "TabSeparated", &count); err != nil {
				return fmt.Errorf("counting the partitions: %w", err)
			}
			partitions, err := strconv.ParseUint(strings.TrimSpace(count.String()), 10, 64)
			if err != nil {
				return fmt.Errorf("counting the partitions: %w", err)
			}
			e.Parts[i] = partitions * chunks
		}
		return nil
	})
}
