package queue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

func TestJobRecordsAreCompareAndSet(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		_, _, err := b.q.Job(ctx(t), "j")
		want(t, err, queue.ErrNotFound)
		j := job.Job{ID: "j", State: job.Submitted, CreatedAt: time.Unix(100, 0).UTC()}
		rev, err := b.q.CreateJob(ctx(t), j)
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.q.CreateJob(ctx(t), j)
		want(t, err, queue.ErrExists)
		j.State = job.Planning
		next, err := b.q.UpdateJob(ctx(t), j, rev)
		if err != nil || next <= rev {
			t.Fatal(next, err)
		}
		_, err = b.q.UpdateJob(ctx(t), j, rev)
		want(t, err, queue.ErrConflict)
		_, err = b.q.UpdateJob(ctx(t), j, 0)
		want(t, err, queue.ErrInvalid)
		got, at, err := b.q.Job(ctx(t), "j")
		if err != nil || at != next || got.State != job.Planning {
			t.Errorf("%+v at %d, %v", got, at, err)
		}

		// Of many that saw the same revision one moves the job.
		var mu sync.Mutex
		moved := 0
		var wg sync.WaitGroup
		for n := range 8 {
			q := b.q
			if n%2 == 0 {
				q = b.connect()
			}
			wg.Go(func() {
				mine := j
				mine.State = job.Running
				switch _, err := q.UpdateJob(ctx(t), mine, next); {
				case err == nil:
					mu.Lock()
					moved++
					mu.Unlock()
				case !errors.Is(err, queue.ErrConflict):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if moved != 1 {
			t.Errorf("%d moved it", moved)
		}

		// Deleted and made again, under the same id; the old revision is void.
		if err := b.q.DeleteJob(ctx(t), "j"); err != nil {
			t.Fatal(err)
		}
		if err := b.q.DeleteJob(ctx(t), "j"); err != nil {
			t.Fatal(err)
		}
		_, _, err = b.q.Job(ctx(t), "j")
		want(t, err, queue.ErrNotFound)
		if _, err = b.q.CreateJob(ctx(t), j); err != nil {
			t.Fatal(err)
		}
		_, err = b.q.UpdateJob(ctx(t), j, next)
		want(t, err, queue.ErrConflict)

		for n := range 5 {
			if _, err := b.q.CreateJob(ctx(t), job.Job{ID: fmt.Sprint("k", n), State: job.Done, CreatedAt: time.Unix(int64(1000+n), 0)}); err != nil {
				t.Fatal(err)
			}
		}
		jobs, err := b.q.Jobs(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, j := range jobs {
			ids = append(ids, j.ID)
		}
		if got := strings.Join(ids, " "); got != "k4 k3 k2 k1 k0 j" {
			t.Errorf("jobs %s", got)
		}
	})
}

func TestEditJobRepeatsUntilNobodyWasInBetween(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		if _, err := b.q.CreateJob(ctx(t), job.Job{ID: "j", State: job.Running}); err != nil {
			t.Fatal(err)
		}
		const editors, edits = 4, 5
		var wg sync.WaitGroup
		for range editors {
			q := b.connect()
			wg.Go(func() {
				for range edits {
					j, err := q.EditJob(ctx(t), "j", func(j *job.Job) error { j.Repairs++; return nil })
					if err != nil || j.Repairs == 0 {
						t.Errorf("%+v, %v", j, err)
					}
				}
			})
		}
		wg.Wait()
		j, rev, err := b.q.Job(ctx(t), "j")
		if err != nil || j.Repairs != editors*edits {
			t.Errorf("%d edits of %d, %v", j.Repairs, editors*edits, err)
		}

		// The edit says no: nothing is written.
		no := errors.New("it has ended")
		_, err = b.q.EditJob(ctx(t), "j", func(j *job.Job) error { j.State = job.Done; return no })
		want(t, err, no)
		if j, now, err := b.q.Job(ctx(t), "j"); err != nil || now != rev || j.State != job.Running {
			t.Errorf("%+v at %d, %v", j, now, err)
		}
		_, err = b.q.EditJob(ctx(t), "nobody", func(*job.Job) error { return nil })
		want(t, err, queue.ErrNotFound)
		_, err = b.q.EditJob(ctx(t), "j", func(j *job.Job) error { j.ID = "k"; return nil })
		want(t, err, queue.ErrInvalid)

		// Somebody is always in between: it gives up.
		c, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		runs := 0
		_, err = b.q.EditJob(c, "j", func(*job.Job) error {
			runs++
			_, err := b.q.EditJob(c, "j", func(*job.Job) error { return nil })
			return err
		})
		want(t, err, queue.ErrConflict)
		if runs < 5 || runs > 50 {
			t.Errorf("gave up after %d", runs)
		}
	})
}

func TestJobsOfAnEmptyBucket(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		jobs, err := b.q.Jobs(ctx(t))
		if err != nil || len(jobs) != 0 {
			t.Errorf("%v %v", jobs, err)
		}
		workers, err := b.q.Workers(ctx(t))
		if err != nil || len(workers) != 0 {
			t.Errorf("%v %v", workers, err)
		}
	})
}

