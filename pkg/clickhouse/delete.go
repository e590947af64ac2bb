package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"drayage/pkg/job"
)

// ProvenanceError is a table without the columns _job and _chunk: its rows can
// not be told apart by job, and so not be deleted. Its class is job.Permanent.
type ProvenanceError struct{ Table Table }

func (e *ProvenanceError) Error() string {
	return fmt.Sprintf("the rows of table %s do not say which job and chunk they came with: it has no columns %s and %s", e.Table, job.JobColumn, job.ChunkColumn)
}

// maxDeleted bounds the chunks that one statement names: with ordinals of ten
// digits it stays below half of the longest query that servers take.
const maxDeleted = 10_000

// deleteRounds is how often rows are deleted that came while others were being
// deleted, before it is given up.
const deleteRounds = 3

// DeleteChunks takes the rows of the job's chunks out of the table, and their
// rejects out of quarantine, and returns when none is left. It counts first:
// where there is nothing, nothing is deleted. It may be called again at any
// time, and after any error. On a table without provenance columns it is a
// *ProvenanceError, and nothing was done; a deletion that the server can not
// finish is a *MutationError; of several callers each waits for its own.
//
// A row that is inserted afterwards stays: stop the inserts first, and verify
// last. The table still knows the tokens of what was deleted, so that a late
// insert of the same block adds nothing, until a merge or, with projections,
// the deletion itself leaves a part without any row. A block that was never
// inserted has left no token: it would be inserted.
func (c *Client) DeleteChunks(ctx context.Context, t Table, jobID string, chunks []uint64) error {
	t = c.qualify(t)
	what := fmt.Sprintf("deleting %d chunks of job %s from %s", len(chunks), jobID, t)
	info, err := c.traceable(ctx, what, t)
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(chunks, maxDeleted) {
		if _, err := c.deleteRows(ctx, what, info, ofJob(jobID)+" AND "+among(job.ChunkColumn, batch)); err != nil {
			return err
		}
	}
	if len(chunks) == 0 {
		return nil
	}
	return c.DeleteRejects(ctx, t, jobID, chunks)
}

// DeleteJob takes all rows of the job out of the table, and its rejects out of
// quarantine, and returns how many rows of the table it took. The guarantees
// are those of DeleteChunks.
func (c *Client) DeleteJob(ctx context.Context, t Table, jobID string) (rows uint64, err error) {
	t = c.qualify(t)
	what := "deleting job " + jobID + " from " + t.String()
	info, err := c.traceable(ctx, what, t)
	if err != nil {
		return 0, err
	}
	if rows, err = c.deleteRows(ctx, what, info, ofJob(jobID)); err != nil {
		return rows, err
	}
	return rows, c.DeleteRejects(ctx, t, jobID, nil)
}

// DeleteRejects takes what chunks of the job put into quarantine out of it; nil
// chunks means all of the job's, with this target. The guarantees are those of
// DeleteChunks, but for provenance, which the target need not have.
func (c *Client) DeleteRejects(ctx context.Context, t Table, jobID string, chunks []uint64) error {
	t = c.qualify(t)
	what := "deleting the quarantine of job " + jobID
	info, err := c.Describe(ctx, RejectsTable)
	if err != nil {
		return err
	}
	where := fmt.Sprintf("job = %s AND database = %s AND table = %s", quoteString(jobID), quoteString(t.Database), quoteString(t.Name))
	if chunks == nil {
		_, err = c.deleteRows(ctx, what, info, where)
		return err
	}
	for batch := range slices.Chunk(chunks, maxDeleted) {
		if _, err := c.deleteRows(ctx, what, info, where+" AND "+among("chunk", batch)); err != nil {
			return err
		}
	}
	return nil
}

// PartitionRows counts the rows of a job in one partition of a table.
type PartitionRows struct {
	Partition string `json:"partition"` // its value, as ClickHouse writes it; "tuple()" when there is but one
	ID        string `json:"id"`        // for ALTER TABLE … PARTITION ID
	Rows      uint64 `json:"rows"`
}

// JobRows counts the rows of the job in the table by partition, in the order of
// their IDs: those that DeleteJob would delete.
func (c *Client) JobRows(ctx context.Context, t Table, jobID string) ([]PartitionRows, error) {
	t = c.qualify(t)
	what := "counting the rows of job " + jobID + " in " + t.String()
	if _, err := c.traceable(ctx, what, t); err != nil {
		return nil, err
	}
	var out []PartitionRows
	err := c.rows(ctx, what, fmt.Sprintf(`SELECT p.partition, r.id, r.n
FROM (SELECT _partition_id AS id, count() AS n FROM %s WHERE %s GROUP BY id) AS r
LEFT JOIN (SELECT partition_id AS id, any(partition) AS partition FROM system.parts WHERE database = %s AND table = %s AND active GROUP BY id) AS p ON p.id = r.id
ORDER BY r.id`, t.SQL(), ofJob(jobID), quoteString(t.Database), quoteString(t.Name))+proofSettings, func(scan scanner) error {
		var p PartitionRows
		err := scan(&p.Partition, &p.ID, &p.Rows)
		out = append(out, p)
		return err
	})
	return out, err
}

// traceable describes a table whose rows can be told apart by job.
func (c *Client) traceable(ctx context.Context, what string, t Table) (TableInfo, error) {
	info, err := c.Describe(ctx, t)
	if err != nil {
		return info, err
	}
	if !info.HasProvenance() {
		return info, job.WithClass(fmt.Errorf("%s: %w", what, &ProvenanceError{info.Table}), job.Permanent)
	}
	return info, nil
}

// deleteRows deletes until the count is 0, and returns how many rows there
// were to delete.
func (c *Client) deleteRows(ctx context.Context, what string, info TableInfo, where string) (uint64, error) {
	var deleted uint64
	for round := 0; ; round++ {
		var n uint64
		err := c.rows(ctx, what, "SELECT count() FROM "+info.Table.SQL()+" WHERE "+where+proofSettings,
			func(scan scanner) error { return scan(&n) })
		if err != nil || n == 0 {
			return deleted, err
		}
		if round == deleteRounds {
			return deleted, job.WithClass(fmt.Errorf("%s: %d rows came while others were being deleted, %d times: something still inserts them", what, n, round), job.Retry)
		}
		if err := c.mutate(ctx, what, info, where); err != nil {
			return deleted, err
		}
		deleted += n
	}
}

// among is the condition that a column has one of the values; there must be
// one.
func among(column string, values []uint64) string {
	var b strings.Builder
	b.WriteString(quoteName(column) + " IN (")
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(v, 10))
	}
	b.WriteByte(')')
	return b.String()
}
