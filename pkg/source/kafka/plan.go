package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"iter"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// cursor is where planning goes on: Bounds are what is left.
type cursor struct {
	Bounds bounds `json:"b"`
	Inputs uint64 `json:"i"` // partitions begun
	Per    int64  `json:"n"` // offsets of a chunk
	Mean   int64  `json:"m"` // bytes of a message, estimated
	// Begun says that the first span of Bounds was begun already.
	Begun bool `json:"g,omitempty"`
	// Own says that Bounds are left out, for Config.Bounds are the same: Skip
	// spans of those are done, and Next is where the one after begins.
	Own  bool  `json:"o,omitempty"`
	Skip int   `json:"k,omitempty"`
	Next int64 `json:"x,omitempty"`
}

// Plan implements source.Source: partition after partition, from the first
// offset. The broker is asked when the plan begins, and not when it goes on.
func (s *Source) Plan(ctx context.Context, from json.RawMessage, _ []job.Column) iter.Seq2[source.Planned, error] {
	return func(yield func(source.Planned, error) bool) {
		at, spans, err := s.begin(ctx, from)
		if err == nil {
			err = s.cut(ctx, at, spans, yield)
		}
		if err != nil {
			yield(source.Planned{}, err)
		}
	}
}

// begin returns where to go on, and what is left to be cut.
func (s *Source) begin(ctx context.Context, from json.RawMessage) (cursor, []span, error) {
	var at cursor
	if len(from) == 0 {
		return s.first(ctx)
	}
	if err := json.Unmarshal(from, &at); err != nil {
		return at, nil, job.Permanentf("the cursor of a plan of Kafka does not parse: %w", err)
	}
	if at.Per < 1 {
		return at, nil, job.Permanentf("the cursor of a plan of Kafka has no size of chunks")
	}
	if !at.Own {
		spans, err := at.Bounds.spans()
		return at, spans, err
	}
	b, err := parseBounds(s.cfg.Bounds)
	if err != nil {
		return at, nil, err
	}
	spans, err := b.spans()
	if err != nil {
		return at, nil, err
	}
	spans = filled(spans)
	if at.Skip > len(spans) {
		return at, nil, job.Permanentf("the cursor of a plan of Kafka is not of these bounds")
	}
	at.Bounds.Topic = b.Topic
	if spans = spans[at.Skip:]; len(spans) > 0 && at.Begun {
		spans[0].From = at.Next
	}
	return at, spans, nil
}

// filled are the spans with offsets.
func filled(spans []span) []span {
	var all []span
	for _, sp := range spans {
		if sp.From < sp.To {
			all = append(all, sp)
		}
	}
	return all
}

// first settles what a new plan reads.
func (s *Source) first(ctx context.Context) (cursor, []span, error) {
	ctx, c, err := s.connect(ctx)
	if err != nil {
		return cursor{}, nil, err
	}
	defer c.close()
	id, spans, err := s.ranges(ctx, c)
	if err != nil {
		return cursor{}, nil, err
	}
	at := cursor{Own: len(s.cfg.Bounds) > 0, Mean: 1}
	at.Bounds = newBounds(id, nil)
	spans = filled(spans)
	if _, err := c.same(ctx, id); err != nil {
		return at, nil, err
	}
	values, err := c.sample(ctx, id, spans)
	if err != nil {
		return at, nil, err
	}
	at.Mean = average(values)
	at.Per = s.cfg.Per(at.Mean)
	return at, spans, nil
}

// cut yields the chunks of spans.
func (s *Source) cut(ctx context.Context, at cursor, spans []span, yield func(source.Planned, error) bool) error {
	id := at.Bounds.id()
	for i := range spans {
		sp := &spans[i]
		if !at.Begun {
			at.Inputs++
			at.Begun = true
		}
		for sp.From < sp.To {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			p := piece{Topic: at.Bounds.Topic, Partition: sp.Partition, From: sp.From, To: min(sp.To, sp.From+min(at.Per, sp.To-sp.From)), Mean: at.Mean}
			sp.From = p.To
			rest := spans[i:]
			if sp.From == sp.To {
				rest = spans[i+1:]
				at.Begun = false
				at.Skip++
			}
			next := at
			if next.Own {
				next.Next = sp.From
				next.Bounds = bounds{}
			} else {
				next.Bounds = newBounds(id, rest)
				next.Skip = 0
			}
			input, err1 := json.Marshal(p)
			encoded, err2 := json.Marshal(next)
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			if len(encoded) > maxCursor {
				return job.Permanentf("topic %s: %d partitions with messages are more than a cursor holds; some %d fit: run it on a schedule, whose jobs carry their bounds by themselves",
					s.cfg.Topic, len(spans), MaxPartitions)
			}
			if !yield(source.Planned{Input: input, Cursor: encoded, Bytes: p.bytes(), Inputs: at.Inputs}, nil) {
				return nil
			}
		}
	}
	return nil
}

// Split implements source.Splitter: the range is halved.
func (s *Source) Split(_ context.Context, input json.RawMessage, _ []job.Column) ([]job.Part, error) {
	p, err := parsePiece(input)
	if err != nil {
		return nil, err
	}
	middle := p.From + (p.To-p.From)/2
	if middle == p.From {
		return nil, job.Permanentf("topic %s, partition %d: %w: it is the one offset %d", s.cfg.Topic, p.Partition, source.ErrWhole, p.From)
	}
	a, b := p, p
	a.To, b.From = middle, middle
	first, err1 := json.Marshal(a)
	second, err2 := json.Marshal(b)
	return []job.Part{{Input: first, Bytes: a.bytes()}, {Input: second, Bytes: b.bytes()}}, errors.Join(err1, err2)
}
