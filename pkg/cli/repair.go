package cli

import (
	"context"
	"fmt"
	"slices"

	"drayage/coordinator"
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
	// A chunk may differ in several targets.
	slices.Sort(stray)
	slices.Sort(wrong)
	stray, wrong = slices.Compact(stray), slices.Compact(wrong)
	done := &repaired{}
	if err := coordinator.AppendLedger(ctx, s.clickhouse, j, v.relist); err != nil { // what it has lost
		return nil, fmt.Errorf("writing the ledger: %w", err)
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
	again, err := a.verifyJob(ctx, s, j)
	if err == nil {
		again.Repair = done
	}
	return again, err
}

// repairable says why chunks can not be mended one by one.
func repairable(j job.Job, wrong int) error {
	switch {
	case !j.Frozen.Traceable():
		return hinted(fmt.Errorf("the rows of %s do not all say which chunk they came with, so that none can be taken out", tables(j)), "mend it by hand, or load into a table with the columns _job and _chunk")
	case j.Frozen.Fed() && wrong > 0:
		return hinted(fmt.Errorf("materialized views hang on %s and would be fed twice by chunks that are loaded again", tables(j)), "dray undo %s, mend the views, and run its pipeline again", j.ID)
	}
	return nil
}

// deleteStray takes out rows that have no business in the table, once nothing
// inserts them any more.
func deleteStray(ctx context.Context, ch *clickhouse.Client, j job.Job, chunks []uint64) error {
	if err := coordinator.StopInserts(ctx, ch, j, chunks); err != nil && job.ClassOf(err) != job.Permanent {
		return fmt.Errorf("stopping inserts of chunks that should have no rows: %w", err)
	}
	if err := coordinator.Remove(ctx, ch, j, chunks); err != nil {
		return fmt.Errorf("deleting rows of chunks that should have none: %w", err)
	}
	return nil
}
