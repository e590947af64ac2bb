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
	// long as its caller wants. It is short because a pull can not be called
	// back, only awaited: see pullOnce. And so a pull that got lost is found
	// soon, without heartbeats, with which a server drops pulls silently beyond
	// MaxWaiting.
	pullSlice = time.Second
	// How much later than asked the server's "nothing came" may arrive, and
	// how much later when the caller has gone.
	pullGrace    = 2 * time.Second
	pullPatience = 250 * time.Millisecond
	// How long the server may take to answer for the end of a subscription.
	retractTimeout = 500 * time.Millisecond
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
	err := q.repeat(ctx, "pull from job "+id, apiConsumerInfo+streamWork+"."+consumerJob+id, func(ctx context.Context) error {
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
// closed, ErrUnavailable when NATS was away until wait was over. Call it only
// with a slot free: the chunk's lease runs from now on.
//
// When ctx ends, Next waits for the end of the pull that is at the server: a
// second at most, or nothing without a connection. A chunk that comes meanwhile
// is returned although ctx has ended, with a nil error: to give it back unasked
// would cost the chunk an attempt. Carry it, or settle it as Draining, which is
// excused. A server that does not answer is waited for a little longer, and a
// chunk that it then sends comes again when its lease is over.
//
// A message that is no chunk of this job is dead-lettered here and skipped.
func (p *Puller) Next(ctx context.Context, wait time.Duration) (*Delivery, error) {
	deadline := time.Now().Add(wait)
	for {
		msg, err := p.q.pullOne(ctx, "pull from job "+p.id, streamWork, consumerJob+p.id, max(0, time.Until(deadline)), p.lease/10)
		if err != nil {
			return nil, err
		}
		d, err := newDelivery(p, msg.Msg, msg.after)
		if err != nil {
			if err := p.bury(ctx, msg.Msg, err); err != nil {
				return nil, err
			}
			continue
		}
		if time.Until(d.deadline) > 0 {
			return d, nil
		}
		// This process was stopped while the chunk lay in its socket. It is
		// somebody else's by now, or will come again: nothing is to be said.
		p.q.cfg.Log.Warn().Str("job", p.id).Uint64("chunk", d.chunk.Ordinal).Msg("a chunk was received after its lease had ended, left alone")
	}
}

// bury takes a message out of the queue that nobody could ever work on, and
// leaves a dead letter, so that the job still ends and says why.
func (p *Puller) bury(ctx context.Context, msg *nats.Msg, why error) error {
	p.q.cfg.Log.Error().Err(why).Str("subject", msg.Subject).Msg("not a chunk, dead-lettered")
	// The subject is what the register and the count go by. A hedge's does not
	// end in a number: the chunk it is of has its own message, and its own end.
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
	return q.nc.PublishRequest(apiPull+stream+"."+consumer, inbox, body)
}

// pulled is a message and a moment before the server delivered it.
type pulled struct {
	*nats.Msg
	after time.Time
}

// pullOne gets one message from a durable consumer. We speak the pull protocol
// ourselves because nats.go's Fetch and Next drop a message that arrives when
// their context has ended: it would then be nobody's until its lease is over.
// Ours returns it, whatever has become of ctx. For pulse see pullOnce.
func (q *Queue) pullOne(ctx context.Context, what, stream, consumer string, wait, pulse time.Duration) (pulled, error) {
	deadline := time.Now().Add(wait)
	var last error     // of the last try, nil when it was only empty
	again := false     // after the end of wait too: a lost pull says nothing about the queue
	var late time.Time // when that was first seen
	for attempt := 1; ; attempt++ {
		if ctx.Err() != nil {
			return pulled{}, q.ended(ctx, what, nil)
		}
		r := pullRequest{Batch: 1, Expires: min(time.Until(deadline), pullSlice)}
		if r.Expires < 10*time.Millisecond { // the server refuses very short ones
			if attempt > 1 && !again {
				if last != nil {
					return pulled{}, last
				}
				return pulled{}, fmt.Errorf("%s: %w", what, ErrEmpty)
			}
			again = false
			r = pullRequest{Batch: 1, NoWait: true}
		}
		msg, err := q.pullOnce(ctx, stream, consumer, r, pulse)
		switch {
		case err == nil && msg.Msg != nil:
			return msg, nil
		case err == nil:
			last = nil
			continue
		case ctx.Err() != nil:
			return pulled{}, q.ended(ctx, what, nil)
		}
		last = explain(what, err)
		if denied(err) || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrConnectionDraining) {
			return pulled{}, last
		}
		// Refused, lost, or nobody there: is the consumer gone, or is it a
		// moment's trouble? The texts of the statuses are not to be relied on.
		// And nothing is pulled before the consumer has answered: over a
		// connection that only carries requests, each pull would take a chunk
		// away from everybody for the length of a lease.
		for try := attempt; ; try++ {
			gerr := q.consumerThere(ctx, stream, consumer)
			if errors.Is(gerr, ErrNotFound) || denied(gerr) {
				return pulled{}, explain(what, gerr)
			}
			if now := time.Now(); !now.Before(deadline) {
				if late.IsZero() {
					late = now
				}
				if !q.nc.IsConnected() || now.Sub(late) > pullGrace {
					return pulled{}, last
				}
				// A server that came back takes a moment until JetStream answers,
				// and another until the consumer takes pulls.
				again = true
			}
			if !q.pause(ctx, try) {
				return pulled{}, q.ended(ctx, what, last)
			}
			if gerr == nil {
				break
			}
		}
	}
}

// pullOnce does one pull on an inbox of its own. Neither message nor error:
// nothing came.
//
// When ctx ends the pull is awaited all the same. A server forgets a pull when
// nobody listens to its inbox any more, but what it has chosen for the pull and
// not sent yet counts as delivered then: it comes again as a second attempt, at
// once when the server has noticed, else when its lease is over. On a server
// that syncs each write this happened to one of ten pulls that were called back
// while chunks arrived. The end of a pull's time comes in order after all that
// was chosen for it.
//
// A pulse above 0 is how often to look at the clock while waiting. The message
// does not say when it was delivered, and a process that was stopped finds it
// as if it had just come: but then the pulse has missed beats, and the message
// counts as delivered at one before.
func (q *Queue) pullOnce(ctx context.Context, stream, consumer string, r pullRequest, pulse time.Duration) (pulled, error) {
	// One message is asked for; room for a status beside it.
	ch := make(chan *nats.Msg, 4)
	inbox := q.nc.NewInbox()
	epoch := q.epoch()
	sub, err := q.nc.ChanSubscribe(inbox, ch)
	if err != nil {
		return pulled{}, err
	}
	refused, forget := q.denials.watch(apiPull + stream + "." + consumer)
	defer forget()
	start := time.Now()
	after, last := start, start // last is when the clock was looked at
	if err := q.requestPull(stream, consumer, inbox, r); err != nil {
		_ = sub.Unsubscribe()
		return pulled{}, err
	}
	lost := time.NewTimer(r.Expires + pullGrace)
	defer lost.Stop()
	var beat <-chan time.Time
	if pulse > 0 {
		ticker := time.NewTicker(pulse)
		defer ticker.Stop()
		beat = ticker.C
	}
	gone := ctx.Done()
	for waiting := true; waiting; {
		select {
		case m := <-ch:
			_ = sub.Unsubscribe()
			switch m.Header.Get(statusHeader) {
			case "":
				return pulled{m, after}, nil
			case statusNotFound, statusTimeout:
				return pulled{}, nil
			default: // 503 nobody there, 409 consumer deleted, leader changed, too many pulls, …
				return pulled{}, fmt.Errorf("%w: status %s", errRefused, m.Header.Get(statusHeader))
			}
		case <-beat:
			now := time.Now()
			// After a pause the socket has not been read yet: one more beat.
			if timely := now.Sub(last) < 3*pulse; timely && len(ch) == 0 {
				after = last
			}
			last = now
		case err := <-refused:
			_ = sub.Unsubscribe()
			return pulled{}, err
		case <-q.gone:
			return pulled{}, q.closed()
		case <-gone:
			gone = nil
			waiting = q.nc.IsConnected()
			lost.Reset(time.Until(start.Add(r.Expires + pullPatience)))
		case <-epoch: // the server may have forgotten the pull
			waiting = false
		case <-lost.C:
			waiting = false
		}
	}
	if m := q.retract(sub, ch); m != nil {
		return pulled{m, after}, nil
	}
	return pulled{}, errUnanswered
}

var (
	errRefused    = fmt.Errorf("%w: the consumer refused the pull", ErrUnavailable)
	errUnanswered = fmt.Errorf("%w: a pull was not answered", ErrUnavailable)
)

// retract takes a pull back that has no end, and returns the message that was
// on its way, if any.
func (q *Queue) retract(sub *nats.Subscription, ch chan *nats.Msg) *nats.Msg {
	// Drain and not Unsubscribe, which would let nats.go drop what comes.
	if err := sub.Drain(); err != nil {
		_ = sub.Unsubscribe()
	}
	if q.nc.IsConnected() { // else what is here is all
		ctx, cancel := context.WithTimeout(context.Background(), retractTimeout)
		defer cancel()
		_ = q.nc.FlushWithContext(ctx) // a connection that breaks meanwhile ends it too
	}
	for {
		select {
		case m := <-ch:
			if m == nil {
				return nil
			}
			if m.Header.Get(statusHeader) == "" {
				return m
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
	err := q.asking(ctx, apiConsumerInfo+stream+"."+consumer, func(ctx context.Context) error {
		_, err := q.js.Consumer(ctx, stream, consumer)
		return err
	})
	if err != nil && (codeOf(err) == jetstream.JSErrCodeConsumerNotFound || codeOf(err) == jetstream.JSErrCodeStreamNotFound) {
		return ErrNotFound
	}
	return err
}
