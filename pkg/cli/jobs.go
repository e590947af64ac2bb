package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"drayage/pkg/job"
)

func (a *app) jobs() *cobra.Command {
	var state string
	var limit int
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "List jobs, the newest first",
		Long: `List the jobs of the fleet behind DRAY_NATS_URL or, where that is not set, those
of dray run in DRAY_DATA_DIR.`,
		Example: "  dray jobs\n  dray jobs --state running --json",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&state, "state", "", "only jobs in this state, such as running or failed")
	cmd.Flags().IntVarP(&limit, "limit", "n", 50, "at most so many")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		want := job.State(strings.ToUpper(state))
		if state != "" && !want.Known() {
			return usagef("--state %s: there is no such state", state)
		}
		all, err := a.listJobs(cmd.Context())
		if err != nil {
			return err
		}
		var list []job.Job
		for _, j := range all {
			if (state == "" || j.State == want) && len(list) < limit {
				list = append(list, j)
			}
		}
		if a.json {
			if list == nil {
				list = []job.Job{}
			}
			return a.printJSON(list)
		}
		w := tabwriter.NewWriter(a.Out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "JOB\tSTATE\tCHUNKS\tROWS\tREJECTED\tRATE\tTOOK\tCREATED")
		for _, j := range list {
			fmt.Fprintf(w, "%s\t%s\t%d/%s\t%s\t%d\t%s/s\t%s\t%s\n", j.ID, noted(j), j.Totals.Outcomes(), planned(j),
				humanize.Comma(int64(j.Totals.RowsLoaded)), j.Totals.RowsRejected, humanize.SIWithDigits(rate(j), 1, ""),
				elapsed(j).Round(10*time.Millisecond), humanize.Time(j.CreatedAt))
		}
		return w.Flush()
	}
	return cmd
}

// noted is the state of a job with what a person should know beside it.
func noted(j job.Job) string {
	switch {
	case !j.UndoneAt.IsZero():
		return string(j.State) + ", undone"
	case throttled(j) != "":
		return string(j.State) + ", slowed down"
	}
	return string(j.State)
}

func (a *app) listJobs(ctx context.Context) ([]job.Job, error) {
	q, end, err := a.openQueue(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	return allJobs(ctx, q)
}
