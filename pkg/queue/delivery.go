package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"drayage/pkg/job"
)

// What an acknowledgement says, NATS ADR-13 and "JetStream wire API":
// published to the reply subject of the message.
var (
	wordAck      = []byte("+ACK")
	wordProgress = []byte("+WPI")
)

// ackNak gives a message back, to be delivered again after delay. 0: at once.
func ackNak(delay time.Duration) []byte {
	if delay <= 0 {
		return []byte("-NAK")
	}
	return fmt.Appendf(nil, `-NAK {"delay": %d}`, delay.Nanoseconds())
}

// ackTerm takes a message out of the queue; NATS publishes why as an advisory.
func ackTerm(reason string) []byte {
	reason = strings.Join(strings.Fields(reason), " ")
	return []byte("+TERM " + clip(reason, 256))
}

// clip cuts s to at most n bytes, at the start of a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// How long a retry waits when the verdict does not say. A Nak without delay
// would be delivered again at once and burn attempts.
const defaultRetryDelay = time.Second

// Delivery is one chunk in the hands of one worker, until Settle, the end of
// its lease, or the end of the worker.
type Delivery struct {
	p        *Puller
	chunk    job.Chunk
	hedge    bool
	attempt  int
	reply    string // where acknowledgements go
	header   nats.Header
	deadline time.Time

	mu      sync.Mutex
	ctx     context.Context
	lease   *Lease
	settled bool
}

func newDelivery(p *Puller, msg *nats.Msg, after time.Time) (*Delivery, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("reply subject: %w", err)
	}
	d := &Delivery{p: p, hedge: strings.HasSuffix(msg.Subject, hedgeSuffix), attempt: int(meta.NumDelivered), reply: msg.Reply, header: msg.Header}
	if d.chunk, err = readChunk(msg.Data, msg.Subject, p.id); err != nil {
		return nil, err
	}
	// The server's lease runs from its delivery, which was not before after.
	d.deadline = after.Add(leaseTime(p.lease))
	return d, nil
}

// Chunk is what to do.
func (d *Delivery) Chunk() job.Chunk { return d.chunk }

func (d *Delivery) name() string {
	noun := "chunk "
	if d.hedge {
		noun = "hedge of chunk "
	}
	return noun + d.chunk.Job + "/" + strconv.FormatUint(d.chunk.Ordinal, 10)
}

// Hedge reports whether this is a second go at a chunk that another worker has,
// see Queue.Hedge. A hedge has attempts and excuses of its own. The chunk's fate
// is not the hedge's: a worker whose hedge fails writes no dead letter and
// reports nothing to be retried, it settles the hedge as Stale.
func (d *Delivery) Hedge() bool { return d.hedge }

// Attempt is the number of this delivery, from 1. NATS counts every delivery of
// this message, those too that ended in SlowDown or Draining (see Excused) or
// with a killed worker.
func (d *Delivery) Attempt() int { return d.attempt }

// Lease is the length of the lease, the consumer's AckWait.
func (d *Delivery) Lease() time.Duration { return d.p.lease }

// Hold starts to keep the delivery ours and returns the context to work under:
// a child of ctx that is cancelled with cause job.ErrLeaseLost when the lease
// ends. A second call returns the same.
//
// End it with Lease.Stop. Settle ends the renewals by itself but leaves the
// context alone, so that it may be the one Settle is given.
func (d *Delivery) Hold(ctx context.Context) (context.Context, *Lease) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lease == nil {
		d.ctx, d.lease = startLease(ctx, d)
	}
	return d.ctx, d.lease
}

// until is when the delivery stops being ours.
func (d *Delivery) until() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lease != nil {
		return d.lease.Deadline()
	}
	return d.deadline
}

