package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"drayage/pkg/job"
)

// RejectFilter says which rows of the quarantine are meant. The zero value of
// a field leaves it open, but for Job, which is required.
type RejectFilter struct {
	Job    string
	Chunk  *uint64
	Column string // exactly
	Reason string // a part of it, in any case
	Limit  uint64 // 0: all
	Offset uint64 // rows to leave out before the first
}

// RejectRow is a row in quarantine.
type RejectRow struct {
	job.Reject
	Job        string    `json:"job"`
	Table      Table     `json:"table"` // the target
	Pipeline   string    `json:"pipeline"`
	Chunk      uint64    `json:"chunk"`
	Generation uint32    `json:"generation"`
	Input      string    `json:"input"`
	Worker     string    `json:"worker"`
	RecordedAt time.Time `json:"recorded_at"`
}

// RejectGroup counts the rejects of a job that have column and reason in
// common, whatever values the reason quotes.
type RejectGroup struct {
	Column string    `json:"column"`
	Reason string    `json:"reason"` // with … for what differs: quoted values and numbers
	Rows   uint64    `json:"rows"`
	First  RejectRow `json:"first"` // in the order of chunk and record
}

// ErrStop, returned by the function that a query gives its rows to, ends the
// query without an error.
var ErrStop = errors.New("stop")

