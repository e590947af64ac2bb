package queue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"drayage/pkg/job"
)

// Lease is the time for which a delivered chunk is this worker's.
//
// The server holds the real one: it delivers the chunk to another worker when
// AckWait has passed since its delivery or since the last sign of progress.
// Acknowledgements are no fence (a holder whose lease is over can still ack),
// so the worker must know by itself when to stop. The local deadline therefore
// moves in lock-step with the server's and always behind it: it is set from the
// moment before a renewal was sent, only when the consumer has answered that
// very renewal, and it ends a tenth of the lease early. (Idea: asyncjobs.)
//
// Renewals are sent at a third of the lease, and only if Progress was called
// since the last one. So a worker that hangs loses its chunk like one that died.
//
// A lease is economy, not safety: it avoids double work. That double work adds
// no row is the token's doing.
type Lease struct {
	d      *Delivery
	cancel context.CancelCauseFunc
	stop   chan struct{}
	once   sync.Once
	done   chan struct{}

	progressed atomic.Bool
	signal     chan struct{} // room for one: progressed became true
	deadline   atomic.Int64  // UnixNano, for Deadline
	lost       atomic.Bool
}

// leaseTime is how long the local lease lasts: less than the server's.
func leaseTime(lease time.Duration) time.Duration { return lease - lease/10 }

func startLease(ctx context.Context, d *Delivery) (context.Context, *Lease) {
	ctx, cancel := context.WithCancelCause(ctx)
	l := &Lease{
		d: d, cancel: cancel,
		stop: make(chan struct{}), done: make(chan struct{}), signal: make(chan struct{}, 1),
	}
	l.deadline.Store(d.deadline.UnixNano())
	go l.keep(ctx)
	return ctx, l
}

// Progress says that the work moves: bytes were read, rows were sent. Cheap
// enough for every block; not for a ticker, which would keep a hung chunk.
func (l *Lease) Progress() {
	if l.progressed.Load() {
		return
	}
	if l.progressed.CompareAndSwap(false, true) {
		select {
		case l.signal <- struct{}{}:
		default:
		}
	}
}

// Stop ends the lease's goroutine, waits for it, and cancels the context of
// Hold (with context.Canceled, unless it was cancelled before). It does not
// acknowledge anything. It may be called more than once.
func (l *Lease) Stop() {
	l.quiet()
	l.cancel(context.Canceled)
}

// quiet ends the renewals, but not the context.
func (l *Lease) quiet() {
	l.once.Do(func() { close(l.stop) })
	<-l.done
}

// Lost reports whether the lease ended by itself.
func (l *Lease) Lost() bool { return l.lost.Load() }

// Deadline is when the lease ends if it is not renewed.
func (l *Lease) Deadline() time.Time { return time.Unix(0, l.deadline.Load()) }

// keep owns the deadline.
func (l *Lease) keep(ctx context.Context) {
	defer close(l.done)
	length := l.d.p.lease
	deadline := l.d.deadline
	due := time.Now().Add(length / 3)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		if !now.Before(deadline) {
			l.lost.Store(true)
			l.cancel(job.ErrLeaseLost)
			return
		}
		if !now.Before(due) && l.progressed.Swap(false) {
			switch err := l.renew(ctx, min(length/3, time.Until(deadline))); {
			case err == nil:
				deadline = now.Add(leaseTime(length))
				l.deadline.Store(deadline.UnixNano())
				due = now.Add(length / 3)
			default:
				l.progressed.Store(true) // it was not told: try again soon
				due = time.Now().Add(length / 20)
			}
			continue
		}
		// Wake for the end, for the next renewal if there is something to
		// tell, and for the first progress if there is not.
		next := deadline
		var signal <-chan struct{}
		if l.progressed.Load() {
			if due.Before(next) {
				next = due
			}
		} else {
			signal = l.signal
		}
		timer.Reset(time.Until(next))
		select {
		case <-timer.C:
		case <-signal:
		case <-l.stop:
			return
		case <-ctx.Done():
			return
		}
	}
}

// renew tells the consumer and waits for its answer: a request makes it say
// that it has seen the progress, where a mere flush would only prove that the
// server we are connected to has.
func (l *Lease) renew(ctx context.Context, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	go func() { // Stop does not wait for an answer
		select {
		case <-l.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	q := l.d.p.q
	err := q.asking(ctx, l.d.reply, func(ctx context.Context) error {
		_, err := q.nc.RequestWithContext(ctx, l.d.reply, wordProgress)
		return err
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		q.cfg.Log.Warn().Err(err).Str("job", l.d.chunk.Job).Uint64("chunk", l.d.chunk.Ordinal).Msg("lease not renewed, trying again")
	}
	return err
}
