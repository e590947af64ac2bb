package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// What a follower reads at once, and so buffers at most: this many messages,
	// or the one that passes this many bytes.
	followBatch = 256
	followBytes = 4 << 20
	// A follower that has read everything looks again when a message is
	// published, and all the same after this long.
	followPoll = 2 * time.Second
)

// What was published is there to be read a moment later: so long a follower that
// was woken and found nothing waits until it looks again, each time.
//
//nolint:gochecknoglobals // a constant table
var followLooks = [...]time.Duration{4 * time.Millisecond, 16 * time.Millisecond, 64 * time.Millisecond, 256 * time.Millisecond}

// FollowOption changes how Results, Attempts and FollowDead read.
type FollowOption func(*following)

// WhenCaughtUp calls f once, from the goroutine of the call, when everything
// that was there is read: at once when there is nothing. What comes later is
// live.
func WhenCaughtUp(f func()) FollowOption { return func(w *following) { w.caughtUp = f } }

// following reads a subject of a stream from its first message on, each message
// once and in order, for as long as its context lasts.
//
// It reads what is there after the last message that it has seen, and listens to
// the subject to learn that there may be more. What it hears is no message of the
// stream yet and may never be one: it only ends a wait.
type following struct {
	q                     *Queue
	what, stream, subject string
	fn                    func(*jetstream.RawStreamMsg) error
	caughtUp              func()

	bound  bool   // the stream is there
	cursor uint64 // stream sequence of the last message read
	caught bool
}

// callerError carries an error of fn through the loop.
type callerError struct{ err error }

func (e *callerError) Error() string { return e.err.Error() }

// run returns nil after ErrStop, fn's error, ErrNotFound when the stream is not
// there at first, ErrDenied when it may not be read, or ctx's error.
func (w *following) run(ctx context.Context) error {
	heard := make(chan struct{}, 1)
	refused, forget := w.q.denials.watch(w.subject)
	defer forget()
	sub, err := w.q.nc.Subscribe(w.subject, func(*nats.Msg) {
		select {
		case heard <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return explain(w.what, err)
	}
	defer func() { _ = sub.Unsubscribe() }()

	looks := len(followLooks) // that were made since it was woken
	for attempt := 1; ; {
		before, epoch := w.cursor, w.q.epoch()
		err := w.read(ctx)
		var stop *callerError
		switch {
		case errors.As(err, &stop):
			if errors.Is(stop.err, ErrStop) {
				return nil
			}
			return stop.err
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", w.what, context.Cause(ctx))
		case denied(err), !w.bound && errors.Is(meaningOf(err).is, ErrNotFound):
			return explain(w.what, err)
		}
		if w.cursor != before {
			attempt, looks = 1, len(followLooks)
		}
		if err != nil {
			w.q.cfg.Log.Debug().Err(err).Str("subject", w.subject).Uint64("sequence", w.cursor).Msg("following again")
			if !w.q.pause(ctx, attempt) {
				return w.q.ended(ctx, w.what, err)
			}
			attempt++
			continue
		}
		wait := followPoll
		if looks < len(followLooks) {
			wait = followLooks[looks]
		}
		patience := time.NewTimer(wait)
		select {
		case <-heard:
			looks = 0
		case <-patience.C:
			looks++
		case <-epoch:
		case err := <-refused:
			patience.Stop()
			return explain(w.what, err)
		case <-ctx.Done():
		case <-w.q.gone:
			patience.Stop()
			return explain(w.what, w.q.closed())
		}
		patience.Stop()
	}
}

// read reads what there is after the cursor.
func (w *following) read(ctx context.Context) error {
	if !w.bound {
		if err := w.q.try(ctx, apiStreamInfo+w.stream, func(ctx context.Context) error {
			_, err := w.q.stream(ctx, w.stream)
			return err
		}); err != nil {
			return err
		}
		w.bound = true
	}
	for {
		pending, err := w.q.readBatch(ctx, w.stream, getRequest{
			Sequence: w.cursor + 1, Next: w.subject, Batch: followBatch, MaxBytes: followBytes,
		}, w.take)
		if errors.Is(err, nats.ErrNoResponders) {
			// The coordinators are of a version that reads otherwise; or the
			// stream has no leader, and the next request says so too.
			break
		}
		if err != nil {
			return err
		}
		if pending > 0 {
			continue
		}
		if w.caught {
			return nil
		}
		// A replica may not have heard of the last messages.
		if more, err := w.readOne(ctx); err != nil || !more {
			return err
		}
	}
	for {
		if more, err := w.readOne(ctx); err != nil || !more {
			return err
		}
	}
}

// readOne has the leader say what is next; when nothing is, w is caught up.
func (w *following) readOne(ctx context.Context) (more bool, err error) {
	var m *jetstream.RawStreamMsg
	err = w.q.try(ctx, apiMsgGet+w.stream, func(ctx context.Context) (err error) {
		m, err = w.q.readLeader(ctx, w.stream, getRequest{Sequence: w.cursor + 1, Next: w.subject})
		return err
	})
	if errors.Is(err, ErrNotFound) {
		w.noteCaughtUp()
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, w.take(m)
}

func (w *following) take(m *jetstream.RawStreamMsg) error {
	w.cursor = m.Sequence
	if err := w.fn(m); err != nil {
		return &callerError{err}
	}
	return nil
}

func (w *following) noteCaughtUp() {
	if !w.caught {
		w.caught = true
		if w.caughtUp != nil {
			w.caughtUp()
		}
	}
}

// list reads what a subject has now.
func (q *Queue) list(ctx context.Context, what, stream, subject string, fn func(*jetstream.RawStreamMsg) error) error {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	w := following{q: q, what: what, stream: stream, subject: subject, fn: fn}
	return q.repeat(ctx, what, apiDirectGet+stream, func(ctx context.Context) error {
		err := w.read(ctx)
		var stop *callerError
		if errors.As(err, &stop) {
			if errors.Is(stop.err, ErrStop) {
				return nil
			}
			return stop.err
		}
		return err
	})
}