func TestWatchSeesEverythingAcrossARestart(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		mk := func(id string) {
			t.Helper()
			if _, err := b.q.CreateJob(ctx(t), job.Job{ID: id, State: job.Submitted}); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 40 { // more than the channel holds
			mk(fmt.Sprint("a", n))
		}
		c, cancel := context.WithCancel(ctx(t))
		defer cancel()
		watch, err := b.q.WatchJobs(c)
		if err != nil {
			t.Fatal(err)
		}
		next := func() queue.JobUpdate {
			t.Helper()
			select {
			case u, ok := <-watch:
				if !ok {
					t.Fatal("closed")
				}
				return u
			case <-time.After(15 * time.Second):
				t.Fatal("nothing came")
			}
			return queue.JobUpdate{}
		}
		for n := range 40 {
			if u := next(); u.Job.ID != fmt.Sprint("a", n) || u.Revision == 0 || u.CaughtUp {
				t.Fatalf("update %d is %+v", n, u)
			}
		}
		if u := next(); !u.CaughtUp {
			t.Fatalf("%+v", u)
		}
		mk("b")
		if u := next(); u.Job.ID != "b" {
			t.Fatalf("%+v", u)
		}
		if err := b.server.Restart(ctx(t)); err != nil {
			t.Fatal(err)
		}
		mk("c")
		if u := next(); u.Job.ID != "c" {
			t.Fatalf("%+v", u)
		}
		j, rev, err := b.q.Job(ctx(t), "c")
		if err != nil {
			t.Fatal(err)
		}
		j.State = job.Failed
		if _, err := b.q.UpdateJob(ctx(t), j, rev); err != nil {
			t.Fatal(err)
		}
		if u := next(); u.Job.State != job.Failed {
			t.Fatalf("%+v", u)
		}
		if err := b.q.DeleteJob(ctx(t), "c"); err != nil {
			t.Fatal(err)
		}
		if u := next(); u.Job.ID != "c" || !u.Deleted {
			t.Fatalf("%+v", u)
		}
		cancel()
		for range watch { // ends
		}
	})
}

func TestWatchOfNothingIsCaughtUpAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		c, cancel := context.WithCancel(ctx(t))
		watch, err := b.q.WatchJobs(c)
		if err != nil {
			t.Fatal(err)
		}
		if u := <-watch; !u.CaughtUp {
			t.Errorf("%+v", u)
		}
		cancel()
		for range watch {
		}
	})
}

func TestResultsAreFollowedInOrderAcrossARestart(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		const past, live = 600, 20 // more than one pull's worth
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for n := w; n < past; n += 8 {
					if err := b.q.RecordResult(ctx(t), result("j", n, "w")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if err := b.q.RecordResult(ctx(t), result("other", 1, "w")); err != nil {
			t.Fatal(err)
		}
		seen := map[uint64]int{}
		atCaughtUp := -1
		caught := make(chan struct{})
		got := make(chan int, past+live)
		c, cancel := context.WithCancel(ctx(t))
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			ended <- b.q.Results(c, "j", func(r job.Result) error {
				seen[r.Chunk]++
				got <- len(seen)
				return nil
			}, queue.WhenCaughtUp(func() { atCaughtUp = len(seen); close(caught) }))
		}()
		select {
		case <-caught:
		case err := <-ended:
			t.Fatal(err)
		}
		if err := b.server.Restart(ctx(t)); err != nil {
			t.Fatal(err)
		}
		for n := range live {
			if err := b.q.RecordResult(ctx(t), result("j", past+n, "w")); err != nil {
				t.Fatal(err)
			}
		}
		for n := 0; n < past+live; {
			select {
			case n = <-got:
			case err := <-ended:
				t.Fatalf("ended with %v", err)
			}
		}
		cancel()
		want(t, <-ended, context.Canceled)
		if atCaughtUp != past {
			t.Errorf("caught up after %d", atCaughtUp)
		}
		for n, times := range seen {
			if times != 1 {
				t.Errorf("result %d came %d times", n, times)
			}
		}
		if n, err := b.q.CountResults(ctx(t), "j"); n != past+live || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		// The function ends it: with its error, or without.
		boom := errors.New("boom")
		want(t, b.q.Results(ctx(t), "j", func(job.Result) error { return boom }), boom)
		if err := b.q.Results(ctx(t), "j", func(job.Result) error { return queue.ErrStop }); err != nil {
			t.Error(err)
		}
		if err := b.q.PurgeResults(ctx(t), "j"); err != nil {
			t.Fatal(err)
		}
		if n, err := b.q.CountResults(ctx(t), "j"); n != 0 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		_, err := b.q.Result(ctx(t), "j", 0, 0)
		want(t, err, queue.ErrNotFound)
		if _, err := b.q.Result(ctx(t), "other", 1, 0); err != nil {
			t.Errorf("the other job's result: %v", err)
		}
	})
}

