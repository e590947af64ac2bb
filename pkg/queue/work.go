package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
)

// PublishChunk queues a chunk. When it returns nil the chunk is stored.
// ErrExists: a chunk with this job and ordinal waits or is being worked on
// already, of whatever generation; ErrFull: the queue has no room, wait and
// repeat; ErrTooLarge: the descriptor has more than job.MaxDescriptor bytes.
// Repeated until answered or ctx ends.
//
// A chunk that was done can be queued again: the register frees its subject
// with the acknowledgement. Workers look for its result first.
func (q *Queue) PublishChunk(ctx context.Context, c job.Chunk) error {
	return q.publishChunk(ctx, "queue", workSubject(c.Job, c.Ordinal), c)
}

// JobQueue is how the chunks of one job are handed out.
type JobQueue struct {
	// MaxInFlight bounds the chunks being worked on in the whole fleet, those
	// waiting for a delayed retry included. 0: 64. It may be changed while
	// the job runs: this is the throttle. Redeliveries may pass it by a few.
	MaxInFlight int
	// Lease is Config.Lease for this job; 0 takes that of the configuration.
	// Pullers read it when they bind; a change counts for later ones.
	Lease time.Duration
}

// OpenJob makes the durable consumer of a job, or updates it: its chunks can
// now be pulled. Coordinators call it, as often as they like; a pause stays.
// ErrFull: NATS has its limit of consumers (1,000 a stream by default).
func (q *Queue) OpenJob(ctx context.Context, id string, jq JobQueue) error {
	if err := checkJobID(id); err != nil {
		return err
	}
	if jq.MaxInFlight <= 0 {
		jq.MaxInFlight = defaultInFlight
	}
	if jq.Lease <= 0 {
		jq.Lease = q.cfg.Lease
	}
	if jq.Lease < time.Second {
		return invalid("job %s: lease of %v, at least 1s", id, jq.Lease)
	}
	return q.ensureConsumer(ctx, "open job "+id, streamWork, jobConsumer(id, jq))
}

// ensureConsumer creates or updates a durable consumer and compares what the
// server then has.
func (q *Queue) ensureConsumer(ctx context.Context, what, stream string, want jetstream.ConsumerConfig) error {
	return q.repeat(ctx, what, apiConsumer+stream+".>", func(ctx context.Context) error {
		cfg := want
		switch found, err := q.js.Consumer(ctx, stream, want.Durable); {
		case err == nil:
			// An update without these would end a pause, and one with
			// another MaxWaiting is refused.
			cfg.PauseUntil = found.CachedInfo().Config.PauseUntil
			cfg.MaxWaiting = found.CachedInfo().Config.MaxWaiting
		case codeOf(err) != jetstream.JSErrCodeConsumerNotFound:
			return err
		}
		c, err := q.js.CreateOrUpdateConsumer(ctx, stream, cfg)
		if err != nil {
			return err
		}
		got := c.CachedInfo().Config
		var diff []Mismatch
		class := job.Retry
		for _, f := range []struct {
			name        string
			want, found any
			moves       bool // somebody else may have moved it meanwhile
		}{
			{"ack_policy", cfg.AckPolicy, got.AckPolicy, false},
			{"ack_wait", cfg.AckWait, got.AckWait, true},
			{"max_deliver", cfg.MaxDeliver, got.MaxDeliver, false},
			{"max_ack_pending", cfg.MaxAckPending, got.MaxAckPending, true},
			{"filter_subject", cfg.FilterSubject, got.FilterSubject, false},
			{"backoff", len(cfg.BackOff), len(got.BackOff), false},
		} {
			if f.want != f.found {
				if !f.moves {
					class = job.Permanent
				}
				diff = append(diff, Mismatch{stream + "/" + cfg.Durable, f.name, fmt.Sprint(f.want), fmt.Sprint(f.found)})
			}
		}
		if len(diff) > 0 {
			return job.WithClass(&TopologyError{Mismatches: diff}, class)
		}
		return nil
	})
}

// PauseJob stops the delivery of the job's chunks until ResumeJob; what is
// being worked on goes on. It survives restarts. ErrNotFound without OpenJob.
func (q *Queue) PauseJob(ctx context.Context, id string) error {
	if err := checkJobID(id); err != nil {
		return err
	}
	return q.repeat(ctx, "pause job "+id, apiConsumerPause+streamWork+"."+consumerJob+id, func(ctx context.Context) error {
		_, err := q.js.PauseConsumer(ctx, streamWork, consumerJob+id, time.Now().Add(pauseFor))
		return err
	})
}

// ResumeJob ends a pause. It is harmless without one.
func (q *Queue) ResumeJob(ctx context.Context, id string) error {
	if err := checkJobID(id); err != nil {
		return err
	}
	return q.repeat(ctx, "resume job "+id, apiConsumerPause+streamWork+"."+consumerJob+id, func(ctx context.Context) error {
		_, err := q.js.ResumeConsumer(ctx, streamWork, consumerJob+id)
		return err
	})
}

// CloseJob takes the job's queue away: pullers get ErrNotFound, and queued
// chunks and hedges are purged. Chunks being worked on are not interrupted. Stop planning
// first: a chunk published afterwards stays until the next CloseJob. It is
// idempotent.
func (q *Queue) CloseJob(ctx context.Context, id string) error {
	if err := checkJobID(id); err != nil {
		return err
	}
	what := "close job " + id
	err := q.repeat(ctx, what, apiConsumerDelete+streamWork+"."+consumerJob+id, func(ctx context.Context) error {
		return q.js.DeleteConsumer(ctx, streamWork, consumerJob+id)
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err := q.purge(ctx, what, streamWork, jobSubjects("work", id)); err != nil {
		return err
	}
	return q.purge(ctx, what, bucketPrefix+bucketExcused, "$KV."+bucketExcused+"."+id+".>")
}

func (q *Queue) purge(ctx context.Context, what, stream, subject string) error {
	return q.repeat(ctx, what, apiStreamPurge+stream, func(ctx context.Context) error {
		s, err := q.stream(ctx, stream)
		if err != nil {
			return err
		}
		return s.Purge(ctx, jetstream.WithPurgeSubject(subject))
	})
}

// Backlog counts the job's chunks that wait for their first delivery, and
// those delivered and not acknowledged, delayed retries included. Hedges count.
// ErrNotFound when the job is not open.
func (q *Queue) Backlog(ctx context.Context, id string) (queued, inFlight uint64, err error) {
	if err := checkJobID(id); err != nil {
		return 0, 0, err
	}
	err = q.repeat(ctx, "backlog of job "+id, apiConsumerInfo+streamWork+"."+consumerJob+id, func(ctx context.Context) error {
		c, err := q.js.Consumer(ctx, streamWork, consumerJob+id)
		if err != nil {
			return err
		}
		queued, inFlight = c.CachedInfo().NumPending, uint64(c.CachedInfo().NumAckPending)
		return nil
	})
	return queued, inFlight, err
}
