package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
)

// A hedge is a second message of a chunk that takes suspiciously long, for
// another worker to have a go at the same time. Whoever records first wins; the
// token keeps the other's rows out. It is a register of its own beside the
// chunk's, so a chunk has at most one.

// Hedge queues a second message of a chunk that waits or is being worked on.
// When it returns nil the hedge is stored. ErrExists: the chunk has one already,
// queued or in flight; ErrFull and ErrTooLarge as for PublishChunk. Repeated
// until answered or ctx ends.
//
// Nothing makes sure that the chunk itself is still there: a hedge of a chunk
// that has ended finds its result and is acknowledged. Hedges count for the
// job's MaxInFlight, and Backlog counts them. CloseJob takes them away.
func (q *Queue) Hedge(ctx context.Context, c job.Chunk) error {
	return q.publishChunk(ctx, "hedge", hedgeSubject(c.Job, c.Ordinal), c)
}

// QueuedChunk reads a chunk that is queued or in flight. ErrNotFound: it is not,
// or not any more. On a replicated stream the answer may be a moment old.
func (q *Queue) QueuedChunk(ctx context.Context, jobID string, ordinal uint64) (job.Chunk, error) {
	if err := checkJobID(jobID); err != nil {
		return job.Chunk{}, err
	}
	subject := workSubject(jobID, ordinal)
	m, err := q.last(ctx, streamWork, subject)
	if err != nil {
		return job.Chunk{}, err
	}
	c, err := readChunk(m.Data, subject, jobID)
	if err != nil {
		return job.Chunk{}, fmt.Errorf("read %s: %w", subject, invalid("%v", err))
	}
	return c, nil
}

// publishChunk writes a chunk to a subject that takes one message.
func (q *Queue) publishChunk(ctx context.Context, verb, subject string, c job.Chunk) error {
	if err := checkJobID(c.Job); err != nil {
		return err
	}
	what := fmt.Sprintf("%s chunk %s/%d", verb, c.Job, c.Ordinal)
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("%s: %w", what, invalid("%v", err))
	}
	if len(data) > job.MaxDescriptor {
		return job.WithClass(fmt.Errorf("%s: %w: descriptor of %d bytes, at most %d", what, ErrTooLarge, len(data), job.MaxDescriptor), job.Permanent)
	}
	_, err = q.write(ctx, what, write{
		stream: streamWork, subject: subject, data: data, header: inject(ctx, nil), register: true,
		// A twin planner writes the same bytes, so only after a try of our
		// own with an unknown outcome does it count as ours.
		mine: func(m *jetstream.RawStreamMsg, unsure bool) bool { return unsure && bytes.Equal(m.Data, data) },
	})
	return err
}

// readChunk reads a descriptor and makes sure that it is the one of its subject,
// a chunk's or a hedge's.
func readChunk(data []byte, subject, jobID string) (job.Chunk, error) {
	var c job.Chunk
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&c); err != nil {
		return job.Chunk{}, fmt.Errorf("descriptor: %w", err)
	}
	if c.Job != jobID || strings.TrimSuffix(subject, hedgeSuffix) != workSubject(jobID, c.Ordinal) {
		return job.Chunk{}, fmt.Errorf("descriptor of chunk %.140q/%d under subject %s", c.Job, c.Ordinal, subject)
	}
	return c, nil
}