func TestAWriteInterruptedByARestartHappensOnce(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		// Writers go on while the server goes away and comes back; each gets
		// nil for its own write, whether the answer or the write was lost.
		const n = 60
		var wg sync.WaitGroup
		started := make(chan struct{}, n)
		for w := range 4 {
			wg.Go(func() {
				for i := w; i < n; i += 4 {
					if err := b.q.RecordResult(ctx(t), result("j", i, fmt.Sprint("w", w))); err != nil {
						t.Errorf("result %d: %v", i, err)
					}
					if err := b.q.PublishChunk(ctx(t), chunk("j", i)); err != nil {
						t.Errorf("chunk %d: %v", i, err)
					}
					if _, err := b.q.CreateJob(ctx(t), job.Job{ID: fmt.Sprint("j", i)}); err != nil {
						t.Errorf("job %d: %v", i, err)
					}
					started <- struct{}{}
				}
			})
		}
		for range n / 6 {
			<-started
		}
		for range 2 {
			if err := b.server.Restart(ctx(t)); err != nil {
				t.Fatal(err)
			}
		}
		wg.Wait()
		if c, err := b.q.CountResults(ctx(t), "j"); c != n || err != nil {
			t.Errorf("%d results, %v", c, err)
		}
		b.open("j", queue.JobQueue{})
		b.backlog("j", n, 0)
	})
}

func TestPullersGoOnAfterARestart(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 10})
		got := make(chan error, 1)
		go func() { // waits while the server goes away
			d, err := p.Next(ctx(t), 20*time.Second)
			if err == nil {
				err = d.Settle(ctx(t), job.Verdict{Kind: job.VerdictDone})
			}
			got <- err
		}()
		b.pullsWaiting("j", 1)
		if err := b.server.Restart(ctx(t)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		b.publish("j", 1)
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 8*time.Second+busy {
			t.Errorf("took %v", took)
		}
		// The publication may have been repeated, and the chunk done already
		// when it was: PublishChunk says so.
		for {
			d, err := p.Next(ctx(t), 0)
			if errors.Is(err, queue.ErrEmpty) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			b.settle(d, job.Verdict{Kind: job.VerdictDone})
		}
		b.backlog("j", 0, 0)
		// While nobody is there it is unavailable, not empty.
		b.server.Stop()
		_, err := p.Next(ctx(t), 100*time.Millisecond)
		want(t, err, queue.ErrUnavailable)
	})
}

func TestDeadLetters(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		for n := range 5 {
			if err := b.q.PublishDead(ctx(t), job.Dead{Chunk: chunk("j", n), Worker: "w", Attempts: 5, Reason: job.ReasonAttempts, Error: strings.Repeat("é", 100_000)}); err != nil {
				t.Fatal(err)
			}
		}
		want(t, b.q.PublishDead(ctx(t), job.Dead{Chunk: chunk("j", 0), Worker: "other"}), queue.ErrExists)
		if n, err := b.q.CountDead(ctx(t), "j"); n != 5 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		dead, err := b.q.DeadLetters(ctx(t), "j", 3)
		if err != nil || len(dead) != 3 || dead[0].Chunk.Ordinal != 0 || len(dead[0].Error) > 9000 || len(dead[0].Error) < 8000 {
			t.Errorf("%d, %v", len(dead), err)
		}
		if err := b.q.DropDead(ctx(t), "j", 0, 0); err != nil {
			t.Fatal(err)
		}
		dead, err = b.q.DeadLetters(ctx(t), "j", 0)
		if err != nil || len(dead) != 4 || dead[0].Chunk.Ordinal != 1 {
			t.Errorf("%d, %v", len(dead), err)
		}
		seen := 0
		err = b.q.FollowDead(ctx(t), "j", func(job.Dead) error {
			if seen++; seen == 4 {
				return queue.ErrStop
			}
			return nil
		})
		if err != nil || seen != 4 {
			t.Errorf("%d, %v", seen, err)
		}
		if err := b.q.PurgeDead(ctx(t), "j"); err != nil {
			t.Fatal(err)
		}
		if n, err := b.q.CountDead(ctx(t), "j"); n != 0 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}

