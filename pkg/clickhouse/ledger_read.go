package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"drayage/pkg/job"
)

// The states in which the ledger leaves a chunk. They are the outcomes, but that
// attempts which decide nothing are one, and chunks that lost rows on their way
// are told from those that did not.
const (
	ChunkLoaded   = "loaded"   // every row of it
	ChunkRejects  = "rejects"  // loaded, but for rows that are in quarantine
	ChunkRetrying = "retrying" // an attempt failed, and none has ended it yet
	ChunkDead     = "dead"
	ChunkRetired  = "retired"
	ChunkUndone   = "undone"
)

// ChunkCell counts the chunks of a job that are in one state, within a range of
// the plan.
type ChunkCell struct {
	Cell   uint64 // the number of the range, from 0
	State  string // one of the Chunk constants
	Chunks uint64
}

// ChunkCells sums up the states of a job's chunks. A chunk's place is its
// ordinal or, of a replacement, planned and how many were replaced before; each
// cell is a range of width places. It gives every cell and state with at least
// one chunk to fn, in the order of the cells; chunks that the ledger has nothing
// of are left out. The server keeps some hundred bytes for each chunk meanwhile.
func (c *Client) ChunkCells(ctx context.Context, jobID string, planned, width uint64, fn func(ChunkCell) error) error {
	if width == 0 {
		return job.WithClass(errors.New("a cell of no chunk"), job.Permanent)
	}
	// As effective, for all outcomes: what is history comes last.
	const order = "tuple(l.outcome != 'undone', l.outcome != 'retired', -toInt64(l.generation), l.outcome != 'loaded', l.outcome != 'dead')"
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sql := fmt.Sprintf(`SELECT intDiv(if(chunk < %[1]d, chunk, toUInt64(%[2]d + chunk - %[1]d)), %[3]d) AS cell,
    multiIf(outcome IN ('undone', 'retired', 'dead'), outcome, outcome != 'loaded', '`+ChunkRetrying+`', rejected > 0, '`+ChunkRejects+`', '`+ChunkLoaded+`') AS state,
    count() AS chunks
FROM (SELECT l.chunk AS chunk, argMin(CAST(l.outcome, 'String'), `+order+`) AS outcome, maxIf(l.rows_rejected, l.outcome = 'loaded') AS rejected
    FROM %[4]s AS l WHERE l.job = %[5]s GROUP BY l.chunk)
GROUP BY cell, state ORDER BY cell, state`, uint64(job.FirstReplacement), planned, width, LedgerTable.SQL(), quoteString(jobID))
	return c.each(ctx, "reading the chunks of job "+jobID, sql+proofSettings, cancel, func(scan scanner) error {
		var cell ChunkCell
		if err := scan(&cell.Cell, &cell.State, &cell.Chunks); err != nil {
			return err
		}
		return fn(cell)
	})
}

// Bucket is what the chunks that ended within a span of time loaded.
type Bucket struct {
	At           time.Time `json:"at"` // its beginning
	Chunks       uint64    `json:"chunks"`
	RowsRead     uint64    `json:"rows_read"`
	RowsLoaded   uint64    `json:"rows_loaded"`
	RowsRejected uint64    `json:"rows_rejected"`
	BytesRead    int64     `json:"bytes_read"`
	BytesLoaded  int64     `json:"bytes_loaded"`
}

