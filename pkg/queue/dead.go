package queue

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
)

// PublishDead records that a chunk was given up: the first dead letter of a
// job, chunk and generation stays. nil: stored; ErrExists: somebody was first.
// Its error text is cut to 8 KiB. Repeated until answered or ctx ends. Write
// it before the verdict Dead is settled, or the chunk is gone without a word.
func (q *Queue) PublishDead(ctx context.Context, d job.Dead) error {
	if err := checkJobID(d.Chunk.Job); err != nil {
		return err
	}
	d.Error = clip(d.Error, maxErrorText)
	what := fmt.Sprintf("dead-letter chunk %s/%d/%d", d.Chunk.Job, d.Chunk.Ordinal, d.Chunk.Generation)
	data, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("%s: %w", what, invalid("%v", err))
	}
	_, err = q.write(ctx, what, write{
		stream: streamDead, subject: registerSubject("dead", d.Chunk.Job, d.Chunk.Ordinal, d.Chunk.Generation),
		data: data, register: true,
		mine: func(m *jetstream.RawStreamMsg, _ bool) bool {
			var stored job.Dead
			return json.Unmarshal(m.Data, &stored) == nil &&
				stored.Worker == d.Worker && stored.Attempts == d.Attempts && stored.At.Equal(d.At)
		},
	})
	return err
}

// DeadLetters returns the oldest dead letters of the job, at most max (0: at
// most 1,000).
func (q *Queue) DeadLetters(ctx context.Context, jobID string, max int) ([]job.Dead, error) {
	if err := checkJobID(jobID); err != nil {
		return nil, err
	}
	if max <= 0 {
		max = 1000
	}
	var out []job.Dead
	err := q.list(ctx, "dead letters of job "+jobID, streamDead, jobSubjects("dead", jobID), func(m *jetstream.RawStreamMsg) error {
		var d job.Dead
		if err := json.Unmarshal(m.Data, &d); err != nil {
			return fmt.Errorf("read %s: %w", m.Subject, invalid("%v", err))
		}
		if out = append(out, d); len(out) >= max {
			return ErrStop
		}
		return nil
	})
	return out, err
}

// DeadLetter reads the dead letter of one chunk, ErrNotFound when there is
// none. On a replicated stream the answer may be a moment old.
func (q *Queue) DeadLetter(ctx context.Context, jobID string, ordinal uint64, generation uint32) (job.Dead, error) {
	var d job.Dead
	if err := checkJobID(jobID); err != nil {
		return d, err
	}
	subject := registerSubject("dead", jobID, ordinal, generation)
	m, err := q.last(ctx, streamDead, subject)
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(m.Data, &d); err != nil {
		return d, fmt.Errorf("read %s: %w", subject, invalid("%v", err))
	}
	return d, nil
}

// FollowDead is Results for dead letters.
func (q *Queue) FollowDead(ctx context.Context, jobID string, fn func(job.Dead) error, opts ...FollowOption) error {
	return followJSON(ctx, q, "dead letters", streamDead, jobID, jobSubjects("dead", jobID), fn, opts)
}

// CountDead is how many dead letters the job has, those of all generations.
func (q *Queue) CountDead(ctx context.Context, jobID string) (uint64, error) {
	if err := checkJobID(jobID); err != nil {
		return 0, err
	}
	return q.count(ctx, "count dead letters of job "+jobID, streamDead, jobSubjects("dead", jobID))
}

// PurgeDead removes the dead letters of a job: dropped, or replayed. Idempotent.
func (q *Queue) PurgeDead(ctx context.Context, jobID string) error {
	if err := checkJobID(jobID); err != nil {
		return err
	}
	return q.purge(ctx, "purge dead letters of job "+jobID, streamDead, jobSubjects("dead", jobID))
}

// DropDead removes one dead letter. Idempotent.
func (q *Queue) DropDead(ctx context.Context, jobID string, ordinal uint64, generation uint32) error {
	if err := checkJobID(jobID); err != nil {
		return err
	}
	subject := registerSubject("dead", jobID, ordinal, generation)
	return q.purge(ctx, "drop dead letter "+subject, streamDead, subject)
}
