package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/messages"
)

// Source is the source of a stream. It holds no connection between calls, and
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

// subject is the filter, of all subjects by default.
func (s *Source) subject() string {
	if s.cfg.Subject == "" {
		return ">"
	}
	return s.cfg.Subject
}

// metadata are the columns that Config.Metadata adds.
var metadata = []messages.Field{
	{Name: "_subject", Type: "String"},
	{Name: "_sequence", Type: "UInt64"},
	{Name: "_timestamp", Type: "DateTime64(9, 'UTC')"},
	{Name: "_headers", Type: messages.HeadersType},
}

// sampled is how many messages are looked at for columns.
const sampled = 500

// Columns implements source.Source. The stream must exist; where columns are
// declared it may be empty.
func (s *Source) Columns(ctx context.Context, eng source.Engine) ([]job.Column, error) {
	ctx, c, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer c.close()
	b, _, err := c.ranges(ctx)
	if err != nil {
		return nil, err
	}
	var values [][]byte
	if len(s.cfg.Columns) == 0 {
		if values, err = c.sample(ctx, piece{bounds: b}); err != nil {
			return nil, err
		}
	}
	columns, err := s.reading.Columns(ctx, eng, s.cfg.Columns, values)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.cfg.Stream, err)
	}
	return columns, nil
}

// sample returns the first messages of a range.
func (c *client) sample(ctx context.Context, p piece) ([][]byte, error) {
	f := &feed{ctx: ctx, c: c, piece: p, at: p.From}
	defer f.stop()
	if err := f.look(); err != nil {
		return nil, err
	}
	var values [][]byte
	for size := 0; len(values) < sampled && size < messages.MaxSample; {
		m, err := f.Next(true)
		switch {
		case errors.Is(err, io.EOF):
			return values, nil
		case err != nil:
			return nil, err
		case m.Value != nil:
			values = append(values, m.Value)
			size += len(m.Value)
		}
	}
	return values, nil
}

// Size implements source.Source: from the mean size of the stream's messages.
func (s *Source) Size(ctx context.Context) int64 {
	ctx, c, err := s.connect(ctx)
	if err != nil {
		return 0
	}
	defer c.close()
	b, info, err := c.ranges(ctx)
	if err != nil || info.State.Msgs == 0 {
		return 0
	}
	return (b.To - b.From) * mean(info)
}

// piece is what a chunk says about its input.
type piece struct {
	bounds
	Mean int64 `json:"m"` // bytes of a message, estimated
}

func (p piece) bytes() int64 { return p.Mean * (p.To - p.From) }

var errPiece = errors.New("the input of a chunk of JetStream does not parse")

func parsePiece(input json.RawMessage) (piece, error) {
	var p piece
	if err := json.Unmarshal(input, &p); err != nil || p.From < 1 || p.To <= p.From {
		return p, job.Permanentf("%w: %s", errPiece, input)
	}
	return p, nil
}
