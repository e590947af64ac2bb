package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"drayage/pkg/job"
)

// LedgerTable holds what became of every attempt of every chunk.
//
//nolint:gochecknoglobals // a constant
var LedgerTable = Table{"drayage", "ledger"}

// Outcomes of an attempt, as the ledger has them. Loaded and dead end a
// chunk's generation, retired and undone the chunk; what else there is are the
// texts of job.VerdictKind, and history.
const (
	OutcomeLoaded  = "loaded"
	OutcomeDead    = "dead"
	OutcomeRetired = "retired" // replaced by other chunks: it counts no rows
	OutcomeUndone  = "undone"  // the job's rows were taken out again: likewise
)

// LedgerRow is one attempt of a chunk. Rows with the same job, table, chunk,
// generation, attempt and outcome become one; the last written counts.
type LedgerRow struct {
	job.Result
	Table      Table  // the target
	Pipeline   string // its name
	Outcome    string // one of the Outcome constants
	Error      string // why, for all but loaded
	RecordedAt time.Time
}

// ledger is the schema, version 1. New columns go to the end: tables of an
// older version get them by ADD COLUMN. No column is ever renamed, dropped or
// given another type. Names are job.Result's JSON keys where the value is a
// Result's.
func ledger() recordTable[LedgerRow] {
	return recordTable[LedgerRow]{LedgerTable, []field[LedgerRow]{
		text("job", func(r LedgerRow) string { return r.Job }),
		label("database", func(r LedgerRow) string { return r.Table.Database }),
		label("table", func(r LedgerRow) string { return r.Table.Name }),
		count64("chunk", func(r LedgerRow) uint64 { return r.Chunk }),
		count32("generation", func(r LedgerRow) uint32 { return r.Generation }),
		count32("attempt", func(r LedgerRow) uint32 { return uint32(max(r.Attempt, 0)) }), //nolint:gosec // deliveries are few
		label("outcome", func(r LedgerRow) string { return r.Outcome }),
		label("pipeline", func(r LedgerRow) string { return r.Pipeline }),
		label("worker", func(r LedgerRow) string { return r.Worker }),
		count64("rows_read", func(r LedgerRow) uint64 { return r.RowsRead }),
		count64("rows_loaded", func(r LedgerRow) uint64 { return r.RowsLoaded }),
		count64("rows_rejected", func(r LedgerRow) uint64 { return r.RowsRejected }),
		size64("bytes_read", func(r LedgerRow) int64 { return r.BytesRead }),
		size64("bytes_loaded", func(r LedgerRow) int64 { return r.BytesLoaded }),
		text("hash", func(r LedgerRow) string { return r.Hash }),
		moment("started_at", func(r LedgerRow) time.Time { return r.StartedAt }),
		size64("transform_ms", func(r LedgerRow) int64 { return r.TransformMS }),
		size64("load_ms", func(r LedgerRow) int64 { return r.LoadMS }),
		flag("recovered", func(r LedgerRow) bool { return r.Recovered }),
		text("error", func(r LedgerRow) string { return r.Error }),
		moment("recorded_at", func(r LedgerRow) time.Time { return r.RecordedAt }),
	}, `ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY (job, database, table, chunk, generation, attempt, outcome)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One row for every attempt of every chunk that Drayage made'`}
}

// EnsureLedger makes the database drayage with the ledger, the quarantine, the
// states of jobs and the views where they are not there, and brings older ones up
// to date. Without the right to make what is there for reading alone it goes on
// without it: see Missing. Any number of callers may do it at once.
func (c *Client) EnsureLedger(ctx context.Context) error {
	const what = "preparing the ledger"
	if err := c.exec(ctx, what, "", "CREATE DATABASE IF NOT EXISTS "+quoteName(LedgerTable.Database)+" ENGINE = Atomic"); err != nil {
		return err
	}
	if err := ledger().ensure(ctx, c, what); err != nil {
		return err
	}
	if err := quarantine().ensure(ctx, c, what); err != nil {
		return err
	}
	if err := c.ensureStates(ctx, what); err != nil {
		return err
	}
	return c.ensureViews(ctx, what)
}

// effective is the query for the outcome that counts of every chunk that has
// ended: retired or undone before all else, as the rows of such a chunk are
// gone whatever was loaded before or comes late; then that of its highest
// generation, the loaded attempt before the dead one, and of several loaded
// attempts the first. Only a chunk that is loaded counts rows. Rows that a
// merge has not united yet do not disturb it.
func effective(where string) string {
	// The names of the columns are the names of the results too, so every
	// column is qualified.
	const order = "tuple(l.outcome != 'undone', l.outcome != 'retired', -toInt64(l.generation), l.outcome != 'loaded', l.attempt)"
	pick := func(name string) string { return "argMin(l." + name + ", " + order + ") AS " + name }
	loaded := func(name string) string {
		return "argMin(if(l.outcome = 'loaded', l." + name + ", 0), " + order + ") AS " + name
	}
	return "SELECT l.job AS job, l.database AS database, l.table AS table, l.chunk AS chunk, " +
		pick("pipeline") + ", " + pick("outcome") + ", " +
		loaded("rows_read") + ", " + loaded("rows_loaded") + ", " + loaded("rows_rejected") + ", " +
		loaded("bytes_read") + ", " + loaded("bytes_loaded") +
		", min(l.started_at) AS started_at, max(l.recorded_at) AS recorded_at" +
		" FROM " + LedgerTable.SQL() + " AS l WHERE l.outcome IN ('loaded', 'dead', 'retired', 'undone') AND (" + where + ")" +
		" GROUP BY l.job, l.database, l.table, l.chunk"
}

