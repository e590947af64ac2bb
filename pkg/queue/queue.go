package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
)

// The oldest server that has all we use: pause (2.11), per-key TTL (2.11),
// reliable compare-and-set on replicas (2.12), consumer limits as documented.
const minMajor, minMinor = 2, 14

// One try of a write or acknowledgement waits this long for its answer.
const tryTimeout = 4 * time.Second

// Queue is one connection to NATS and all that the fleet does with it. It is
// safe for concurrent use and reconnects for ever; it ends with Close.
type Queue struct {
	cfg     Config
	nc      *nats.Conn
	js      jetstream.JetStream
	address string // for messages, without credentials
	inboxes string // what ours begin with
	seats   lines  // of those who wait for a seat, by its name
	denials denials

	mu          sync.Mutex
	streams     map[string]jetstream.Stream // bound so far
	beats       map[string]uint64           // revision of each heartbeat key we wrote
	reconnected chan struct{}               // closed and replaced at each reconnection
	gone        chan struct{}               // closed when the connection is closed for good
	why         atomic.Pointer[error]       // that NATS let us in no more, if it did
}

// Connect connects to the NATS servers of cfg.URL. It tries once: a server
// that is not there is ErrUnavailable within ConnectTimeout or when ctx ends.
// Servers older than 2.14 and servers without JetStream are refused.
// Afterwards the connection is kept up for ever.
func Connect(ctx context.Context, cfg Config) (*Queue, error) {
	opts, inboxes, err := cfg.login()
	if err != nil {
		return nil, err
	}
	cfg.InboxPrefix = inboxes
	return connect(ctx, cfg, redact(cfg.URL), opts)
}

func connect(ctx context.Context, cfg Config, address string, opts []nats.Option) (*Queue, error) {
	if err := cfg.Validate(); err != nil {
		return nil, job.WithClass(err, job.Permanent)
	}
	q := &Queue{
		cfg: cfg, address: address, inboxes: cmp.Or(cfg.InboxPrefix, defaultInboxes),
		streams: map[string]jetstream.Stream{}, beats: map[string]uint64{},
		reconnected: make(chan struct{}), gone: make(chan struct{}),
	}
	log := cfg.Log
	opts = append(opts,
		nats.Name(cfg.Name),
		nats.Timeout(cfg.ConnectTimeout),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.PingInterval(10*time.Second), nats.MaxPingsOutstanding(2),
		// What is written while disconnected fails at once instead of being
		// sent minutes later, when nobody means it any more (a Nak of a chunk
		// that is somebody else's by then). Writers repeat, see write.go.
		nats.ReconnectBufSize(-1),
		nats.DrainTimeout(tryTimeout),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn().Err(err).Str("nats", address).Msg("NATS connection lost, reconnecting")
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			log.Info().Str("nats", address).Msg("NATS connection is back")
			q.mu.Lock()
			close(q.reconnected)
			q.reconnected = make(chan struct{})
			q.mu.Unlock()
		}),
		nats.CustomInboxPrefix(q.inboxes),
		nats.ClosedHandler(func(nc *nats.Conn) {
			if err := nc.LastError(); err != nil && errors.Is(meaningOf(err).is, ErrDenied) {
				q.why.Store(&err)
			}
			close(q.gone)
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				q.denials.tell(err, q.inboxes)
			}
			e := log.Error().Err(err).Str("nats", address)
			if sub != nil {
				e = e.Str("subject", sub.Subject)
			}
			e.Msg("NATS")
		}),
	)
	what := "connect to NATS " + address
	nc, err := dial(ctx, cfg.URL, opts)
	if err != nil {
		m := meaningOf(err)
		if m.is == nil {
			m = meaning{ErrUnavailable, job.Retry, true}
		}
		return nil, job.WithClass(fmt.Errorf("%s: %w: %w%s", what, m.is, err, advice(err)), m.class)
	}
	q.nc = nc
	if err := q.greet(ctx); err != nil {
		nc.Close()
		<-q.gone
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return q, nil
}