func TestAttemptsAreToldToWhoeverWatches(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		say := func(n int) {
			t.Helper()
			if err := b.q.PublishAttempt(ctx(t), job.Attempt{Job: "j", Chunk: uint64(n), Verdict: job.VerdictRetry.String(), Error: "boom"}); err != nil {
				t.Fatal(err)
			}
		}
		say(0)
		var got []uint64
		err := b.q.Attempts(ctx(t), "j", func(a job.Attempt) error {
			got = append(got, a.Chunk)
			if a.Chunk == 0 {
				say(1)
				return nil
			}
			return queue.ErrStop
		})
		if err != nil || len(got) != 2 || got[1] != 1 {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestHeartbeatsExpire(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		b.cfg.WorkerTTL = 2 * time.Second
		q := b.connect()
		listed := func() string {
			t.Helper()
			workers, err := q.Workers(ctx(t))
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, w := range workers {
				ids = append(ids, w.ID)
			}
			return strings.Join(ids, " ")
		}
		started := time.Unix(1700000000, 0).UTC()
		a := job.Worker{ID: "host.example/1", Host: "host.example", PID: 1, StartedAt: started, Slots: 4}
		z := job.Worker{ID: "z", Host: "host.example", PID: 2, StartedAt: started}
		beat := func(w job.Worker) {
			t.Helper()
			if err := q.Heartbeat(ctx(t), w); err != nil {
				t.Fatal(err)
			}
		}
		beat(z)
		beat(a)
		if got := listed(); got != "host.example/1 z" {
			t.Errorf("workers %q", got)
		}
		// a beats on past its TTL, z is silent: beats renew, silence ends.
		gone := time.Now().Add(15 * time.Second)
		start := time.Now()
		for listed() != "host.example/1" {
			if time.Now().After(gone) {
				t.Fatalf("workers %q", listed())
			}
			beat(a)
			<-time.After(100 * time.Millisecond)
		}
		if took := time.Since(start); took < 1500*time.Millisecond {
			t.Errorf("z was gone after %v", took)
		}
		// Another process under the same name is told; a restart of ours on
		// another connection is not another process.
		twin := a
		twin.PID = 3
		want(t, b.q.Heartbeat(ctx(t), twin), queue.ErrExists)
		if err := b.q.Heartbeat(ctx(t), a); err != nil {
			t.Error(err)
		}
		beat(a)
		// z comes back after its marker; a leaves by itself.
		beat(z)
		if err := q.Farewell(ctx(t), a.ID); err != nil {
			t.Fatal(err)
		}
		if got := listed(); got != "z" {
			t.Errorf("workers %q", got)
		}
	})
}

