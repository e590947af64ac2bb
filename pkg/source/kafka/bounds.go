package kafka

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// topicID tells a topic from one of the same name; zero where the broker gives
// none.
type topicID [16]byte

func (id topicID) zero() bool { return id == topicID{} }

// span is the offsets [From, To) of a partition.
type span struct {
	Partition int32
	From, To  int64
}

// bounds is what a job reads, in the order of partitions. Encoded it is binary,
// for a cursor carries it: a partition takes some 12 letters.
type bounds struct {
	Topic []byte `json:"t,omitempty"`
	Spans []byte `json:"s"`
}

// MaxPartitions bounds the partitions with messages that a job without
// Config.Bounds can read, for its cursors name each. It may be less when
// offsets are very large.
const MaxPartitions = 200

// maxCursor bounds an encoded cursor, in bytes.
const maxCursor = 2900

func newBounds(id topicID, spans []span) bounds {
	var b bounds
	if !id.zero() {
		b.Topic = id[:]
	}
	for _, s := range spans {
		b.Spans = binary.AppendUvarint(b.Spans, uint64(s.Partition)) //nolint:gosec // not negative
		b.Spans = binary.AppendUvarint(b.Spans, uint64(s.From))      //nolint:gosec // not negative
		b.Spans = binary.AppendUvarint(b.Spans, uint64(s.To-s.From)) //nolint:gosec // not negative
	}
	return b
}

func (b bounds) id() (id topicID) {
	copy(id[:], b.Topic)
	return id
}

var errBounds = errors.New("the bounds of a job of Kafka do not parse")

func (b bounds) spans() ([]span, error) {
	var all []span
	for rest := b.Spans; len(rest) > 0; {
		var n [3]int64
		for i := range n {
			v, size := binary.Uvarint(rest)
			if size <= 0 || v > 1<<62 {
				return nil, job.Permanentf("%w", errBounds)
			}
			n[i], rest = int64(v), rest[size:] //nolint:gosec // bounded above
		}
		all = append(all, span{int32(n[0]), n[1], n[1] + n[2]}) //nolint:gosec // as it was encoded
	}
	return all, nil
}

func parseBounds(raw json.RawMessage) (bounds, error) {
	var b bounds
	if err := json.Unmarshal(raw, &b); err != nil {
		return b, job.Permanentf("%w: %w", errBounds, err)
	}
	return b, nil
}

// state is where the next job goes on.
type state struct {
	Topic []byte          `json:"t,omitempty"`
	Next  map[int32]int64 `json:"n"`
}

// Bounds fixes what a job that follows state is to read (nil: from where the
// configuration says), and returns the state after that job. It reads no
// message. Offsets that state had not read yet and that are gone, and a topic
// that was made anew, are errors marked job.Permanent. Partitions that state
// does not know are read from their begin.
func (s *Source) Bounds(ctx context.Context, from json.RawMessage) (found, next json.RawMessage, err error) {
	ctx, c, err := s.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer c.close()
	var st *state
	if len(from) > 0 {
		st = &state{}
		if err := json.Unmarshal(from, st); err != nil {
			return nil, nil, job.Permanentf("the state of the topic %s does not parse: %w", s.cfg.Topic, err)
		}
	}
	id, spans, err := c.bounds(ctx, st)
	if err != nil {
		return nil, nil, err
	}
	b := newBounds(id, spans)
	after := state{Topic: b.Topic, Next: map[int32]int64{}}
	for _, sp := range spans {
		after.Next[sp.Partition] = sp.To
	}
	found, err1 := json.Marshal(b)
	next, err2 := json.Marshal(after)
	return found, next, errors.Join(err1, err2)
}

// bounds asks for the ranges of all partitions, also those that are empty. They
// end at the last offset whose transaction is decided.
func (c *client) bounds(ctx context.Context, st *state) (topicID, []span, error) {
	var want topicID
	if st != nil {
		copy(want[:], st.Topic)
	}
	t, err := c.same(ctx, want)
	if err != nil {
		return want, nil, err
	}
	topic := c.s.cfg.Topic
	listed, err := c.adm.ListCommittedOffsets(ctx, topic)
	ends, err := c.offsets("asking for the ends", listed, err)
	if err != nil {
		return want, nil, err
	}
	listed, err = c.adm.ListStartOffsets(ctx, topic)
	starts, err := c.offsets("asking for the begins", listed, err)
	if err != nil {
		return want, nil, err
	}
	froms, err := c.froms(ctx, st, starts, ends)
	if err != nil {
		return want, nil, err
	}
	var all []span
	for _, p := range slices.Sorted(maps.Keys(ends)) {
		sp := span{p, froms[p], ends[p]}
		switch {
		case sp.From < starts[p] && st != nil:
			return want, nil, c.s.lost(p, sp.From, starts[p])
		case sp.From > sp.To && st != nil:
			return want, nil, c.s.shorter(p, sp.To, sp.From)
		}
		sp.From = min(sp.From, sp.To) // of an undecided transaction
		all = append(all, sp)
	}
	return topicID(t.ID), all, nil
}

// froms are the offsets to begin at.
func (c *client) froms(ctx context.Context, st *state, starts, ends map[int32]int64) (map[int32]int64, error) {
	switch {
	case st != nil:
		froms := maps.Clone(starts)
		for p, n := range st.Next {
			if _, known := starts[p]; !known {
				return nil, job.Permanentf("topic %s: %w: the partition %d is not there any more: start again with --full", c.s.cfg.Topic, source.ErrChanged, p)
			}
			froms[p] = n
		}
		return froms, nil
	case c.s.reading.Start.Latest:
		return ends, nil
	case !c.s.reading.Start.After.IsZero():
		listed, err := c.adm.ListOffsetsAfterMilli(ctx, c.s.reading.Start.After.UnixMilli(), c.s.cfg.Topic)
		return c.offsets("asking for the offsets of a time", listed, err)
	}
	return starts, nil
}
