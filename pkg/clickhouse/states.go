package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"drayage/pkg/job"
)

// StatesTable holds each state that a job has been in, so that ClickHouse alone
// can be asked for jobs. It is a copy for reading: the jobs' records are the truth,
// and nothing that Drayage does rests on it.
//
//nolint:gochecknoglobals // a constant
var StatesTable = Table{"drayage", "job_states"}

// StateRow is a state of a job. Rows of one job, state and time become one: that
// of the highest revision counts.
type StateRow struct {
	Job      string
	Pipeline string // its name; empty while it could not be read
	Schedule string // whose run the job is; empty: nobody's
	State    job.State
	Before   job.State // the state before; empty for the first
	At       time.Time // since when it was in the state
	// Revision is that of the job's record when it was in the state. 0: it had left
	// it when the record was read, which then tells nothing else of it.
	Revision uint64
	// Loads are where the job's chunks are loaded, as the ledger has it: its
	// targets or the staging tables before them. None before it is frozen.
	Loads []Table
	// Targets are the tables that the rows are for, each in the place of that
	// which Loads has.
	Targets    []Table
	Error      string // why FAILED
	Waiting    string // why a live job did not move on
	Planned    uint64 // chunks
	Totals     job.Totals
	CreatedAt  time.Time
	StartedAt  time.Time // zero before it was
	RecordedAt time.Time
}

// states is the schema, version 1, under the same rules as the ledger's. Names are
// those of the ledger and the views where the value is one of theirs.
func states() recordTable[StateRow] {
	each := func(list []Table, name func(Table) string) []string {
		all := make([]string, len(list))
		for i, t := range list {
			all[i] = name(t)
		}
		return all
	}
	return recordTable[StateRow]{StatesTable, []field[StateRow]{
		text("job", func(r StateRow) string { return r.Job }),
		moment("submitted_at", func(r StateRow) time.Time { return r.CreatedAt }),
		moment("at", func(r StateRow) time.Time { return r.At }),
		label("state", func(r StateRow) string { return string(r.State) }),
		label("state_before", func(r StateRow) string { return string(r.Before) }),
		count64("revision", func(r StateRow) uint64 { return r.Revision }),
		label("pipeline", func(r StateRow) string { return r.Pipeline }),
		label("schedule", func(r StateRow) string { return r.Schedule }),
		texts("databases", func(r StateRow) []string { return each(r.Loads, func(t Table) string { return t.Database }) }),
		texts("tables", func(r StateRow) []string { return each(r.Loads, func(t Table) string { return t.Name }) }),
		texts("targets", func(r StateRow) []string { return each(r.Targets, Table.String) }),
		text("error", func(r StateRow) string { return r.Error }),
		text("waiting", func(r StateRow) string { return r.Waiting }),
		count64("chunks_planned", func(r StateRow) uint64 { return r.Planned }),
		count64("chunks_loaded", func(r StateRow) uint64 { return r.Totals.Chunks }),
		count64("chunks_dead", func(r StateRow) uint64 { return r.Totals.Dead }),
		count64("rows_read", func(r StateRow) uint64 { return r.Totals.RowsRead }),
		count64("rows_loaded", func(r StateRow) uint64 { return r.Totals.RowsLoaded }),
		count64("rows_rejected", func(r StateRow) uint64 { return r.Totals.RowsRejected }),
		size64("bytes_read", func(r StateRow) int64 { return r.Totals.BytesRead }),
		size64("bytes_loaded", func(r StateRow) int64 { return r.Totals.BytesLoaded }),
		moment("started_at", func(r StateRow) time.Time { return r.StartedAt }),
		moment("recorded_at", func(r StateRow) time.Time { return r.RecordedAt }),
	}, `ENGINE = ReplacingMergeTree(revision)
ORDER BY (job, submitted_at, at, state)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One row for every state that a job of Drayage has been in'`}
}

// ensureStates makes the table of states, or adds the columns that an older one
// lacks. A user without the right to goes without it; Missing tells.
func (c *Client) ensureStates(ctx context.Context, what string) error {
	err := states().ensure(ctx, c, what)
	var x *Exception
	if errors.As(err, &x) && x.Code == codeAccessDenied {
		return nil
	}
	return err
}

// AppendStates writes the rows as one block. The same rows written again change
// nothing, and of two rows for one state the one of the older revision changes
// nothing either, so any number of callers may write what they know, in any order.
// EnsureLedger must have been called, by anyone, at any time before.
func (c *Client) AppendStates(ctx context.Context, rows []StateRow) error {
	if len(rows) == 0 {
		return nil
	}
	block, err := states().encode(rows)
	if err != nil {
		return err
	}
	if err := c.Load(ctx, states().load(block, len(rows), fmt.Sprintf("states/%016x", xxhash.Sum64(block)))); err != nil {
		return fmt.Errorf("writing states of jobs: %w", err)
	}
	return nil
}

// maxLiveJobs bounds what LiveJobs gives.
const maxLiveJobs = 1000

// LiveJobs are the jobs that have not ended, as the table of states has it: the
// newest, at most 1000.
func (c *Client) LiveJobs(ctx context.Context) ([]string, error) {
	var ids []string
	sql := fmt.Sprintf("SELECT j.job FROM %s AS j GROUP BY j.job HAVING argMax(j.state, %s) NOT IN (%s) ORDER BY max(j.submitted_at) DESC LIMIT %d",
		StatesTable.SQL(), lastState, endStates, maxLiveJobs)
	err := c.rows(ctx, "asking for jobs that have not ended", sql, func(scan scanner) error {
		var id string
		err := scan(&id)
		ids = append(ids, id)
		return err
	})
	return ids, err
}

// lastState orders the rows of a job in the table of states, as j: the last is its
// last state, when it was made last under its name. Another job of the name begins
// with lower revisions when NATS has lost its store.
const lastState = "tuple(j.submitted_at, j.at, j.revision)"

// endStates are those that end a job.
const endStates = "'DONE', 'DONE_WITH_REJECTS', 'FAILED', 'CANCELLED'"