func TestSubmissions(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		in, err := b.q.Submissions(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		_, err = in.Next(ctx(t), 0)
		want(t, err, queue.ErrEmpty)
		if err := b.q.Submit(ctx(t), job.Submission{Job: "j", Pipeline: "pipeline: x", Params: map[string]string{"a": "b"}}); err != nil {
			t.Fatal(err)
		}
		want(t, b.q.Submit(ctx(t), job.Submission{Job: "J!"}), queue.ErrInvalid)
		// Scripts publish by themselves, and not always JSON.
		_, js := b.raw()
		for _, s := range []string{"{broken", `{"job":"A.*"}`} {
			if _, err := js.Publish(ctx(t), "dray.jobs.submit", []byte(s)); err != nil {
				t.Fatal(err)
			}
		}
		other, err := b.connect().Submissions(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		s, err := in.Next(ctx(t), 5*time.Second)
		if err != nil || s.Err != nil || s.Submission.Job != "j" || s.Submission.Params["a"] != "b" || s.Attempt != 1 {
			t.Fatalf("%+v %v", s, err)
		}
		for _, raw := range []string{"{broken", `{"job":"A.*"}`} {
			bad, err := other.Next(ctx(t), 5*time.Second)
			if err != nil || bad.Err == nil || string(bad.Raw) != raw {
				t.Fatalf("%+v %v", bad, err)
			}
			if err := bad.Term(ctx(t), "not JSON"); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Nak(ctx(t), 100*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if s, err = other.Next(ctx(t), 5*time.Second); err != nil || s.Attempt != 2 {
			t.Fatalf("%+v %v", s, err)
		}
		if err := s.Ack(ctx(t)); err != nil {
			t.Fatal(err)
		}
		want(t, s.Ack(ctx(t)), queue.ErrSettled)
		_, err = in.Next(ctx(t), 50*time.Millisecond)
		want(t, err, queue.ErrEmpty)
	})
}

func TestALostAnswerIsNoConflict(t *testing.T) {
	t.Parallel()
	b := setup(t, "127.0.0.1:0", nil)
	if err := b.q.Ensure(ctx(t)); err != nil {
		t.Fatal(err)
	}
	proxy := newCutProxy(t, strings.TrimPrefix(b.server.URL(), "nats://"))
	cfg := b.cfg
	cfg.URL = "nats://" + proxy.address
	q, err := queue.Connect(ctx(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	cuts := 0
	lost := func(what, answer string, write func() error) {
		t.Helper()
		proxy.arm(answer)
		if err := write(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if cuts++; proxy.count() != cuts {
			t.Fatalf("%s: the answer was not lost", what)
		}
	}
	var rev queue.Revision
	lost("chunk", `"DRAY_WORK"`, func() error { return q.PublishChunk(ctx(t), chunk("j", 0)) })
	lost("result", `"DRAY_RESULTS"`, func() error { return q.RecordResult(ctx(t), result("j", 0, "w")) })
	lost("dead letter", `"DRAY_DEAD"`, func() error { return q.PublishDead(ctx(t), job.Dead{Chunk: chunk("j", 0)}) })
	lost("new job", `"KV_dray_jobs"`, func() (err error) {
		rev, err = q.CreateJob(ctx(t), job.Job{ID: "j", State: job.Submitted})
		return err
	})
	lost("job", `"KV_dray_jobs"`, func() (err error) {
		rev, err = q.UpdateJob(ctx(t), job.Job{ID: "j", State: job.Planning}, rev)
		return err
	})
	lost("submission", `"DRAY_JOBS"`, func() error { return q.Submit(ctx(t), job.Submission{Pipeline: "x"}) })
	// The revision that was worked out is the right one, and all is there once.
	if _, err := q.UpdateJob(ctx(t), job.Job{ID: "j", State: job.Running}, rev); err != nil {
		t.Error(err)
	}
	in, err := q.Submissions(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	s, err := in.Next(ctx(t), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_, err = in.Next(ctx(t), 0)
	want(t, err, queue.ErrEmpty)
	lost("acknowledgement", "_INBOX", func() error { return s.Ack(ctx(t)) })
	p := b.open("j", queue.JobQueue{})
	_ = b.next(p)
	b.backlog("j", 0, 1)
}

func TestOnlyTheRecordOfAnEndedJobGoesAway(t *testing.T) {
	t.Parallel()
	b := setup(t, "", func(c *queue.Config) { c.JobRetention = 2 * time.Hour })
	if err := b.q.Ensure(ctx(t)); err != nil {
		t.Fatal(err)
	}
	_, js := b.raw()
	ttl := func() string {
		t.Helper()
		s, err := js.Stream(ctx(t), "KV_dray_jobs")
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.GetLastMsgForSubject(ctx(t), "$KV.dray_jobs.j")
		if err != nil {
			t.Fatal(err)
		}
		return m.Header.Get("Nats-TTL")
	}
	rev, err := b.q.CreateJob(ctx(t), job.Job{ID: "j", State: job.Running})
	if err != nil {
		t.Fatal(err)
	}
	if got := ttl(); got != "" {
		t.Errorf("a running job goes away after %s", got)
	}
	if _, err := b.q.UpdateJob(ctx(t), job.Job{ID: "j", State: job.Done}, rev); err != nil {
		t.Fatal(err)
	}
	if got := ttl(); got != "2h0m0s" {
		t.Errorf("an ended job goes away after %q", got)
	}
}
