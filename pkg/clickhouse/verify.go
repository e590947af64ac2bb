package clickhouse

import (
	"context"
	"fmt"
	"time"

	"drayage/pkg/job"
)

// maxDifferences bounds job.Proof.Differ.
const maxDifferences = 100

// Kinds of job.Proof.
const (
	ProofProvenance = "provenance" // ClickHouse counted the rows in the table
	ProofLedger     = "ledger"     // only the ledger was asked
)

// ChunkRows counts the rows of one chunk in a table with provenance columns.
// On a table that is not Countable the answer means little.
func (c *Client) ChunkRows(ctx context.Context, t Table, jobID string, chunk uint64) (uint64, error) {
	t = c.qualify(t)
	var n uint64
	err := c.rows(ctx, fmt.Sprintf("counting the rows of chunk %d of job %s in %s", chunk, jobID, t),
		"SELECT count() FROM "+t.SQL()+" WHERE "+ofJob(jobID)+fmt.Sprintf(" AND %s = %d", quoteName(job.ChunkColumn), chunk)+proofSettings,
		func(scan scanner) error { return scan(&n) })
	return n, err
}

// proofSettings keep a profile of the user from bending a count.
const proofSettings = " SETTINGS apply_deleted_mask = 1, final = 0, max_result_rows = 0, read_overflow_mode = 'throw', group_by_overflow_mode = 'throw'"

func ofJob(jobID string) string { return quoteName(job.JobColumn) + " = " + quoteString(jobID) }

// Verify asks ClickHouse, in one query, whether the job's rows in the table
// are those of the ledger: chunk by chunk, the rows loaded by its effective
// attempt (the highest generation that ended) against the rows that are there.
// A chunk in only one of the two counts as 0 in the other; a chunk whose
// highest generation is dead must have none. Everything is summed up by the
// server; at most the first 100 differences come back, ordered by chunk.
//
// With provenance, Rows is what was found in the table. Without, nothing can
// be counted: the Proof's Kind is "ledger", Rows is the sum of the ledger, and
// Differ is empty. The rows of the ledger must have been appended before.
//
// A replica that lags behind is made to catch up first, which takes the right
// SYSTEM SYNC REPLICA; the URL must then lead to one and the same server.
func (c *Client) Verify(ctx context.Context, t Table, jobID string, provenance bool) (job.Proof, error) {
	t = c.qualify(t)
	what := "verifying job " + jobID + " in " + t.String()
	recorded := effective("l.job = " + quoteString(jobID) + " AND l.database = " + quoteString(t.Database) + " AND l.table = " + quoteString(t.Name))
	proof := job.Proof{Kind: ProofLedger, At: time.Now().UTC()}
	if !provenance {
		err := c.rows(ctx, what, "SELECT sum(rows_loaded) FROM ("+recorded+")"+proofSettings, func(scan scanner) error {
			return scan(&proof.Rows)
		})
		return proof, err
	}
	proof.Kind = ProofProvenance
	info, err := c.Describe(ctx, t)
	if err != nil {
		return job.Proof{}, err
	}
	if info.Replicated {
		if err := c.exec(ctx, what, "", "SYSTEM SYNC REPLICA "+t.SQL()+" LIGHTWEIGHT"); err != nil {
			return job.Proof{}, err
		}
	}
	var chunks, want, have []uint64
	// A full outer join, as a union: it needs no hash table of one side.
	sql := fmt.Sprintf(`SELECT sum(found) AS total,
    groupArraySortedIf(%d)((chunk, recorded, found), recorded != found) AS differ,
    arrayMap(d -> d.1, differ), arrayMap(d -> d.2, differ), arrayMap(d -> d.3, differ)
FROM
(
    SELECT chunk, sum(r) AS recorded, sum(f) AS found
    FROM
    (
        SELECT chunk, rows_loaded AS r, toUInt64(0) AS f FROM (%s)
        UNION ALL
        SELECT %s AS chunk, toUInt64(0) AS r, count() AS f FROM %s WHERE %s GROUP BY chunk
    )
    GROUP BY chunk
)`, maxDifferences, recorded, quoteName(job.ChunkColumn), t.SQL(), ofJob(jobID))
	err = c.rows(ctx, what, "SELECT * EXCEPT differ FROM ("+sql+")"+proofSettings, func(scan scanner) error {
		return scan(&proof.Rows, &chunks, &want, &have)
	})
	if err != nil {
		return job.Proof{}, err
	}
	for i := range chunks {
		proof.Differ = append(proof.Differ, job.Difference{Chunk: chunks[i], Recorded: want[i], Found: have[i]})
	}
	return proof, nil
}
