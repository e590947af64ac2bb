package queue_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

func TestEveryChunkIsDeliveredAndGoneWhenDone(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		const n = 40
		p := b.open("j", queue.JobQueue{MaxInFlight: 8})
		b.publish("j", n)
		seen := make(map[uint64]int)
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					d, err := p.Next(ctx(t), 500*time.Millisecond)
					if errors.Is(err, queue.ErrEmpty) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					seen[d.Chunk().Ordinal]++
					mu.Unlock()
					if d.Attempt() != 1 || string(d.Chunk().Input) != string(chunk("j", int(d.Chunk().Ordinal)).Input) {
						t.Errorf("delivery %d of %+v", d.Attempt(), d.Chunk())
					}
					if err := d.Settle(ctx(t), job.Verdict{Kind: job.VerdictDone}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if len(seen) != n {
			t.Errorf("%d of %d chunks were delivered", len(seen), n)
		}
		b.backlog("j", 0, 0)
		// The register is free again: the planner may queue it anew.
		if err := b.q.PublishChunk(ctx(t), chunk("j", 0)); err != nil {
			t.Error(err)
		}
	})
}

func TestSaturationStopsDeliveryAndAnAckResumesIt(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 2})
		b.publish("j", 4)
		first, _ := b.next(p), b.next(p)
		_, err := p.Next(ctx(t), 150*time.Millisecond)
		want(t, err, queue.ErrEmpty)
		b.backlog("j", 2, 2)

		got := make(chan *queue.Delivery, 1)
		go func() {
			d, err := p.Next(ctx(t), 10*time.Second)
			if err != nil {
				t.Error(err)
			}
			got <- d
		}()
		b.settle(first, job.Verdict{Kind: job.VerdictDone})
		if d := <-got; d == nil || d.Chunk().Ordinal != 2 {
			t.Fatalf("got %+v", d)
		}
		b.backlog("j", 1, 2)

		// The bound is raised while the job runs: the throttle opens.
		if err := b.q.OpenJob(ctx(t), "j", queue.JobQueue{MaxInFlight: 3}); err != nil {
			t.Fatal(err)
		}
		b.next(p)
	})
}

func TestAPullerWithoutAFreeSlotHoldsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		busy := b.open("j", queue.JobQueue{MaxInFlight: 100})
		idle := b.puller(b.connect(), "j")
		b.publish("j", 6)
		b.next(busy) // one slot, taken; it does not call Next again
		for range 5 {
			b.next(idle)
		}
		b.backlog("j", 0, 6)
	})
}

func TestACancelledPullLosesNothingAndBurnsNoAttempt(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		const n = 300
		p := b.open("j", queue.JobQueue{MaxInFlight: n, Lease: 4 * time.Second})
		other := b.connect()
		published := make(chan struct{})
		go func() {
			defer close(published)
			for i := range n {
				if err := other.PublishChunk(ctx(t), chunk("j", i)); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		// Pulls are cancelled all the time while chunks arrive. Each chunk is
		// delivered, once: one that got lost would come after its lease with
		// a second attempt, one that was given back at once.
		seen := map[uint64]bool{}
		late := 0
		for i := 0; len(seen) < n; i++ {
			c, cancel := context.WithTimeout(ctx(t), time.Duration(i%30)*100*time.Microsecond)
			d, err := p.Next(c, 10*time.Second)
			ended := c.Err() != nil
			cancel()
			if err != nil {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				continue
			}
			if ended {
				late++
			}
			if o := d.Chunk().Ordinal; d.Attempt() != 1 || seen[o] {
				t.Fatalf("chunk %d took attempt %d, after %d of %d chunks and %d late ones", o, d.Attempt(), len(seen), n, late)
			}
			seen[d.Chunk().Ordinal] = true
			b.settle(d, job.Verdict{Kind: job.VerdictDone})
		}
		<-published
		if late == 0 {
			t.Error("no chunk arrived at a cancelled pull: nothing was tested")
		}
		b.backlog("j", 0, 0)
	})
}

func TestNextReturnsSoonWhenItsContextEnds(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 100, Lease: 20 * time.Second})
		cancelled := func(before func()) time.Duration {
			t.Helper()
			c, cancel := context.WithCancelCause(ctx(t))
			got := make(chan error, 1)
			go func() {
				_, err := p.Next(c, 10*time.Second)
				got <- err
			}()
			b.pullsWaiting("j", 1)
			before()
			start := time.Now()
			cancel(job.ErrDraining)
			want(t, <-got, job.ErrDraining)
			return time.Since(start)
		}
		// The pull that waits at the server is awaited.
		if took := cancelled(func() {}); took > 1400*time.Millisecond {
			t.Errorf("returned after %v", took)
		}
		// Nobody is there to answer for it.
		down := func() {
			b.server.Stop()
			eventually(t, func() error {
				if b.q.ServerVersion() != "" {
					return errors.New("still connected")
				}
				return nil
			})
		}
		if took := cancelled(down); took > 300*time.Millisecond {
			t.Errorf("returned after %v without a server", took)
		}
	})
}

