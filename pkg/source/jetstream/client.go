package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

const (
	// patience bounds a request, and the handshake of a connection.
	patience = 10 * time.Second
	// reconnects bounds the attempts to connect again, reconnectWait apart.
	reconnects    = 10
	reconnectWait = time.Second
)

// client is a connection to the servers, which takes one seat.
type client struct {
	s       *Source
	nc      *nats.Conn
	js      jetstream.JetStream
	release func()

	mu     sync.Mutex
	denied error // what the server first refused this user
}

// dialer lets go of a connection that is being made when its context ends.
type dialer struct {
	ctx context.Context //nolint:containedctx // nats.go's dialers take none
	to  func(ctx context.Context, network, address string) (net.Conn, error)
}

// Dial implements nats.CustomDialer.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	return d.to(d.ctx, network, address)
}

// connect takes a seat; the context that it returns is that of the seat. It ends
// too when the server refuses the user something, for what was asked then gets
// no answer.
func (s *Source) connect(ctx context.Context) (context.Context, *client, error) {
	login, err := s.cfg.Login.options()
	if err != nil {
		return nil, nil, fmt.Errorf("logging in for the stream %s: %w", s.cfg.Stream, err)
	}
	held, release, err := s.cfg.Seats.Take(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("waiting for a seat at NATS: %w", err)
	}
	held, deny := context.WithCancelCause(held)
	c := &client{s: s, release: func() { deny(nil); release() }}
	opts := []nats.Option{
		nats.Name("drayage"), nats.Timeout(patience), nats.SetCustomDialer(dialer{held, s.cfg.Login.Allow.Dialer(net.Dialer{Timeout: patience})}),
		nats.MaxReconnects(reconnects), nats.ReconnectWait(reconnectWait),
		nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2),
		nats.PermissionErrOnSubscribe(true),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				c.mu.Lock()
				if c.denied == nil {
					c.denied = classify("reading the stream "+s.cfg.Stream, err)
				}
				deny(c.denied)
				c.mu.Unlock()
			}
		}),
	}
	opts = append(opts, login...)
	if c.nc, err = nats.Connect(s.cfg.URL, opts...); err == nil {
		c.js, err = jetstream.New(c.nc, jetstream.WithDefaultTimeout(patience))
	}
	if err != nil {
		c.close()
		return nil, nil, classify("connecting to NATS for the stream "+s.cfg.Stream, err)
	}
	return held, c, nil
}

func (c *client) close() {
	if c.nc != nil {
		c.nc.Close()
	}
	c.release()
}

// failed classifies an error of a request: one that got no answer because the
// user may not make it is what the server said besides.
func (c *client) failed(doing string, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.denied != nil && err != nil {
		return c.denied
	}
	return classify(doing, err)
}

// request bounds ctx by patience.
func request(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, patience)
}

// stream asks for the stream, and checks that it is the one that was made at
// created (0: any) and that its messages stay when they are acknowledged.
func (c *client) stream(ctx context.Context, created int64) (jetstream.Stream, error) {
	ctx, stop := request(ctx)
	defer stop()
	name := c.s.cfg.Stream
	st, err := c.js.Stream(ctx, name)
	if err != nil {
		return nil, c.failed("asking for the stream "+name, err)
	}
	info := st.CachedInfo()
	if info.Config.Retention != jetstream.LimitsPolicy {
		return nil, job.Permanentf("stream %s: its retention is %s: a message that is acknowledged is gone and can not be read again; read from a stream with limits that sources this one", name, info.Config.Retention)
	}
	if created != 0 && info.Created.UnixNano() != created {
		return nil, job.Permanentf("stream %s: %w: it was deleted and made anew: start again with --full", name, source.ErrChanged)
	}
	return st, nil
}

// stored is a message as the server answers with it.
type stored struct {
	Sequence uint64    `json:"seq"`
	Time     time.Time `json:"time"`
}

// lastTime is the last one that a message of a stream may have, whose times are
// nanoseconds. The server takes a later one for an early one.
var lastTime = time.Unix(0, math.MaxInt64)

// first asks the leader of the stream for the first message that is at seq or
// later, or, where after is set, of that time or later; false when there is none.
// Other servers may not know yet what the leader knows.
func (c *client) first(ctx context.Context, seq int64, after time.Time) (stored, bool, error) {
	ask := map[string]any{"next_by_subj": c.s.subject(), "no_hdr": true}
	switch {
	case after.IsZero():
		ask["seq"] = seq
	case after.After(lastTime):
		return stored{}, false, nil
	default:
		ask["start_time"] = after
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return stored{}, false, err
	}
	ctx, stop := request(ctx)
	defer stop()
	doing := fmt.Sprintf("asking for the message %d of the stream %s", seq, c.s.cfg.Stream)
	got, err := c.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+c.s.cfg.Stream, body)
	if err != nil {
		return stored{}, false, c.failed(doing, err)
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message stored              `json:"message"`
	}
	if err := json.Unmarshal(got.Data, &answer); err != nil {
		return stored{}, false, classify(doing, err)
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return stored{}, false, nil
	case answer.Error != nil:
		return stored{}, false, c.failed(doing, answer.Error)
	case answer.Message.Time.Before(after):
		return stored{}, false, job.Permanentf("stream %s: this server can not find a message by its time: from: earliest works, and nats-server 2.11 or newer does", c.s.cfg.Stream)
	}
	return answer.Message, true, nil
}
