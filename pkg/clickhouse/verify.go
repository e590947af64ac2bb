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

// Verify asks ClickHouse, in one query, whether the job's rows are those of
// the ledger, chunk by chunk: the rows loaded by the chunk's effective attempt
// (see effective) against those in the table, and the rows it rejected against
// those in quarantine. A chunk in only one of them counts as 0 in the others; a
// chunk that is dead, retired or undone must have none. Everything is summed up
// by the server; at most the first 100 differences come back, ordered by chunk.
//
// With provenance, Rows is what was found in the table. Without, its rows can
// not be counted: the Proof's Kind is "ledger", Rows is the sum of the ledger,
// and only rejects can differ. The rows of the ledger must have been appended
// before, and EnsureLedger been called.
//
// A replica that lags behind is made to catch up first, which takes the right
// SYSTEM SYNC REPLICA; the URL must then lead to one and the same server.
func (c *Client) Verify(ctx context.Context, t Table, jobID string, provenance bool) (job.Proof, error) {
	proof := job.Proof{Kind: ProofLedger, At: time.Now().UTC()}
	if provenance {
		proof.Kind = ProofProvenance
	}
	what, counts, err := c.comparison(ctx, t, jobID, provenance)
	if err != nil {
		return job.Proof{}, err
	}
	var chunks, want, have, wantOut, haveOut []uint64
	sql := fmt.Sprintf(`SELECT sum(found) AS total, sum(rejects_found) AS quarantined,
    groupArraySortedIf(%d)((chunk, recorded, found, rejected, rejects_found), %s) AS differ,
    arrayMap(d -> d.1, differ), arrayMap(d -> d.2, differ), arrayMap(d -> d.3, differ), arrayMap(d -> d.4, differ), arrayMap(d -> d.5, differ)
FROM (%s)`, maxDifferences, differs, counts)
	err = c.rows(ctx, what, "SELECT * EXCEPT differ FROM ("+sql+")"+proofSettings, func(scan scanner) error {
		return scan(&proof.Rows, &proof.Rejected, &chunks, &want, &have, &wantOut, &haveOut)
	})
	if err != nil {
		return job.Proof{}, err
	}
	for i := range chunks {
		proof.Differ = append(proof.Differ, job.Difference{
			Chunk: chunks[i], Recorded: want[i], Found: have[i], RejectedRecorded: wantOut[i], RejectedFound: haveOut[i],
		})
	}
	return proof, nil
}

// VerifyEach gives every difference that Verify would find to fn, and not only
// the first 100, ordered by chunk, as they come from the server. An error of
// fn ends it and is returned, but for ErrStop. fn holds a connection meanwhile.
func (c *Client) VerifyEach(ctx context.Context, t Table, jobID string, provenance bool, fn func(job.Difference) error) error {
	what, counts, err := c.comparison(ctx, t, jobID, provenance)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sql := "SELECT chunk, recorded, found, rejected, rejects_found FROM (" + counts + ") WHERE " + differs + " ORDER BY chunk"
	return c.each(ctx, what, sql+proofSettings, cancel, func(scan scanner) error {
		var d job.Difference
		if err := scan(&d.Chunk, &d.Recorded, &d.Found, &d.RejectedRecorded, &d.RejectedFound); err != nil {
			return err
		}
		return fn(d)
	})
}

// differs is the condition for a chunk of a comparison that is not as recorded.
const differs = "(recorded != found OR rejected != rejects_found)"

// comparison is the query for a row of every chunk: its rows and rejects as
// recorded, and as found. It is a full outer join of three, as a union, which
// needs no hash table of one side: the server keeps one entry for a chunk.
func (c *Client) comparison(ctx context.Context, t Table, jobID string, provenance bool) (what, sql string, err error) {
	t = c.qualify(t)
	what = "verifying job " + jobID + " in " + t.String()
	found, counted := "rows_loaded", "" // without provenance, what is recorded is taken as found
	if provenance {
		info, err := c.Describe(ctx, t)
		if err != nil {
			return what, "", err
		}
		if info.Replicated {
			if err := c.exec(ctx, what, "", "SYSTEM SYNC REPLICA "+t.SQL()+" LIGHTWEIGHT"); err != nil {
				return what, "", err
			}
		}
		found = "toUInt64(0)"
		counted = fmt.Sprintf(`UNION ALL
        SELECT toUInt64(%[1]s) AS chunk, toUInt64(0) AS r, count() AS f, toUInt64(0) AS q, toUInt64(0) AS g FROM %[2]s WHERE %[3]s GROUP BY %[1]s`,
			quoteName(job.ChunkColumn), t.SQL(), ofJob(jobID))
	}
	return what, fmt.Sprintf(`SELECT chunk, sum(r) AS recorded, sum(f) AS found, sum(q) AS rejected, sum(g) AS rejects_found
    FROM
    (
        SELECT chunk, rows_loaded AS r, %[1]s AS f, rows_rejected AS q, toUInt64(0) AS g FROM (%[2]s)
        UNION ALL
        SELECT e.chunk AS chunk, toUInt64(0) AS r, toUInt64(0) AS f, toUInt64(0) AS q, count() AS g FROM %[3]s AS e WHERE %[4]s GROUP BY e.chunk
        %[5]s
    )
    GROUP BY chunk`, found, effective(ofTarget("l", t, jobID)), RejectsTable.SQL(), ofTarget("e", t, jobID), counted), nil
}
