package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/messages"
	"drayage/pkg/source/messages/messagestest"
	"drayage/pkg/source/sourcetest"
)

// Where a job without a state begins.
func TestFrom(t *testing.T) {
	c := broker(t, 1)
	cl := producer(t, c)
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 6 {
		r := &kgo.Record{Topic: "t", Value: fmt.Appendf(nil, `{"n":%d}`, i), Timestamp: noon.Add(time.Duration(i) * time.Hour)}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for from, want := range map[string][]string{
		"":                     messagestest.Numbered(0, 6),
		"earliest":             messagestest.Numbered(0, 6),
		"latest":               nil,
		"2026-03-01T14:30:00Z": messagestest.Numbered(3, 6),
		"2026-03-01T15:00:00Z": messagestest.Numbered(3, 6),
		"2027-01-01T00:00:00Z": nil,
	} {
		if lines, _ := messagestest.Load(t, mustNew(t, c, Config{Settings: messages.Settings{From: from}}), messagestest.ColumnN); !slices.Equal(lines, want) {
			t.Errorf("from %q: %v", from, lines)
		}
	}
}

// Chunks have about as many bytes as they should.
func TestChunkBytes(t *testing.T) {
	c := broker(t, 1)
	produce(t, producer(t, c), 0, messagestest.Numbered(10, 60)...) // 8 bytes each
	for size, want := range map[int64]int{1: 50, 80: 5, 400: 1, 0: 1} {
		if _, chunks := messagestest.Load(t, mustNew(t, c, Config{Settings: messages.Settings{ChunkBytes: size}}), messagestest.ColumnN); len(chunks) != want {
			t.Errorf("%d chunks of %d bytes", len(chunks), size)
		}
	}
}

// Descriptions stay small: many partitions are read, and too many are refused
// before a chunk is planned, but not where the bounds are kept elsewhere.
func TestManyPartitions(t *testing.T) {
	for _, tt := range []struct {
		partitions int32
		own, fits  bool
	}{{MaxPartitions, false, true}, {1000, false, false}, {1000, true, true}} {
		var spans []span
		for p := range tt.partitions {
			spans = append(spans, span{p, 1 << 34, 1<<34 + 1<<20})
		}
		id := topicID{1, 2, 3}
		at := cursor{Bounds: newBounds(id, nil), Per: 1 << 19, Mean: 1000, Own: tt.own}
		s := &Source{}
		n := 0
		err := s.cut(t.Context(), at, slices.Clone(spans), func(p source.Planned, _ error) bool {
			if len(p.Cursor) > 3000 || len(p.Input) > 3000 {
				t.Fatalf("a cursor of %d bytes, an input of %d", len(p.Cursor), len(p.Input))
			}
			n++
			return true
		})
		if fits := err == nil; fits != tt.fits || fits && n != 2*int(tt.partitions) || !fits && (n != 0 || job.ClassOf(err) != job.Permanent) {
			t.Errorf("%d partitions: %d chunks, %v", tt.partitions, n, err)
		}
	}
}

func TestGarbage(t *testing.T) {
	c := broker(t, 1)
	s := mustNew(t, c, Config{})
	for _, raw := range []string{`{`, `{"p":0,"a":5,"z":5,"m":1}`, `{"p":0,"a":-1,"z":5,"m":1}`} {
		if _, err := s.Open(t.Context(), json.RawMessage(raw), nil); job.ClassOf(err) != job.Permanent {
			t.Errorf("opening %s: %v", raw, err)
		}
		if _, err := s.Locate(json.RawMessage(raw)); err == nil {
			t.Errorf("%s is somewhere", raw)
		}
	}
	for _, raw := range []string{`{`, `{"b":{"s":"gA=="},"n":1}`, `{}`} {
		if _, err := sourcetest.Plan(t, s, json.RawMessage(raw), nil); job.ClassOf(err) != job.Permanent {
			t.Errorf("planning after %s: %v", raw, err)
		}
	}
}

// A leader that moves while a chunk is read is looked for again.
func TestLeaderMoves(t *testing.T) {
	c := broker(t, 1, kfake.NumBrokers(3))
	produce(t, producer(t, c), 0, messagestest.Numbered(0, 20)...)
	s := mustNew(t, c, Config{})
	_, chunks := messagestest.Load(t, s, messagestest.ColumnN)
	ctx, cl, err := s.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.close()
	p, err := parsePiece(chunks[0].Input)
	if err != nil {
		t.Fatal(err)
	}
	for leader := range int32(3) {
		if err := c.MoveTopicPartition("t", 0, leader); err != nil {
			t.Fatal(err)
		}
		// What the fetcher knows is wrong twice of three times.
		f := fetcher{c: cl, id: p.id(), span: p.span(), leader: 0}
		n := 0
		for !f.done() {
			records, err := f.next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			n += len(records)
		}
		if n != 20 {
			t.Errorf("%d messages from leader %d", n, leader)
		}
	}
}

var errNoSeat = errors.New("no seat")

func refuse(context.Context) (context.Context, func(), error) { return nil, nil, errNoSeat }

type seatCounter struct{ taken, held int }

func (c *seatCounter) take(ctx context.Context) (context.Context, func(), error) {
	c.taken++
	c.held++
	return ctx, func() { c.held-- }, nil
}

// A seat is taken and given back for every connection.
func TestSeats(t *testing.T) {
	c := broker(t, 1)
	produce(t, producer(t, c), 0, messagestest.Numbered(0, 3)...)
	seats := seatCounter{}
	s := mustNew(t, c, Config{Seats: seats.take})
	messagestest.Load(t, s, messagestest.ColumnN)
	if _, _, err := s.Bounds(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if seats.taken != 3 || seats.held != 0 {
		t.Errorf("%d seats were taken, %d are held", seats.taken, seats.held)
	}
	s = mustNew(t, c, Config{Seats: refuse})
	if _, err := sourcetest.Plan(t, s, nil, nil); !errors.Is(err, errNoSeat) {
		t.Errorf("planned without a seat: %v", err)
	}
}
