package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What is stored is read in two ways. Any replica answers a direct read, by
// many messages at once, and may be a moment behind; the leader of the stream
// answers for one message and is not. Both are requests and leave nothing on
// the server. So nobody but a coordinator needs the right to make consumers,
// with which whoever has it could have messages published to any subject.

// Headers of direct reads, NATS ADR-31.
const (
	headerSubject      = "Nats-Subject"
	headerSequence     = "Nats-Sequence"
	headerLastSequence = "Nats-Last-Sequence"
	headerPending      = "Nats-Num-Pending"
	statusEnd          = "204" // the batch is complete
	statusNobody       = "503" // nobody listens there
)

// getRequest is the body of a read, NATS ADR-31 and "JetStream wire API".
type getRequest struct {
	Sequence uint64 `json:"seq,omitempty"`
	Last     string `json:"last_by_subj,omitempty"`
	Next     string `json:"next_by_subj,omitempty"`
	Batch    int    `json:"batch,omitempty"`
	MaxBytes int    `json:"max_bytes,omitempty"`
}

var (
	// errBatch: a batch of direct reads broke off.
	errBatch = fmt.Errorf("%w: a read was not answered to its end", ErrUnavailable)
	errGap   = fmt.Errorf("%w: a message of a read is missing", ErrUnavailable)
)

// readBatch reads messages with sequences from r.Sequence on, at most r.Batch,
// and returns how many more there are that match. fn is called for each, in
// order, without any left out. ErrNoResponders: the stream has no direct reads,
// or nobody serves it now.
func (q *Queue) readBatch(ctx context.Context, stream string, r getRequest, fn func(*jetstream.RawStreamMsg) error) (pending uint64, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	subject := apiDirectGet + stream
	refused, forget := q.denials.watch(subject)
	defer forget()
	epoch := q.epoch()
	ch := make(chan *nats.Msg, r.Batch+16)
	inbox := q.nc.NewInbox()
	sub, err := q.nc.ChanSubscribe(inbox, ch)
	if err != nil {
		return 0, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := q.nc.PublishRequest(subject, inbox, body); err != nil {
		return 0, err
	}
	patience := time.NewTimer(tryTimeout)
	defer patience.Stop()
	for last := "0"; ; {
		var m *nats.Msg
		select {
		case m = <-ch:
		default:
			select {
			case m = <-ch:
			case err := <-refused:
				return 0, err
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			case <-epoch:
				return 0, errReconnected
			case <-q.gone:
				return 0, nats.ErrConnectionClosed
			case <-patience.C:
				return 0, nats.ErrTimeout
			}
		}
		if m == nil {
			return 0, nats.ErrConnectionClosed
		}
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		h := m.Header
		// A message that was stored may have a header of that name too.
		if status := h.Get(statusHeader); status != "" && h.Get(headerSequence) == "" {
			switch {
			case status == statusNotFound:
				return 0, nil
			case status == statusNobody:
				return 0, nats.ErrNoResponders
			case status != statusEnd:
				return 0, fmt.Errorf("%w: status %s", errBatch, status)
			case h.Get(headerLastSequence) != last:
				return 0, errGap
			}
			pending, err := strconv.ParseUint(h.Get(headerPending), 10, 64)
			if err != nil {
				return 0, errors.Join(errBatch, err)
			}
			return pending, nil
		}
		if ofServer(h, headerLastSequence) != last {
			return 0, errGap
		}
		last = ofServer(h, headerSequence)
		sequence, err := strconv.ParseUint(last, 10, 64)
		if err != nil {
			return 0, errors.Join(errBatch, err)
		}
		if err := fn(&jetstream.RawStreamMsg{Subject: ofServer(h, headerSubject), Sequence: sequence, Header: h, Data: m.Data}); err != nil {
			return 0, err
		}
		patience.Reset(tryTimeout)
	}
}

// ofServer is the header that the server has put behind those that were stored,
// whatever they are called.
func ofServer(h nats.Header, name string) string {
	values := h.Values(name)
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// readLeader has the leader of the stream read one message. ErrNotFound when
// there is none. It tries once.
func (q *Queue) readLeader(ctx context.Context, stream string, r getRequest) (*jetstream.RawStreamMsg, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	answer, err := q.nc.RequestWithContext(ctx, apiMsgGet+stream, body)
	if err != nil {
		return nil, err
	}
	var got struct {
		Message *struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &got); err != nil {
		return nil, fmt.Errorf("%w: %w", jetstream.ErrInvalidJetStreamResponse, err)
	}
	switch {
	case got.Error != nil && got.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, fmt.Errorf("%w: %w", ErrNotFound, got.Error)
	case got.Error != nil:
		return nil, got.Error
	case got.Message == nil:
		return nil, jetstream.ErrInvalidJetStreamResponse
	}
	m := &jetstream.RawStreamMsg{Subject: got.Message.Subject, Sequence: got.Message.Sequence, Data: got.Message.Data, Time: got.Message.Time}
	if len(got.Message.Header) > 0 {
		if m.Header, err = nats.DecodeHeadersMsg(got.Message.Header); err != nil {
			return nil, fmt.Errorf("%w: headers: %w", jetstream.ErrInvalidJetStreamResponse, err)
		}
	}
	return m, nil
}

// count is how many messages a subject has, without reading or listing them. On
// a replicated stream it may be a moment old.
func (q *Queue) count(ctx context.Context, what, stream, subject string) (uint64, error) {
	var n uint64
	err := q.repeat(ctx, what, apiDirectGet+stream, func(ctx context.Context) error {
		n = 0
		more, err := q.readBatch(ctx, stream, getRequest{Sequence: 1, Next: subject, Batch: 1}, func(*jetstream.RawStreamMsg) error {
			n++
			return nil
		})
		n += more
		return err
	})
	return n, err
}

// last reads the last message of a subject, markers of deletion included.
// ErrNotFound when there is none. The leader answers for job records: a replica
// that has not heard of a job yet would deny that it is there. Others may be
// stale on a replicated stream.
func (q *Queue) last(ctx context.Context, stream, subject string) (*jetstream.RawStreamMsg, error) {
	var msg *jetstream.RawStreamMsg
	byLeader := stream == bucketPrefix+bucketJobs
	asked := apiDirectGet + stream + "." + subject
	if byLeader {
		asked = apiMsgGet + stream
	}
	err := q.repeat(ctx, "read "+subject, asked, func(ctx context.Context) (err error) {
		if byLeader {
			msg, err = q.readLeader(ctx, stream, getRequest{Last: subject})
			return err
		}
		s, err := q.stream(ctx, stream)
		if err != nil {
			return err
		}
		msg, err = s.GetLastMsgForSubject(ctx, subject)
		return err
	})
	return msg, err
}
