package queue

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"

	"drayage/pkg/job"
)

// The kinds of event, the last token of their subject.
const kindAttempt = "attempt"

// PublishAttempt tells whoever watches that an attempt failed. It waits for
// nobody: an event may be lost, and nil does not say that it was kept. The
// error text is cut to 8 KiB.
func (q *Queue) PublishAttempt(ctx context.Context, a job.Attempt) error {
	if err := checkJobID(a.Job); err != nil {
		return err
	}
	what := fmt.Sprintf("publish attempt of chunk %s/%d", a.Job, a.Chunk)
	if ctx.Err() != nil {
		return q.ended(ctx, what, nil)
	}
	a.Error = clip(a.Error, maxErrorText)
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("%s: %w", what, invalid("%v", err))
	}
	return explain(what, q.nc.PublishMsg(&nats.Msg{Subject: eventSubject(a.Job, kindAttempt), Data: data}))
}

// Attempts calls fn for the failed attempts of the job that are still kept, the
// oldest first, and then for each as it comes, as Results does.
func (q *Queue) Attempts(ctx context.Context, jobID string, fn func(job.Attempt) error, opts ...FollowOption) error {
	return followJSON(ctx, q, "attempts", streamEvents, jobID, eventSubject(jobID, kindAttempt), fn, opts)
}

func eventSubject(jobID, kind string) string { return "dray.events." + jobID + "." + kind }
