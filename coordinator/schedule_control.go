package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
)

// RunningError says that a schedule can not run now, because its last run has
// not ended. Its class is job.Permanent.
type RunningError struct {
	Schedule string
	Job      string // the last run
	State    job.State
}

func (e *RunningError) Error() string {
	return fmt.Sprintf("the last run of schedule %s, job %s, is %s", e.Schedule, e.Job, e.State)
}

// AddSchedule repeats a submission as its pipeline says, from now on. A schedule
// of the same name is replaced: its last run, its counts and that it is paused
// stay, and while its times are the same, the next one does. It reports whether
// there was one.
func AddSchedule(ctx context.Context, q *queue.Queue, p *pipeline.Pipeline, sub job.Submission, now time.Time) (s job.Schedule, replaced bool, err error) {
	if p.Schedule == nil {
		return s, false, job.WithClass(fmt.Errorf("the pipeline %s has no schedule", p.Name), job.Permanent)
	}
	table, err := p.Schedule.Timetable()
	if err != nil {
		return s, false, job.WithClass(err, job.Permanent)
	}
	sub.Job, sub.JobTime = "", time.Time{}
	now = now.UTC()
	put := func(s *job.Schedule) error {
		old := s.Timing
		s.Submission, s.Timing, s.UpdatedAt = sub, p.Schedule.Timing(), now
		if s.Next.IsZero() || old.Cron != s.Timing.Cron || old.Zone != s.Timing.Zone {
			s.Next = table.Next(now)
		}
		return nil
	}
	for range 3 { // it may be removed in between
		s, err = q.EditSchedule(ctx, p.Name, put)
		if !errors.Is(err, queue.ErrNotFound) {
			return s, true, err
		}
		s = job.Schedule{Name: p.Name, CreatedAt: now}
		_ = put(&s) // it has no errors
		if _, err = q.PutSchedule(ctx, s, 0); !errors.Is(err, queue.ErrExists) {
			return s, false, err
		}
	}
	return s, false, err
}

// PauseSchedule holds a schedule: none of its runs begins until ResumeSchedule.
// A run that has begun goes on. One that is paused is left as it is.
func PauseSchedule(ctx context.Context, q *queue.Queue, name string, now time.Time) (job.Schedule, error) {
	return q.EditSchedule(ctx, name, func(s *job.Schedule) error {
		if !s.Paused {
			s.Paused, s.UpdatedAt = true, now.UTC()
		}
		return nil
	})
}

// ResumeSchedule lets a schedule go on with its next time after now; what would
// have run while it was paused was not missed. One that is not paused is left as
// it is.
func ResumeSchedule(ctx context.Context, q *queue.Queue, name string, now time.Time) (job.Schedule, error) {
	return q.EditSchedule(ctx, name, func(s *job.Schedule) error {
		if !s.Paused {
			return nil
		}
		table, err := pipeline.Schedule(s.Timing).Timetable()
		if err != nil {
			return job.WithClass(fmt.Errorf("reading schedule %s: %w", name, err), job.Permanent)
		}
		s.Paused, s.UpdatedAt = false, now.UTC()
		if !s.Next.IsZero() && !s.Next.After(now) {
			s.Next = table.Next(now)
		}
		return nil
	})
}

// RunSchedule runs a schedule now, once, paused or not, and leaves its times as
// they are. The job is there when it returns nil; when it returns an error the
// job may come to be all the same. The error is a *RunningError while the last
// run has not ended. Two calls of one second are one run.
func RunSchedule(ctx context.Context, q *queue.Queue, name string, now time.Time) (job.Run, error) {
	at := now.UTC().Truncate(time.Second)
	run := job.Run{Job: runID(name, at), Planned: at, At: now.UTC(), Pending: true}
	s, err := q.EditSchedule(ctx, name, func(s *job.Schedule) error {
		last, err := lastRun(ctx, q, *s)
		switch {
		case err != nil:
			return err
		case s.Last != nil && s.Last.Job == run.Job: // decided already
			return nil
		case s.Last != nil && s.Last.Pending:
			return job.WithClass(&RunningError{name, s.Last.Job, job.Submitted}, job.Permanent)
		case last.ID != "" && !last.State.Terminal():
			return job.WithClass(&RunningError{name, last.ID, last.State}, job.Permanent)
		}
		s.Last = &run
		return nil
	})
	if err != nil {
		return run, err
	}
	if s.Last.Pending {
		// Whoever leads has seen it too, and may be the first.
		sub := s.Submission
		sub.Job, sub.JobTime = run.Job, run.Planned
		if err := Create(ctx, q, sub); err != nil {
			return run, fmt.Errorf("creating the job %s: %w", run.Job, err)
		}
	}
	run.Pending = false
	_, err = q.EditSchedule(ctx, name, func(s *job.Schedule) error {
		if s.Last != nil && s.Last.Job == run.Job {
			s.Last.Pending = false
		}
		return nil
	})
	if errors.Is(err, queue.ErrNotFound) { // removed; the job goes on
		err = nil
	}
	return run, err
}