// Settle turns the verdict into the one acknowledgement that fits, and is the
// only place that acknowledges a chunk:
//
//	Done       +ACK, repeated until the server has answered or ctx ends
//	Dead       +TERM with the reason, likewise; write the dead letter first
//	Stale      +TERM with the reason, likewise; a closed job is success
//	Retry      -NAK with the delay After (1s when it is 0)
//	SlowDown   likewise, and the attempt is excused, see Excused
//	Draining   -NAK: delivered to another at once, and the attempt is excused
//	LeaseLost  nothing: it is somebody else's
//
// A Nak is sent even when ctx has ended, and is not repeated after an unknown
// outcome, because it could then hit somebody else's delivery; if it got lost,
// the lease's end does the same later, and the error says so. For the same
// reason it is not sent at all when the lease has ended, as after a pause of the
// process: that is job.ErrLeaseLost. ErrNotFound: the job was closed meanwhile.
// ErrSettled: it was called before.
func (d *Delivery) Settle(ctx context.Context, v job.Verdict) error {
	d.mu.Lock()
	settled, lease := d.settled, d.lease
	d.settled = true
	d.mu.Unlock()
	what := fmt.Sprintf("settle %s as %s", d.name(), v.Kind)
	if settled {
		return fmt.Errorf("%s: %w", what, ErrSettled)
	}
	if lease != nil {
		lease.quiet() // a renewal after a Nak would undo its delay
	}
	q, consumer := d.p.q, consumerJob+d.p.id
	naks := v.Kind == job.VerdictRetry || v.Kind == job.VerdictSlowDown || v.Kind == job.VerdictDraining
	if naks && !time.Now().Before(d.until()) {
		return fmt.Errorf("%s: %w", what, job.ErrLeaseLost)
	}
	switch v.Kind {
	case job.VerdictDone:
		return q.answered(ctx, what, d.reply, wordAck, streamWork, consumer)
	case job.VerdictDead, job.VerdictStale:
		reason := v.Kind.String()
		if v.Err != nil {
			reason = v.Err.Error()
		}
		if d.hedge {
			reason = "hedge: " + reason
		}
		err := q.answered(ctx, what, d.reply, ackTerm(reason), streamWork, consumer)
		if v.Kind == job.VerdictStale && errors.Is(err, ErrNotFound) {
			return nil // out of the queue is what was wanted
		}
		return err
	case job.VerdictRetry, job.VerdictSlowDown:
		if v.Kind == job.VerdictSlowDown {
			d.excuse(ctx)
		}
		delay := v.After
		if delay <= 0 {
			delay = defaultRetryDelay
		}
		return q.said(ctx, what, d.reply, ackNak(delay))
	case job.VerdictDraining:
		d.excuse(ctx)
		return q.said(ctx, what, d.reply, ackNak(0))
	case job.VerdictLeaseLost:
		return nil
	default:
		return fmt.Errorf("%s: %w", what, invalid("verdict %d", int(v.Kind)))
	}
}

// answered sends an acknowledgement that may be repeated until the consumer
// has answered for it, or ctx ends.
func (q *Queue) answered(ctx context.Context, what, reply string, word []byte, stream, consumer string) error {
	missing := 0
	var last error // of the last try
	for attempt := 1; ; attempt++ {
		if ctx.Err() != nil {
			return q.ended(ctx, what, last)
		}
		err := q.try(ctx, reply, func(ctx context.Context) error {
			_, err := q.nc.RequestWithContext(ctx, reply, word)
			return err
		})
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return q.ended(ctx, what, explain("NATS", err))
		}
		if !meaningOf(err).again {
			return explain(what, err)
		}
		// Nobody listens: a leader is being elected, a server starts, or the
		// job was closed. Seen twice, the last is certain enough.
		if errors.Is(err, nats.ErrNoResponders) && errors.Is(q.consumerThere(ctx, stream, consumer), ErrNotFound) {
			if missing++; missing >= 2 {
				return fmt.Errorf("%s: consumer %s: %w", what, consumer, ErrNotFound)
			}
		}
		last = explain("NATS", err)
		if !q.pause(ctx, attempt) {
			return q.ended(ctx, what, last)
		}
	}
}

// said sends an acknowledgement once and makes sure that it reached the server
// if that can be known within ctx, at most tryTimeout.
func (q *Queue) said(ctx context.Context, what, reply string, word []byte) error {
	if err := q.nc.Publish(reply, word); err != nil {
		return explain(what, err)
	}
	// Also with a context that is dead: a worker that is told to stop right
	// now has said it, and learns whether it was heard if it is quick.
	fctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tryTimeout/4)
	defer cancel()
	if err := q.nc.FlushWithContext(fctx); err != nil {
		return explain(what, err)
	}
	return explain(what, q.violated(reply))
}
