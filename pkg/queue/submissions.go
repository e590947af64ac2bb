package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"drayage/pkg/job"
)

// Submit asks for a job: when it returns nil the request is stored until a
// coordinator has taken it. Whether the pipeline is any good is said by the
// job's record. ErrFull: too many wait. Repeated until answered or ctx ends,
// and stored once by one call. Scripts may publish the same JSON themselves to
// the subject dray.jobs.submit.
func (q *Queue) Submit(ctx context.Context, s job.Submission) error {
	what := "submit"
	if s.Job != "" {
		if err := checkJobID(s.Job); err != nil {
			return err
		}
		what = "submit job " + s.Job
	}
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("%s: %w", what, invalid("%v", err))
	}
	// The only place where a message id is of use: it makes the repetitions
	// of this call one message, and need not outlive it by more than seconds.
	h := nats.Header{}
	h.Set(jetstream.MsgIDHeader, nuid.Next())
	_, err = q.write(ctx, what, write{stream: streamJobs, subject: subjectSubmit, data: data, header: inject(ctx, h)})
	return err
}

// Intake takes submissions, one at a time. All coordinators share one durable
// consumer, so each submission goes to one of them.
type Intake struct{ q *Queue }

// Submissions makes the consumer if it is not there and binds to it.
func (q *Queue) Submissions(ctx context.Context) (*Intake, error) {
	if err := q.ensureConsumer(ctx, "take submissions", streamJobs, q.cfg.intakeConsumer()); err != nil {
		return nil, err
	}
	return &Intake{q}, nil
}

// Incoming is one submission in the hands of one coordinator, for Config.Lease:
// then it is delivered again, to any of them. End it with Ack, Term or Nak.
type Incoming struct {
	// Submission is what was asked for; zero when Err is not nil.
	Submission job.Submission
	Raw        []byte    // the message as it came
	Err        error     // the message is not a submission, and why; Term it
	Attempt    int       // the number of this delivery, from 1
	At         time.Time // when it was submitted; the same at each delivery
	Sequence   uint64    // its place in the stream; the same at each delivery

	q       *Queue
	reply   string
	header  nats.Header
	settled atomic.Bool
}

// Next waits for a submission, at most wait. ErrEmpty when none came. When ctx
// ends, it returns within a second; a submission that arrives just then is given
// back for another coordinator. A message that is not JSON is delivered too,
// with Err.
func (in *Intake) Next(ctx context.Context, wait time.Duration) (*Incoming, error) {
	msg, err := in.q.pullOne(ctx, "take a submission", streamJobs, consumerIntake, wait, 0)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		// Nobody counts the deliveries of a submission.
		_ = in.q.said(ctx, "give submission back", msg.Reply, ackNak(0)) // lost: its lease's end does it
		return nil, in.q.ended(ctx, "take a submission", nil)
	}
	s := &Incoming{Raw: msg.Data, Attempt: 1, q: in.q, reply: msg.Reply, header: msg.Header}
	if meta, err := msg.Metadata(); err == nil {
		s.Attempt, s.At, s.Sequence = int(meta.NumDelivered), meta.Timestamp.UTC(), meta.Sequence.Stream
	}
	if err := json.Unmarshal(msg.Data, &s.Submission); err != nil {
		s.Submission, s.Err = job.Submission{}, fmt.Errorf("submission: %w", invalid("%v", err))
	} else if s.Submission.Job != "" {
		if err := checkJobID(s.Submission.Job); err != nil {
			s.Err = fmt.Errorf("submission: %w", err)
			s.Submission = job.Submission{}
		}
	}
	return s, nil
}

// Ack takes the submission out: its job is recorded. Repeated until answered
// or ctx ends. If it never is, the submission comes again: the id is the
// idempotency key, so give one to a submission that has none before anything
// else, or make it from Raw and time.
func (s *Incoming) Ack(ctx context.Context) error {
	return s.end(func() error {
		return s.q.answered(ctx, "acknowledge submission", s.reply, wordAck, streamJobs, consumerIntake)
	})
}

// Term takes the submission out because it can never become a job.
func (s *Incoming) Term(ctx context.Context, reason string) error {
	return s.end(func() error {
		return s.q.answered(ctx, "refuse submission", s.reply, ackTerm(reason), streamJobs, consumerIntake)
	})
}

// Nak gives the submission back, to be delivered again after delay; 0 is 1s.
func (s *Incoming) Nak(ctx context.Context, delay time.Duration) error {
	if delay <= 0 {
		delay = defaultRetryDelay
	}
	return s.end(func() error { return s.q.said(ctx, "give submission back", s.reply, ackNak(delay)) })
}

func (s *Incoming) end(say func() error) error {
	if s.settled.Swap(true) {
		return ErrSettled
	}
	return say()
}
