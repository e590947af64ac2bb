package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nuid"

	"drayage/pkg/job"
)

const (
	// A standby looks at the key this often, or four times in a TTL when that
	// is shorter, which is how soon it takes over from a leader that lets go.
	// To look is one read of one message, and there are a few standbys.
	leadPoll = 400 * time.Millisecond
	// Letting go is not worth delaying the end of a process for long.
	releaseTimeout = 2 * time.Second
)

// LeadConfig says who wants to lead what.
type LeadConfig struct {
	// Name is what is led, with the letters of a job's id: a key of the bucket
	// of leases. Of all that ask for one name, one leads.
	Name string
	// Holder says who that is, for a person. It need not be unique.
	Holder string
	// TTL is how long a leader that is not heard of any more stays in the way
	// of the next, 1s to 1h. Renewed at a third of it.
	TTL time.Duration
}

// Leadership is the lead of one name, from Lead until it is lost or Release.
//
// It is economy, not safety: it keeps several coordinators from doing the same
// work, most of the time. A leader that was stopped between a look at Leading
// and a write still writes. So every write of a leader is compare-and-set or
// first-write-wins, as if there were no leader.
//
// The holder's own deadline is that of Lease: it runs from the moment before
// the last renewal that NATS answered for was sent, and ends a tenth of the TTL
// early. So the holder knows that it is over before the next one begins, unless
// it was stopped just then, or the clocks of the two run at different speeds.
type Leadership struct {
	q     *Queue
	in    bucket
	cfg   LeadConfig
	claim string // tells this leadership from any other

	ctx      context.Context
	cancel   context.CancelCauseFunc
	start    time.Time    // what the deadline counts from, a monotonic clock
	deadline atomic.Int64 // nanoseconds after start

	rev  Revision // keep's, and after it Release's; 0 when it is somebody else's
	once sync.Once
	stop chan struct{}
	done chan struct{}
}

// lead is the value of the key.
type lead struct {
	Holder string    `json:"holder"`
	Claim  string    `json:"claim"`
	TTLMS  int64     `json:"ttl_ms"`
	Since  time.Time `json:"since"`
}

// Lead waits until this holder leads, or ctx ends; trouble with NATS is waited
// out. It leads within about half a second after another's Release, and within
// the TTL and a second after another was killed. Call Release in any case.
func (q *Queue) Lead(ctx context.Context, cfg LeadConfig) (*Leadership, error) {
	what := "lead " + cfg.Name
	switch {
	case !job.ValidID(cfg.Name):
		return nil, invalid("%.140q can not be led: 1 to %d characters of [a-z0-9_-]", cfg.Name, job.MaxID)
	case cfg.TTL < time.Second || cfg.TTL > time.Hour:
		return nil, invalid("%s: TTL of %v, must be between 1s and 1h", what, cfg.TTL)
	}
	steadily := func(time.Duration) time.Duration { return min(leadPoll, cfg.TTL/4) }
	return q.leadOne(ctx, q.bucket(bucketLeases), cfg, []string{cfg.Name}, steadily)
}

// leadOne waits until this holder leads one of the names; pause is how long until
// it looks again when it has waited for that long.
func (q *Queue) leadOne(ctx context.Context, in bucket, cfg LeadConfig, names []string, pause func(waited time.Duration) time.Duration) (*Leadership, error) {
	claim := nuid.Next()
	begun := time.Now()
	looks := make([]look, len(names))
	for {
		for i, name := range names {
			cfg.Name = name
			rev, free, err := looks[i].free(ctx, in, cfg, claim)
			if err != nil {
				return nil, err
			}
			if !free || ctx.Err() != nil {
				continue
			}
			l, err := q.takeLead(ctx, in, cfg, claim, rev)
			if err == nil {
				return l, nil
			}
			if errors.Is(err, ErrInvalid) || errors.Is(err, ErrDenied) {
				return nil, err
			}
			if !errors.Is(err, ErrExists) && !errors.Is(err, ErrConflict) {
				q.cfg.Log.Debug().Err(err).Str("lead", name).Msg("could not take the lead")
			}
		}
		every := pause(time.Since(begun))
		select {
		case <-time.After(every + rand.N(every/4)):
		case <-ctx.Done():
			return nil, q.ended(ctx, "lead "+cfg.Name, nil)
		case <-q.gone:
			return nil, q.ended(ctx, "lead "+cfg.Name, nil)
		}
	}
}

// look is what one who waits has seen of a key.
type look struct {
	seen  Revision
	since time.Time // when it was first seen
}

