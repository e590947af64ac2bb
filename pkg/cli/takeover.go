package cli

import (
	"context"
	"errors"
	"fmt"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// takenOver is a job that has taken over from another.
type takenOver struct {
	Job    string    `json:"job"`
	What   string    `json:"what"`
	Chunks int       `json:"chunks"`
	State  job.State `json:"state"` // empty when it is not known any more
	// Lost is true when rows that had been loaded once were taken out for that
	// job, and it has ended without loading them all.
	Lost bool `json:"lost"`
}

// maxTakers bounds how far jobs that take over from jobs that take over are
// followed.
const maxTakers = 16

// covered reports whether a job has loaded what it took over, itself or by
// those that took over its dead letters, or still may.
func covered(ctx context.Context, q *queue.Queue, j job.Job, depth int) (bool, error) {
	switch {
	case isLive(j) || j.State == job.Done:
		return true, nil
	case j.State == job.Cancelled || j.Totals.Dead == 0 && j.State == job.Failed:
		return false, nil
	}
	left := int64(j.Totals.Dead) //nolint:gosec // far below
	for _, c := range j.Claims {
		if c.What != job.ReplayDead || depth == 0 {
			continue
		}
		by, _, err := q.Job(ctx, c.Job)
		if errors.Is(err, queue.ErrNotFound) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("reading job %s, which took over: %w", c.Job, err)
		}
		ok, err := covered(ctx, q, by, depth-1)
		if err != nil {
			return false, err
		}
		if ok {
			left -= int64(len(c.Chunks))
		}
	}
	return left <= 0, nil
}

// takersOf looks at the jobs that have taken over from j.
func takersOf(ctx context.Context, q *queue.Queue, j job.Job) ([]takenOver, error) {
	all := []takenOver{}
	for _, c := range j.Claims {
		o := takenOver{Job: c.Job, What: c.What, Chunks: len(c.Chunks)}
		by, _, err := q.Job(ctx, c.Job)
		switch {
		case errors.Is(err, queue.ErrNotFound): // nothing can be said
		case err != nil:
			return nil, fmt.Errorf("reading job %s, which took over: %w", c.Job, err)
		default:
			o.State = by.State
			if c.What == job.ReplayChunks && j.UndoneAt.IsZero() {
				ok, err := covered(ctx, q, by, maxTakers)
				if err != nil {
					return nil, err
				}
				o.Lost = !ok
			}
		}
		all = append(all, o)
	}
	return all, nil
}