// Throughput sums up what the job's chunks loaded, whatever became of their rows
// later, by when they ended, in spans of every, which is a whole number of
// seconds. Spans without a chunk are left out. A caller that chooses every by the
// job's time bounds the result.
func (c *Client) Throughput(ctx context.Context, jobID string, every time.Duration) ([]Bucket, error) {
	seconds := int64(every / time.Second)
	if seconds < 1 {
		return nil, job.WithClass(fmt.Errorf("a span of %s is shorter than a second", every), job.Permanent)
	}
	var all []Bucket
	// A row that was written twice is one, though no merge has united the two.
	sql := fmt.Sprintf(`SELECT toDateTime(intDiv(toInt64(ended), %[1]d) * %[1]d, 'UTC') AS at, uniqExact(chunk),
    sum(read), sum(loaded), sum(rejected), sum(bytes), sum(sent)
FROM (SELECT l.chunk AS chunk, any(toUnixTimestamp64Milli(l.started_at) + l.transform_ms + l.load_ms) / 1000 AS ended,
        any(l.rows_read) AS read, any(l.rows_loaded) AS loaded, any(l.rows_rejected) AS rejected, any(l.bytes_read) AS bytes, any(l.bytes_loaded) AS sent
    FROM %[2]s AS l WHERE l.job = %[3]s AND l.outcome = 'loaded' GROUP BY l.database, l.table, l.chunk, l.generation, l.attempt)
GROUP BY at ORDER BY at`, seconds, LedgerTable.SQL(), quoteString(jobID))
	err := c.rows(ctx, "reading the throughput of job "+jobID, sql+proofSettings, func(scan scanner) error {
		var b Bucket
		err := scan(&b.At, &b.Chunks, &b.RowsRead, &b.RowsLoaded, &b.RowsRejected, &b.BytesRead, &b.BytesLoaded)
		all = append(all, b)
		return err
	})
	return all, err
}

// LedgerEntry is an attempt of a chunk as the ledger has it, summed up over the
// targets.
type LedgerEntry struct {
	Chunk        uint64    `json:"chunk"`
	Generation   uint32    `json:"generation"`
	Attempt      uint32    `json:"attempt"`
	Outcome      string    `json:"outcome"` // one of the Outcome constants
	Worker       string    `json:"worker"`
	RowsRead     uint64    `json:"rows_read"`
	RowsLoaded   uint64    `json:"rows_loaded"`
	RowsRejected uint64    `json:"rows_rejected"`
	BytesRead    int64     `json:"bytes_read"`
	BytesLoaded  int64     `json:"bytes_loaded"`
	StartedAt    time.Time `json:"started_at"`
	TransformMS  int64     `json:"transform_ms"`
	LoadMS       int64     `json:"load_ms"`
	Recovered    bool      `json:"recovered,omitempty"`
	Error        string    `json:"error,omitempty"`
}

// entries is the query for the attempts of a job's chunks that meet a condition.
func entries(jobID, where, tail string) string {
	return `SELECT chunk, generation, attempt, outcome, any(worker), max(rows_read), sum(loaded), max(rejected), max(bytes), sum(sent),
    min(started) AS began, max(transform) AS transforming, max(load) AS loading, max(recovers), any(why)
FROM (SELECT l.chunk AS chunk, l.generation AS generation, l.attempt AS attempt, CAST(l.outcome, 'String') AS outcome, any(CAST(l.worker, 'String')) AS worker,
        any(l.rows_read) AS rows_read, any(l.rows_loaded) AS loaded, any(l.rows_rejected) AS rejected, any(l.bytes_read) AS bytes, any(l.bytes_loaded) AS sent,
        min(l.started_at) AS started, any(l.transform_ms) AS transform, any(l.load_ms) AS load, max(l.recovered) AS recovers, any(l.error) AS why
    FROM ` + LedgerTable.SQL() + " AS l WHERE l.job = " + quoteString(jobID) + " AND " + where + `
    GROUP BY l.database, l.table, l.chunk, l.generation, l.attempt, l.outcome)
GROUP BY chunk, generation, attempt, outcome ` + tail
}

func (c *Client) entries(ctx context.Context, what, sql string) ([]LedgerEntry, error) {
	all := []LedgerEntry{}
	err := c.rows(ctx, what, sql+proofSettings, func(scan scanner) error {
		var e LedgerEntry
		err := scan(&e.Chunk, &e.Generation, &e.Attempt, &e.Outcome, &e.Worker, &e.RowsRead, &e.RowsLoaded, &e.RowsRejected, &e.BytesRead, &e.BytesLoaded,
			&e.StartedAt, &e.TransformMS, &e.LoadMS, &e.Recovered, &e.Error)
		all = append(all, e)
		return err
	})
	return all, err
}

