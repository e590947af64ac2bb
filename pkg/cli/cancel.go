package cli

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"drayage/coordinator"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

func (a *app) cancel() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "cancel JOB...",
		Short: "Stop jobs for good; rows that are loaded stay",
		Long: `Stop jobs for good. Their queued chunks are taken back and the workers let go of
those at work; once a job is CANCELLED, no row of it lands any more. Rows that are
loaded stay: dray undo takes them out again. A job that was cancelled is left as
it is. In the data folder of dray run there is nobody to wait for: the job is
CANCELLED when the command ends.`,
		Example: "  dray cancel last --wait\n  dray cancel flights-20261123 nightly-7 --json",
		Args:    cobra.MinimumNArgs(1),
	}
	cmd.ValidArgsFunction = a.completeJobs(math.MaxInt, isLive)
	cmd.Flags().BoolVarP(&wait, "wait", "w", false, "wait until they are CANCELLED")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		s, err := a.openSite(ctx, false)
		if err != nil {
			return err
		}
		defer s.close()
		jobs, err := findJobs(ctx, s.queue, args)
		if err != nil {
			return err
		}
		// All are asked before any is waited for.
		var errs []error
		var asked []job.Job
		for _, j := range jobs {
			cancelled, err := coordinator.Cancel(ctx, s.queue, j.ID)
			if err != nil {
				errs = append(errs, refused(err, "dray undo %s takes its rows out again", j.ID))
				continue
			}
			asked = append(asked, cancelled)
		}
		for _, j := range asked {
			switch {
			case s.stack != nil && !j.State.Terminal():
				j, err = a.runHere(ctx, s.stack, j.ID, "dray cancel "+j.ID+" goes on", true)
			case wait:
				j, err = a.follow(ctx, s.queue, j.ID, true)
			}
			if err == nil {
				err = a.printState(j)
			}
			if err != nil {
				return errors.Join(append(errs, err)...)
			}
			if !a.json && j.Totals.RowsLoaded > 0 && j.UndoneAt.IsZero() {
				fmt.Fprintf(a.Err, "  %s rows of it are in %s: dray undo %s takes them out\n",
					humanize.Comma(int64(j.Totals.RowsLoaded)), tables(j), j.ID)
			}
		}
		return errors.Join(errs...)
	}
	return cmd
}

// printState says where a job stands.
func (a *app) printState(j job.Job) error {
	if a.json {
		return a.printJSON(j)
	}
	_, err := fmt.Fprintf(a.Out, "%s %s\n", j.ID, j.State)
	return err
}

// refused adds to a refusal what to do; other errors say that themselves.
func refused(err error, format string, args ...any) error {
	var state *coordinator.StateError
	if !errors.As(err, &state) {
		return err
	}
	return hinted(err, format, args...)
}

// eachJob does act to each of the named jobs, whatever became of the others,
// and prints what they are then.
func (a *app) eachJob(ctx context.Context, q *queue.Queue, names []string, act func(id string) (job.Job, error)) error {
	jobs, err := findJobs(ctx, q, names)
	if err != nil {
		return err
	}
	var errs []error
	for _, j := range jobs {
		j, err := act(j.ID)
		if err == nil {
			err = a.printState(j)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
