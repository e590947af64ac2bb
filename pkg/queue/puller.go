package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
)

const (
	// One pull waits at the server for at most this long; Next asks again as
	// long as its caller wants. So a pull that got lost is found soon, without
	// heartbeats, with which a server drops pulls silently beyond MaxWaiting.
	pullSlice = 5 * time.Second
	// How much later than asked the server's "nothing came" may arrive.
	pullGrace = 2 * time.Second
)

// Statuses of a pull, NATS ADR-13 and ADR-37: the Status header of a message
// that comes from the consumer itself.
const (
	statusHeader   = "Status"
	statusNotFound = "404" // nothing there, for a pull that does not wait
	statusTimeout  = "408" // nothing came
)

// Puller takes chunks of one job, one at a time. It is safe for concurrent use:
// one for all slots will do.
type Puller struct {
	q     *Queue
	id    string
	lease time.Duration
}

// Puller binds to the consumer that OpenJob made; it creates nothing.
// ErrNotFound when the job is not open (yet, or any more).
func (q *Queue) Puller(ctx context.Context, id string) (*Puller, error) {
	if err := checkJobID(id); err != nil {
		return nil, err
	}
	p := &Puller{q: q, id: id}
	err := q.repeat(ctx, "pull from job "+id, func(ctx context.Context) error {
		c, err := q.js.Consumer(ctx, streamWork, consumerJob+id)
		if err == nil {
			p.lease = c.CachedInfo().Config.AckWait
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Next asks for exactly one chunk and waits for it, at most wait (0: only for
// what is there now). ErrEmpty when none came, ErrNotFound when the job was
// closed, ErrUnavailable when NATS was away until wait was over. It returns at
// once when ctx ends; a chunk that arrives just then is given back. Call it
// only with a slot free: the chunk's lease runs from now on.
//
// A message that is no chunk of this job is dead-lettered here and skipped.
func (p *Puller) Next(ctx context.Context, wait time.Duration) (*Delivery, error) {
	deadline := time.Now().Add(wait)
	for {
		asked := time.Now()
		msg, err := p.q.pullOne(ctx, "pull from job "+p.id, streamWork, consumerJob+p.id, max(0, time.Until(deadline)))
		if err != nil {
			return nil, err
		}
		d, err := newDelivery(p, msg, asked)
		if err == nil {
			return d, nil
		}
		if err := p.bury(ctx, msg, err); err != nil {
			return nil, err
		}
	}
}

// bury takes a message out of the queue that nobody could ever work on, and
// leaves a dead letter, so that the job still ends and says why.
func (p *Puller) bury(ctx context.Context, msg *nats.Msg, why error) error {
	p.q.cfg.Log.Error().Err(why).Str("subject", msg.Subject).Msg("not a chunk, dead-lettered")
	// The subject is what the register and the count go by.
	token := msg.Subject[strings.LastIndexByte(msg.Subject, '.')+1:]
	if ordinal, err := strconv.ParseUint(token, 10, 64); err == nil {
		raw, _ := json.Marshal(string(msg.Data[:min(len(msg.Data), 256)])) // a string always encodes
		var generation struct {
			N uint32 `json:"generation"`
		}
		_ = json.Unmarshal(msg.Data, &generation) // broken: 0 it is
		err := p.q.PublishDead(ctx, job.Dead{
			Chunk:  job.Chunk{Job: p.id, Ordinal: ordinal, Generation: generation.N, Input: raw},
			Worker: p.q.cfg.Name, Attempts: 1, Reason: job.ReasonPermanent,
			Error: "the message is not a chunk: " + why.Error(), At: time.Now().UTC(),
		})
		if err != nil && !errors.Is(err, ErrExists) {
			return err
		}
	}
	return p.q.answered(ctx, "take out "+msg.Subject, msg.Reply, ackTerm("not a chunk: "+why.Error()), streamWork, consumerJob+p.id)
}

// pullRequest is the body of CONSUMER.MSG.NEXT, NATS ADR-13.
type pullRequest struct {
	Batch   int           `json:"batch"`
	Expires time.Duration `json:"expires,omitempty"` // nanoseconds
	NoWait  bool          `json:"no_wait,omitempty"`
}

func (q *Queue) requestPull(stream, consumer, inbox string, r pullRequest) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return q.nc.PublishRequest(subjectPull+stream+"."+consumer, inbox, body)
}

// pullOne gets one message from a durable consumer. We speak the pull protocol
// ourselves because nats.go's Fetch and Next drop a message that arrives when
// their context has ended: it would then be nobody's until its lease is over.
func (q *Queue) pullOne(ctx context.Context, what, stream, consumer string, wait time.Duration) (*nats.Msg, error) {
	deadline := time.Now().Add(wait)
	var last error // of the last try, nil when it was only empty
	for attempt := 1; ; attempt++ {
		if ctx.Err() != nil {
			return nil, ended(ctx, what, nil)
		}
		r := pullRequest{Batch: 1, Expires: min(time.Until(deadline), pullSlice)}
		if r.Expires < 10*time.Millisecond { // the server refuses very short ones
			if attempt > 1 {
				if last != nil {
					return nil, last
				}
				return nil, fmt.Errorf("%s: %w", what, ErrEmpty)
			}
			r = pullRequest{Batch: 1, NoWait: true}
		}
		msg, err := q.pullOnce(ctx, stream, consumer, r)
		switch {
		case err == nil && msg != nil:
			return msg, nil
		case err == nil:
			last = nil
			continue
		case ctx.Err() != nil:
			return nil, ended(ctx, what, nil)
		}
		last = explain(what, err)
		if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrConnectionDraining) {
			return nil, last
		}
		// Refused, lost, or nobody there: is the consumer gone, or is it a
		// moment's trouble? The texts of the statuses are not to be relied on.
		if gerr := q.consumerThere(ctx, stream, consumer); errors.Is(gerr, ErrNotFound) {
			return nil, explain(what, gerr)
		}
		if time.Until(deadline) <= 0 {
			return nil, last
		}
		if !q.pause(ctx, attempt) {
			return nil, ended(ctx, what, last)
		}
	}
}

// pullOnce does one pull on an inbox of its own. Neither message nor error:
// nothing came.
func (q *Queue) pullOnce(ctx context.Context, stream, consumer string, r pullRequest) (*nats.Msg, error) {
	// One message is asked for; room for a status beside it.
	ch := make(chan *nats.Msg, 4)
	inbox := q.nc.NewInbox()
	epoch := q.epoch()
	sub, err := q.nc.ChanSubscribe(inbox, ch)
	if err != nil {
		return nil, err
	}
	if err := q.requestPull(stream, consumer, inbox, r); err != nil {
		_ = sub.Unsubscribe()
		return nil, err
	}
	lost := time.NewTimer(r.Expires + pullGrace)
	defer lost.Stop()
	select {
	case m := <-ch:
		switch m.Header.Get(statusHeader) {
		case "":
			_ = sub.Unsubscribe()
			return m, nil
		case statusNotFound, statusTimeout:
			_ = sub.Unsubscribe()
			return nil, nil
		default: // 503 nobody there, 409 consumer deleted, leader changed, too many pulls, …
			_ = sub.Unsubscribe()
			return nil, fmt.Errorf("%w: status %s", errRefused, m.Header.Get(statusHeader))
		}
	case <-ctx.Done():
		q.background.Add(1)
		go func() {
			defer q.background.Done()
			if m := q.retract(sub, ch); m != nil {
				_ = q.nc.Publish(m.Reply, ackNak(0)) // if this is lost, the lease's end gives it back
			}
		}()
		return nil, context.Cause(ctx)
	case <-q.gone:
		return nil, nats.ErrConnectionClosed
	case <-epoch: // the server may have forgotten the pull
	case <-lost.C:
	}
	if m := q.retract(sub, ch); m != nil {
		return m, nil
	}
	return nil, errUnanswered
}

var (
	errRefused    = fmt.Errorf("%w: the consumer refused the pull", ErrUnavailable)
	errUnanswered = fmt.Errorf("%w: a pull was not answered", ErrUnavailable)
)

// retract takes a pull back and returns the message that was on its way, if
// any. When the server has answered for the end of the subscription, nothing
// else can come (from this server: in a cluster another may send into the void
// for a moment; such a message comes back after its lease).
func (q *Queue) retract(sub *nats.Subscription, ch chan *nats.Msg) *nats.Msg {
	if err := sub.Drain(); err != nil {
		_ = sub.Unsubscribe()
	}
	ctx, cancel := context.WithTimeout(context.Background(), tryTimeout/2)
	defer cancel()
	_ = q.nc.FlushWithContext(ctx) // disconnected: then what is here is all
	for {
		select {
		case m := <-ch:
			if m != nil && m.Header.Get(statusHeader) == "" {
				return m
			}
			if m == nil {
				return nil
			}
		default:
			return nil
		}
	}
}

// consumerThere is nil or ErrNotFound, or why it can not be said.
func (q *Queue) consumerThere(ctx context.Context, stream, consumer string) error {
	if !q.nc.IsConnected() {
		return nats.ErrDisconnected
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout/4)
	defer cancel()
	_, err := q.js.Consumer(ctx, stream, consumer)
	if err != nil && (codeOf(err) == jetstream.JSErrCodeConsumerNotFound || codeOf(err) == jetstream.JSErrCodeStreamNotFound) {
		return ErrNotFound
	}
	return err
}