// Rejects gives the job's rows in quarantine to fn, in the order of chunk,
// record and column, as they come from the server. An error of fn ends the
// query and is returned, but for ErrStop. fn holds a connection meanwhile.
func (c *Client) Rejects(ctx context.Context, f RejectFilter, fn func(RejectRow) error) error {
	where := "job = " + quoteString(f.Job)
	if f.Chunk != nil {
		where += fmt.Sprintf(" AND chunk = %d", *f.Chunk)
	}
	if f.Column != "" {
		where += " AND column = " + quoteString(f.Column)
	}
	if f.Reason != "" {
		where += " AND positionCaseInsensitiveUTF8(reason, " + quoteString(f.Reason) + ") > 0"
	}
	sql := "SELECT " + strings.Join(rejectColumns(), ", ") + " FROM " + RejectsTable.SQL() + " WHERE " + where +
		" ORDER BY job, chunk, record, column"
	if f.Limit > 0 {
		sql += fmt.Sprintf(" LIMIT %d", f.Limit)
	}
	if f.Offset > 0 {
		sql += fmt.Sprintf(" OFFSET %d", f.Offset)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return c.each(ctx, "reading the quarantine of job "+f.Job, sql+readSettings, cancel, func(scan scanner) error {
		var r RejectRow
		if err := scan(r.fields()...); err != nil {
			return err
		}
		return fn(r)
	})
}

// readSettings keep a profile of the user from cutting a result.
const readSettings = " SETTINGS apply_deleted_mask = 1, max_result_rows = 0, max_result_bytes = 0, read_overflow_mode = 'throw', optimize_read_in_order = 1, max_block_size = 1024"

func rejectColumns() []string {
	return []string{"record", "offset", "raw", "cut", "column", "reason", "job", "database", "table", "pipeline", "chunk", "generation", "input", "worker", "recorded_at"}
}

// fields are where a row's columns go, in the order of rejectColumns.
func (r *RejectRow) fields() []any {
	return []any{
		&r.Record, &r.Offset, &r.Raw, &r.Cut, &r.Column, &r.Reason, &r.Job, &r.Table.Database, &r.Table.Name,
		&r.Pipeline, &r.Chunk, &r.Generation, &r.Input, &r.Worker, &r.RecordedAt,
	}
}

// CountRejects counts the job's rows in quarantine.
func (c *Client) CountRejects(ctx context.Context, jobID string) (uint64, error) {
	var n uint64
	err := c.rows(ctx, "counting the quarantine of job "+jobID,
		"SELECT count() FROM "+RejectsTable.SQL()+" WHERE job = "+quoteString(jobID)+proofSettings,
		func(scan scanner) error { return scan(&n) })
	return n, err
}

// reasonPattern takes out of a reason what differs from row to row.
const reasonPattern = `replaceRegexpAll(reason, '"([^"\\\\]|\\\\.)*"|\'[^\']*\'|[0-9]+', '…')`

// RejectGroups returns the commonest reasons for which rows of the job are in
// quarantine, the commonest first, at most limit of them (0: 100), each with
// its first row.
func (c *Client) RejectGroups(ctx context.Context, jobID string, limit int) ([]RejectGroup, error) {
	setDefault(&limit, 100)
	what := "grouping the quarantine of job " + jobID
	ofJob := " FROM " + RejectsTable.SQL() + " WHERE job = " + quoteString(jobID)
	var groups []RejectGroup
	var places []string
	type key struct{ chunk, record uint64 }
	at := map[key]int{}
	err := c.rows(ctx, what, "SELECT column, pattern, n, first.1, first.2 FROM (SELECT column, "+reasonPattern+" AS pattern, count() AS n, min(tuple(chunk, record)) AS first"+ofJob+
		fmt.Sprintf(" GROUP BY column, pattern ORDER BY n DESC, first, column, pattern LIMIT %d) ORDER BY n DESC, first, column, pattern", limit)+proofSettings, func(scan scanner) error {
		var (
			g             RejectGroup
			chunk, record uint64
		)
		err := scan(&g.Column, &g.Reason, &g.Rows, &chunk, &record)
		at[key{chunk, record}] = len(groups)
		groups, places = append(groups, g), append(places, fmt.Sprintf("(%d,%d)", chunk, record))
		return err
	})
	if err != nil || len(groups) == 0 {
		return nil, err
	}
	// The raw records are read for the first rows only: the server keeps no
	// more than a place for each group, however many there are.
	err = c.rows(ctx, what, "SELECT "+strings.Join(rejectColumns(), ", ")+ofJob+" AND (chunk, record) IN ("+strings.Join(places, ",")+")"+readSettings, func(scan scanner) error {
		var r RejectRow
		if err := scan(r.fields()...); err != nil {
			return err
		}
		if i, ok := at[key{r.Chunk, r.Record}]; ok {
			groups[i].First = r
		}
		return nil
	})
	return groups, err
}

// RejectedChunks gives every chunk of the job that has rows in quarantine to
// fn, in the order of the chunks, with the number of records that RawRejects
// gives for it, and their bytes with the newlines. An error of fn ends it and is returned, but for
// ErrStop. fn holds a connection meanwhile.
func (c *Client) RejectedChunks(ctx context.Context, jobID string, fn func(chunk, rows, bytes uint64) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sql := "SELECT chunk, countIf(NOT cut), sumIf(length(raw) + 1, NOT cut) FROM " + RejectsTable.SQL() + " WHERE job = " + quoteString(jobID) +
		" GROUP BY job, chunk ORDER BY job, chunk" + readSettings + ", optimize_aggregation_in_order = 1, group_by_overflow_mode = 'throw'"
	return c.each(ctx, "listing the chunks of job "+jobID+" in quarantine", sql, cancel, func(scan scanner) error {
		var chunk, rows, bytes uint64
		if err := scan(&chunk, &rows, &bytes); err != nil {
			return err
		}
		return fn(chunk, rows, bytes)
	})
}

// each is rows for a result that may be long and is given to a caller, whose
// error stops the query through cancel and keeps its class.
func (c *Client) each(ctx context.Context, what, sql string, cancel context.CancelFunc, fn func(scanner) error) error {
	var own error
	err := c.rows(ctx, what, sql, func(scan scanner) error {
		if own = fn(scan); own != nil {
			cancel() // nobody reads the rest
		}
		return own
	})
	switch {
	case errors.Is(own, ErrStop):
		return nil
	case own != nil:
		return own
	}
	return err
}

// RawRecords are rejected records as they stood in the input, in the order of
// their places there, each once and followed by a newline. Close it, read to
// the end or not.
type RawRecords struct {
	io.ReadCloser
	Records uint64 // in it
	// Cut is how many records are left out because quarantine has only their
	// beginning.
	Cut uint64
}

// RawRejects returns the rejected records of a chunk, to load them again. The
// error of a Read may be the server's: only after io.EOF was all of it read.
// Memory does not grow with the result, which holds a connection until Close.
func (c *Client) RawRejects(ctx context.Context, jobID string, chunk uint64) (*RawRecords, error) {
	what := fmt.Sprintf("reading the rejected records of chunk %d of job %s", chunk, jobID)
	where := " FROM " + RejectsTable.SQL() + " WHERE job = " + quoteString(jobID) + fmt.Sprintf(" AND chunk = %d", chunk)
	out := &RawRecords{}
	err := c.rows(ctx, what, "SELECT uniqExactIf(record, NOT cut), uniqExactIf(record, cut)"+where+proofSettings, func(scan scanner) error {
		return scan(&out.Records, &out.Cut)
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		sql := "SELECT concat(raw, '\n')" + where + " AND NOT cut ORDER BY job, chunk, record LIMIT 1 BY record" + readSettings
		pw.CloseWithError(c.stream(ctx, what, "", sql, "RawBLOB", pw))
	}()
	out.ReadCloser = &queryResult{pr, cancel, done}
	return out, nil
}

// queryResult is the result of a query that runs while it is read.
type queryResult struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   <-chan struct{}
}

// Close stops the query and returns when it is over.
func (q *queryResult) Close() error {
	q.cancel()
	err := q.PipeReader.Close()
	<-q.done
	return err
}
