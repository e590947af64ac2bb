package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
)

// keySchedule begins the keys of schedules in the state bucket.
const keySchedule = "schedule."

// PutSchedule records a schedule under its name if the record still has the
// revision rev, the one that Schedule, WatchSchedules or PutSchedule gave; 0:
// if there is none. ErrConflict or, with 0, ErrExists: it has not; read it
// again and decide again. ErrFull: the bucket has no room. *job.NewerError: the
// schedule is one of newer programs. Repeated until answered or ctx ends.
func (q *Queue) PutSchedule(ctx context.Context, s job.Schedule, rev Revision) (Revision, error) {
	if err := checkScheduleName(s.Name); err != nil {
		return 0, err
	}
	what := "record schedule " + s.Name
	if err := s.Understood(); err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	data, err := json.Marshal(s)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, invalid("%v", err))
	}
	return q.bucket(bucketState).put(ctx, what, keySchedule+s.Name, data, rev, 0)
}

// EditSchedule reads a schedule, has edit change it, and writes it if nobody
// else did meanwhile; else all of that again, as EditJob does. It returns the
// record as written. An error of edit ends it and nothing is written.
func (q *Queue) EditSchedule(ctx context.Context, name string, edit func(*job.Schedule) error) (job.Schedule, error) {
	for attempt := 1; ; attempt++ {
		s, rev, err := q.Schedule(ctx, name)
		if err != nil {
			return job.Schedule{}, err
		}
		if err := edit(&s); err != nil {
			return job.Schedule{}, err
		}
		if s.Name != name {
			return job.Schedule{}, invalid("edit schedule %s: renamed to %.140q", name, s.Name)
		}
		_, err = q.PutSchedule(ctx, s, rev)
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, ErrConflict) || attempt == maxEdits {
			return job.Schedule{}, err
		}
		if !q.pause(ctx, min(attempt, 3)) {
			return job.Schedule{}, q.ended(ctx, "edit schedule "+name, err)
		}
	}
}

// Schedule reads the record of a schedule. ErrNotFound. On a replicated bucket
// it may be a moment old: decide by PutSchedule, which then says ErrConflict.
func (q *Queue) Schedule(ctx context.Context, name string) (job.Schedule, Revision, error) {
	if err := checkScheduleName(name); err != nil {
		return job.Schedule{}, 0, err
	}
	data, rev, err := q.bucket(bucketState).get(ctx, keySchedule+name)
	if errors.Is(err, ErrNotFound) {
		return job.Schedule{}, 0, job.WithClass(fmt.Errorf("schedule %s: %w", name, ErrNotFound), job.Permanent)
	}
	if err != nil {
		return job.Schedule{}, 0, fmt.Errorf("read schedule %s: %w", name, err)
	}
	var s job.Schedule
	if err := json.Unmarshal(data, &s); err != nil {
		return job.Schedule{}, 0, fmt.Errorf("read schedule %s: %w", name, invalid("%v", err))
	}
	return s, rev, nil
}

// Schedules returns all schedules, by name. How many there are is bounded by
// the size of the bucket. A record that can not be read is logged and left out.
func (q *Queue) Schedules(ctx context.Context) ([]job.Schedule, error) {
	found := map[string]job.Schedule{}
	err := q.list(ctx, "list schedules", bucketPrefix+bucketState, scheduleSubjects, func(m *jetstream.RawStreamMsg) error {
		if u, ok := q.scheduleUpdate(m); ok && !u.Deleted {
			found[u.Schedule.Name] = u.Schedule
		} else {
			delete(found, u.Schedule.Name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := make([]job.Schedule, 0, len(found))
	for _, s := range found {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b job.Schedule) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// DeleteSchedule removes a schedule. Watchers are told. Jobs that it began are
// not touched. Idempotent.
func (q *Queue) DeleteSchedule(ctx context.Context, name string) error {
	if err := checkScheduleName(name); err != nil {
		return err
	}
	return q.bucket(bucketState).purge(ctx, "delete schedule "+name, keySchedule+name, 0)
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
	const what = "watch schedules"
	// Fail here, and not in the background, when there is no bucket.
	err := q.repeat(ctx, what, apiStreamInfo+bucketPrefix+bucketState, func(ctx context.Context) error {
		_, err := q.stream(ctx, bucketPrefix+bucketState)
		return err
	})
	if err != nil {
		return nil, err
	}
	ch := make(chan ScheduleUpdate, 16)
	w := following{
		q: q, what: what, stream: "KV_" + bucketState, subject: scheduleSubjects,
		fn: func(m *jetstream.RawStreamMsg) error {
			u, ok := q.scheduleUpdate(m)
			if !ok {
				return nil
			}
			select {
			case ch <- u:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	}
	go func() {
		defer close(ch)
		if err := w.run(ctx); err != nil && ctx.Err() == nil {
			q.cfg.Log.Error().Err(err).Msg("watching schedules ended")
		}
	}()
	return ch, nil
}

const scheduleSubjects = "$KV." + bucketState + "." + keySchedule + ">"

func (q *Queue) scheduleUpdate(m *jetstream.RawStreamMsg) (ScheduleUpdate, bool) {
	u := ScheduleUpdate{Revision: Revision(m.Sequence)}
	name := strings.TrimPrefix(m.Subject, "$KV."+bucketState+"."+keySchedule)
	if deleted(m.Header) {
		u.Schedule.Name, u.Deleted = name, true
		return u, true
	}
	err := json.Unmarshal(m.Data, &u.Schedule)
	if err == nil && u.Schedule.Name != name {
		err = fmt.Errorf("schedule %q under key %q", u.Schedule.Name, name)
	}
	if err != nil {
		q.cfg.Log.Error().Err(err).Str("key", name).Msg("schedule can not be read")
		u.Schedule = job.Schedule{Name: name}
		return u, false
	}
	return u, true
}

func checkScheduleName(name string) error {
	if !job.ValidID(name) {
		return invalid("schedule %.140q: 1 to %d characters of [a-z0-9_-]", name, job.MaxID)
	}
	return nil
}
