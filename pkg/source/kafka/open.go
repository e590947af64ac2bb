package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kgo"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/messages"
)

// UnitOffsets is the unit of Locate.
const UnitOffsets = "offsets"

// Locate implements source.Locator: the name is topic/partition.
func (s *Source) Locate(input json.RawMessage) (source.Location, error) {
	p, err := parsePiece(input)
	if err != nil {
		return source.Location{}, err
	}
	return source.Location{
		Name: fmt.Sprintf("%s/%d", s.cfg.Topic, p.Partition),
		Unit: UnitOffsets, Start: p.From, End: p.To, Offset: -1,
	}, nil
}

// Open implements source.Source. The reader gives the messages of the range in
// the order of their offsets: those of aborted transactions and those without a
// value are left out. Of a compacted topic, messages that the broker removed
// meanwhile are not there the second time; nothing tells of it.
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
	r := &reader{
		ctx: held, s: s,
		rows: messages.NewEncoder(s.format, columns, s.fields()),
		from: fetcher{c: c, id: p.id(), span: p.span(), leader: -1},
	}
	if _, err := c.same(held, p.id()); err != nil {
		stop()
		c.close()
		return nil, err
	}
	return &source.Input{
		Reader: r, Format: s.format.Input(), Compression: "none",
		Structure: columns, Settings: s.format.Settings(), Bytes: p.bytes(),
		Check: r.check,
		Close: func() error {
			stop()
			c.close()
			return nil
		},
	}, nil
}

// reader gives the rows of a range. It holds one answer of a broker.
type reader struct {
	ctx     context.Context //nolint:containedctx // of the seat: io.Reader takes none
	s       *Source
	from    fetcher
	rows    *messages.Encoder
	records []*kgo.Record // left of the last answer
	row     []byte
	at      int // in row
	data    []messages.Datum
	err     error
}

// Read implements io.Reader.
func (r *reader) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		if r.at == len(r.row) && !r.advance(n == 0) {
			break
		}
		m := copy(b[n:], r.row[r.at:])
		n, r.at = n+m, r.at+m
	}
	if n > 0 || len(b) == 0 {
		return n, nil
	}
	return 0, r.err
}

// advance makes the next row; it waits for the broker when wait is set.
func (r *reader) advance(wait bool) bool {
	for r.err == nil {
		if len(r.records) == 0 {
			if !wait {
				return false
			}
			r.fetch()
			continue
		}
		rec := r.records[0]
		r.records = r.records[1:]
		if rec.Value == nil && !r.rows.KeepsNull() {
			r.s.tombstones.Add(1)
			continue
		}
		if r.s.cfg.Metadata {
			r.data = data(r.data, rec)
		}
		r.row, r.at = r.rows.Append(r.row[:0], rec.Value, r.data), 0
		return true
	}
	return false
}

func (r *reader) fetch() {
	if r.from.span.From >= r.from.span.To {
		r.err = io.EOF
		return
	}
	var err error
	if r.records, _, err = r.from.next(r.ctx); err != nil {
		r.err = err
	}
}

// check implements Input.Check. Each answer was of the topic that was planned,
// for it is asked for by its ID; so a failure of the reading is all there is to
// say. Whoever stops before the end has a reason of its own.
func (r *reader) check() error {
	if errors.Is(r.err, io.EOF) {
		return nil
	}
	return r.err
}
