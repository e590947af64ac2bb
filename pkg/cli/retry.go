package cli

import (
	"context"

	"github.com/spf13/cobra"

	"drayage/coordinator"
	"drayage/pkg/job"
)

func (a *app) retry() *cobra.Command {
	var rejects bool
	cmd := &cobra.Command{
		Use:   "retry JOB",
		Short: "Load again what a job has left: dead letters, or rejected rows",
		Long: `Load again, as a new job, what an ended job has left: its dead letters or, with
--rejects, its rows in quarantine as they stood in the input. Mend the pipeline, or
the columns of the table, first. What a later job has taken over is left out.
Prints the name of the new job; in the data folder of dray run it is run at once.
dray dead replay chooses among dead letters.`,
		Example: `  dray retry last --wait
  dray retry last --rejects --pipeline mended.yaml --wait`,
		Args: cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = a.completeJobs(1, hasLeft)
	cmd.Flags().BoolVar(&rejects, "rejects", false, "the rows in quarantine, rather than the dead letters")
	r := replayFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !rejects {
			return a.replayDead(cmd.Context(), args[0], &coordinator.Choice{}, r)
		}
		return a.retryRejects(cmd.Context(), args[0], r)
	}
	return cmd
}

func (a *app) retryRejects(ctx context.Context, name string, r *replayPlan) error {
	s, old, err := a.openJob(ctx, name, true)
	if err != nil {
		return err
	}
	defer s.close()
	chunks, err := coordinator.RejectedChunks(ctx, s.clickhouse, old)
	if err != nil {
		return err
	}
	return a.replay(ctx, s, old, job.ReplayRejects, chunks, r)
}