// SlowestChunks returns the loaded attempts of a job that took longest, at most
// limit of them, the slowest first.
func (c *Client) SlowestChunks(ctx context.Context, jobID string, limit int) ([]LedgerEntry, error) {
	return c.entries(ctx, "reading the slowest chunks of job "+jobID,
		entries(jobID, "l.outcome = 'loaded'", fmt.Sprintf("ORDER BY transforming + loading DESC, chunk LIMIT %d", limit)))
}

// ChunkHistory returns what the ledger knows of the attempts of one chunk, the
// oldest first, at most limit of them.
func (c *Client) ChunkHistory(ctx context.Context, jobID string, chunk uint64, limit int) ([]LedgerEntry, error) {
	return c.entries(ctx, fmt.Sprintf("reading the attempts of chunk %d of job %s", chunk, jobID),
		entries(jobID, fmt.Sprintf("l.chunk = %d", chunk), fmt.Sprintf("ORDER BY generation, began, attempt LIMIT %d", limit)))
}

// ErrorGroup counts the attempts of a job that ended in the same way with the
// same error, whatever values the error quotes.
type ErrorGroup struct {
	Outcome  string `json:"outcome"`        // one of the Outcome constants
	Code     int32  `json:"code,omitempty"` // the number that ClickHouse or the engine gave it; 0: none
	Error    string `json:"error"`          // its first line, with … for what differs: quoted values and numbers
	Attempts uint64 `json:"attempts"`
	Chunks   uint64 `json:"chunks"`
	// Example is the latest of the errors, Chunk and Worker those it was of.
	Example string    `json:"example"`
	Chunk   uint64    `json:"chunk"`
	Worker  string    `json:"worker"`
	FirstAt time.Time `json:"first_at"`
	LastAt  time.Time `json:"last_at"`
}

// maxExample bounds ErrorGroup.Example, in characters.
const maxExample = 4000

// errorCode is the number in the text of an Exception, here or in the engine.
const errorCode = `toInt32OrZero(extract(l.error, '(?:ClickHouse code|Code:) ([0-9]+)'))`

// ErrorGroups returns the commonest errors of a job's attempts, the commonest
// first, at most limit of them. Attempts that failed and were tried again may be
// missing in the ledger; those that were given up are not.
func (c *Client) ErrorGroups(ctx context.Context, jobID string, limit int) ([]ErrorGroup, error) {
	all := []ErrorGroup{}
	pattern := strings.Replace(reasonPattern, "(reason,", "(splitByChar('\\n', trimLeft(l.error))[1],", 1)
	sql := fmt.Sprintf(`SELECT outcome, code, pattern, count() AS n, uniqExact(chunk), substringUTF8(argMax(why, at), 1, %d), argMax(chunk, at), argMax(worker, at), min(at), max(at)
FROM (SELECT CAST(l.outcome, 'String') AS outcome, l.chunk AS chunk, `+errorCode+` AS code, `+pattern+` AS pattern, any(l.error) AS why, any(CAST(l.worker, 'String')) AS worker, max(l.recorded_at) AS at
    FROM %s AS l WHERE l.job = %s AND l.outcome NOT IN ('loaded', 'retired', 'undone') AND l.error != ''
    GROUP BY l.chunk, l.generation, l.attempt, outcome, code, pattern)
GROUP BY outcome, code, pattern ORDER BY n DESC, outcome, code, pattern LIMIT %d`, maxExample, LedgerTable.SQL(), quoteString(jobID), limit)
	err := c.rows(ctx, "grouping the errors of job "+jobID, sql+proofSettings, func(scan scanner) error {
		var g ErrorGroup
		err := scan(&g.Outcome, &g.Code, &g.Error, &g.Attempts, &g.Chunks, &g.Example, &g.Chunk, &g.Worker, &g.FirstAt, &g.LastAt)
		all = append(all, g)
		return err
	})
	return all, err
}