// dial is nats.Connect that lets go when ctx ends. The abandoned attempt ends
// by itself within its own timeout.
func dial(ctx context.Context, url string, opts []nats.Option) (*nats.Conn, error) {
	type answer struct {
		nc  *nats.Conn
		err error
	}
	c := make(chan answer, 1)
	go func() {
		nc, err := nats.Connect(url, opts...)
		c <- answer{nc, err}
	}()
	select {
	case a := <-c:
		return a.nc, a.err
	case <-ctx.Done():
		go func() {
			if a := <-c; a.nc != nil {
				a.nc.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

// greet checks that the server can do what we need.
func (q *Queue) greet(ctx context.Context) error {
	version := q.nc.ConnectedServerVersion()
	if !newEnough(version) {
		return job.WithClass(fmt.Errorf("%w: the server is nats-server %s, needed is %d.%d or newer", ErrUnavailable, version, minMajor, minMinor), job.Permanent)
	}
	js, err := jetstream.New(q.nc, jetstream.WithDefaultTimeout(tryTimeout))
	if err != nil {
		return fmt.Errorf("JetStream: %w", err)
	}
	q.js = js
	return q.repeat(ctx, "JetStream", apiInfo, func(ctx context.Context) error {
		_, err := js.AccountInfo(ctx)
		return err
	})
}

// newEnough reads "2.14.0", "2.15.0-RC.1", "v2.14".
func newEnough(version string) bool {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return false
	}
	minor, _, _ := strings.Cut(parts[1], "-")
	a, err1 := strconv.Atoi(parts[0])
	b, err2 := strconv.Atoi(minor)
	return err1 == nil && err2 == nil && (a > minMajor || a == minMajor && b >= minMinor)
}

// redact leaves scheme, host and port of each address.
func redact(urls string) string {
	var out []string
	for _, s := range strings.Split(urls, ",") {
		s = strings.TrimSpace(s)
		if !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		u, err := url.Parse(s)
		if err != nil || u.Host == "" {
			out = append(out, "(unreadable address)") // it may hold a password: not shown
			continue
		}
		out = append(out, u.Scheme+"://"+u.Host)
	}
	return strings.Join(out, ",")
}

func reconnectDelay(attempt int) time.Duration { return backoff(attempt, 5*time.Second) }

// backoff doubles from 50ms to most, with jitter so that a fleet does not come
// back in step.
func backoff(attempt int, most time.Duration) time.Duration {
	d := most
	if attempt < 10 {
		d = min(most, 50*time.Millisecond<<max(attempt-1, 0))
	}
	return d/2 + rand.N(d/2+1)
}

// pause waits before try number attempt; false when ctx ended first or the
// connection was closed. A reconnection ends the wait early.
func (q *Queue) pause(ctx context.Context, attempt int) bool {
	t := time.NewTimer(backoff(attempt, time.Second))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-q.epoch():
		return true
	case <-q.gone:
		return false
	case <-ctx.Done():
		return false
	}
}

// epoch is closed at the next reconnection.
func (q *Queue) epoch() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.reconnected
}

// closed says why the connection is closed for good.
func (q *Queue) closed() error {
	if why := q.why.Load(); why != nil {
		return job.WithClass(fmt.Errorf("%w: the connection was closed: %w%s", ErrDenied, *why, advice(*why)), job.Permanent)
	}
	return nats.ErrConnectionClosed
}

// asking runs a call that asks on a subject, or on those of a pattern, until it
// is answered or NATS refuses the subject.
func (q *Queue) asking(ctx context.Context, subject string, call func(context.Context) error) error {
	refused, forget := q.denials.watch(subject)
	defer forget()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case err := <-refused:
			cancel(err)
		case <-over:
		}
	}()
	err := call(ctx)
	switch cause := context.Cause(ctx); {
	case err == nil:
		return nil
	case denied(cause):
		return cause
	case errors.Is(err, nats.ErrConnectionClosed):
		return q.closed()
	}
	return err
}

// try runs one try of a call that asks on a subject: for at most tryTimeout, and
// not past a reconnection, because the answer went to the connection that is no
// more.
func (q *Queue) try(ctx context.Context, subject string, call func(context.Context) error) error {
	tctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	tctx, lose := context.WithCancelCause(tctx)
	defer lose(nil)
	epoch := q.epoch()
	go func() {
		select {
		case <-epoch:
			lose(errReconnected)
		case <-tctx.Done():
		}
	}()
	err := q.asking(tctx, subject, call)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(tctx), errReconnected) && errors.Is(err, context.Canceled) {
		return errReconnected
	}
	return err
}

// repeat runs an idempotent call, which asks on a subject, until it is answered,
// at most Config.Timeout.
func (q *Queue) repeat(ctx context.Context, what, subject string, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		err := q.try(ctx, subject, try)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return q.ended(ctx, what, err)
		}
		if ours(err) || !meaningOf(err).again {
			return explain(what, err)
		}
		if !q.pause(ctx, attempt) {
			return q.ended(ctx, what, explain(what, err))
		}
	}
}

// stream binds to a stream, once.
func (q *Queue) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	q.mu.Lock()
	s := q.streams[name]
	q.mu.Unlock()
	if s != nil {
		return s, nil
	}
	err := q.asking(ctx, apiStreamInfo+name, func(ctx context.Context) (err error) {
		s, err = q.js.Stream(ctx, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	q.streams[name] = s
	q.mu.Unlock()
	return s, nil
}

// Address says where NATS is, without credentials.
func (q *Queue) Address() string { return q.address }

// ServerVersion is the version of the server connected to, empty while
// disconnected.
func (q *Queue) ServerVersion() string { return q.nc.ConnectedServerVersion() }

// Lease is how long a delivered chunk is its worker's without a sign of life.
func (q *Queue) Lease() time.Duration { return q.cfg.Lease }

// Ping asks the server for an answer: the readiness check.
func (q *Queue) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	return explain("ping NATS "+q.address, q.nc.FlushWithContext(ctx))
}

// Close sends what is buffered and ends the connection, within a few seconds.
// End pullers and watches first. Calls
// afterwards fail with ErrUnavailable. It may be called more than once.
func (q *Queue) Close() {
	if err := q.nc.Drain(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		q.nc.Close() // disconnected: there is nobody to drain to
	}
	select {
	case <-q.gone:
	case <-time.After(2 * tryTimeout):
		q.nc.Close()
		<-q.gone
	}
}
