package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"drayage/coordinator"
	"drayage/coordinator/api"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
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
	cmd.ValidArgsFunction = a.completeJobs(1, nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		q, j, end, err := a.openQueueJob(ctx, args[0])
		if err != nil {
			return err
		}
		defer end()
		var dead []job.Dead
		if j.Totals.Dead > 0 {
			if dead, err = q.DeadLetters(ctx, j.ID, shownDead); err != nil {
				return fmt.Errorf("reading the dead letters: %w", err)
			}
		}
		var row api.JobRow
		err = a.withViews(ctx, q, func(ctx context.Context, views *api.Service) error {
			v, err := views.Job(ctx, j.ID)
			row = v.JobRow
			return err
		})
		if err != nil {
			return err
		}
		row.Waits = a.waitsHere(j.State, row.Waits)
		if a.json {
			return a.printJSON(shownJob{j, row.Progress, row.Waits, dead})
		}
		return a.printJob(j, row, dead)
	}
	return cmd
}

// shownJob is what --json says of a job.
type shownJob struct {
	job.Job
	Progress    api.Progress `json:"progress"`
	Waits       []api.Wait   `json:"waits,omitempty"`
	DeadLetters []job.Dead   `json:"dead_letters,omitempty"` // at most shownDead
}

func (a *app) printJob(j job.Job, now api.JobRow, dead []job.Dead) error {
	w := &table{}
	row := w.row
	t := j.Totals
	place := coordinator.Places(j, a.with.Sources, a.cfg.Rules)
	row("job", "%s", j.ID)
	row("pipeline", "%s (%s)", j.Name, j.Submission.File)
	row("state", "%s", stateStyle(j.State).Render(string(j.State)))
	if j.Error != "" {
		row("error", "%s", bad.Render(j.Error))
	}
	if why := j.Waiting; why != nil {
		row("waiting", "since %s (%s): %s", why.Since.Format(time.RFC3339), humanize.Time(why.Since), why.Error)
	}
	if j.Frozen != nil && !j.State.Terminal() {
		row("progress", "%s %s, the rest takes about %s", meter(now.Progress.Fraction, 30), percent(now.Progress.Fraction), etaOf(now.Progress))
	}
	for _, why := range now.Waits {
		row("waits", "%s", wary.Render(why.Detail))
	}
	if !j.UndoneAt.IsZero() {
		row("undone", "%s (%s): its rows were taken out again", j.UndoneAt.Format(time.RFC3339), humanize.Time(j.UndoneAt))
	}
	row("created", "%s (%s)", j.CreatedAt.Format(time.RFC3339), humanize.Time(j.CreatedAt))
	row("took", "%s", elapsed(j).Round(time.Millisecond))
	if r := j.Submission.Replay; r != nil {
		row("takes over", "%s of %d chunks of job %s", job.Replayed(r.What), len(r.Chunks), r.Job)
	}
	if f := j.Frozen; f != nil {
		row("target", "%s.%s", f.Database, f.Table)
		row("input", "%s in %d inputs, %s chunks", pipeline.Size(j.InputBytes()), j.Plan.Inputs, planned(j))
		row("chunks", "%d loaded, %d dead, %d redelivered", t.Chunks, t.Dead, t.Redelivered)
		if t.Retired > 0 {
			row("", "%d retired, replaced by %d others%s", t.Retired, j.Plan.Replacements(), reasons(j.Plan.Replaced))
		}
		row("rows read", "%s", humanize.Comma(int64(t.RowsRead)))
		row("rows loaded", "%s (%s/s)", humanize.Comma(int64(t.RowsLoaded)), humanize.SIWithDigits(rate(j), 1, ""))
		row("rows rejected", "%s", rejected(j))
		row("worker time", "%s transforming, %s loading", time.Duration(t.TransformMS)*time.Millisecond, time.Duration(t.LoadMS)*time.Millisecond)
	}
	if j.Repairs > 0 {
		row("repairs", "%d: ClickHouse did not hold what was recorded", j.Repairs)
	}
	if p := j.Proof; p != nil {
		row("proof", "%s: %s rows at %s", p.Kind, humanize.Comma(int64(p.Rows)), p.At.Format(time.RFC3339))
		for _, d := range p.Differ {
			row("", "%s", differs(d))
		}
	}
	for _, c := range j.Claims {
		row("taken over", "%s of %d chunks by job %s", job.Replayed(c.What), len(c.Chunks), c.Job)
	}
	for _, d := range dead {
		row("dead letter", "chunk %d after %d attempts (%s): %s", d.Chunk.Ordinal, d.Attempts, d.Reason, oneLine(d.Error, shownError))
		row("", "input %s", place(d.Chunk.Input))
	}
	if more := int(t.Dead) - len(dead); more > 0 {
		row("", "and %d more", more)
	}
	if len(dead) > 0 {
		row("", "dray dead list %s lists them, dray retry %[1]s loads them again", j.ID)
	}
	return w.write(a.Out)
}

// shownError bounds an error of which the whole is elsewhere, in characters.
const shownError = 400

// reasons says why chunks were replaced.
func reasons(replaced []job.Replaced) string {
	n := map[string]int{}
	for _, r := range replaced {
		n[r.Reason]++
	}
	var parts []string
	if big := n[job.ReplacedTooBig]; big > 0 {
		parts = append(parts, fmt.Sprintf("%d were too big", big))
	}
	if wrong := n[job.ReplacedRepair]; wrong > 0 {
		parts = append(parts, fmt.Sprintf("%d repaired", wrong))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// differs says for a person how a chunk differs.
func differs(d job.Difference) string {
	s := fmt.Sprintf("chunk %d: %d rows recorded, %d found", d.Chunk, d.Recorded, d.Found)
	if d.RejectedRecorded != d.RejectedFound {
		s += fmt.Sprintf("; %d rejected rows recorded, %d found in quarantine", d.RejectedRecorded, d.RejectedFound)
	}
	return s
}
