package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"drayage/pkg/job"
	"drayage/pkg/local"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
)

func (a *app) schedules() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schedules",
		Short: "Pipelines that run again and again. List, add, remove, pause, resume, run",
		Long: `List the schedules of the fleet behind DRAY_NATS_URL: pipelines that its
coordinators run again and again, as the key schedule of the pipeline file says.`,
		Example: `  dray schedules
  dray schedules add nightly.yaml
  dray schedules pause nightly`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(a.scheduleAdd(), a.scheduleRemove(), a.schedulePause(), a.scheduleResume(), a.scheduleRun())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		q, end, err := a.openFleet(ctx, byCoordinators)
		if err != nil {
			return err
		}
		defer end()
		all, err := q.Schedules(ctx)
		if err != nil {
			return fmt.Errorf("listing the schedules: %w", err)
		}
		list := make([]listedSchedule, len(all))
		for i, s := range all {
			if list[i], err = withLast(ctx, q, s); err != nil {
				return err
			}
		}
		if a.json {
			return a.printJSON(list)
		}
		if len(list) == 0 {
			fmt.Fprintln(a.Err, "there are no schedules; dray schedules add FILE makes one")
			return nil
		}
		var t table
		t.head("SCHEDULE", "TIMES", "ZONE", "NEXT RUN", "LAST JOB", "STATE", "SKIPPED", "MISSED")
		for _, s := range list {
			last := "none"
			if s.Last != nil {
				last = s.Last.Job
			}
			t.add(s.Name, s.Timing.Cron, s.Timing.Zone, s.comes(time.Now()), last, string(s.LastState), fmt.Sprint(s.Skipped), fmt.Sprint(s.Missed))
		}
		return t.write(a.Out)
	}
	return cmd
}

// listedSchedule is a schedule with what became of its last run.
type listedSchedule struct {
	job.Schedule
	LastState job.State `json:"last_state,omitempty"` // empty: none ran, or its record is gone
}

// withLast looks up the last run of a schedule.
func withLast(ctx context.Context, q *queue.Queue, s job.Schedule) (listedSchedule, error) {
	l := listedSchedule{Schedule: s}
	if s.Last == nil {
		return l, nil
	}
	j, _, err := q.Job(ctx, s.Last.Job)
	switch {
	case errors.Is(err, queue.ErrNotFound):
		return l, nil
	case err != nil:
		return l, fmt.Errorf("looking up the last run of schedule %s: %w", s.Name, err)
	}
	l.LastState = j.State
	return l, nil
}

// comes says when the next run is, for people.
func (s listedSchedule) comes(now time.Time) string {
	switch {
	case s.Paused:
		return "paused"
	case s.Next.IsZero():
		return "never"
	case !s.Next.After(now) && s.LastState != "" && !s.LastState.Terminal():
		return "when the last has ended"
	}
	return fmt.Sprintf("%s (%s)", clockTime(s.Timing, s.Next), humanize.Time(s.Next))
}

// clockTime writes a time as the clocks of the schedule's zone show it.
func clockTime(timing job.Timing, at time.Time) string {
	if table, err := pipeline.Schedule(timing).Timetable(); err == nil {
		at = at.In(table.Zone())
	}
	return at.Format("2006-01-02 15:04:05 MST")
}

// byCoordinators is why schedules need a fleet.
const byCoordinators = "schedules are kept by its coordinators"

// openFleet opens the queue of the fleet; a data folder has none, and note says
// what else there is.
func (a *app) openFleet(ctx context.Context, note string) (*queue.Queue, func(), error) {
	if !a.cfg.Remote() {
		return nil, nil, a.noFleet(note)
	}
	q, end, err := local.OpenQueue(ctx, a.cfg, a.log)
	if err != nil {
		return nil, nil, err
	}
	if err := q.Check(ctx); err != nil {
		end()
		return nil, nil, err
	}
	return q, end, nil
}

// completeSchedules completes the names of the schedules that keep lets through
// (nil: all), for the first most arguments of a verb.
func (a *app) completeSchedules(most int, keep func(job.Schedule) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= most || a.prepare(cmd, nil) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWait)
		defer cancel()
		q, end, err := a.openFleet(ctx, byCoordinators)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer end()
		all, err := q.Schedules(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		for _, s := range all {
			if (keep == nil || keep(s)) && !slices.Contains(args, s.Name) {
				names = append(names, s.Name+"\t"+s.Timing.Cron)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// nextRuns are the next times of a pipeline's schedule, none without one.
func nextRuns(p *pipeline.Pipeline, now time.Time, count int) ([]time.Time, error) {
	if p.Schedule == nil {
		return nil, nil
	}
	table, err := p.Schedule.Timetable()
	if err != nil {
		return nil, err
	}
	var next []time.Time
	for at := table.Next(now); !at.IsZero() && len(next) < count; at = table.Next(at) {
		next = append(next, at)
	}
	return next, nil
}
