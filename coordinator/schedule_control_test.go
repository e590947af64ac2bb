package coordinator

import (
	"errors"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

func TestScheduleControl(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	for what, act := range map[string]func() error{
		"pause":  func() error { _, err := PauseSchedule(t.Context(), y.Queue, "s", clock); return err },
		"resume": func() error { _, err := ResumeSchedule(t.Context(), y.Queue, "s", clock); return err },
		"run":    func() error { _, err := RunSchedule(t.Context(), y.Queue, "s", clock); return err },
	} {
		if err := act(); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("%s of none: %v", what, err)
		}
	}
	y.add("s", `{cron: "*/10 * * * *", missed: all}`, clock)
	if s, err := PauseSchedule(t.Context(), y.Queue, "s", clock); err != nil || !s.Paused {
		t.Fatalf("%+v, %v", s, err)
	}
	y.want("paused", "", after(1), clock.Add(time.Hour).Add(42*time.Minute), y.step(y.Coordinator, after(42)))

	// Now, although it is paused.
	run, err := RunSchedule(t.Context(), y.Queue, "s", after(42).Add(300*time.Millisecond))
	if err != nil || run.Job != "s-20261123t165100z" || run.Pending {
		t.Fatalf("%+v, %v", run, err)
	}
	y.want("run by hand", "165100", after(1), after(43).Add(time.Hour), y.step(y.Coordinator, after(43)))
	var running *RunningError
	if _, err := RunSchedule(t.Context(), y.Queue, "s", after(43)); !errors.As(err, &running) || running.Job != run.Job || job.ClassOf(err) != job.Permanent {
		t.Errorf("run again: %v", err)
	}
	if again, err := RunSchedule(t.Context(), y.Queue, "s", after(42).Add(700*time.Millisecond)); err != nil || again.Job != run.Job {
		t.Errorf("the same second: %+v, %v", again, err)
	}
	y.end(after(44))

	// What would have run meanwhile was not missed.
	if s, err := ResumeSchedule(t.Context(), y.Queue, "s", after(45)); err != nil || s.Paused || !s.Next.Equal(after(51)) {
		t.Errorf("%+v, %v", s, err)
	}
	y.want("resumed", "165100", after(51), after(51), y.step(y.Coordinator, after(45)))
	y.want("and on", "165100 170000", after(61), after(61), y.step(y.Coordinator, after(51)))

	// Replaced: what it did stays, and so does its next time while its times do.
	y.add("s", `{cron: "*/10 * * * *", missed: skip}`, after(70))
	if s := y.schedule("s"); !s.Next.Equal(after(61)) || s.Timing.Missed != "skip" || s.Last.Job != "s-20261123t170000z" || !s.CreatedAt.Equal(clock) || s.Submission.Job != "" {
		t.Errorf("%+v", s)
	}
	y.add("s", `"@every 1h"`, after(70))
	if s := y.schedule("s"); !s.Next.Equal(after(130)) || s.Last == nil {
		t.Errorf("%+v", s)
	}
	if err := y.Queue.DeleteSchedule(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	y.step(y.Coordinator, after(200))
	if got := y.jobs(); got != "165100 170000" {
		t.Errorf("removed: the jobs are %s", got)
	}
}
