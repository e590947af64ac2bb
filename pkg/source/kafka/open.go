package kafka

import (
	"context"
	"encoding/json"
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
	if _, err := c.same(held, p.id()); err != nil {
		stop()
		c.close()
		return nil, err
	}
	// Each answer is of the topic that was planned, for it is asked for by its ID: a
	// failure of the reading is all that there is to check in the end.
	f := &feed{ctx: held, fetcher: fetcher{c: c, id: p.id(), span: p.span(), leader: -1}, with: s.cfg.Metadata}
	return s.reading.Input(f, columns, p.bytes(), func() { stop(); c.close() }), nil
}

// feed gives the messages of a range. It holds one answer of a broker.
type feed struct {
	ctx     context.Context //nolint:containedctx // of the seat: io.Reader takes none
	fetcher fetcher
	with    bool          // metadata
	records []*kgo.Record // left of the last answer
	data    []messages.Datum
}

// Next implements messages.Feed.
func (f *feed) Next(wait bool) (messages.Message, error) {
	for len(f.records) == 0 {
		if f.fetcher.done() {
			return messages.Message{}, io.EOF
		}
		if !wait {
			return messages.Message{}, messages.ErrNotYet
		}
		var err error
		if f.records, err = f.fetcher.next(f.ctx); err != nil {
			return messages.Message{}, err
		}
	}
	r := f.records[0]
	f.records[0], f.records = nil, f.records[1:]
	m := messages.Message{Value: r.Value}
	if f.with {
		f.data = data(f.data, r)
		m.Data = f.data
	}
	return m, nil
}
