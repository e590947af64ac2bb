package clickhouse

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/cespare/xxhash/v2"

	"drayage/pkg/job"
)

// LedgerTable holds what became of every attempt of every chunk.
//
//nolint:gochecknoglobals // a constant
var LedgerTable = Table{"drayage", "ledger"}

// Outcomes of an attempt, as the ledger has them. The first and the last end
// a chunk's generation; the others are history. They are the texts of
// job.VerdictKind, but for "loaded".
const (
	OutcomeLoaded    = "loaded"
	OutcomeRetry     = "retry"
	OutcomeSlowDown  = "slow_down"
	OutcomeLeaseLost = "lease_lost"
	OutcomeDraining  = "draining"
	OutcomeDead      = "dead"
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

// ledgerColumn is a column of the ledger: its type there, and how a value gets
// into it. Names are job.Result's JSON keys where the value is a Result's.
type ledgerColumn struct {
	name, kind string
	data       func([]LedgerRow) proto.ColInput
}

// column makes the data of a column from a value of every row.
func column[T any, C interface {
	proto.ColInput
	Append(T)
}](make func() C, value func(LedgerRow) T) func([]LedgerRow) proto.ColInput {
	return func(rows []LedgerRow) proto.ColInput {
		col := make()
		for _, r := range rows {
			col.Append(value(r))
		}
		return col
	}
}

func texts(value func(LedgerRow) string) func([]LedgerRow) proto.ColInput {
	return column(func() *proto.ColStr { return new(proto.ColStr) }, value)
}

func counts(value func(LedgerRow) uint64) func([]LedgerRow) proto.ColInput {
	return column(func() *proto.ColUInt64 { return new(proto.ColUInt64) }, value)
}

func sizes(value func(LedgerRow) int64) func([]LedgerRow) proto.ColInput {
	return column(func() *proto.ColInt64 { return new(proto.ColInt64) }, value)
}

func small(value func(LedgerRow) uint32) func([]LedgerRow) proto.ColInput {
	return column(func() *proto.ColUInt32 { return new(proto.ColUInt32) }, value)
}

func times(value func(LedgerRow) time.Time) func([]LedgerRow) proto.ColInput {
	return column(func() *proto.ColDateTime64 {
		return new(proto.ColDateTime64).WithPrecision(proto.PrecisionMilli)
	}, func(r LedgerRow) time.Time {
		if t := value(r); t.Year() >= 1970 {
			return t
		}
		return time.Unix(0, 0) // the zero time is outside of the type
	})
}

// ledgerColumns is the schema, version 1. New columns go to the end: tables of
// an older version get them by ADD COLUMN. No column is ever renamed, dropped
// or given another type.
func ledgerColumns() []ledgerColumn {
	return []ledgerColumn{
		{"job", "String", texts(func(r LedgerRow) string { return r.Job })},
		{"database", "LowCardinality(String)", texts(func(r LedgerRow) string { return r.Table.Database })},
		{"table", "LowCardinality(String)", texts(func(r LedgerRow) string { return r.Table.Name })},
		{"chunk", "UInt64", counts(func(r LedgerRow) uint64 { return r.Chunk })},
		{"generation", "UInt32", small(func(r LedgerRow) uint32 { return r.Generation })},
		{"attempt", "UInt32", small(func(r LedgerRow) uint32 { return uint32(max(r.Attempt, 0)) })}, //nolint:gosec // deliveries are few
		{"outcome", "LowCardinality(String)", texts(func(r LedgerRow) string { return r.Outcome })},
		{"pipeline", "LowCardinality(String)", texts(func(r LedgerRow) string { return r.Pipeline })},
		{"worker", "LowCardinality(String)", texts(func(r LedgerRow) string { return r.Worker })},
		{"rows_read", "UInt64", counts(func(r LedgerRow) uint64 { return r.RowsRead })},
		{"rows_loaded", "UInt64", counts(func(r LedgerRow) uint64 { return r.RowsLoaded })},
		{"rows_rejected", "UInt64", counts(func(r LedgerRow) uint64 { return r.RowsRejected })},
		{"bytes_read", "Int64", sizes(func(r LedgerRow) int64 { return r.BytesRead })},
		{"bytes_loaded", "Int64", sizes(func(r LedgerRow) int64 { return r.BytesLoaded })},
		{"hash", "String", texts(func(r LedgerRow) string { return r.Hash })},
		{"started_at", "DateTime64(3, 'UTC')", times(func(r LedgerRow) time.Time { return r.StartedAt })},
		{"transform_ms", "Int64", sizes(func(r LedgerRow) int64 { return r.TransformMS })},
		{"load_ms", "Int64", sizes(func(r LedgerRow) int64 { return r.LoadMS })},
		{"recovered", "Bool", column(func() *proto.ColBool { return new(proto.ColBool) }, func(r LedgerRow) bool { return r.Recovered })},
		{"error", "String", texts(func(r LedgerRow) string { return r.Error })},
		{"recorded_at", "DateTime64(3, 'UTC')", times(func(r LedgerRow) time.Time { return r.RecordedAt })},
	}
}

// SummaryView is a view over the ledger with a row for each job and target.
//
//nolint:gochecknoglobals // a constant
var SummaryView = Table{"drayage", "jobs"}

// EnsureLedger makes the database drayage, the ledger and its view where they
// are not there, and brings an older ledger up to date. Any number of callers
// may do it at once.
func (c *Client) EnsureLedger(ctx context.Context) error {
	const what = "preparing the ledger"
	var columns, later []string
	for _, col := range ledgerColumns() {
		columns = append(columns, quoteName(col.name)+" "+col.kind)
		later = append(later, "ADD COLUMN IF NOT EXISTS "+quoteName(col.name)+" "+col.kind)
	}
	var present int
	for _, sql := range []string{
		"CREATE DATABASE IF NOT EXISTS " + quoteName(LedgerTable.Database) + " ENGINE = Atomic",
		"CREATE TABLE IF NOT EXISTS " + LedgerTable.SQL() + " (" + strings.Join(columns, ", ") + `)
ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY (job, database, table, chunk, generation, attempt, outcome)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One row for every attempt of every chunk that Drayage made'`,
	} {
		if err := c.exec(ctx, what, "", sql); err != nil {
			return err
		}
	}
	info, err := c.Describe(ctx, LedgerTable)
	if err != nil {
		return err
	}
	for _, col := range ledgerColumns() {
		if info.Column(col.name) != nil {
			present++
		}
	}
	if present < len(columns) {
		if err := c.exec(ctx, what, "", "ALTER TABLE "+LedgerTable.SQL()+" "+strings.Join(later, ", ")); err != nil {
			return err
		}
	}
	return c.exec(ctx, what, "", "CREATE VIEW IF NOT EXISTS "+SummaryView.SQL()+` AS
SELECT e.job AS job, e.database AS database, e.table AS table, any(e.pipeline) AS pipeline,
    countIf(e.outcome = 'loaded') AS chunks_loaded, countIf(e.outcome = 'dead') AS chunks_dead,
    sum(e.rows_read) AS rows_read, sum(e.rows_loaded) AS rows_loaded, sum(e.rows_rejected) AS rows_rejected,
    sum(e.bytes_read) AS bytes_read, sum(e.bytes_loaded) AS bytes_loaded,
    min(e.started_at) AS started_at, max(e.recorded_at) AS recorded_at
FROM (`+effective("1")+`) AS e
GROUP BY e.job, e.database, e.table`)
}

// effective is the query for the outcome that counts of every chunk: of its
// highest generation that ended, the loaded attempt before the dead one, and
// of several loaded attempts the first. Rows that a merge has not united yet
// do not disturb it.
func effective(where string) string {
	// The names of the columns are the names of the results too, so every
	// column is qualified.
	const order = "tuple(-toInt64(l.generation), l.outcome != 'loaded', l.attempt)"
	pick := func(name string) string { return "argMin(l." + name + ", " + order + ") AS " + name }
	loaded := func(name string) string {
		return "argMin(if(l.outcome = 'loaded', l." + name + ", 0), " + order + ") AS " + name
	}
	return "SELECT l.job AS job, l.database AS database, l.table AS table, l.chunk AS chunk, " +
		pick("pipeline") + ", " + pick("outcome") + ", " +
		loaded("rows_read") + ", " + loaded("rows_loaded") + ", " + loaded("rows_rejected") + ", " +
		loaded("bytes_read") + ", " + loaded("bytes_loaded") +
		", min(l.started_at) AS started_at, max(l.recorded_at) AS recorded_at" +
		" FROM " + LedgerTable.SQL() + " AS l WHERE l.outcome IN ('loaded', 'dead') AND (" + where + ")" +
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
	columns := ledgerColumns()
	names := make([]string, len(columns))
	input := make([]proto.InputColumn, len(columns))
	for i, col := range columns {
		names[i] = col.name
		input[i] = proto.InputColumn{Name: col.name, Data: col.data(rows)}
	}
	var buf proto.Buffer
	// Revision 0: that of Native over HTTP.
	if err := (proto.Block{Columns: len(input), Rows: len(rows)}).EncodeRawBlock(&buf, 0, input); err != nil {
		return job.WithClass(fmt.Errorf("writing the ledger: %w", err), job.Permanent)
	}
	return c.Load(ctx, Load{
		Table: LedgerTable, Columns: names,
		Body: bytes.NewReader(buf.Buf), Length: int64(len(buf.Buf)), Rows: uint64(len(rows)),
		// Equal blocks are one, as they would be without a token.
		Token:   fmt.Sprintf("ledger/%016x", xxhash.Sum64(buf.Buf)),
		Comment: "drayage ledger",
	})
}