func TestAChunkThatComesToADrainingWorkerIsExcused(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 100, Lease: 20 * time.Second})
		c, cancel := context.WithCancel(ctx(t))
		got := make(chan *queue.Delivery, 1)
		go func() {
			d, err := p.Next(c, 10*time.Second)
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			got <- d
		}()
		b.pullsWaiting("j", 1)
		b.publish("j", 1)
		cancel()
		d := <-got
		if d == nil { // the pull was between two slices
			if d = b.next(p); d.Attempt() != 1 {
				t.Errorf("attempt %d", d.Attempt())
			}
			return
		}
		if err := d.Settle(c, job.Verdict{Kind: job.VerdictDraining}); err != nil {
			t.Fatal(err)
		}
		d = b.next(p)
		if n, err := d.Excused(ctx(t)); n != 1 || d.Attempt() != 2 || err != nil {
			t.Errorf("attempt %d, excused %d, %v", d.Attempt(), n, err)
		}
	})
}

func TestAMissedAckIsRedeliveredToAnother(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 10, Lease: time.Second})
		other := b.puller(b.connect(), "j")
		b.publish("j", 1)
		first := b.next(p)
		second := b.next(other)
		if first.Attempt() != 1 || second.Attempt() != 2 || second.Chunk().Ordinal != 0 {
			t.Errorf("attempts %d, %d", first.Attempt(), second.Attempt())
		}
		b.settle(second, job.Verdict{Kind: job.VerdictDone})
		b.backlog("j", 0, 0)
		// Late and harmless: an ack is no fence.
		b.settle(first, job.Verdict{Kind: job.VerdictDone})
	})
}

func TestFirstWriteWins(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		const subjects, publishers = 30, 8
		queues := []*queue.Queue{b.q, b.connect(), b.connect(), b.connect()}
		race := func(what string, write func(q *queue.Queue, n, who int) error) {
			var mu sync.Mutex
			won := make(map[int]int)
			var wg sync.WaitGroup
			for who := range publishers {
				wg.Go(func() {
					for n := range subjects {
						err := write(queues[who%len(queues)], n, who)
						switch {
						case err == nil:
							mu.Lock()
							won[n]++
							mu.Unlock()
						case !errors.Is(err, queue.ErrExists):
							t.Errorf("%s: %v", what, err)
						}
					}
				})
			}
			wg.Wait()
			for n := range subjects {
				if won[n] != 1 {
					t.Errorf("%s %d: %d succeeded", what, n, won[n])
				}
			}
		}
		race("work", func(q *queue.Queue, n, who int) error { return q.PublishChunk(ctx(t), chunk("j", n)) })
		race("result", func(q *queue.Queue, n, who int) error {
			return q.RecordResult(ctx(t), result("j", n, fmt.Sprint("w", who)))
		})
		race("dead letter", func(q *queue.Queue, n, who int) error {
			return q.PublishDead(ctx(t), job.Dead{Chunk: chunk("j", n), Worker: fmt.Sprint("w", who), Reason: job.ReasonPermanent})
		})
		race("job", func(q *queue.Queue, n, who int) error {
			_, err := q.CreateJob(ctx(t), job.Job{ID: fmt.Sprint("j", n), Name: fmt.Sprint(who), State: job.Submitted})
			return err
		})
		if n, err := b.q.CountResults(ctx(t), "j"); n != subjects || err != nil {
			t.Errorf("%d results, %v", n, err)
		}
		// The same attempt may say it again; another generation is another chunk.
		r, err := b.q.Result(ctx(t), "j", 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.q.RecordResult(ctx(t), r); err != nil {
			t.Error(err)
		}
		r.Generation = 1
		if err := b.q.RecordResult(ctx(t), r); err != nil {
			t.Error(err)
		}
		next := chunk("j", 0)
		next.Generation = 1
		want(t, b.q.PublishChunk(ctx(t), next), queue.ErrExists)
	})
}

func TestPauseHoldsChunksBackAndSurvivesUpdatesAndRestart(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 10})
		if err := b.q.PauseJob(ctx(t), "j"); err != nil {
			t.Fatal(err)
		}
		b.publish("j", 1)
		silent := func() {
			t.Helper()
			_, err := p.Next(ctx(t), 100*time.Millisecond)
			want(t, err, queue.ErrEmpty)
		}
		silent()
		if err := b.q.OpenJob(ctx(t), "j", queue.JobQueue{MaxInFlight: 5}); err != nil {
			t.Fatal(err)
		}
		silent()
		if err := b.server.Restart(ctx(t)); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error { return b.q.Ping(ctx(t)) })
		silent()
		for range 2 {
			if err := b.q.ResumeJob(ctx(t), "j"); err != nil {
				t.Fatal(err)
			}
		}
		b.next(p)
		want(t, b.q.PauseJob(ctx(t), "nobody"), queue.ErrNotFound)
	})
}

