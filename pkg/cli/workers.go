package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"drayage/coordinator/api"
	"drayage/pkg/job"
)

func (a *app) workers() *cobra.Command {
	return &cobra.Command{
		Use:   "workers",
		Short: "List the fleet's workers and what they are at",
		Long: `List the workers of the fleet behind DRAY_NATS_URL, with their load, the chunks that
each is at by job, and the Go stages and custom sources that were built into it. A worker that stops saying that it lives disappears after
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
			var list api.WorkerList
			err = a.withViews(ctx, q, func(ctx context.Context, views *api.Service) error {
				list, err = views.Workers(ctx)
				return err
			})
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list.Workers)
			}
			if len(list.Workers) == 0 {
				fmt.Fprintln(a.Err, "no worker lives; dray worker starts one")
				return nil
			}
			var t table
			t.head("WORKER", "HOST", "PID", "VERSION", "BUSY", "", "ENGINE RESTARTS", "UP SINCE", "HEARTBEAT", "BUILT IN", "CHUNKS")
			for _, m := range list.Workers {
				t.add(m.ID, m.Host, fmt.Sprint(m.PID), m.Version, fmt.Sprintf("%d/%d", m.Busy, m.Slots), meter(&m.Load, 8), fmt.Sprint(m.EngineRestarts),
					humanize.Time(m.StartedAt), ago(m.At), builtIn(m.Worker), currentOf(m))
			}
			return t.write(a.Out)
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
