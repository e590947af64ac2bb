package cli

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"drayage/coordinator"
	"drayage/pkg/job"
)

func (a *app) pause() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pause JOB...",
		Short: "Hold jobs: they take no slot until they are resumed",
		Long: `Hold running jobs. Chunks at the workers are finished; no other is planned or
handed out until dray resume. A job that is paused is left as it is.`,
		Example: "  dray pause last\n  dray pause backfill-2025 backfill-2026 --json",
		Args:    cobra.MinimumNArgs(1),
	}
	cmd.ValidArgsFunction = a.completeJobs(math.MaxInt, isRunning)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		q, end, err := a.openQueue(ctx)
		if err != nil {
			return err
		}
		defer end()
		return a.eachJob(ctx, q, args, func(id string) (job.Job, error) {
			j, err := coordinator.Pause(ctx, q, id)
			return j, refused(err, "only a job that is RUNNING can be paused; dray show %s", id)
		})
	}
	return cmd
}

func (a *app) resume() *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "resume JOB...",
		Short: "Let paused jobs go on",
		Long: `Let paused jobs go on. A job that runs is left as it is.

In the data folder of dray run, where nobody works meanwhile, this command goes on
with the one JOB itself, paused or interrupted, and ends as dray run does.`,
		Example: "  dray resume last\n  dray resume backfill-2025 --json",
		Args:    cobra.MinimumNArgs(1),
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		most, keep := math.MaxInt, isPaused
		if a.prepare(cmd, nil) == nil && !a.cfg.Remote() {
			most, keep = 1, isLive
		}
		return a.completeJobs(most, keep)(cmd, args, begin)
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "in the data folder: no progress, only the summary")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if !a.cfg.Remote() {
			if len(args) > 1 {
				return usagef("in the data folder of dray run one job goes on at a time")
			}
			return a.resumeHere(ctx, args[0], quiet)
		}
		q, end, err := a.openQueue(ctx)
		if err != nil {
			return err
		}
		defer end()
		return a.eachJob(ctx, q, args, func(id string) (job.Job, error) {
			j, err := coordinator.Resume(ctx, q, id)
			var state *coordinator.StateError
			if errors.As(err, &state) && !state.State.Terminal() && state.State != job.Cancelling {
				// Not paused, and on its way: as good as resumed.
				j, _, err = q.Job(ctx, id)
			}
			return j, refused(err, "dray show %s says how it ended", id)
		})
	}
	return cmd
}

// resumeHere goes on with a job of the data folder in this process.
func (a *app) resumeHere(ctx context.Context, name string, quiet bool) error {
	s, j, err := a.openJob(ctx, name, false)
	if err != nil {
		return err
	}
	defer s.close()
	switch {
	case j.State.Terminal():
		return fmt.Errorf("job %s is %s and can not go on\n  hint: dray retry %[1]s loads what it left", j.ID, j.State)
	case j.State == job.Paused:
		if j, err = coordinator.Resume(ctx, s.queue, j.ID); err != nil {
			return err
		}
	}
	if j, err = a.runHere(ctx, s.stack, j.ID, "dray resume "+j.ID+" goes on", quiet); err != nil {
		return err
	}
	return a.report(j, elapsed(j), nil)
}
