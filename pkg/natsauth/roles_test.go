package natsauth_test

import (
	"errors"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/natsauth"
	"drayage/pkg/queue"
)

// Every way to log in lets a job go all its way, each with the rights of its
// role and no more.
func TestAJobGoesItsWay(t *testing.T) {
	t.Parallel()
	for _, login := range []natsauth.Login{natsauth.NKey, natsauth.JWT, natsauth.Password} {
		t.Run(string(login), func(t *testing.T) {
			t.Parallel()
			f := build(t, natsauth.Config{Login: login})
			c := f.connect(queue.RoleCoordinator)
			must(t, c.Ensure(ctx(t)))
			w, o, r := f.connect(queue.RoleWorker), f.connect(queue.RoleOperator), f.connect(queue.RoleReader)
			for _, q := range []*queue.Queue{w, o, r} {
				must(t, q.Check(ctx(t)))
			}
			goTheWay(t, c, w, o, r)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func get[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return v
	}
}

func goTheWay(t *testing.T, c, w, o, r *queue.Queue) {
	t.Helper()
	cx := ctx(t)
	// Submitted by the operator, taken by the coordinator.
	must(t, o.Submit(cx, job.Submission{Job: "j", Pipeline: "pipeline: p"}))
	intake := get(c.Submissions(cx))(t)
	s := get(intake.Next(cx, 10*time.Second))(t)
	must(t, s.Nak(cx, time.Millisecond))
	s = get(intake.Next(cx, 10*time.Second))(t)
	rev := get(c.CreateJob(cx, job.Job{ID: "j", State: job.Submitted, CreatedAt: time.Now()}))(t)
	must(t, s.Ack(cx))
	lead := get(c.Lead(cx, queue.LeadConfig{Name: "coordinator", Holder: "c", TTL: time.Second}))(t)
	defer lead.Release()
	// The worker hears of it.
	heard := get(w.WatchJobs(cx))(t)
	for u := range heard {
		if u.Job.ID == "j" {
			break
		}
	}
	get(c.UpdateJob(cx, job.Job{ID: "j", State: job.Running, CreatedAt: time.Now()}, rev))(t)
	for u := range heard {
		if u.Job.State == job.Running {
			break
		}
	}
	must(t, c.OpenJob(cx, "j", queue.JobQueue{}))
	must(t, w.Heartbeat(cx, job.Worker{ID: "w1", StartedAt: time.Now()}))
	must(t, w.Heartbeat(cx, job.Worker{ID: "w1", StartedAt: time.Now()}))
	for ordinal := range uint64(3) {
		must(t, c.PublishChunk(cx, job.Chunk{Job: "j", Ordinal: ordinal}))
	}
	must(t, c.Hedge(cx, job.Chunk{Job: "j", Ordinal: 2}))
	// A seat, a chunk that is given back, one that is done, one that is dead.
	_, release, err := w.Seats(queue.SeatConfig{Name: "db", Seats: 2, Holder: "w1"})(cx)
	must(t, err)
	release()
	p := get(w.Puller(cx, "j"))(t)
	done := map[uint64]bool{}
	for !done[0] || !done[1] || !done[2] {
		d := get(p.Next(cx, 10*time.Second))(t)
		n := d.Chunk().Ordinal
		held, lease := d.Hold(cx)
		lease.Progress()
		switch {
		case n == 0 && d.Attempt() == 1:
			must(t, d.Settle(held, job.Verdict{Kind: job.VerdictDraining}))
			must(t, w.PublishAttempt(cx, job.Attempt{Job: "j", Error: "draining"}))
		case n == 1:
			must(t, w.PublishDead(cx, job.Dead{Chunk: d.Chunk(), Worker: "w1", Attempts: 1, Reason: job.ReasonPermanent, At: time.Now()}))
			must(t, d.Settle(held, job.Verdict{Kind: job.VerdictDead}))
			done[n] = true
		default:
			if excused := get(d.Excused(cx))(t); d.Attempt() > 1 && excused != 1 {
				t.Errorf("%d attempts are excused", excused)
			}
			err := w.RecordResult(cx, job.Result{Job: "j", Chunk: n, Worker: "w1"})
			if err != nil && (!d.Hedge() || !errors.Is(err, queue.ErrExists)) {
				t.Fatal(err)
			}
			get(w.Result(cx, "j", n, 0))(t)
			must(t, d.Settle(held, job.Verdict{Kind: job.VerdictDone}))
			done[n] = true
		}
		lease.Stop()
	}
	get(w.Workers(cx))(t)
	// Everybody may look.
	for name, q := range map[string]*queue.Queue{"coordinator": c, "operator": o, "reader": r} {
		results := 0
		err := q.Results(cx, "j", func(job.Result) error {
			if results++; results == 2 {
				return queue.ErrStop
			}
			return nil
		})
		if err != nil || results != 2 {
			t.Errorf("%s reads %d results: %v", name, results, err)
		}
		dead, err := q.DeadLetters(cx, "j", 0)
		if err != nil || len(dead) != 1 {
			t.Errorf("%s reads %d dead letters: %v", name, len(dead), err)
		}
		get(q.DeadLetter(cx, "j", 1, 0))(t)
		if n, err := q.CountResults(cx, "j"); err != nil || n != 2 {
			t.Errorf("%s counts %d results: %v", name, n, err)
		}
		if jobs, err := q.Jobs(cx); err != nil || len(jobs) != 1 {
			t.Errorf("%s lists %d jobs: %v", name, len(jobs), err)
		}
		if workers, err := q.Workers(cx); err != nil || len(workers) != 1 {
			t.Errorf("%s lists %d workers: %v", name, len(workers), err)
		}
		if _, _, err := q.Backlog(cx, "j"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		get(q.Schedules(cx))(t)
		get(q.SeatsTaken(cx))(t)
		get(q.Watermarks(cx))(t)
		must(t, q.Attempts(cx, "j", func(job.Attempt) error { return queue.ErrStop }))
	}
	must(t, w.Farewell(cx, "w1"))
	// Orders, schedules and watermarks, dead letters that are dropped.
	get(o.EditJob(cx, "j", func(j *job.Job) error { j.State = job.Cancelling; return nil }))(t)
	get(o.PutSchedule(cx, job.Schedule{Name: "nightly"}, 0))(t)
	get(c.EditSchedule(cx, "nightly", func(*job.Schedule) error { return nil }))(t)
	must(t, o.DeleteSchedule(cx, "nightly"))
	get(c.PutWatermark(cx, queue.Watermark{Pipeline: "p", Seen: []queue.SeenPart{{Name: "1", Count: 1}}}, 0))(t)
	must(t, c.PutSeen(cx, "p", "1", []uint64{1}))
	must(t, o.ForgetWatermark(cx, "p"))
	must(t, o.DropDead(cx, "j", 1, 0))
	// And what ends it.
	must(t, c.PauseJob(cx, "j"))
	must(t, c.ResumeJob(cx, "j"))
	_, _, err = c.StrandedJobs(cx, 0, func(string) bool { return true })
	must(t, err)
	must(t, c.CloseJob(cx, "j"))
	must(t, c.PurgeResults(cx, "j"))
	must(t, c.PurgeDead(cx, "j"))
	must(t, c.DeleteJob(cx, "j"))
	if _, err := w.Puller(cx, "j"); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("the queue of a job that is over: %v", err)
	}
}
