package queue_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

func TestSchedulesAreCompareAndSet(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		if all, err := b.q.Schedules(ctx(t)); err != nil || all == nil || len(all) != 0 {
			t.Errorf("%+v, %v", all, err)
		}
		_, _, err := b.q.Schedule(ctx(t), "nightly")
		want(t, err, queue.ErrNotFound)
		_, err = b.q.EditSchedule(ctx(t), "nightly", func(*job.Schedule) error { return nil })
		want(t, err, queue.ErrNotFound)
		_, err = b.q.PutSchedule(ctx(t), job.Schedule{Name: "No.Name"}, 0)
		want(t, err, queue.ErrInvalid)

		s := job.Schedule{
			Name: "nightly", Submission: job.Submission{Pipeline: "pipeline: nightly", Params: map[string]string{"a": "b"}},
			Timing: job.Timing{Cron: "@daily", Zone: "UTC"}, Next: time.Unix(100, 0).UTC(),
			Last: &job.Run{Job: "nightly-x", Planned: time.Unix(90, 0).UTC(), Pending: true},
		}
		rev, err := b.q.PutSchedule(ctx(t), s, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.q.PutSchedule(ctx(t), s, 0)
		want(t, err, queue.ErrExists)
		got, at, err := b.q.Schedule(ctx(t), "nightly")
		if err != nil || at != rev || got.Submission.Params["a"] != "b" || !got.Next.Equal(s.Next) || *got.Last != *s.Last {
			t.Errorf("%+v at %d, %v", got, at, err)
		}
		s.Paused = true
		next, err := b.q.PutSchedule(ctx(t), s, rev)
		if err != nil || next <= rev {
			t.Fatal(next, err)
		}
		_, err = b.q.PutSchedule(ctx(t), s, rev)
		want(t, err, queue.ErrConflict)

		// Others of the bucket are no schedules, and the names sort.
		for _, name := range []string{"b", "a"} {
			if _, err := b.q.PutSchedule(ctx(t), job.Schedule{Name: name}, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.q.DeleteSchedule(ctx(t), "b"); err != nil {
			t.Fatal(err)
		}
		if err := b.q.DeleteSchedule(ctx(t), "b"); err != nil {
			t.Fatal(err)
		}
		all, err := b.q.Schedules(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range all {
			names = append(names, s.Name)
		}
		if got := strings.Join(names, " "); got != "a nightly" {
			t.Errorf("schedules %s", got)
		}
		// Removed and made anew: what was decided on the old one is void.
		if err := b.q.DeleteSchedule(ctx(t), "nightly"); err != nil {
			t.Fatal(err)
		}
		_, err = b.q.PutSchedule(ctx(t), s, next)
		want(t, err, queue.ErrConflict)
		if _, err := b.q.PutSchedule(ctx(t), s, 0); err != nil {
			t.Error(err)
		}
	})
}

func TestEditScheduleRepeatsUntilNobodyWasInBetween(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		if _, err := b.q.PutSchedule(ctx(t), job.Schedule{Name: "s"}, 0); err != nil {
			t.Fatal(err)
		}
		const editors, edits = 4, 5
		var wg sync.WaitGroup
		for range editors {
			q := b.connect()
			wg.Go(func() {
				for range edits {
					if _, err := q.EditSchedule(ctx(t), "s", func(s *job.Schedule) error { s.Skipped++; return nil }); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if s, _, err := b.q.Schedule(ctx(t), "s"); err != nil || s.Skipped != editors*edits {
			t.Errorf("%d edits, %v", s.Skipped, err)
		}
		no := errors.New("no")
		if _, err := b.q.EditSchedule(ctx(t), "s", func(s *job.Schedule) error { s.Skipped = 0; return no }); !errors.Is(err, no) {
			t.Errorf("got %v", err)
		}
		_, err := b.q.EditSchedule(ctx(t), "s", func(s *job.Schedule) error { s.Name = "other"; return nil })
		want(t, err, queue.ErrInvalid)
		if s, _, err := b.q.Schedule(ctx(t), "s"); err != nil || s.Skipped != editors*edits {
			t.Errorf("%d edits, %v", s.Skipped, err)
		}
	})
}

func TestWatchSchedules(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		rev, err := b.q.PutSchedule(ctx(t), job.Schedule{Name: "s"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		watching, stop := context.WithCancel(ctx(t))
		defer stop()
		updates, err := b.connect().WatchSchedules(watching)
		if err != nil {
			t.Fatal(err)
		}
		if u := <-updates; u.Schedule.Name != "s" || u.Schedule.Paused || u.Revision != rev || u.Deleted {
			t.Errorf("%+v", u)
		}
		if rev, err = b.q.PutSchedule(ctx(t), job.Schedule{Name: "s", Paused: true}, rev); err != nil {
			t.Fatal(err)
		}
		if u := <-updates; !u.Schedule.Paused || u.Revision != rev {
			t.Errorf("%+v", u)
		}
		if err := b.q.DeleteSchedule(ctx(t), "s"); err != nil {
			t.Fatal(err)
		}
		if u := <-updates; u.Schedule.Name != "s" || !u.Deleted || u.Revision <= rev {
			t.Errorf("%+v", u)
		}
		stop()
		for u := range updates {
			t.Errorf("%+v", u)
		}
	})
}