// free reports whether the key can be taken, and its revision. Its error is that
// NATS lets nobody like us look.
func (k *look) free(ctx context.Context, in bucket, cfg LeadConfig, claim string) (Revision, bool, error) {
	value, rev, err := in.get(ctx, cfg.Name)
	now := time.Now()
	switch {
	case errors.Is(err, ErrNotFound):
		return 0, true, nil
	case denied(err):
		return 0, false, err
	case err != nil:
		in.q.cfg.Log.Debug().Err(err).Str("lead", cfg.Name).Msg("can not see who leads")
		return 0, false, nil
	}
	if rev != k.seen {
		k.seen, k.since = rev, now
	}
	var there lead
	if json.Unmarshal(value, &there) != nil {
		there.TTLMS = cfg.TTL.Milliseconds()
	}
	// Nobody has renewed it for its TTL, which we count ourselves: NATS
	// expires keys too, but by the second and when it has the time. Or
	// it is ours, from a try whose answer was lost.
	return rev, now.Sub(k.since) >= time.Duration(there.TTLMS)*time.Millisecond || there.Claim == claim, nil
}

// takeLead writes the key, which has revision rev or is not there.
func (q *Queue) takeLead(ctx context.Context, in bucket, cfg LeadConfig, claim string, rev Revision) (*Leadership, error) {
	l := &Leadership{
		q: q, in: in, cfg: cfg, claim: claim, rev: rev, start: time.Now(),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	l.deadline.Store(int64(leaseTime(cfg.TTL)))
	if err := l.write(l.ctx); err != nil {
		l.cancel(err)
		return nil, err
	}
	go l.keep()
	return l, nil
}

// write makes or renews the key; if that succeeds, the deadline moves.
func (l *Leadership) write(ctx context.Context) error {
	asked := time.Since(l.start)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(l.deadline.Load())-asked)
	defer cancel()
	value, err := json.Marshal(lead{l.cfg.Holder, l.claim, l.cfg.TTL.Milliseconds(), l.start.UTC()})
	if err != nil {
		return invalid("%v", err)
	}
	ttl := (l.cfg.TTL + time.Second - 1).Truncate(time.Second) // NATS counts whole seconds
	rev, err := l.in.put(ctx, "lead "+l.cfg.Name, l.cfg.Name, value, l.rev, ttl)
	if err == nil {
		l.rev = rev
		l.deadline.Store(int64(asked + leaseTime(l.cfg.TTL)))
	}
	return err
}

// keep renews until the lead is lost or given up. It owns rev.
func (l *Leadership) keep() {
	defer close(l.done)
	// A renewal does not outlive Release, nor the leader's work.
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	go func() {
		select {
		case <-l.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	due := l.cfg.TTL / 3
	for l.Leading() {
		wait := min(due, time.Duration(l.deadline.Load())) - time.Since(l.start)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		if !l.Leading() {
			return
		}
		now := time.Since(l.start)
		switch err := l.write(ctx); {
		case err == nil:
			due = now + l.cfg.TTL/3
		case errors.Is(err, ErrConflict), errors.Is(err, ErrExists):
			l.rev = 0
			l.cancel(fmt.Errorf("%w: %w", ErrLeadLost, err))
			return
		case ctx.Err() != nil:
			return
		default: // write repeats by itself until the deadline: a full bucket, say
			l.q.cfg.Log.Warn().Err(err).Str("lead", l.cfg.Name).Msg("lead not renewed, trying again")
			due = time.Since(l.start) + l.cfg.TTL/20
		}
	}
}

// Context is the one to work under: a child of Lead's that is cancelled with
// the cause ErrLeadLost when the lead is lost, and with context.Canceled by
// Release.
func (l *Leadership) Context() context.Context { return l.ctx }

// Leading reports whether the lead is still ours, and ends Context when it is
// not. It looks at the clock and nothing else, so it is cheap enough for each
// write. A process that was stopped and goes on learns here that it is over,
// while the cancellation of Context may take a moment to come round.
func (l *Leadership) Leading() bool {
	if l.ctx.Err() != nil {
		return false
	}
	if time.Since(l.start) < time.Duration(l.deadline.Load()) {
		return true
	}
	l.cancel(ErrLeadLost)
	return false
}

// Release cancels Context and lets the next one lead at once. When NATS can not
// be told within two seconds, the next one waits for the TTL. It may be called
// more than once, and when the lead is lost already.
func (l *Leadership) Release() {
	l.once.Do(func() {
		close(l.stop)
		<-l.done
		l.cancel(context.Canceled)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), releaseTimeout)
		defer cancel()
		if err := l.remove(ctx); err != nil {
			l.q.cfg.Log.Warn().Err(err).Str("lead", l.cfg.Name).Msg("the next leader has to wait")
		}
	})
}

// remove deletes the key if it is ours.
func (l *Leadership) remove(ctx context.Context) error {
	b := l.in
	for range 3 {
		if l.rev == 0 {
			return nil
		}
		err := b.purge(ctx, "release lead "+l.cfg.Name, l.cfg.Name, l.rev)
		if !errors.Is(err, ErrConflict) {
			return err
		}
		// Somebody else's, or ours, by a renewal whose answer we did not await.
		value, rev, err := b.get(ctx, l.cfg.Name)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		var there lead
		l.rev = 0
		if json.Unmarshal(value, &there) == nil && there.Claim == l.claim {
			l.rev = rev
		}
	}
	return nil
}
