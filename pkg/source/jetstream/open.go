package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/messages"
)

const (
	// buffered bounds the messages that wait in the client, and bufferedBytes
	// their bytes, beside one that is larger.
	buffered      = 500
	bufferedBytes = 4 << 20
	// quiet is how long a consumer may give nothing before the stream's leader
	// is asked whether there is more.
	quiet = 3 * time.Second
	// stalls bounds the consumers and requests without a message, one after the
	// other.
	stalls = 5
	// lookAt is after how many messages the stream is looked at, where sequence
	// numbers were not there.
	lookAt = 500
	// lifetime is when the server removes a consumer that nobody uses.
	lifetime = time.Minute
)

// Open implements source.Source. The reader gives the messages of the range in
// the order of their sequence numbers. Messages in the middle of a stream that
// an administrator or a time to live of their own removed, and those of a stream
// with a limit of messages a subject that newer ones replaced, are not there the
// second time; nothing tells of it.
func (s *Source) Open(ctx context.Context, input json.RawMessage, columns []job.Column) (*source.Input, error) {
	p, err := parsePiece(input)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	held, c, err := s.connect(ctx)
	if err != nil {
		stop()
		return nil, err
	}
	f := &feed{ctx: held, c: c, piece: p, at: p.From}
	if err := f.look(); err != nil {
		stop()
		c.close()
		return nil, err
	}
	return s.reading.Input(f, columns, p.bytes(), func() { f.stop(); stop(); c.close() }), nil
}

// feed gives the messages of a range, through a consumer that acknowledges
// nothing and is made anew after any trouble.
type feed struct {
	ctx   context.Context //nolint:containedctx // of the seat: io.Reader takes none
	c     *client
	piece piece
	at    int64 // the next sequence number
	gap   int64 // the first one that was not there since the stream was looked at; 0: none
	since int   // messages since then
	more  bool  // the leader has a message at at or later, of the range

	stream   jetstream.Stream
	consumer jetstream.Consumer
	iter     jetstream.MessagesContext
	last     uint64 // of the consumer's own numbers
	stalls   int
	data     []messages.Datum
}

// look checks that the stream is the one that was planned, and that what was not
// there, or is still to be read, did not fall off its begin: what was read before
// may have.
func (f *feed) look() error {
	from := f.at
	if f.gap > 0 {
		from = f.gap
	}
	st, err := f.c.stream(f.ctx, f.piece.Created)
	if err != nil {
		return err
	}
	f.stream = st
	info := st.CachedInfo()
	first, end := int64(info.State.FirstSeq), int64(info.State.LastSeq)+1 //nolint:gosec // sequence numbers are below 2^63
	switch {
	case first > from && from < f.piece.To && !compacted(info):
		return f.c.s.lost(from, min(first, f.piece.To))
	case end < f.piece.To:
		return f.c.s.shorter(end, f.piece.To)
	}
	f.gap, f.since = 0, 0
	return nil
}

// pass moves on to a sequence number; those before it were not there.
func (f *feed) pass(to int64) {
	if to > f.at && f.gap == 0 {
		f.gap = f.at
	}
	f.at = to
}

// Next implements messages.Feed.
func (f *feed) Next(wait bool) (messages.Message, error) {
	for f.at < f.piece.To {
		look := f.gap > 0 && f.since >= lookAt
		if look || !f.more {
			if !wait {
				return messages.Message{}, messages.ErrNotYet
			}
			next := f.ask
			if look {
				next = f.look
			}
			if err := f.bear(next()); err != nil {
				return messages.Message{}, err
			}
			continue
		}
		m, err := f.receive(wait)
		switch {
		case err == nil:
			return m, nil
		case errors.Is(err, errAgain):
			continue
		}
		return messages.Message{}, err
	}
	return messages.Message{}, f.end()
}

// bear drops the error of a request that is worth another one: its answer may
// have been lost with the connection.
func (f *feed) bear(err error) error {
	if err == nil || job.ClassOf(err) != job.Retry {
		return err
	}
	if f.ctx.Err() != nil {
		return context.Cause(f.ctx)
	}
	if f.stalls++; f.stalls >= stalls {
		return err
	}
	return nil
}

// end is io.EOF, unless messages of the range may have been removed while it was
// read.
func (f *feed) end() error {
	if f.gap > 0 {
		if err := f.look(); err != nil {
			return err
		}
	}
	return io.EOF
}

// ask asks the leader for the next message, whose sequence number is where the
// feed goes on.
func (f *feed) ask() error {
	m, any, err := f.c.first(f.ctx, f.at, time.Time{})
	if err != nil {
		return err
	}
	next := f.piece.To
	if any {
		next = min(int64(m.Sequence), next) //nolint:gosec // sequence numbers are below 2^63
	}
	f.pass(next)
	f.more = next < f.piece.To
	return nil
}

