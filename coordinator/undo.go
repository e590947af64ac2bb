package coordinator

import (
	"context"
	"fmt"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// Undo takes every row of an ended job out of its target and of quarantine
// again, waits until they are gone, and notes in the ledger and in the job's
// record that it was done. It returns the number of rows removed and may be
// called again. Rows that materialized views were fed stay there. The error is
// a *StateError for a live job and clickhouse's for a target without
// provenance columns, of which nobody can tell what the job loaded.
func Undo(ctx context.Context, q *queue.Queue, ch *clickhouse.Client, id string) (uint64, error) {
	j, _, err := q.Job(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("reading the job: %w", err)
	}
	if !j.State.Terminal() {
		return 0, job.WithClass(&StateError{j.ID, j.State, "be undone before it has ended; cancel it first"}, job.Permanent)
	}
	if j.Frozen == nil {
		return 0, nil
	}
	all := Tables(j)
	for i, t := range j.Frozen.Targets() { // all of it or nothing
		switch {
		case t.Publish != nil && j.PublishedAt.IsZero():
			continue // its staging table is gone, and the rows with it
		case t.Publish != nil:
			return 0, job.WithClass(fmt.Errorf("job %s put its rows in the place of others (mode %s), which are gone; load those again instead", id, t.Publish.Mode), job.Permanent)
		case !t.Provenance:
			return 0, job.WithClass(fmt.Errorf("undoing job %s: %w", id, &clickhouse.ProvenanceError{Table: all[i]}), job.Permanent)
		}
	}
	stores, err := Stores(ctx, ch, j)
	if err != nil {
		return 0, err
	}
	var rows uint64
	for _, s := range stores {
		if j.Frozen.Targets()[s.Target].Publish != nil {
			continue
		}
		var n uint64
		if s.Records {
			err = s.DeleteRejects(ctx, s.Table, id, nil)
		} else {
			n, err = s.DeleteJob(ctx, s.Table, id)
		}
		if rows += n; err != nil {
			return rows, fmt.Errorf("removing the rows of job %s: %w", id, err)
		}
		if err := s.MarkUndone(ctx, s.Table, id, time.Now()); err != nil {
			return rows, fmt.Errorf("noting it in the ledger: %w", err)
		}
	}
	_, err = q.EditJob(ctx, id, func(j *job.Job) error {
		j.UndoneAt = time.Now().UTC()
		return nil
	})
	return rows, err
}
