package coordinator

import (
	"context"
	"errors"
	"fmt"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// StateError says that a job can not do what was asked in the state it is in.
// Its class is job.Permanent.
type StateError struct {
	Job   string
	State job.State
	What  string // what can not be done, such as "be paused"
}

func (e *StateError) Error() string {
	return fmt.Sprintf("job %s is %s and can not %s", e.Job, e.State, e.What)
}

// Cancel asks for the end of a live job: its queued chunks are taken back, the
// workers let go of theirs, and once it is CANCELLED no row of it lands any
// more. Rows that are loaded stay, see Undo. A job that is being cancelled, or
// was, is left as it is. The error is a *StateError for a job that has ended,
// queue.ErrNotFound for one that is not there.
func Cancel(ctx context.Context, q *queue.Queue, id string) (job.Job, error) {
	return request(ctx, q, id, "be cancelled", job.Cancelling, job.Cancelled)
}

// Pause stops a running job: no chunk is planned or delivered until Resume.
// Chunks at the workers are finished, and then it holds no slot. Errors are
// those of Cancel.
func Pause(ctx context.Context, q *queue.Queue, id string) (job.Job, error) {
	return request(ctx, q, id, "be paused", job.Paused, "")
}

// Resume lets a paused job go on. A job that runs is left as it is. Errors are
// those of Cancel.
func Resume(ctx context.Context, q *queue.Queue, id string) (job.Job, error) {
	return request(ctx, q, id, "be resumed", job.Running, "")
}

// request moves a job unless it is in the state asked for already, or in one
// that is as good.
func request(ctx context.Context, q *queue.Queue, id, what string, to, or job.State) (job.Job, error) {
	return q.EditJob(ctx, id, func(j *job.Job) error {
		if j.State == to || j.State == or {
			return nil
		}
		from := j.State
		if j.Publishing {
			return job.WithClass(&StateError{j.ID, from, what + ": its rows are being put in their place"}, job.Permanent)
		}
		// What a driver alone may do is not to be asked for.
		if to == job.Running && from != job.Paused || !from.CanMove(to) {
			return job.WithClass(&StateError{j.ID, from, what}, job.Permanent)
		}
		return move(j, to)
	})
}

// claim records in the job that is replayed that this one takes chunks over,
// so that nothing is loaded by two replays. It may be called again.
func claim(ctx context.Context, q *queue.Queue, j job.Job) (job.Job, error) {
	r := j.Submission.Replay
	old, err := q.EditJob(ctx, r.Job, func(old *job.Job) error {
		if err := claimable(*old, *r, j.ID); err != nil {
			return err
		}
		for _, c := range old.Claims {
			if c.Job == j.ID {
				return nil
			}
		}
		old.Claims = append(old.Claims, job.Claim{Job: j.ID, What: r.What, Chunks: r.Chunks})
		return nil
	})
	if errors.Is(err, queue.ErrNotFound) {
		return old, job.WithClass(fmt.Errorf("the job %s, whose chunks are to be taken over, is not there", r.Job), job.Permanent)
	}
	return old, err
}

// claimable is nil when job by may take over from old what r says: old has
// ended and was not undone, and nobody else has taken over any of it. The error
// says which chunk is whose. Its class is job.Permanent.
func claimable(old job.Job, r job.Replay, by string) error {
	switch {
	case !old.State.Terminal():
		return job.WithClass(&StateError{old.ID, old.State, "be replayed before it has ended"}, job.Permanent)
	case !old.UndoneAt.IsZero():
		return job.WithClass(fmt.Errorf("job %s was undone; run its pipeline again instead", old.ID), job.Permanent)
	case old.Frozen == nil:
		return job.WithClass(fmt.Errorf("job %s ended before its first chunk; run its pipeline again instead", old.ID), job.Permanent)
	case r.What == job.ReplayChunks && old.Frozen.Fed():
		return job.WithClass(fmt.Errorf("materialized views hang on %s and would be fed twice: undo job %s and run it again", names(Tables(old)), old.ID), job.Permanent)
	}
	mine := map[uint64]bool{}
	for _, chunk := range r.Chunks {
		mine[chunk] = true
	}
	total := len(r.Chunks)
	for _, c := range old.Claims {
		if c.Job == by {
			continue
		}
		total += len(c.Chunks)
		for _, chunk := range c.Chunks {
			// The rows of a chunk that was replaced as a whole went with it.
			if mine[chunk] && (c.What == r.What || c.What != job.ReplayRejects) {
				return job.WithClass(fmt.Errorf("chunk %d of job %s was taken over by job %s", chunk, old.ID, c.Job), job.Permanent)
			}
		}
	}
	if total > job.MaxClaimed {
		return job.WithClass(fmt.Errorf("%d chunks of job %s would be taken over; %d are the most", total, old.ID, job.MaxClaimed), job.Permanent)
	}
	return nil
}

// Replay makes the submission of a job that takes over chunks of another. The
// pipeline is the other job's; whoever mended it puts the mended one in. The
// identifier follows from the other job and its claims, so that asking twice is
// asking once.
func Replay(old job.Job, what string, chunks []uint64) (job.Submission, error) {
	s := old.Submission
	s.Replay = &job.Replay{Job: old.ID, What: what, Chunks: chunks}
	s.Job = fmt.Sprintf("%s-%s%d", old.ID, what, len(old.Claims)+1)
	if len(s.Job) > job.MaxID {
		return s, job.WithClass(fmt.Errorf("the identifier of job %s is too long for one that continues it", old.ID), job.Permanent)
	}
	if len(chunks) == 0 {
		return s, job.WithClass(fmt.Errorf("nothing of job %s is left to take over", old.ID), job.Permanent)
	}
	return s, claimable(old, *s.Replay, s.Job)
}
