package cli

import (
	"context"
	"fmt"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// repaired is what a repair did.
type repaired struct {
	Deleted  int       `json:"deleted"`  // chunks that should have had no rows
	Listed   int       `json:"listed"`   // chunks written to the ledger again
	Replayed int       `json:"replayed"` // chunks taken out and loaded again
	Job      string    `json:"job,omitempty"`
	State    job.State `json:"state,omitempty"` // of that job
}

func (r *repaired) by() string {
	if r.Job == "" {
		return ""
	}
	return fmt.Sprintf(" by job %s, which is %s", r.Job, r.State)
}

// repair mends what verification found about an ended job, and verifies it
// again. Every part of it may be repeated.
func (a *app) repair(ctx context.Context, s *site, j job.Job, v *verification) (*verification, error) {
	var stray, wrong []uint64
	for _, d := range v.Differ {
		switch d.What {
		case strayRows:
			stray = append(stray, d.Chunk)
		case wrongRows:
			wrong = append(wrong, d.Chunk)
		}
	}
	if len(stray)+len(wrong) > 0 {
		if err := repairable(j, len(wrong)); err != nil {
			return nil, err
		}
	}
	done := &repaired{}
	if err := a.relist(ctx, s.clickhouse, j, v.relist); err != nil {
		return nil, err
	}
	done.Listed = len(v.relist)
	if len(stray) > 0 {
		if err := deleteStray(ctx, s.clickhouse, j, stray); err != nil {
			return nil, err
		}
		done.Deleted = len(stray)
	}
	if len(wrong) > 0 {
		sub, err := a.prepareReplay(ctx, s.queue, j, job.ReplayChunks, wrong, &replayPlan{set: &[]string{}})
		if err != nil {
			return nil, err
		}
		by, err := a.finishReplay(ctx, s, sub, false)
		if err != nil {
			return nil, err
		}
		done.Job, done.State, done.Replayed = by.ID, by.State, len(wrong)
		if by.State != job.Done && by.State != job.DoneWithRejects {
			return nil, hinted(fmt.Errorf("job %s, which was to load %d chunks again, is %s: %s", by.ID, len(wrong), by.State, by.Error), "dray show %s", by.ID)
		}
	}
	j, _, err := s.queue.Job(ctx, j.ID)
	if err != nil {
		return nil, fmt.Errorf("reading the job: %w", err)
	}
	again, err := verifyJob(ctx, s, j)
	if err == nil {
		again.Repair = done
	}
	return again, err
}

// repairable says why chunks can not be mended one by one.
func repairable(j job.Job, wrong int) error {
	switch {
	case !j.Frozen.Provenance:
		return hinted(fmt.Errorf("the rows of table %s do not say which chunk they came with, so that none can be taken out", table(j)), "mend it by hand, or load into a table with the columns _job and _chunk")
	case j.Frozen.Views && wrong > 0:
		return hinted(fmt.Errorf("materialized views hang on table %s and would be fed twice by chunks that are loaded again", table(j)), "dray undo %s, mend the views, and run its pipeline again", j.ID)
	}
	return nil
}

// relist writes results to the ledger again that it has lost.
func (a *app) relist(ctx context.Context, ch *clickhouse.Client, j job.Job, results []job.Result) error {
	rows := make([]clickhouse.LedgerRow, len(results))
	for i, r := range results {
		rows[i] = clickhouse.LedgerRow{Result: r, Table: table(j), Pipeline: j.Name, Outcome: clickhouse.OutcomeLoaded, RecordedAt: time.Now().UTC()}
	}
	if err := ch.AppendLedger(ctx, rows); err != nil {
		return fmt.Errorf("writing the ledger: %w", err)
	}
	return nil
}

// deleteStray takes out rows that have no business in the table, once nothing
// inserts them any more.
func deleteStray(ctx context.Context, ch *clickhouse.Client, j job.Job, chunks []uint64) error {
	if err := ch.StopInserts(ctx, j.ID, chunks); err != nil && job.ClassOf(err) != job.Permanent {
		return fmt.Errorf("stopping inserts of chunks that should have no rows: %w", err)
	}
	if err := ch.DeleteChunks(ctx, table(j), j.ID, chunks); err != nil {
		return fmt.Errorf("deleting rows of chunks that should have none: %w", err)
	}
	return nil
}
