package coordinator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
)

// Mended is what is different when what a job has left is loaded again. Its
// zero value changes nothing.
type Mended struct {
	Pipeline string            // the text of the mended pipeline; empty: as it was submitted
	File     string            // its name, for messages
	Dir      string            // what relative paths start from; empty: as for the old job
	Params   map[string]string // values for some of its params; the others are as they were
}

// apply puts what was mended into a submission, and checks it. Mistakes are
// pipeline.Errors.
func (m Mended) apply(s *job.Submission) error {
	if m.Dir != "" {
		s.Dir = m.Dir
	}
	if m.Pipeline == "" && len(m.Params) == 0 {
		return nil
	}
	merged := map[string]string{}
	maps.Copy(merged, s.Params)
	if m.Pipeline != "" {
		s.Pipeline, s.File = m.Pipeline, m.File
		// Parameters that the mended pipeline has no more are left behind.
		declared := pipeline.ParseOutline(m.Pipeline).Params
		maps.DeleteFunc(merged, func(name, _ string) bool { _, ok := declared[name]; return !ok })
	}
	maps.Copy(merged, m.Params)
	s.Params = merged
	_, err := pipeline.Parse(s.Pipeline, s.File, s.Dir, s.Params)
	return err
}

// ReplayError says that another replay of a job is on its way that takes over
// something else, or in another way. Its class is job.Permanent.
type ReplayError struct {
	Job   string // the other replay
	State job.State
	Of    string // the job that is replayed
}

func (e *ReplayError) Error() string {
	return fmt.Sprintf("job %s, which is %s, is about to take over something else, or in another way, from job %s", e.Job, e.State, e.Of)
}

// PrepareReplay makes the submission of a job that takes chunks over from an old
// one, or says why it can not. Its name follows from the old job, so that asking
// twice is asking once; asking for something else meanwhile must not pass for
// the same and is a *ReplayError. A replay that ended and took nothing over, for
// a mistake in its pipeline, is not in the way.
func PrepareReplay(ctx context.Context, q *queue.Queue, old job.Job, what string, chunks []uint64, m Mended) (job.Submission, error) {
	sub, err := Replay(old, what, chunks)
	if err != nil {
		return sub, err
	}
	if err := m.apply(&sub); err != nil {
		return sub, err
	}
	for n, name := 2, sub.Job; ; n++ {
		there, _, err := q.Job(ctx, sub.Job)
		switch {
		case errors.Is(err, queue.ErrNotFound):
			return sub, nil
		case err != nil:
			return sub, fmt.Errorf("looking for job %s: %w", sub.Job, err)
		case !there.State.Terminal() && SameReplay(there, sub):
			return sub, nil
		case !there.State.Terminal():
			return sub, OtherReplay(there, sub)
		}
		if sub.Job = fmt.Sprintf("%s-%d", name, n); len(sub.Job) > job.MaxID {
			return sub, fmt.Errorf("the name of job %s is too long for one that continues it", old.ID)
		}
	}
}

// SameReplay reports whether a job is the replay that a submission asks for.
func SameReplay(there job.Job, sub job.Submission) bool {
	r := there.Submission.Replay
	return r != nil && r.Job == sub.Replay.Job && r.What == sub.Replay.What && slices.Equal(r.Chunks, sub.Replay.Chunks) &&
		there.Submission.Pipeline == sub.Pipeline && maps.Equal(there.Submission.Params, sub.Params)
}

// OtherReplay is the *ReplayError for a job that is there in place of the
// replay that was asked for.
func OtherReplay(there job.Job, sub job.Submission) error {
	return job.WithClass(&ReplayError{there.ID, there.State, sub.Replay.Job}, job.Permanent)
}

// RejectedChunks are the chunks of a job that have rows in quarantine which
// nobody has taken over and of which the whole is there, in their order.
func RejectedChunks(ctx context.Context, ch *clickhouse.Client, j job.Job) ([]uint64, error) {
	taken := Takers(j, job.ReplayRejects)
	var chunks []uint64
	err := ch.RejectedChunks(ctx, j.ID, func(chunk, rows, _ uint64) error {
		if taken[chunk] == "" && rows > 0 { // none: quarantine has but the beginnings of them
			chunks = append(chunks, chunk)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for rejected rows: %w", err)
	}
	return chunks, nil
}
