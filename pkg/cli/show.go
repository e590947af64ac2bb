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
	"drayage/pkg/local"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
)

// shownDead bounds the dead letters that show lists.
const shownDead = 20

func (a *app) show() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show JOB",
		Short:   "Show one job: state, totals, proof, what went wrong",
		Long:    `Show one job. JOB is its name, an unambiguous beginning of it, or last for the newest.`,
		Example: "  dray show last\n  dray show flights-20261123 --json",
		Args:    cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 || a.prepare(cmd, nil) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
		defer cancel()
		cmd.SetContext(ctx)
		list, err := a.listJobs(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names := []string{"last"}
		for _, j := range list {
			names = append(names, j.ID+"\t"+string(j.State))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		q, end, err := local.OpenQueue(ctx, a.cfg, a.log)
		if err != nil {
			return err
		}
		defer end()
		if !a.cfg.Remote() {
			if err := q.Ensure(ctx); err != nil {
				return fmt.Errorf("setting up the streams: %w", err)
			}
		}
		j, err := findJob(ctx, q, args[0])
		if err != nil {
			return err
		}
		var dead []job.Dead
		if j.Totals.Dead > 0 {
			if dead, err = q.DeadLetters(ctx, j.ID, shownDead); err != nil {
				return fmt.Errorf("reading the dead letters: %w", err)
			}
		}
		if a.json {
			return a.printJSON(struct {
				job.Job
				DeadLetters []job.Dead `json:"dead_letters,omitempty"`
			}{j, dead})
		}
		return a.printJob(j, dead)
	}
	return cmd
}

// findJob finds a job by its name, a beginning of it, or "last".
func findJob(ctx context.Context, q *queue.Queue, name string) (job.Job, error) {
	list, err := q.Jobs(ctx)
	if err != nil {
		return job.Job{}, fmt.Errorf("listing the jobs: %w", err)
	}
	var found []job.Job
	for _, j := range list {
		switch {
		case j.ID == name, name == "last":
			return j, nil
		case strings.HasPrefix(j.ID, name):
			found = append(found, j)
		}
	}
	switch len(found) {
	case 0:
		return job.Job{}, usagef("there is no job %s; dray jobs lists them", name)
	case 1:
		return found[0], nil
	}
	return job.Job{}, usagef("%s begins the names of %d jobs, such as %s and %s", name, len(found), found[0].ID, found[1].ID)
}

func (a *app) printJob(j job.Job, dead []job.Dead) error {
	w := tabwriter.NewWriter(a.Out, 0, 8, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	t := j.Totals
	row("job", "%s", j.ID)
	row("pipeline", "%s (%s)", j.Name, j.Submission.File)
	row("state", "%s", j.State)
	if j.Error != "" {
		row("error", "%s", strings.ReplaceAll(j.Error, "\n", "\n\t"))
	}
	row("created", "%s (%s)", j.CreatedAt.Format(time.RFC3339), humanize.Time(j.CreatedAt))
	row("took", "%s", elapsed(j).Round(time.Millisecond))
	if f := j.Frozen; f != nil {
		row("target", "%s.%s", f.Database, f.Table)
		row("input", "%s in %d inputs, %s chunks", pipeline.Size(wholeBytes(j)), j.Plan.Inputs, planned(j))
		row("chunks", "%d loaded, %d dead, %d redelivered", t.Chunks, t.Dead, t.Redelivered)
		row("rows read", "%s", humanize.Comma(int64(t.RowsRead)))
		row("rows loaded", "%s (%s/s)", humanize.Comma(int64(t.RowsLoaded)), humanize.SIWithDigits(rate(j), 1, ""))
		row("rows rejected", "%s", humanize.Comma(int64(t.RowsRejected)))
		row("worker time", "%s transforming, %s loading", time.Duration(t.TransformMS)*time.Millisecond, time.Duration(t.LoadMS)*time.Millisecond)
	}
	if p := j.Proof; p != nil {
		row("proof", "%s: %s rows at %s", p.Kind, humanize.Comma(int64(p.Rows)), p.At.Format(time.RFC3339))
		for _, d := range p.Differ {
			row("", "chunk %d: %d rows recorded, %d found", d.Chunk, d.Recorded, d.Found)
		}
	}
	for _, d := range dead {
		row("dead letter", "chunk %d after %d attempts (%s): %s", d.Chunk.Ordinal, d.Attempts, d.Reason, d.Error)
		row("", "input %s", d.Chunk.Input)
	}
	if more := int(t.Dead) - len(dead); more > 0 {
		row("", "and %d more", more)
	}
	return w.Flush()
}
