package cli

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"drayage/pkg/job"
)

func (a *app) workers() *cobra.Command {
	return &cobra.Command{
		Use:   "workers",
		Short: "List the fleet's workers and what they are at",
		Long: `List the workers of the fleet behind DRAY_NATS_URL, with the chunks that each is at
as job/chunk/generation, and the Go stages and custom sources that were built into
it. A worker that stops saying that it lives disappears after
DRAY_WORKER_TTL; its chunks go to the others.`,
		Example: "  dray workers\n  dray workers --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if !a.cfg.Remote() {
				return a.noFleet("a dray run is its own only worker")
			}
			q, end, err := a.openQueue(ctx)
			if err != nil {
				return err
			}
			defer end()
			list, err := q.Workers(ctx)
			if err != nil {
				return fmt.Errorf("listing the workers: %w", err)
			}
			if a.json {
				if list == nil {
					list = []job.Worker{}
				}
				return a.printJSON(list)
			}
			if len(list) == 0 {
				fmt.Fprintln(a.Err, "no worker lives; dray worker starts one")
				return nil
			}
			w := tabwriter.NewWriter(a.Out, 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "WORKER\tHOST\tPID\tVERSION\tBUSY\tENGINE RESTARTS\tUP SINCE\tHEARTBEAT\tBUILT IN\tCHUNKS")
			for _, m := range list {
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d/%d\t%d\t%s\t%s\t%s\t%s\n", m.ID, m.Host, m.PID, m.Version, m.Busy, m.Slots, m.EngineRestarts,
					humanize.Time(m.StartedAt), ago(m.At), builtIn(m), strings.Join(m.Current, " "))
			}
			return w.Flush()
		},
	}
}

// builtIn names the stages and kinds of source that a worker was built with.
func builtIn(w job.Worker) string {
	if all := slices.Concat(w.Stages, w.Sources); len(all) > 0 {
		return strings.Join(all, " ")
	}
	return "-"
}

// ago says how long something is past that is not long past.
func ago(at time.Time) string {
	return fmt.Sprintf("%s ago", max(0, time.Since(at)).Round(100*time.Millisecond))
}
