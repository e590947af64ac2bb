package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/messages"
)

// Source is the source of a topic. It holds no connection between calls, and
// may be used by several goroutines.
type Source struct {
	cfg     Config
	reading messages.Reading
}

var (
	_ source.Source      = (*Source)(nil)
	_ source.Splitter    = (*Source)(nil)
	_ source.Locator     = (*Source)(nil)
	_ source.Incremental = (*Source)(nil)
)

// New returns the source that cfg describes. It asks nobody; a cfg that does not
// validate is a source.FieldErrors, marked job.Permanent.
func New(cfg Config) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, job.WithClass(err, job.Permanent)
	}
	return &Source{cfg: cfg, reading: cfg.Reading(metadata)}, nil
}

// metadata are the columns that Config.Metadata adds. A message without a key
// has NULL there, or an empty text where the column takes no NULL.
var metadata = []messages.Field{
	{Name: "_topic", Type: "LowCardinality(String)"},
	{Name: "_partition", Type: "Int32"},
	{Name: "_offset", Type: "Int64"},
	{Name: "_timestamp", Type: "DateTime64(3, 'UTC')"},
	{Name: "_key", Type: "Nullable(String)"},
	{Name: "_headers", Type: messages.HeadersType},
}

// data are the values of metadata.
func data(dst []messages.Datum, r *kgo.Record) []messages.Datum {
	dst = append(dst[:0],
		messages.Datum{Kind: messages.Text, Text: []byte(r.Topic)},
		messages.Datum{Kind: messages.Int, Int: int64(r.Partition)},
		messages.Datum{Kind: messages.Int, Int: r.Offset},
		messages.Datum{Kind: messages.Millis, Int: r.Timestamp.UnixMilli()},
		messages.Datum{Kind: messages.Text, Text: r.Key},
		messages.Datum{Kind: messages.Headers, Headers: headers(r.Headers)})
	if r.Key == nil {
		dst[4].Kind = messages.Null
	}
	return dst
}

// headers are those of a message, by name. One without a value has an empty one.
func headers(all []kgo.RecordHeader) []messages.Header {
	var named []messages.Header
	for _, h := range all {
		i := slices.IndexFunc(named, func(n messages.Header) bool { return n.Name == h.Key })
		if i < 0 {
			i = len(named)
			named = append(named, messages.Header{Name: h.Key})
		}
		named[i].Values = append(named[i].Values, string(h.Value))
	}
	return named
}

const (
	// sampled is how many messages are looked at for columns and for the size
	// of chunks.
	sampled = 500
	// sampleFetches bounds the fetches for them, of each partition.
	sampleFetches = 4
)

// sample returns the first messages of the first range that has some.
func (c *client) sample(ctx context.Context, id topicID, spans []span) (values [][]byte, err error) {
	for _, sp := range spans {
		f := fetcher{c: c, id: id, span: sp, leader: -1}
		for range sampleFetches {
			records, err := f.next(ctx)
			if err != nil {
				return nil, err
			}
			for _, r := range records {
				if r.Value != nil && len(values) < sampled {
					values = append(values, r.Value)
				}
			}
			if f.done() || len(values) >= sampled {
				break
			}
		}
		if len(values) > 0 {
			return values, nil
		}
	}
	return nil, nil
}

// ranges are those of Config.Bounds, or what the broker says now.
func (s *Source) ranges(ctx context.Context, c *client) (topicID, []span, error) {
	if len(s.cfg.Bounds) > 0 {
		b, err := parseBounds(s.cfg.Bounds)
		if err != nil {
			return topicID{}, nil, err
		}
		spans, err := b.spans()
		return b.id(), spans, err
	}
	return c.bounds(ctx, nil)
}

// Columns implements source.Source. The topic must exist; where columns are
// declared it may be empty.
func (s *Source) Columns(ctx context.Context, eng source.Engine) ([]job.Column, error) {
	ctx, c, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer c.close()
	id, spans, err := s.ranges(ctx, c)
	if err != nil {
		return nil, err
	}
	var values [][]byte
	if len(s.cfg.Columns) == 0 {
		if _, err := c.same(ctx, id); err != nil {
			return nil, err
		}
		if values, err = c.sample(ctx, id, spans); err != nil {
			return nil, err
		}
	}
	columns, err := s.reading.Columns(ctx, eng, s.cfg.Columns, values)
	if err != nil {
		return nil, fmt.Errorf("topic %s: %w", s.cfg.Topic, err)
	}
	return columns, nil
}

// Size implements source.Source: an estimate from the first messages.
func (s *Source) Size(ctx context.Context) int64 {
	ctx, c, err := s.connect(ctx)
	if err != nil {
		return 0
	}
	defer c.close()
	id, spans, err := s.ranges(ctx, c)
	if err != nil {
		return 0
	}
	var n int64
	for _, sp := range spans {
		n += sp.To - sp.From
	}
	values, err := c.sample(ctx, id, spans)
	if err != nil || len(values) == 0 {
		return 0
	}
	return n * average(values)
}

// average is the mean length of values, at least 1.
func average(values [][]byte) int64 {
	var total int64
	for _, v := range values {
		total += int64(len(v))
	}
	return max(total/int64(max(len(values), 1)), 1)
}

// piece is what a chunk says about its input: the offsets [From, To).
type piece struct {
	Topic     []byte `json:"t,omitempty"` // its ID, where the broker gives one
	Partition int32  `json:"p"`
	From      int64  `json:"a"`
	To        int64  `json:"z"`
	Mean      int64  `json:"m"` // bytes of a message, estimated
}

func (p piece) id() topicID { return bounds{Topic: p.Topic}.id() }

func (p piece) span() span { return span{p.Partition, p.From, p.To} }

func (p piece) bytes() int64 { return p.Mean * (p.To - p.From) }

func parsePiece(input json.RawMessage) (piece, error) {
	var p piece
	if err := json.Unmarshal(input, &p); err != nil || p.From < 0 || p.To <= p.From {
		return p, job.Permanentf("the input of a chunk of Kafka does not parse: %s: %w", input, errBounds)
	}
	return p, nil
}
