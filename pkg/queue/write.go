package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"drayage/pkg/job"
)

// headerWrite carries an id of the call that wrote a message. When a refusal
// follows a try whose outcome is unknown, it tells whether the message that is
// in the way is the one we sent.
const headerWrite = "Dray-Write"

// write is one durable write of one message.
type write struct {
	stream, subject string
	data            []byte
	header          nats.Header
	// register: the subject takes one message and refuses the second.
	register bool
	// expect, when not nil, is the sequence the subject's last message must
	// have: compare-and-set, 0 for none.
	expect *uint64
	ttl    time.Duration
	// mine, when not nil, says whether what is in the way is an earlier write
	// of the same thing by the same author, which counts as success. unsure
	// is true when a try of this call has an unknown outcome.
	mine func(stored *jetstream.RawStreamMsg, unsure bool) bool
}

// write publishes until the stream has answered for the message, or ctx ends.
// It returns the sequence of the stored message. ErrExists or ErrConflict:
// another message is there. ErrFull: the stream has no room.
//
// Repetition is harmless: a register takes one, a compare-and-set succeeds
// once, and when the refusal is about our own earlier try, that is success.
func (q *Queue) write(ctx context.Context, what string, w write) (uint64, error) {
	id := nuid.Next()
	if w.header == nil {
		w.header = nats.Header{}
	}
	w.header.Set(headerWrite, id)
	opts := []jetstream.PublishOpt{
		jetstream.WithExpectStream(w.stream),
		// NATS answers "no responders" while a leader is elected or a server
		// recovers its store; two retries, the default, do not bridge that.
		jetstream.WithRetryAttempts(10), jetstream.WithRetryWait(100 * time.Millisecond),
	}
	if w.expect != nil {
		opts = append(opts, jetstream.WithExpectLastSequencePerSubject(*w.expect))
	}
	if w.ttl > 0 {
		opts = append(opts, jetstream.WithMsgTTL(w.ttl))
	}

	unsure := false
	var last error          // of the last try
	var refusedAt time.Time // first
	for attempt := 1; ; attempt++ {
		if ctx.Err() != nil {
			return 0, q.ended(ctx, what, last)
		}
		var ack *jetstream.PubAck
		err := q.try(ctx, w.subject, func(ctx context.Context) (err error) {
			ack, err = q.js.PublishMsg(ctx, &nats.Msg{Subject: w.subject, Data: w.data, Header: w.header}, opts...)
			return err
		})
		if err == nil {
			return ack.Sequence, nil
		}
		code := codeOf(err)
		if ctx.Err() != nil {
			return 0, q.ended(ctx, what, explain("NATS", err))
		}
		refused := code == codeStoreFailed || code == codeWrongLastSeq || code == codeWrongLastSeqAtomic
		if refused {
			if refusedAt.IsZero() {
				refusedAt = time.Now()
			}
			seq, retry, rerr := q.refused(ctx, w, err, id, unsure, time.Since(refusedAt) < tryTimeout)
			if rerr == nil && !retry {
				return seq, nil
			}
			if !retry {
				return 0, explain(what, rerr)
			}
			err = rerr
		} else {
			if !meaningOf(err).again {
				return 0, explain(what, err)
			}
			unsure = unsure || !wasNotSent(err)
		}
		last = explain("NATS", err)
		if !q.pause(ctx, attempt) {
			return 0, q.ended(ctx, what, last)
		}
	}
}

// refused looks at the stream to learn why it refused: by what is there, not
// by the text of the refusal. A replica may answer that has not heard of what is
// in the way: while patient, the write is tried again until what is seen
// explains the refusal.
func (q *Queue) refused(ctx context.Context, w write, cause error, id string, unsure, patient bool) (seq uint64, retry bool, err error) {
	stored, err := q.last(ctx, w.stream, w.subject)
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return 0, true, err // can not look: ask again
	case err == nil && stored.Header.Get(headerWrite) == id:
		return stored.Sequence, false, nil
	case err == nil && w.mine != nil && w.mine(stored, unsure):
		return stored.Sequence, false, nil
	}
	there := err == nil
	if codeOf(cause) != codeStoreFailed { // compare-and-set
		// Else it is as expected, or older: on its way through the replicas,
		// and it may well be ours.
		if explained := there && stored.Sequence > *w.expect; !explained && patient {
			return 0, true, job.WithClass(fmt.Errorf("%w: %w", ErrUnavailable, cause), job.Retry)
		}
		if *w.expect == 0 && there {
			return 0, false, job.WithClass(fmt.Errorf("%w: %w", ErrExists, cause), job.Retry)
		}
		return 0, false, job.WithClass(fmt.Errorf("%w: %w", ErrConflict, cause), job.Retry)
	}
	if w.register && there {
		return 0, false, job.WithClass(fmt.Errorf("%w: %w", ErrExists, cause), job.Retry)
	}
	full, ferr := q.full(ctx, w)
	if ferr != nil {
		return 0, true, ferr
	}
	if full {
		return 0, false, job.WithClass(fmt.Errorf("%w: %w", ErrFull, cause), job.Retry)
	}
	// Neither: what was in the way has left meanwhile, a twin's write is still
	// on its way through the replicas, or the disk has a problem. Ask again.
	return 0, true, job.WithClass(fmt.Errorf("%w: %w", ErrUnavailable, cause), job.Retry)
}

// full reports whether the stream is at a limit that w would pass.
func (q *Queue) full(ctx context.Context, w write) (bool, error) {
	var info *jetstream.StreamInfo
	err := q.repeat(ctx, "stream "+w.stream, apiStreamInfo+w.stream, func(ctx context.Context) error {
		s, err := q.stream(ctx, w.stream)
		if err != nil {
			return err
		}
		info, err = s.Info(ctx)
		return err
	})
	if err != nil {
		return false, err
	}
	c, st := info.Config, info.State
	size := uint64(len(w.data) + len(w.subject) + headerRoom)
	return c.MaxMsgs > 0 && st.Msgs >= uint64(c.MaxMsgs) || c.MaxBytes > 0 && st.Bytes+size > uint64(c.MaxBytes), nil
}
