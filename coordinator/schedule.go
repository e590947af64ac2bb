package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
	"drayage/pkg/telemetry/metrics"
	"drayage/pkg/telemetry/trace"
)

const (
	// A run that has not begun so long after its time was missed.
	missedAfter = time.Minute
	// Missed runs that are made up for, of a schedule with missed: all.
	maxMadeUp = 100
	// How often it is looked whether the run before one that waits has ended.
	waitLook = time.Second
	// The longest sleep: a clock that is set right meanwhile is noticed.
	longestSleep = 10 * time.Second
)

// runs is the part of a schedule's record that says when to look at it.
type runs struct {
	next     time.Time // zero: nothing is to be done until it changes
	revision queue.Revision
}

// keepSchedules begins the runs of all schedules when they are due, until ctx
// ends. Several coordinators may do it at once: what happens to a run is decided
// by one compare-and-set of the schedule's record, and the job's name follows
// from it.
func (c *Coordinator) keepSchedules(ctx context.Context) {
	for ctx.Err() == nil {
		if err := c.followSchedules(ctx); err != nil && ctx.Err() == nil {
			c.Log.Warn().Err(err).Msg("could not watch the schedules; it is tried again")
			pause(ctx, retryEvery)
		}
	}
}

// followSchedules does so until its watch ends.
func (c *Coordinator) followSchedules(ctx context.Context) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	updates, err := c.Queue.WatchSchedules(watching)
	if err != nil {
		return fmt.Errorf("watching the schedules: %w", err)
	}
	defer func() {
		stop()
		for range updates { // so that the watch ends too
		}
	}()
	known := map[string]runs{}
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case u, ok := <-updates:
			if !ok {
				return nil
			}
			name := u.Schedule.Name
			switch {
			case u.Deleted:
				delete(known, name)
			case u.Revision > known[name].revision:
				known[name] = runs{lookAt(u.Schedule), u.Revision}
			}
			look.Reset(0)
		case <-look.C:
			next, err := c.schedulesOnce(ctx, time.Now(), known)
			if err != nil && ctx.Err() == nil {
				c.Log.Warn().Err(err).Msg("a schedule can not go on now; it is tried again")
				next = time.Now().Add(retryEvery)
			}
			look.Reset(max(0, min(time.Until(next), longestSleep)))
		}
	}
}

// lookAt is when something may be to do about a schedule; zero: never.
func lookAt(s job.Schedule) time.Time {
	switch {
	case s.Last != nil && s.Last.Pending:
		return time.Unix(0, 0) // at once
	case s.Paused:
		return time.Time{}
	}
	return s.Next
}

// schedulesOnce does what is due now of the schedules that are known, and
// returns when to look again: a long time from now when nothing is to come. A
// schedule that can not go on does not hold up the others; its error is
// returned when all were seen to.
func (c *Coordinator) schedulesOnce(ctx context.Context, now time.Time, known map[string]runs) (time.Time, error) {
	next := now.Add(time.Hour)
	var errs []error
	for name, r := range known {
		if r.next.IsZero() {
			continue
		}
		if !r.next.After(now) {
			var err error
			r, err = c.scheduleOnce(ctx, now, name, r.revision)
			switch {
			case errors.Is(err, queue.ErrNotFound): // removed; the watch tells
				delete(known, name)
				continue
			case err != nil:
				errs = append(errs, fmt.Errorf("schedule %s: %w", name, err))
				continue
			}
			known[name] = r
		}
		if !r.next.IsZero() && r.next.Before(next) {
			next = r.next
		}
	}
	return next, errors.Join(errs...)
}

// scheduleOnce does what is due now of one schedule, whose record has at least
// the revision given.
func (c *Coordinator) scheduleOnce(ctx context.Context, now time.Time, name string, known queue.Revision) (runs, error) {
	s, rev, err := c.Queue.Schedule(ctx, name)
	if err != nil {
		return runs{}, err
	}
	if rev < known { // from a replica that has not heard of it yet
		return runs{now.Add(waitLook), known}, nil
	}
	if err := s.Understood(); err != nil {
		c.Log.Warn().Err(err).Str("schedule", name).Msg("a schedule is not kept by this coordinator")
		return runs{time.Time{}, rev}, nil
	}
	if s.Last == nil || !s.Last.Pending {
		s, rev, err = c.decideRun(ctx, now, s, rev)
	}
	if err == nil && s.Last != nil && s.Last.Pending {
		c.Log.Info().Str("schedule", name).Str("job", s.Last.Job).Time("planned", s.Last.Planned).Msg("run of a schedule begins")
		beginning, span := c.Traces.Begin(ctx, "schedule", trace.Internal, trace.Of{Job: s.Last.Job, Pipeline: name})
		s, rev, err = beginRun(beginning, c.Queue, s, rev)
		span.End(err)
		if err == nil {
			c.Metrics.Runs(metrics.Begun, 1)
		}
	}
	if errors.Is(err, queue.ErrConflict) { // read it again, as others have left it
		return runs{now.Add(waitLook), rev}, nil
	}
	if err != nil {
		return runs{}, err
	}
	at := lookAt(s)
	if !at.IsZero() && !at.After(now) { // a run waits for the one before
		at = now.Add(waitLook)
	}
	return runs{at, rev}, nil
}