// The connection may come back after a call of its own was answered already: a
// pull that is lost then is asked anew, though its time is over.
func TestAPullThatAReconnectionTookIsAskedAnew(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 10})
		const wait = 500 * time.Millisecond
		start := time.Now()
		got := make(chan error, 1)
		go func() {
			_, err := p.Next(ctx(t), wait)
			got <- err
		}()
		b.pullsWaiting("j", 1)
		b.server.Stop()
		eventually(t, func() error {
			if time.Since(start) < wait {
				return errors.New("it is not over")
			}
			return nil
		})
		if err := b.server.Restart(ctx(t)); err != nil {
			t.Fatal(err)
		}
		want(t, <-got, queue.ErrEmpty)
	})
}

func TestCloseJobTakesItsChunksAndEndsItsPullers(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 10})
		other := b.open("j2", queue.JobQueue{MaxInFlight: 10})
		b.publish("j", 3)
		b.publish("j2", 3)
		held := b.next(p)
		for range 2 {
			b.next(p)
		}
		waiting := make(chan error, 1)
		go func() {
			_, err := p.Next(ctx(t), 20*time.Second)
			waiting <- err
		}()
		b.pullsWaiting("j", 1)
		for range 2 {
			if err := b.q.CloseJob(ctx(t), "j"); err != nil {
				t.Fatal(err)
			}
		}
		want(t, <-waiting, queue.ErrNotFound)
		_, err := p.Next(ctx(t), time.Second)
		want(t, err, queue.ErrNotFound)
		_, err = b.q.Puller(ctx(t), "j")
		want(t, err, queue.ErrNotFound)
		want(t, held.Settle(ctx(t), job.Verdict{Kind: job.VerdictDone}), queue.ErrNotFound)

		// Nothing is left for a job that is opened again; the other is whole.
		b.open("j", queue.JobQueue{})
		b.backlog("j", 0, 0)
		b.backlog("j2", 3, 0)
		b.next(other)
	})
}

func TestAMessageThatIsNoChunkBecomesADeadLetter(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 10})
		_, js := b.raw()
		for n, bad := range []string{"{not json", `{"job":"other","chunk":1}`, `{"job":"j","chunk":99}`, ""} {
			if _, err := js.Publish(ctx(t), fmt.Sprint("dray.work.j.", n), []byte(bad)); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.q.PublishChunk(ctx(t), chunk("j", 7)); err != nil {
			t.Fatal(err)
		}
		if d := b.next(p); d.Chunk().Ordinal != 7 {
			t.Errorf("got %+v", d.Chunk())
		}
		b.backlog("j", 0, 1)
		dead, err := b.q.DeadLetters(ctx(t), "j", 0)
		if err != nil || len(dead) != 4 {
			t.Fatalf("%d dead letters, %v", len(dead), err)
		}
		for n, d := range dead {
			if d.Chunk.Ordinal != uint64(n) || d.Reason != job.ReasonPermanent || d.Error == "" {
				t.Errorf("dead letter %+v", d)
			}
		}
	})
}

func TestAFullQueuePushesBack(t *testing.T) {
	t.Parallel()
	b := setup(t, "", func(c *queue.Config) { c.WorkMaxMsgs = 3 })
	if err := b.q.Ensure(ctx(t)); err != nil {
		t.Fatal(err)
	}
	p := b.open("j", queue.JobQueue{})
	b.publish("j", 3)
	err := b.q.PublishChunk(ctx(t), chunk("j", 3))
	want(t, err, queue.ErrFull)
	if job.ClassOf(err) != job.Retry {
		t.Errorf("class %v", job.ClassOf(err))
	}
	want(t, b.q.PublishChunk(ctx(t), chunk("j", 0)), queue.ErrExists)
	b.settle(b.next(p), job.Verdict{Kind: job.VerdictDone})
	if err := b.q.PublishChunk(ctx(t), chunk("j", 3)); err != nil {
		t.Error(err)
	}
}

// Two coordinators that each believe in another bound for a moment do no harm.
func TestABoundThatTwoMove(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		var moving sync.WaitGroup
		for q, bound := range map[*queue.Queue]int{b.q: 1, b.connect(): 256} {
			moving.Go(func() {
				for range 200 {
					if err := q.OpenJob(ctx(t), "j", queue.JobQueue{MaxInFlight: bound}); err != nil && job.ClassOf(err) != job.Retry {
						t.Error(err)
						return
					}
				}
			})
		}
		moving.Wait()
	})
}
