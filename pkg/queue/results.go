package queue

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
)

// RecordResult records how a chunk ended well: the first result of a job,
// chunk and generation stays. When it returns nil this one is stored and is
// the one that counts. ErrExists: somebody recorded first, which is as good
// for the chunk: read it with Result. Repeated until answered or ctx ends; the
// same attempt may record again and gets nil.
func (q *Queue) RecordResult(ctx context.Context, r job.Result) error {
	if err := checkJobID(r.Job); err != nil {
		return err
	}
	what := fmt.Sprintf("record result of chunk %s/%d/%d", r.Job, r.Chunk, r.Generation)
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("%s: %w", what, invalid("%v", err))
	}
	_, err = q.write(ctx, what, write{
		stream: streamResults, subject: registerSubject("results", r.Job, r.Chunk, r.Generation),
		data: data, register: true,
		mine: func(m *jetstream.RawStreamMsg, _ bool) bool {
			var stored job.Result
			return json.Unmarshal(m.Data, &stored) == nil &&
				stored.Worker == r.Worker && stored.Attempt == r.Attempt && stored.StartedAt.Equal(r.StartedAt)
		},
	})
	return err
}

// Result reads the result of a chunk, ErrNotFound when there is none. On a
// replicated stream the answer may be a moment old.
func (q *Queue) Result(ctx context.Context, jobID string, ordinal uint64, generation uint32) (job.Result, error) {
	if err := checkJobID(jobID); err != nil {
		return job.Result{}, err
	}
	subject := registerSubject("results", jobID, ordinal, generation)
	m, err := q.last(ctx, streamResults, subject)
	if err != nil {
		return job.Result{}, err
	}
	var r job.Result
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return job.Result{}, fmt.Errorf("read %s: %w", subject, invalid("%v", err))
	}
	return r, nil
}

// Results calls fn for every result of the job, each once, in the order they
// were recorded: first those there are, then each as it comes. It ends with
// fn's error, with nil after ErrStop, or with ctx's error when ctx ends;
// trouble with NATS in between is waited out. At most a few hundred results
// are buffered while fn works. WhenCaughtUp tells past from live.
func (q *Queue) Results(ctx context.Context, jobID string, fn func(job.Result) error, opts ...FollowOption) error {
	return followJSON(ctx, q, "results", streamResults, jobID, jobSubjects("results", jobID), fn, opts)
}

// followJSON follows a subject of records; one that can not be read is an
// error, since to skip it would be to miscount.
func followJSON[T any](ctx context.Context, q *Queue, noun, stream, jobID, subject string, fn func(T) error, opts []FollowOption) error {
	if err := checkJobID(jobID); err != nil {
		return err
	}
	w := following{
		q: q, what: "follow " + noun + " of job " + jobID, stream: stream, subject: subject,
		fn: func(m *jetstream.RawStreamMsg) error {
			var v T
			if err := json.Unmarshal(m.Data, &v); err != nil {
				return fmt.Errorf("read %s: %w", m.Subject, invalid("%v", err))
			}
			return fn(v)
		},
	}
	for _, o := range opts {
		o(&w)
	}
	return w.run(ctx)
}

// CountResults is how many results the job has, those of all generations.
func (q *Queue) CountResults(ctx context.Context, jobID string) (uint64, error) {
	if err := checkJobID(jobID); err != nil {
		return 0, err
	}
	return q.count(ctx, "count results of job "+jobID, streamResults, jobSubjects("results", jobID))
}

// PurgeResults removes the results of a job. Only once its outcome is recorded
// elsewhere: they are what says that its chunks are done. Idempotent.
func (q *Queue) PurgeResults(ctx context.Context, jobID string) error {
	if err := checkJobID(jobID); err != nil {
		return err
	}
	return q.purge(ctx, "purge results of job "+jobID, streamResults, jobSubjects("results", jobID))
}