// decideRun records what is to become of the runs that are due, if any. From
// then on the run that is pending in the record will be.
func (c *Coordinator) decideRun(ctx context.Context, now time.Time, s job.Schedule, rev queue.Revision) (job.Schedule, queue.Revision, error) {
	if s.Paused || s.Next.IsZero() || s.Next.After(now) {
		return s, rev, nil
	}
	table, err := pipeline.Schedule(s.Timing).Timetable()
	if err != nil {
		return s, rev, fmt.Errorf("reading it: %w", err)
	}
	last, err := lastRun(ctx, c.Queue, s)
	if err != nil {
		return s, rev, err
	}
	decided, changed := decide(s, table, last, now)
	if !changed {
		return s, rev, nil
	}
	next, err := c.Queue.PutSchedule(ctx, decided, rev)
	if err != nil {
		return s, rev, err
	}
	c.Metrics.Runs(metrics.Skipped, decided.Skipped-s.Skipped)
	c.Metrics.Runs(metrics.Missed, decided.Missed-s.Missed)
	if n := decided.Skipped - s.Skipped; n > 0 {
		c.Log.Warn().Str("schedule", s.Name).Str("job", s.Last.Job).Uint64("runs", n).Msg("a run was skipped, because the one before has not ended")
	}
	if n := decided.Missed - s.Missed; n > 0 {
		c.Log.Warn().Str("schedule", s.Name).Uint64("runs", n).Msg("runs were missed and are left out")
	}
	return decided, next, nil
}

// decide is the policy: what is to become of the runs of s that are due now, of
// which there is one at least, given the job of the last run. It reports false when that is to be asked
// again later.
func decide(s job.Schedule, table *pipeline.Timetable, last job.Job, now time.Time) (job.Schedule, bool) {
	most := 1
	if s.Timing.Missed == pipeline.MissedAll {
		most = maxMadeUp
	}
	live := last.ID != "" && !last.State.Terminal()
	if live && s.Timing.Overlap == pipeline.OverlapWait {
		return s, false
	}
	due, all := table.Due(s.Next, now, most)
	newest := due[len(due)-1]
	run := newest
	switch {
	case live:
		s.Skipped += all
		s.SkippedAt = now.UTC()
		s.Next = table.Next(newest)
		return s, true
	case s.Timing.Missed == pipeline.MissedSkip && now.Sub(later(newest, last.FinishedAt)) > missedAfter:
		s.Missed += all
		s.Next = table.Next(newest)
		return s, true
	case s.Timing.Missed == pipeline.MissedAll:
		run = due[0]
	}
	s.Missed += all - uint64(len(due))
	s.Next = table.Next(run)
	s.Last = &job.Run{Job: runID(s.Name, run), Planned: run, At: now.UTC(), Pending: true}
	return s, true
}

// later is the later one of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// lastRun is the job of the last run of a schedule; zero when there was none or
// its record is gone.
func lastRun(ctx context.Context, q *queue.Queue, s job.Schedule) (job.Job, error) {
	if s.Last == nil {
		return job.Job{}, nil
	}
	j, _, err := q.Job(ctx, s.Last.Job)
	if errors.Is(err, queue.ErrNotFound) {
		return job.Job{}, nil
	}
	if err != nil {
		return j, fmt.Errorf("reading the job of its last run: %w", err)
	}
	return j, nil
}

// beginRun makes the job of the run that is pending, and records that it is
// there. A job that another has made already is left as it is.
func beginRun(ctx context.Context, q *queue.Queue, s job.Schedule, rev queue.Revision) (job.Schedule, queue.Revision, error) {
	run := *s.Last
	sub := s.Submission
	sub.Job, sub.JobTime = run.Job, run.Planned
	if err := Create(ctx, q, sub); err != nil {
		return s, rev, fmt.Errorf("creating the job %s: %w", run.Job, err)
	}
	run.Pending = false
	s.Last = &run
	next, err := q.PutSchedule(ctx, s, rev)
	if err != nil {
		return s, rev, err
	}
	return s, next, nil
}

// runTime is how the time of a run stands in the name of its job.
const runTime = "20060102t150405z"

// runID is the name of the job of a run. It is the same for whoever begins it,
// which is what makes the run one job.
func runID(schedule string, planned time.Time) string {
	return schedule + "-" + planned.UTC().Format(runTime)
}

// jobTime is what ${job_time} stands for in a job.
func jobTime(j job.Job) time.Time {
	if t := j.Submission.JobTime; !t.IsZero() {
		return t
	}
	return j.CreatedAt
}
