package api

import (
	"context"
	"fmt"
	"time"

	"drayage/coordinator"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
)

// ScheduleList are the schedules of the fleet, by name.
type ScheduleList struct {
	Schedules []ScheduleRow `json:"schedules"`
}

// ScheduleRow is a schedule with what became of its last run. Secrets in the text
// and the params of its submission are [hidden].
type ScheduleRow struct {
	job.Schedule
	LastState job.State `json:"last_state,omitempty"` // empty: none ran, or its record is gone
}

// Schedules lists the schedules.
func (s *Service) Schedules(ctx context.Context) (ScheduleList, error) {
	v := ScheduleList{Schedules: []ScheduleRow{}}
	all, err := s.Queue.Schedules(ctx)
	if err != nil {
		return v, fmt.Errorf("listing the schedules: %w", err)
	}
	if err := s.board.wait(ctx); err != nil {
		return v, err
	}
	for _, one := range all {
		v.Schedules = append(v.Schedules, s.scheduleRow(one))
	}
	return v, nil
}

func (s *Service) scheduleRow(one job.Schedule) ScheduleRow {
	one.Submission.Pipeline = pipeline.HideSecrets(one.Submission.Pipeline)
	one.Submission.Params = pipeline.HideParams(one.Submission.Params)
	r := ScheduleRow{Schedule: one}
	if one.Last != nil {
		r.LastState = s.board.state(one.Last.Job)
	}
	return r
}

// AddSchedule repeats a submission as its pipeline says. A schedule of the same
// name is replaced; replaced tells.
func (s *Service) AddSchedule(ctx context.Context, r SubmitRequest) (row ScheduleRow, replaced bool, err error) {
	if r.Job != "" || r.Key != "" || !r.JobTime.IsZero() {
		return row, false, badInput("job", "the runs of a schedule get their names and times from it; leave out job, key and job_time")
	}
	sub := r.submission()
	doc, err := parse(sub)
	if err != nil {
		return row, false, err
	}
	if doc.Pipeline.Schedule == nil {
		return row, false, pipeline.Errors{doc.At("schedule", "it has no schedule", `add a line such as schedule: "*/10 * * * *"`)}
	}
	one, replaced, err := coordinator.AddSchedule(ctx, s.Queue, doc.Pipeline, sub, time.Now())
	return s.scheduleRow(one), replaced, err
}

// RemoveSchedule forgets a schedule; jobs that it began go on.
func (s *Service) RemoveSchedule(ctx context.Context, name string) (ScheduleRow, error) {
	one, _, err := s.Queue.Schedule(ctx, name)
	if err == nil {
		err = s.Queue.DeleteSchedule(ctx, name)
	}
	return s.scheduleRow(one), err
}

// PauseSchedule holds a schedule: no run begins until ResumeSchedule.
func (s *Service) PauseSchedule(ctx context.Context, name string) (ScheduleRow, error) {
	one, err := coordinator.PauseSchedule(ctx, s.Queue, name, time.Now())
	return s.scheduleRow(one), err
}

// ResumeSchedule lets a schedule go on with its next time from now.
func (s *Service) ResumeSchedule(ctx context.Context, name string) (ScheduleRow, error) {
	one, err := coordinator.ResumeSchedule(ctx, s.Queue, name, time.Now())
	return s.scheduleRow(one), err
}

// RunSchedule runs a schedule now, once. The error is a *coordinator.RunningError
// while its last run has not ended.
func (s *Service) RunSchedule(ctx context.Context, name string) (job.Run, error) {
	return coordinator.RunSchedule(ctx, s.Queue, name, time.Now())
}
