package jetstream

import (
	"context"
	"encoding/json"
	"errors"

	"drayage/pkg/job"

	"github.com/nats-io/nats.go/jetstream"
)

// bounds are the sequence numbers [From, To) of the stream that was made at
// Created.
type bounds struct {
	Created int64 `json:"c"`
	From    int64 `json:"a"`
	To      int64 `json:"z"`
}

// state is where the next job goes on.
type state struct {
	Created int64 `json:"c"`
	Next    int64 `json:"n"`
}

// Bounds fixes what a job that follows state is to read (nil: from where the
// configuration says), and returns the state after that job. It reads no
// message. Messages that state had not read yet and that are gone, and a stream
// that was made anew, are errors marked job.Permanent.
func (s *Source) Bounds(ctx context.Context, from json.RawMessage) (found, next json.RawMessage, err error) {
	var st *state
	if len(from) > 0 {
		st = &state{}
		if err := json.Unmarshal(from, st); err != nil {
			return nil, nil, job.Permanentf("the state of the stream %s does not parse: %w", s.cfg.Stream, err)
		}
	}
	ctx, c, err := s.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer c.close()
	b, _, err := c.bounds(ctx, st)
	if err != nil {
		return nil, nil, err
	}
	found, err1 := json.Marshal(b)
	next, err2 := json.Marshal(state{Created: b.Created, Next: b.To})
	return found, next, errors.Join(err1, err2)
}

// compacted reports whether messages leave the begin of the stream for no other
// reason than that newer ones of their subject came, as in a key-value bucket:
// that is then no loss. Where other limits remove messages too, nothing tells
// which of them did.
func compacted(info *jetstream.StreamInfo) bool {
	c := &info.Config
	full := c.Discard == jetstream.DiscardOld && (c.MaxMsgs > 0 || c.MaxBytes > 0)
	return c.MaxMsgsPerSubject > 0 && c.MaxAge == 0 && !full
}

// bounds asks for the range.
func (c *client) bounds(ctx context.Context, st *state) (bounds, *jetstream.StreamInfo, error) {
	var created int64
	if st != nil {
		created = st.Created
	}
	stream, err := c.stream(ctx, created)
	if err != nil {
		return bounds{}, nil, err
	}
	info := stream.CachedInfo()
	first, end := int64(info.State.FirstSeq), int64(info.State.LastSeq)+1 //nolint:gosec // sequence numbers are below 2^63
	b := bounds{Created: info.Created.UnixNano(), From: max(first, 1), To: end}
	switch {
	case st != nil && st.Next > end:
		return b, nil, c.s.shorter(end, st.Next)
	case st != nil && st.Next < first && !compacted(info):
		return b, nil, c.s.lost(st.Next, first)
	case st != nil:
		b.From = max(st.Next, b.From)
	case c.s.reading.Start.Latest:
		b.From = end
	case !c.s.reading.Start.After.IsZero():
		m, any, err := c.first(ctx, 0, c.s.reading.Start.After)
		if err != nil {
			return b, nil, err
		}
		b.From = end
		if any {
			b.From = min(int64(m.Sequence), end) //nolint:gosec // as above
		}
	}
	b.From = min(b.From, b.To)
	return b, info, nil
}

// ranges are those of Config.Bounds, or what the server says now.
func (c *client) ranges(ctx context.Context) (bounds, *jetstream.StreamInfo, error) {
	if len(c.s.cfg.Bounds) == 0 {
		return c.bounds(ctx, nil)
	}
	var b bounds
	if err := json.Unmarshal(c.s.cfg.Bounds, &b); err != nil {
		return b, nil, job.Permanentf("the bounds of a job of the stream %s do not parse: %w", c.s.cfg.Stream, err)
	}
	stream, err := c.stream(ctx, b.Created)
	if err != nil {
		return b, nil, err
	}
	return b, stream.CachedInfo(), nil
}
