package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"iter"

	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// cursor is where planning goes on: its bounds are what is left.
type cursor struct {
	piece
	Per int64 `json:"n"` // sequence numbers of a chunk
}

// mean is the mean size of the stream's messages, subjects and headers
// included; at least 1.
func mean(info *jetstream.StreamInfo) int64 {
	return int64(max(info.State.Bytes/max(info.State.Msgs, 1), 1)) //nolint:gosec // bytes of a message
}

// Plan implements source.Source: from the first sequence number on. The server
// is asked when the plan begins, and not when it goes on.
func (s *Source) Plan(ctx context.Context, from json.RawMessage, _ []job.Column) iter.Seq2[source.Planned, error] {
	return func(yield func(source.Planned, error) bool) {
		at, err := s.begin(ctx, from)
		for err == nil && at.From < at.To {
			if err = context.Cause(ctx); err != nil {
				break
			}
			p := at.piece
			p.To = at.From + min(at.Per, at.To-at.From)
			at.From = p.To
			input, err1 := json.Marshal(p)
			encoded, err2 := json.Marshal(at)
			if err = errors.Join(err1, err2); err == nil &&
				!yield(source.Planned{Input: input, Cursor: encoded, Bytes: p.bytes(), Inputs: 1}, nil) {
				return
			}
		}
		if err != nil {
			yield(source.Planned{}, err)
		}
	}
}

// begin returns what is left to be cut.
func (s *Source) begin(ctx context.Context, from json.RawMessage) (cursor, error) {
	var at cursor
	if len(from) > 0 {
		if err := json.Unmarshal(from, &at); err != nil || at.Per < 1 || at.From < 1 {
			return at, job.Permanentf("the cursor of a plan of JetStream does not parse: %s", from)
		}
		return at, nil
	}
	ctx, c, err := s.connect(ctx)
	if err != nil {
		return at, err
	}
	defer c.close()
	b, info, err := c.ranges(ctx)
	if err != nil {
		return at, err
	}
	at.piece = piece{bounds: b, Mean: mean(info)}
	at.Per = s.cfg.Per(at.Mean)
	return at, nil
}

// Split implements source.Splitter: the range is halved.
func (s *Source) Split(_ context.Context, input json.RawMessage, _ []job.Column) ([]job.Part, error) {
	p, err := parsePiece(input)
	if err != nil {
		return nil, err
	}
	middle := p.From + (p.To-p.From)/2
	if middle == p.From {
		return nil, job.Permanentf("stream %s: %w: it is the one message %d", s.cfg.Stream, source.ErrWhole, p.From)
	}
	a, b := p, p
	a.To, b.From = middle, middle
	first, err1 := json.Marshal(a)
	second, err2 := json.Marshal(b)
	return []job.Part{{Input: first, Bytes: a.bytes()}, {Input: second, Bytes: b.bytes()}}, errors.Join(err1, err2)
}

// UnitMessages is the unit of Locate.
const UnitMessages = "messages"

// Locate implements source.Locator: the name is that of the stream.
func (s *Source) Locate(input json.RawMessage) (source.Location, error) {
	p, err := parsePiece(input)
	if err != nil {
		return source.Location{}, err
	}
	return source.Location{Name: s.cfg.Stream, Unit: UnitMessages, Start: p.From, End: p.To, Offset: -1}, nil
}
