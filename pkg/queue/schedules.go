package queue

import (
	"context"
	"strings"

	"drayage/pkg/job"
)

func (q *Queue) schedules() records[job.Schedule] {
	return records[job.Schedule]{q, "schedule", bucketState, "schedule.", func(s *job.Schedule) *string { return &s.Name }}
}

// PutSchedule records a schedule under its name if the record still has the
// revision rev, the one that Schedule, WatchSchedules or PutSchedule gave; 0:
// if there is none. ErrConflict or, with 0, ErrExists: it has not; read it
// again and decide again. ErrFull: the bucket has no room. *job.NewerError: the
// schedule is one of newer programs. Repeated until answered or ctx ends.
func (q *Queue) PutSchedule(ctx context.Context, s job.Schedule, rev Revision) (Revision, error) {
	return q.schedules().put(ctx, "record schedule "+s.Name, s, rev, 0)
}

// EditSchedule reads a schedule, has edit change it, and writes it if nobody
// else did meanwhile; else all of that again, as EditJob does. It returns the
// record as written. An error of edit ends it and nothing is written.
func (q *Queue) EditSchedule(ctx context.Context, name string, edit func(*job.Schedule) error) (job.Schedule, error) {
	return q.schedules().edit(ctx, name, edit, q.PutSchedule)
}

// Schedule reads the record of a schedule. ErrNotFound. On a replicated bucket
// it may be a moment old: decide by PutSchedule, which then says ErrConflict.
func (q *Queue) Schedule(ctx context.Context, name string) (job.Schedule, Revision, error) {
	return q.schedules().get(ctx, name)
}

// Schedules returns all schedules, by name. How many there are is bounded by
// the size of the bucket. A record that can not be read is logged and left out.
func (q *Queue) Schedules(ctx context.Context) ([]job.Schedule, error) {
	return q.schedules().all(ctx, func(a, b job.Schedule) int { return strings.Compare(a.Name, b.Name) })
}

// DeleteSchedule removes a schedule. Watchers are told. Jobs that it began are
// not touched. Idempotent.
func (q *Queue) DeleteSchedule(ctx context.Context, name string) error {
	return q.schedules().purge(ctx, name)
}

// ScheduleUpdate is what WatchSchedules tells.
type ScheduleUpdate struct {
	Schedule job.Schedule // only Name when Deleted
	Revision Revision
	Deleted  bool
}

// WatchSchedules tells the present schedules and then every change, with the
// guarantees of WatchJobs. The channel is closed when ctx ends or the Queue is
// closed.
func (q *Queue) WatchSchedules(ctx context.Context) (<-chan ScheduleUpdate, error) {
	return watch(ctx, q.schedules(), func(s job.Schedule, rev Revision, gone bool) ScheduleUpdate {
		return ScheduleUpdate{Schedule: s, Revision: rev, Deleted: gone}
	}, nil)
}
