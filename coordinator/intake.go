package coordinator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
	"drayage/pkg/telemetry/metrics"
	"drayage/pkg/telemetry/trace"
)

// intakeWait bounds one wait for a submission.
const intakeWait = 5 * time.Second

// intake turns submissions into jobs until ctx ends.
func (c *Coordinator) intake(ctx context.Context) error {
	for ctx.Err() == nil {
		subs, err := c.Queue.Submissions(ctx)
		if err != nil {
			if ctx.Err() == nil {
				c.Log.Warn().Err(err).Msg("could not reach the submissions")
				pause(ctx, retryEvery)
			}
			continue
		}
		for ctx.Err() == nil {
			m, err := subs.Next(ctx, intakeWait)
			if errors.Is(err, queue.ErrEmpty) {
				continue
			}
			if err != nil {
				if ctx.Err() == nil {
					c.Log.Warn().Err(err).Msg("could not take a submission")
					pause(ctx, retryEvery)
				}
				break
			}
			c.take(ctx, m)
		}
	}
	return nil
}

// take makes a job of one submission. A pipeline that can not be read makes a
// job too, FAILED with the reason, so that whoever submitted it finds out.
func (c *Coordinator) take(ctx context.Context, m *queue.Incoming) {
	s, err := m.Submission, m.Err
	ctx, span := c.Traces.Begin(m.Context(ctx), "process "+queue.SubmitDestination, trace.Consumer, trace.Of{
		Job: s.Job, Attempt: m.Attempt, Queue: queue.SubmitDestination,
	})
	defer func() { span.End(err) }()
	if err == nil && len(s.Pipeline) > pipeline.MaxBytes {
		err = fmt.Errorf("the pipeline has %d bytes; it may have %d", len(s.Pipeline), pipeline.MaxBytes)
	}
	if err != nil {
		c.Metrics.Submitted(metrics.Refused)
		c.Log.Error().Err(err).Msg("refused a submission that has no job to report to")
		if err := m.Term(ctx, err.Error()); err != nil {
			c.Log.Warn().Err(err).Msg("could not take the submission out of the queue")
		}
		return
	}
	if err := s.Understood(); err != nil {
		c.Log.Warn().Err(err).Msg("a submission is given back")
		_ = m.Nak(ctx, newerEvery) // it comes again after its lease at the latest
		return
	}
	if s.Job == "" {
		// The same at each delivery, or a submission that is delivered
		// again would become two jobs.
		s.Job = fmt.Sprintf("job-%s-%d", m.At.Format(idTime), m.Sequence)
	}
	if err = Create(ctx, c.Queue, s); err != nil {
		c.Log.Warn().Err(err).Str("job", s.Job).Msg("could not create the job")
		_ = m.Nak(ctx, retryEvery) // it comes again after its lease at the latest
		return
	}
	c.Metrics.Submitted(metrics.Accepted)
	c.Log.Info().Str("job", s.Job).Msg("job submitted")
	if err := m.Ack(ctx); err != nil {
		c.Log.Warn().Err(err).Str("job", s.Job).Msg("could not acknowledge the submission; it will be found to be there already")
	}
}

// newerEvery is the pause after which a submission that only a newer coordinator
// can take is offered again, to any of them.
const newerEvery = 5 * time.Second

// idTime is how a time stands in an identifier.
const idTime = "20060102-150405"

// Create records a submission, which has an identifier, as a job. A job of
// that identifier that is there already is left as it is: submitting twice is
// submitting once. The span of ctx is the one that all spans of the job are below.
// *job.NewerError: only a newer program can make it.
func Create(ctx context.Context, q *queue.Queue, s job.Submission) error {
	if s.File == "" {
		s.File = "pipeline.yaml"
	}
	j := job.Job{ID: s.Job, Submission: s, State: job.Submitted, Protocol: s.Protocol, CreatedAt: time.Now().UTC(), Trace: trace.Parent(ctx)}
	doc, err := pipeline.Parse(s.Pipeline, s.File, s.Dir, s.Params)
	if err != nil {
		j.State, j.Error, j.FinishedAt = job.Failed, err.Error(), j.CreatedAt
	} else {
		j.Name = doc.Pipeline.Name
	}
	if _, err = q.CreateJob(ctx, j); errors.Is(err, queue.ErrExists) {
		return nil
	}
	return err
}

// NewID makes an identifier for a job of the named pipeline: name, time and
// a random tail, so that identifiers sort by time and do not meet.
func NewID(name string, at time.Time) string {
	return fmt.Sprintf("%s-%s-%s", name, at.UTC().Format(idTime), strings.ToLower(rand.Text()[:4]))
}

// KeyID makes the identifier of a job from the pipeline's name and a client's own
// key for the submission, so that the same key again is the same job. It may be
// longer than job.MaxID.
func KeyID(name, key string) string {
	return name + "-" + strings.ToLower(notID.ReplaceAllString(key, "-"))
}

// notID matches what may not stand in the name of a job.
var notID = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// SameSubmission reports whether two submissions ask for the same, whatever the
// job and the file are called. One that takes over from another job is the same
// as none.
func SameSubmission(a, b job.Submission) bool {
	return a.Replay == nil && b.Replay == nil && a.Full == b.Full && a.Pipeline == b.Pipeline && a.Dir == b.Dir &&
		a.JobTime.Equal(b.JobTime) && maps.Equal(a.Params, b.Params)
}

// document reads a job's pipeline again.
func document(j job.Job) (*pipeline.Document, error) {
	dir := j.Submission.Dir
	if dir == "" {
		dir = "."
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding the folder of the pipeline: %w", err)
	}
	doc, err := pipeline.Parse(j.Submission.Pipeline, j.Submission.File, dir, j.Submission.Params)
	return doc, job.WithClass(err, job.Permanent)
}
