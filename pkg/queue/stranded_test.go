package queue_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"drayage/pkg/queue"
)

func TestStrandedJobsAreFoundAmongLiveOnes(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		live := func(id string) bool { return id == "live" }
		stranded := func(after uint64, ids ...string) uint64 {
			t.Helper()
			got, upTo, err := b.q.StrandedJobs(ctx(t), after, live)
			if err != nil || !slices.Equal(got, ids) {
				t.Errorf("found %v after %d, %v; wanted %v", got, after, err, ids)
			}
			return upTo
		}
		if upTo := stranded(0); upTo != 0 {
			t.Errorf("an empty queue ends at %d", upTo)
		}
		b.publish("live", 10)
		b.publish("ended", 3)
		b.publish("live-2", 1)
		if err := b.q.Hedge(ctx(t), chunk("hedged", 0)); err != nil {
			t.Fatal(err)
		}
		upTo := stranded(0, "ended", "live-2", "hedged")
		stranded(0, "ended", "live-2", "hedged")
		if again := stranded(upTo); again != upTo {
			t.Errorf("ended at %d, then at %d", upTo, again)
		}
		for _, id := range []string{"ended", "live-2", "hedged"} {
			if err := b.q.CloseJob(ctx(t), id); err != nil {
				t.Fatal(err)
			}
		}
		stranded(0)
		b.open("live", queue.JobQueue{})
		b.backlog("live", 10, 0)

		// Later, behind what was looked at, and across a restart.
		b.publish("late", 1)
		if err := b.server.Restart(ctx(t)); err != nil {
			t.Fatal(err)
		}
		stranded(upTo, "late")

		// It ends with its context.
		b.server.Stop()
		c, cancel := context.WithTimeout(ctx(t), 200*time.Millisecond)
		defer cancel()
		_, _, err := b.q.StrandedJobs(c, 0, live)
		want(t, err, context.DeadlineExceeded)
	})
}

func TestStrandedJobsOfALongQueue(t *testing.T) {
	t.Parallel()
	b := setup(t, "", nil)
	if err := b.q.Ensure(ctx(t)); err != nil {
		t.Fatal(err)
	}
	// More than two batches, holes in between, and the only stranger last.
	_, js := b.raw()
	const n = 2200
	for i := range n {
		if _, err := js.PublishAsync(fmt.Sprint("dray.work.big.", i), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	b.publish("stray", 1)
	for _, sequence := range []uint64{1, 2, 1000, 1001, 1500} {
		s, err := js.Stream(ctx(t), "DRAY_WORK")
		if err == nil {
			err = s.DeleteMsg(ctx(t), sequence)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	asked := 0
	start := time.Now()
	ids, upTo, err := b.q.StrandedJobs(ctx(t), 0, func(id string) bool { asked++; return id == "big" })
	if err != nil || !slices.Equal(ids, []string{"stray"}) || upTo != n+1 || asked != 2 {
		t.Errorf("%v up to %d, asked %d times, %v", ids, upTo, asked, err)
	}
	t.Logf("%d messages in %v", n, time.Since(start))
}
