package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"drayage/coordinator"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

func (a *app) scheduleAdd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "add FILE",
		Short: "Run a pipeline again and again, as its key schedule says",
		Long: `Run a pipeline again and again, as its key schedule says. The fleet keeps the text
of the file: after a change, add it again. A schedule of the same name is replaced;
what it did, that it is paused and, while its times are the same, its next run stay.
Relative paths in the pipeline start at the file's folder, or at --dir.`,
		Example: "  dray schedules add nightly.yaml\n  dray schedules add nightly.yaml --set region=eu --dir /pipelines",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&dir, "dir", "", "folder on the workers at which relative paths start")
	set := paramFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		doc, sub, err := readSubmission(args[0], dir, *set)
		if err != nil {
			return err
		}
		if doc.Pipeline.Schedule == nil {
			return usagef("%s has no schedule\n  hint: add a line such as schedule: \"*/10 * * * *\", or use dray submit to run it once", args[0])
		}
		q, end, err := a.openFleet(ctx, byCoordinators)
		if err != nil {
			return err
		}
		defer end()
		s, replaced, err := coordinator.AddSchedule(ctx, q, doc.Pipeline, sub, time.Now())
		if err != nil {
			return fmt.Errorf("adding the schedule: %w", err)
		}
		if err := a.printSchedule(ctx, q, s); err != nil || a.json {
			return err
		}
		switch {
		case s.Paused:
			fmt.Fprintf(a.Err, "replaced; it is paused: dray schedules resume %s\n", s.Name)
		case replaced:
			fmt.Fprintln(a.Err, "replaced")
		}
		return nil
	}
	return cmd
}

func (a *app) scheduleRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "remove NAME...",
		Short:   "Forget schedules; jobs that they began go on",
		Long:    `Forget schedules: their pipelines run no more. Jobs that they began go on.`,
		Example: "  dray schedules remove nightly",
		Args:    cobra.MinimumNArgs(1),
	}
	cmd.ValidArgsFunction = a.completeSchedules(math.MaxInt, nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.eachSchedule(cmd.Context(), args, func(ctx context.Context, q *queue.Queue, name string) error {
			s, _, err := q.Schedule(ctx, name)
			if err != nil {
				return err
			}
			if err := q.DeleteSchedule(ctx, name); err != nil {
				return fmt.Errorf("removing the schedule: %w", err)
			}
			if a.json {
				return a.printJSON(s)
			}
			fmt.Fprintf(a.Out, "%s removed\n", name)
			if l, err := withLast(ctx, q, s); err == nil && l.LastState != "" && !l.LastState.Terminal() {
				fmt.Fprintf(a.Err, "  its last job goes on: dray cancel %s stops it\n", s.Last.Job)
			}
			return nil
		})
	}
	return cmd
}

func (a *app) schedulePause() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pause NAME...",
		Short: "Hold schedules: no run begins until they are resumed",
		Long: `Hold schedules. No run begins until dray schedules resume; one that has begun goes
on, and dray schedules run runs them all the same.`,
		Example: "  dray schedules pause nightly",
		Args:    cobra.MinimumNArgs(1),
	}
	cmd.ValidArgsFunction = a.completeSchedules(math.MaxInt, func(s job.Schedule) bool { return !s.Paused })
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.eachSchedule(cmd.Context(), args, a.changeSchedule(coordinator.PauseSchedule))
	}
	return cmd
}

func (a *app) scheduleResume() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume NAME...",
		Short: "Let paused schedules go on",
		Long: `Let paused schedules go on, with their next time from now. What would have run while
they were paused is not made up for.`,
		Example: "  dray schedules resume nightly",
		Args:    cobra.MinimumNArgs(1),
	}
	cmd.ValidArgsFunction = a.completeSchedules(math.MaxInt, func(s job.Schedule) bool { return s.Paused })
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.eachSchedule(cmd.Context(), args, a.changeSchedule(coordinator.ResumeSchedule))
	}
	return cmd
}

func (a *app) scheduleRun() *cobra.Command {
	var wait, quiet bool
	cmd := &cobra.Command{
		Use:   "run NAME",
		Short: "Run a schedule now, once, and print the name of the job",
		Long: `Run a schedule now, once, paused or not, and print the name of the job. Its next
time stays as it is. While the last run has not ended it is refused.`,
		Example: "  dray schedules run nightly --wait",
		Args:    cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = a.completeSchedules(1, nil)
	cmd.Flags().BoolVarP(&wait, "wait", "w", false, "wait until the job has ended and exit as dray run does")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "with --wait: no progress, only the summary")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.eachSchedule(cmd.Context(), args, func(ctx context.Context, q *queue.Queue, name string) error {
			run, err := coordinator.RunSchedule(ctx, q, name, time.Now())
			var running *coordinator.RunningError
			if errors.As(err, &running) {
				return hinted(err, "dray show %[1]s says how far it is, dray cancel %[1]s stops it", running.Job)
			}
			if err != nil {
				return err
			}
			return a.submitted(ctx, q, run.Job, wait, quiet)
		})
	}
	return cmd
}

// changeSchedule makes an act of eachSchedule that changes a schedule and prints
// it.
func (a *app) changeSchedule(change func(context.Context, *queue.Queue, string, time.Time) (job.Schedule, error)) func(context.Context, *queue.Queue, string) error {
	return func(ctx context.Context, q *queue.Queue, name string) error {
		s, err := change(ctx, q, name, time.Now())
		if err != nil {
			return err
		}
		return a.printSchedule(ctx, q, s)
	}
}

// eachSchedule does act to each of the named schedules, whatever became of the
// others.
func (a *app) eachSchedule(ctx context.Context, names []string, act func(context.Context, *queue.Queue, string) error) error {
	q, end, err := a.openFleet(ctx, byCoordinators)
	if err != nil {
		return err
	}
	defer end()
	var errs []error
	for _, name := range names {
		err := act(ctx, q, name)
		if errors.Is(err, queue.ErrNotFound) || errors.Is(err, queue.ErrInvalid) {
			err = usagef("there is no schedule %s; dray schedules lists them", name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// printSchedule says what a schedule is about to do.
func (a *app) printSchedule(ctx context.Context, q *queue.Queue, s job.Schedule) error {
	l, err := withLast(ctx, q, s)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(l)
	}
	_, err = fmt.Fprintf(a.Out, "%s: %s, next run: %s\n", s.Name, s.Timing.Cron, l.comes(time.Now()))
	return err
}
