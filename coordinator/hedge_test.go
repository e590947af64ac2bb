package coordinator

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

func startQueue(t *testing.T) *queue.Queue {
	t.Helper()
	e, err := queue.StartEmbedded(t.Context(), queue.EmbeddedConfig{StoreDir: t.TempDir(), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	q, err := e.Connect(t.Context(), queue.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	if err := q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return q
}

// The last chunk of a job takes long, and a second worker gets it too, once.
func TestHedge(t *testing.T) {
	t.Parallel()
	q := startQueue(t)
	ctx := t.Context()
	if err := q.OpenJob(ctx, "h", queue.JobQueue{MaxInFlight: 4}); err != nil {
		t.Fatal(err)
	}
	if err := q.PublishChunk(ctx, job.Chunk{Job: "h", Ordinal: 7, Input: json.RawMessage(`{}`)}); err != nil {
		t.Fatal(err)
	}
	p, err := q.Puller(ctx, "h")
	if err != nil {
		t.Fatal(err)
	}
	slow, err := p.Next(ctx, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	beat := func(slots int) {
		t.Helper()
		err := q.Heartbeat(ctx, job.Worker{ID: "w", Slots: slots, Busy: 1, Current: []string{"h/7/0"}, At: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
	}
	counted := 0
	h := hedger{q: q, job: "h", after: 10 * time.Second, given: map[uint64]bool{}, hedged: func() { counted++ }}
	for range hedgeSample + 5 {
		h.ended(job.Result{TransformMS: 4000, LoadMS: 2000})
	}
	begin := time.Now()
	for _, s := range []struct {
		name  string
		slots int
		left  uint64
		after time.Duration
		want  bool
	}{
		{"first seen", 2, 1, 0, false},
		{"longer than DRAY_HEDGE_AFTER, not than three medians", 2, 1, 15 * time.Second, false},
		{"not near the end", 2, hedgeLast + 1, time.Minute, false},
		{"no free slot", 1, 1, time.Minute, false},
		{"a straggler", 2, 1, time.Minute, true},
		{"once is enough", 2, 1, 2 * time.Minute, false},
	} {
		beat(s.slots)
		if err := h.step(ctx, s.left, begin.Add(s.after)); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		wait := time.Duration(0)
		if s.want { // the consumer learns of a message a moment after its publisher
			wait = 10 * time.Second
		}
		d, err := p.Next(ctx, wait)
		if (err == nil) != s.want {
			t.Fatalf("%s: a delivery came: %t (%v)", s.name, err == nil, err)
		}
		if err == nil && (!d.Hedge() || d.Chunk().Ordinal != 7 || slow.Hedge()) {
			t.Errorf("%s: got chunk %d, hedge %t", s.name, d.Chunk().Ordinal, d.Hedge())
		}
	}
	if counted != 1 {
		t.Errorf("%d hedges were counted", counted)
	}
}
