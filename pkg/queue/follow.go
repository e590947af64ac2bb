package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

const (
	// Messages a follower asks for at once: what it buffers at most.
	followBatch = 256
	// The server forgets a follower's consumer after this long without a pull.
	followIdle = time.Minute
	// One pull of a follower waits at the server for this long.
	followSlice = 5 * time.Second
)

// FollowOption changes how Results, Attempts and FollowDead read.
type FollowOption func(*following)

// WhenCaughtUp calls f once, from the goroutine of the call, when everything
// that was there is read: at once when there is nothing. What comes later is
// live.
func WhenCaughtUp(f func()) FollowOption { return func(w *following) { w.caughtUp = f } }

// following reads a subject of a stream from its first message on, each message
// once and in order, for as long as its context lasts.
//
// It uses an ephemeral pull consumer without acknowledgements. Whenever
// anything is odd (a gap in the consumer's sequence, a pull without an end, a
// reconnection, a consumer that is gone) the consumer is thrown away and a new
// one starts after the last message read: what nats.go's ordered consumer does,
// but with our context and bounds.
type following struct {
	q                     *Queue
	what, stream, subject string
	fn                    func(*nats.Msg, *nats.MsgMetadata) error
	caughtUp              func()

	cursor uint64 // stream sequence of the last message read
	caught bool
}

// callerError carries an error of fn through the loop.
type callerError struct{ err error }

func (e *callerError) Error() string { return e.err.Error() }

// run returns nil after ErrStop, fn's error, ErrNotFound when the stream is
// not there at first, or ctx's error.
func (w *following) run(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		before := w.cursor
		err := w.once(ctx, attempt == 1)
		var stop *callerError
		switch {
		case errors.As(err, &stop):
			if errors.Is(stop.err, ErrStop) {
				return nil
			}
			return stop.err
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", w.what, context.Cause(ctx))
		case attempt == 1 && errors.Is(err, ErrNotFound):
			return err
		}
		w.q.cfg.Log.Debug().Err(err).Str("subject", w.subject).Uint64("sequence", w.cursor).Msg("following again")
		if w.cursor != before {
			attempt = 1
		}
		if !w.q.pause(ctx, attempt) {
			return ended(ctx, w.what, err)
		}
		select {
		case <-w.q.gone:
			return explain(w.what, nats.ErrConnectionClosed)
		default:
		}
	}
}

func (w *following) noteCaughtUp() {
	if !w.caught {
		w.caught = true
		if w.caughtUp != nil {
			w.caughtUp()
		}
	}
}

// once creates a consumer and reads until something is odd.
func (w *following) once(ctx context.Context, first bool) error {
	q := w.q
	epoch := q.epoch()
	name, pending, err := q.ephemeral(ctx, w.stream, w.subject, w.cursor)
	if err != nil {
		if first {
			return explain(w.what, err)
		}
		return err
	}
	defer q.forget(w.stream, name)
	if pending == 0 {
		w.noteCaughtUp()
	}

	ch := make(chan *nats.Msg, followBatch+16)
	inbox := q.nc.NewInbox()
	sub, err := q.nc.ChanSubscribe(inbox+".*", ch)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()

	var last uint64 // the consumer's sequence
	for n := 1; ; n++ {
		r := pullRequest{Batch: followBatch, Expires: followSlice}
		if !w.caught {
			r = pullRequest{Batch: followBatch, NoWait: true} // its end says that nothing is left
		}
		reply := inbox + "." + strconv.Itoa(n)
		if err := q.requestPull(w.stream, name, reply, r); err != nil {
			return err
		}
		lost := time.NewTimer(r.Expires + pullGrace)
		got, err := w.batch(ctx, ch, reply, epoch, lost, &last)
		lost.Stop()
		if err != nil {
			return err
		}
		if got == 0 && r.NoWait {
			w.noteCaughtUp()
		}
	}
}

var (
	errGap  = errors.New("a message is missing")
	errLost = errors.New("a pull has no end")
)

// batch reads the answers to one pull.
func (w *following) batch(ctx context.Context, ch chan *nats.Msg, reply string, epoch <-chan struct{}, lost *time.Timer, last *uint64) (got int, err error) {
	for got < followBatch {
		var m *nats.Msg
		select {
		case m = <-ch:
		default:
			select {
			case m = <-ch:
			case <-ctx.Done():
				return got, context.Cause(ctx)
			case <-w.q.gone:
				return got, nats.ErrConnectionClosed
			case <-epoch:
				return got, errReconnected
			case <-lost.C:
				return got, errLost
			}
		}
		if m == nil {
			return got, nats.ErrConnectionClosed
		}
		if ctx.Err() != nil {
			return got, context.Cause(ctx)
		}
		if status := m.Header.Get(statusHeader); status != "" && !strings.HasPrefix(m.Reply, "$JS.ACK.") {
			switch {
			case m.Subject != reply: // the end of an earlier pull
				continue
			case status == statusNotFound || status == statusTimeout:
				return got, nil
			default:
				return got, errRefused
			}
		}
		meta, err := m.Metadata()
		if err != nil {
			return got, err
		}
		if meta.Sequence.Consumer != *last+1 {
			return got, errGap
		}
		*last = meta.Sequence.Consumer
		w.cursor = meta.Sequence.Stream
		got++
		if err := w.fn(m, meta); err != nil {
			return got, &callerError{err}
		}
		if meta.NumPending == 0 {
			w.noteCaughtUp()
		}
	}
	return got, nil
}

// ephemeral makes a consumer for a short while, on the messages of subject
// after sequence after, and says how many there are.
func (q *Queue) ephemeral(ctx context.Context, stream, subject string, after uint64) (name string, pending uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	cfg := jetstream.ConsumerConfig{
		Name: "follow-" + nuid.Next(), FilterSubject: subject,
		AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: followIdle,
	}
	if after > 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, after+1
	}
	c, err := q.js.CreateConsumer(ctx, stream, cfg)
	if err != nil {
		return "", 0, err
	}
	return cfg.Name, c.CachedInfo().NumPending, nil
}

// forget deletes an ephemeral consumer; if that fails the server does it after
// followIdle.
func (q *Queue) forget(stream, name string) {
	if !q.nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = q.js.DeleteConsumer(ctx, stream, name)
}

// count is how many messages a subject has, without reading or listing them.
func (q *Queue) count(ctx context.Context, what, stream, subject string) (uint64, error) {
	var n uint64
	err := q.repeat(ctx, what, func(ctx context.Context) error {
		name, pending, err := q.ephemeral(ctx, stream, subject, 0)
		if err != nil {
			return err
		}
		n = pending
		q.forget(stream, name)
		return nil
	})
	return n, err
}

// list reads what a subject has now.
func (q *Queue) list(ctx context.Context, what, stream, subject string, fn func(*nats.Msg, *nats.MsgMetadata) error) error {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	done, finish := context.WithCancelCause(ctx)
	defer finish(nil)
	w := following{q: q, what: what, stream: stream, subject: subject, fn: fn}
	w.caughtUp = func() { finish(ErrStop) }
	err := w.run(done)
	if errors.Is(err, ErrStop) {
		return nil
	}
	if err != nil && !ours(err) && ctx.Err() != nil {
		return ended(ctx, what, ErrUnavailable)
	}
	return err
}
