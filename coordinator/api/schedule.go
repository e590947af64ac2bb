package api

import (
	"context"
	"fmt"

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
