package clickhouse

import (
	"context"
	"fmt"
	"time"

	"drayage/pkg/job"
)

// RejectsTable is the quarantine: the rows of every job that did not fit.
//
//nolint:gochecknoglobals // a constant
var RejectsTable = Table{"drayage", "rejects"}

// RejectBatch is all that one chunk puts into quarantine.
type RejectBatch struct {
	Chunk    job.Chunk
	Table    Table  // the target that the rows did not reach
	Pipeline string // its name
	// Input is where the records stand: the path of a file or the key of an
	// object, with what is needed to find it.
	Input  string
	Worker string
	Rows   []job.Reject // one for each record
}

// rejected is a row of the quarantine as it is written.
type rejected struct {
	*RejectBatch
	job.Reject
	at time.Time
}

// quarantine is the schema, version 1, under the same rules as the ledger's.
//
// It has no partitions, for a repeated insert is recognised within a partition
// only, and a month may end between two attempts. Nothing is merged away.
func quarantine() recordTable[rejected] {
	return recordTable[rejected]{RejectsTable, []field[rejected]{
		text("job", func(r rejected) string { return r.Chunk.Job }),
		label("database", func(r rejected) string { return r.Table.Database }),
		label("table", func(r rejected) string { return r.Table.Name }),
		label("pipeline", func(r rejected) string { return r.Pipeline }),
		count64("chunk", func(r rejected) uint64 { return r.Chunk.Ordinal }),
		count32("generation", func(r rejected) uint32 { return r.Chunk.Generation }),
		text("input", func(r rejected) string { return r.Input }),
		count64("record", func(r rejected) uint64 { return r.Record }),
		size64("offset", func(r rejected) int64 { return r.Offset }),
		text("raw", func(r rejected) string { return r.Raw }),
		flag("cut", func(r rejected) bool { return r.Cut }),
		label("column", func(r rejected) string { return r.Column }),
		text("reason", func(r rejected) string { return r.Reason }),
		label("worker", func(r rejected) string { return r.Worker }),
		moment("recorded_at", func(r rejected) time.Time { return r.at }),
	}, `ENGINE = MergeTree
ORDER BY (job, chunk, record)
SETTINGS non_replicated_deduplication_window = 100000
COMMENT 'Records that Drayage could not load, with the reason'`}
}

// AppendRejects puts the rejects of a chunk into quarantine as one block, once:
// the token is the chunk's with "/rejects" behind it, so that no attempt adds
// to what another has written. A batch therefore holds all rejects of its
// chunk, and every attempt gives the same. No rows: nothing is written.
// EnsureLedger must have been called, by anyone, at any time before. Errors
// are those of Load. The block is made in memory, beside the rows.
func (c *Client) AppendRejects(ctx context.Context, b RejectBatch) error {
	if len(b.Rows) == 0 {
		return nil
	}
	b.Table = c.qualify(b.Table)
	at := time.Now().UTC()
	rows := make([]rejected, len(b.Rows))
	for i, r := range b.Rows {
		rows[i] = rejected{&b, r, at}
	}
	block, err := quarantine().encode(rows)
	if err != nil {
		return err
	}
	l := quarantine().load(block, len(rows), b.Chunk.Token(0, 0)+"/rejects")
	l.QueryID = l.Token // a twin at the same time is refused
	if err := c.Load(ctx, l); err != nil {
		return fmt.Errorf("putting rows of chunk %d of job %s into quarantine: %w", b.Chunk.Ordinal, b.Chunk.Job, err)
	}
	return nil
}