// errAgain says that nothing was received, and that the feed is to go on.
var errAgain = errors.New("nothing was received")

// receive returns the next message of the consumer.
func (f *feed) receive(wait bool) (messages.Message, error) {
	if f.iter == nil {
		if !wait {
			return messages.Message{}, messages.ErrNotYet
		}
		if err := f.consume(); err != nil {
			return messages.Message{}, f.trouble(err)
		}
	}
	m, err := f.take(wait)
	switch {
	case !wait && errors.Is(err, nats.ErrTimeout):
		return messages.Message{}, messages.ErrNotYet
	case err != nil:
		return messages.Message{}, f.trouble(err)
	}
	meta, err := m.Metadata()
	if err != nil {
		return messages.Message{}, f.trouble(err)
	}
	seq := int64(meta.Sequence.Stream) //nolint:gosec // sequence numbers are below 2^63
	if meta.Sequence.Consumer != f.last+1 || seq < f.at {
		return messages.Message{}, f.trouble(errLeftOut)
	}
	f.last = meta.Sequence.Consumer
	f.stalls = 0
	f.since++
	if seq >= f.piece.To {
		f.pass(f.piece.To)
		return messages.Message{}, errAgain
	}
	f.pass(seq)
	f.at, f.more = seq+1, meta.NumPending > 0
	return f.message(m, meta), nil
}

// take waits for a message as long as a consumer may be quiet, or hardly at all.
func (f *feed) take(wait bool) (jetstream.Msg, error) {
	if !wait {
		return f.iter.Next(jetstream.NextMaxWait(time.Millisecond))
	}
	ctx, stop := context.WithTimeout(f.ctx, quiet)
	defer stop()
	return f.iter.Next(jetstream.NextContext(ctx))
}

var errLeftOut = errors.New("messages were lost on their way")

// consume makes a consumer that begins at the next message.
func (f *feed) consume() error {
	ctx, stop := request(f.ctx)
	defer stop()
	var err error
	f.last = 0
	f.consumer, err = f.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: uint64(f.at), //nolint:gosec // positive
		FilterSubject: f.c.s.cfg.Subject, AckPolicy: jetstream.AckNonePolicy,
		InactiveThreshold: lifetime, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		return err
	}
	f.iter, err = f.consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(buffered, bufferedBytes+int(f.c.nc.MaxPayload())))
	return err
}

// stop ends the consumer.
func (f *feed) stop() {
	if f.iter != nil {
		f.iter.Stop()
		f.iter = nil
	}
	if f.consumer != nil {
		// The server removes it by itself where this does not reach it.
		ctx, stop := context.WithTimeout(context.WithoutCancel(f.ctx), time.Second)
		defer stop()
		_ = f.stream.DeleteConsumer(ctx, f.consumer.CachedInfo().Name)
		f.consumer = nil
	}
}

// trouble ends the consumer; what it returns is errAgain where another one may
// do better. The leader is asked first whether there is more to come.
func (f *feed) trouble(err error) error {
	if f.ctx.Err() != nil {
		return context.Cause(f.ctx)
	}
	f.stop()
	f.more = false
	err = f.c.failed(fmt.Sprintf("reading stream %s, message %d", f.c.s.cfg.Stream, f.at), err)
	if err = f.bear(err); err != nil {
		return err
	}
	return errAgain
}

// headers of messages that say that a key was deleted.
const (
	headerOperation = "KV-Operation"
	headerMarker    = "Nats-Marker-Reason"
)

func (f *feed) message(m jetstream.Msg, meta *jetstream.MsgMetadata) messages.Message {
	out := messages.Message{Value: m.Data()}
	if h := m.Headers(); len(out.Value) == 0 && (h.Get(headerOperation) != "" || h.Get(headerMarker) != "") {
		out.Value = nil
	} else if out.Value == nil {
		out.Value = []byte{}
	}
	if f.c.s.cfg.Metadata {
		f.data = append(f.data[:0],
			messages.Datum{Kind: messages.Text, Text: []byte(m.Subject())},
			messages.Datum{Kind: messages.Int, Int: int64(meta.Sequence.Stream)}, //nolint:gosec // below 2^63
			messages.Datum{Kind: messages.Nanos, Int: meta.Timestamp.UnixNano()},
			messages.Datum{Kind: messages.Headers, Headers: headers(m.Headers())})
		out.Data = f.data
	}
	return out
}

// headers are those of a message, by name.
func headers(h nats.Header) []messages.Header {
	all := make([]messages.Header, 0, len(h))
	for _, name := range slices.Sorted(maps.Keys(h)) {
		all = append(all, messages.Header{Name: name, Values: h[name]})
	}
	return all
}
