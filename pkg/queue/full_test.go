package queue_test

import (
	"bytes"
	"fmt"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// fill publishes to subjects under a prefix until the stream refuses even the
// smallest message.
func (b *bundle) fill(prefix string) {
	b.t.Helper()
	_, js := b.raw()
	n := 0
	for _, size := range []int{100_000, 2_000, 1} {
		for {
			n++
			if _, err := js.Publish(ctx(b.t), fmt.Sprint(prefix, n), bytes.Repeat([]byte("x"), size)); err != nil {
				break
			}
		}
	}
}

func TestFullStreamsRefuseAndRecover(t *testing.T) {
	t.Parallel()
	b := setup(t, "", func(c *queue.Config) {
		c.JobsMaxBytes, c.ResultsMaxBytes, c.DeadMaxBytes, c.WorkMaxMsgs = 1<<20, 1<<20, 1<<20, 3
	})
	if err := b.q.Ensure(ctx(t)); err != nil {
		t.Fatal(err)
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	// Results: what is recorded is still known as that; no other is taken.
	ok(b.q.RecordResult(ctx(t), result("j", 0, "w")))
	b.fill("dray.results.filler.0.")
	want(t, b.q.RecordResult(ctx(t), result("j", 1, "w")), queue.ErrFull)
	ok(b.q.RecordResult(ctx(t), result("j", 0, "w")))
	want(t, b.q.RecordResult(ctx(t), result("j", 0, "v")), queue.ErrExists)
	ok(b.q.PurgeResults(ctx(t), "filler"))
	ok(b.q.RecordResult(ctx(t), result("j", 1, "w")))

	// Dead letters likewise: without it the chunk must not leave the queue.
	b.fill("dray.dead.filler.0.")
	want(t, b.q.PublishDead(ctx(t), job.Dead{Chunk: chunk("j", 0)}), queue.ErrFull)
	ok(b.q.PurgeDead(ctx(t), "filler"))
	ok(b.q.PublishDead(ctx(t), job.Dead{Chunk: chunk("j", 0)}))

	// A hedge needs room as a chunk does.
	p := b.open("j", queue.JobQueue{})
	b.publish("j", 3)
	want(t, b.q.Hedge(ctx(t), chunk("j", 0)), queue.ErrFull)
	b.settle(b.next(p), job.Verdict{Kind: job.VerdictDone})
	ok(b.q.Hedge(ctx(t), chunk("j", 1)))

	// Job records: one that grows is refused as a new one is, and it helps to
	// delete another.
	rev, err := b.q.CreateJob(ctx(t), job.Job{ID: "j", State: job.Running})
	ok(err)
	_, err = b.q.CreateJob(ctx(t), job.Job{ID: "old", State: job.Done, Error: string(bytes.Repeat([]byte("x"), 10_000))})
	ok(err)
	b.fill("$KV.dray_jobs.filler")
	grown := job.Job{ID: "j", State: job.Failed, Error: string(bytes.Repeat([]byte("x"), 5_000))}
	_, err = b.q.UpdateJob(ctx(t), grown, rev)
	want(t, err, queue.ErrFull)
	_, err = b.q.CreateJob(ctx(t), job.Job{ID: "k"})
	want(t, err, queue.ErrFull)
	ok(b.q.DeleteJob(ctx(t), "old"))
	_, err = b.q.UpdateJob(ctx(t), grown, rev)
	ok(err)
}
