package queue_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

func TestAHedgeIsASecondMessageOfAChunk(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 10, Lease: 20 * time.Second})
		b.publish("j", 2)
		slow := b.next(p)
		if slow.Hedge() {
			t.Error("a chunk is no hedge")
		}
		c, err := b.q.QueuedChunk(ctx(t), "j", 0)
		if err != nil || c.Ordinal != 0 || string(c.Input) != string(slow.Chunk().Input) {
			t.Fatalf("%+v, %v", c, err)
		}

		// Of many that hedge one succeeds.
		var mu sync.Mutex
		won := 0
		var wg sync.WaitGroup
		for range 6 {
			q := b.connect()
			wg.Go(func() {
				switch err := q.Hedge(ctx(t), c); {
				case err == nil:
					mu.Lock()
					won++
					mu.Unlock()
				case !errors.Is(err, queue.ErrExists):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won != 1 {
			t.Errorf("%d hedges", won)
		}
		b.backlog("j", 2, 1)

		if d := b.next(p); d.Hedge() || d.Chunk().Ordinal != 1 {
			t.Errorf("%+v", d.Chunk())
		}
		hedge := b.next(b.puller(b.connect(), "j"))
		if !hedge.Hedge() || hedge.Chunk().Ordinal != 0 || hedge.Attempt() != 1 || string(hedge.Chunk().Input) != string(c.Input) {
			t.Errorf("hedge %v, attempt %d of %+v", hedge.Hedge(), hedge.Attempt(), hedge.Chunk())
		}
		want(t, b.q.Hedge(ctx(t), c), queue.ErrExists) // in flight

		// Its end is not the chunk's.
		b.settle(hedge, job.Verdict{Kind: job.VerdictDone})
		b.backlog("j", 0, 2)
		if err := b.q.Hedge(ctx(t), c); err != nil {
			t.Error(err)
		}
		again := b.next(p)
		b.settle(slow, job.Verdict{Kind: job.VerdictDone})
		_, err = b.q.QueuedChunk(ctx(t), "j", 0)
		want(t, err, queue.ErrNotFound)
		b.backlog("j", 0, 2)
		b.settle(again, job.Verdict{Kind: job.VerdictStale})
		b.backlog("j", 0, 1)
	})
}

func TestAHedgeHasAttemptsAndExcusesOfItsOwn(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 10, Lease: 20 * time.Second})
		said := b.wire("j")
		b.publish("j", 1)
		slow := b.next(p)
		if err := b.q.Hedge(ctx(t), slow.Chunk()); err != nil {
			t.Fatal(err)
		}
		b.settle(b.next(p), job.Verdict{Kind: job.VerdictDraining})
		said()
		hedge := b.next(p)
		if n, err := hedge.Excused(ctx(t)); !hedge.Hedge() || hedge.Attempt() != 2 || n != 1 || err != nil {
			t.Errorf("hedge %v, attempt %d, excused %d, %v", hedge.Hedge(), hedge.Attempt(), n, err)
		}
		b.settle(hedge, job.Verdict{Kind: job.VerdictStale, Err: errors.New("no such column")})
		if w := said(); w != "+TERM hedge: no such column" {
			t.Errorf("said %q", w)
		}
		b.settle(slow, job.Verdict{Kind: job.VerdictRetry, After: time.Millisecond})
		d := b.next(p)
		if n, err := d.Excused(ctx(t)); d.Hedge() || d.Attempt() != 2 || n != 0 || err != nil {
			t.Errorf("hedge %v, attempt %d, excused %d, %v", d.Hedge(), d.Attempt(), n, err)
		}

		// Closing the job takes hedges away that wait.
		if err := b.q.Hedge(ctx(t), d.Chunk()); err != nil {
			t.Fatal(err)
		}
		if err := b.q.CloseJob(ctx(t), "j"); err != nil {
			t.Fatal(err)
		}
		b.open("j", queue.JobQueue{})
		b.backlog("j", 0, 0)
	})
}

func TestHedgeErr(t *testing.T) {
	t.Parallel()
	b := setup(t, "", nil)
	if err := b.q.Ensure(ctx(t)); err != nil {
		t.Fatal(err)
	}
	want(t, b.q.Hedge(ctx(t), chunk("a.b", 0)), queue.ErrInvalid)
	_, err := b.q.QueuedChunk(ctx(t), "a.b", 0)
	want(t, err, queue.ErrInvalid)
	_, err = b.q.QueuedChunk(ctx(t), "j", 0)
	want(t, err, queue.ErrNotFound)
	big := chunk("j", 0)
	big.Input = []byte(`"` + strings.Repeat("x", job.MaxDescriptor) + `"`)
	want(t, b.q.Hedge(ctx(t), big), queue.ErrTooLarge)

	// A hedge that can not be read is taken out; the chunk it is of has no
	// dead letter by that.
	p := b.open("j", queue.JobQueue{MaxInFlight: 10})
	_, js := b.raw()
	for subject, bad := range map[string]string{"dray.work.j.0.hedge": "{", "dray.work.j.1.hedge": `{"job":"j","chunk":2}`, "dray.work.j.x.hedge": `{"job":"j"}`} {
		if _, err := js.Publish(ctx(t), subject, []byte(bad)); err != nil {
			t.Fatal(err)
		}
	}
	b.publish("j", 1)
	if d := b.next(p); d.Hedge() || d.Chunk().Ordinal != 0 {
		t.Errorf("%+v", d.Chunk())
	}
	b.backlog("j", 0, 1)
	if n, err := b.q.CountDead(ctx(t), "j"); n != 0 || err != nil {
		t.Errorf("%d dead letters, %v", n, err)
	}
}