// AppendLedger writes the rows as one block, so that they appear together. The
// same rows written again change nothing. EnsureLedger must have been called,
// by anyone, at any time before. At most some 100,000 rows a call are sensible:
// the block is made in memory, at about 300 bytes a row.
func (c *Client) AppendLedger(ctx context.Context, rows []LedgerRow) error {
	if len(rows) == 0 {
		return nil
	}
	block, err := ledger().encode(rows)
	if err != nil {
		return err
	}
	// Equal blocks are one, as they would be without a token.
	return c.Load(ctx, ledger().load(block, len(rows), fmt.Sprintf("ledger/%016x", xxhash.Sum64(block))))
}

// Loaded is what the ledger says that a job has loaded and that still counts.
type Loaded struct {
	Chunks uint64
	Rows   uint64
	Last   time.Time // when the last of it was recorded; zero where there is nothing
}

// Loaded asks the ledger what a job has loaded, into all its targets.
func (c *Client) Loaded(ctx context.Context, jobID string) (Loaded, error) {
	var l Loaded
	err := c.rows(ctx, "asking the ledger for job "+jobID,
		"SELECT uniqExact(e.chunk), sum(e.rows_loaded), max(e.recorded_at) FROM ("+effective("l.job = "+quoteString(jobID))+") AS e WHERE e.outcome = 'loaded'"+proofSettings,
		func(scan scanner) error { return scan(&l.Chunks, &l.Rows, &l.Last) })
	if l.Chunks == 0 {
		l.Last = time.Time{}
	}
	return l, err
}

// RetireChunks records that the chunks of a job were replaced by others: from
// then on they count no rows in any proof, whatever they loaded or may still
// load. It takes no row out of the target; DeleteChunks does. Said again, it
// changes nothing. StartedAt of the rows is at too.
func (c *Client) RetireChunks(ctx context.Context, t Table, jobID, pipeline string, chunks []uint64, reason string, at time.Time) error {
	t = c.qualify(t)
	for batch := range slices.Chunk(chunks, maxLedgerBatch) {
		rows := make([]LedgerRow, len(batch))
		for i, chunk := range batch {
			rows[i] = LedgerRow{
				Result: job.Result{Job: jobID, Chunk: chunk, StartedAt: at},
				Table:  t, Pipeline: pipeline, Outcome: OutcomeRetired, Error: reason, RecordedAt: at,
			}
		}
		if err := c.AppendLedger(ctx, rows); err != nil {
			return fmt.Errorf("retiring chunks of job %s: %w", jobID, err)
		}
	}
	return nil
}

// maxLedgerBatch bounds the rows of a block that RetireChunks makes.
const maxLedgerBatch = 10_000

// MarkUndone records that every chunk of the job which the ledger knows in
// this table was undone: none counts a row any more. It takes no row out of
// the target; DeleteJob does. Said again, it changes nothing that counts. The
// server does it by itself, in constant memory.
func (c *Client) MarkUndone(ctx context.Context, t Table, jobID string, at time.Time) error {
	t = c.qualify(t)
	what := "recording that job " + jobID + " was undone"
	when := fmt.Sprintf("fromUnixTimestamp64Milli(toInt64(%d), 'UTC')", at.UnixMilli())
	return c.exec(ctx, what, "", "INSERT INTO "+LedgerTable.SQL()+
		" (job, database, table, chunk, outcome, pipeline, started_at, recorded_at)"+
		" SELECT DISTINCT l.job, l.database, l.table, l.chunk, '"+OutcomeUndone+"', l.pipeline, "+when+", "+when+
		" FROM "+LedgerTable.SQL()+" AS l WHERE l.outcome != '"+OutcomeUndone+"' AND "+ofTarget("l", t, jobID)+
		" SETTINGS async_insert = 0")
}

// ofTarget is the condition for the rows that one of Drayage's own tables has
// of a job and its target.
func ofTarget(alias string, t Table, jobID string) string {
	return fmt.Sprintf("%[1]s.job = %[2]s AND %[1]s.database = %[3]s AND %[1]s.table = %[4]s",
		alias, quoteString(jobID), quoteString(t.Database), quoteString(t.Name))
}
