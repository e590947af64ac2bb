package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"drayage/coordinator"
	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// undoing is what undo takes out, or would.
type undoing struct {
	Job        string                     `json:"job"`
	Table      string                     `json:"table"`
	Rows       uint64                     `json:"rows"` // in the table before
	Partitions []clickhouse.PartitionRows `json:"partitions"`
	Rejects    uint64                     `json:"rejects"` // rows in quarantine before
	Views      []string                   `json:"views"`   // that keep what they were fed
	Later      []string                   `json:"taken_over_by"`
	DryRun     bool                       `json:"dry_run"`
	Removed    uint64                     `json:"removed"` // rows of the table
}

func (a *app) undo() *cobra.Command {
	var yes, dry bool
	cmd := &cobra.Command{
		Use:   "undo JOB",
		Short: "Take every row of a job out of its table again",
		Long: `Take every row that an ended job has loaded out of its table again, and its rows in
quarantine too. Says first what that is, and asks, unless --yes. It returns when the
rows are gone.

Rows that materialized views have made of them stay where they are. A table without
the columns _job and _chunk can not be undone: its rows do not say where they came
from. What later jobs have taken over from this one is theirs.`,
		Example: "  dray undo last --dry-run\n  dray undo flights-20261123 --yes",
		Args:    cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = a.completeJobs(1, isEnded)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be taken out")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		s, j, err := a.openJob(ctx, args[0], true)
		if err != nil {
			return err
		}
		defer s.close()
		if isLive(j) {
			return refused(&coordinator.StateError{Job: j.ID, State: j.State, What: "be undone before it has ended"}, "dray cancel %s --wait first", j.ID)
		}
		u := undoing{Job: j.ID, Partitions: []clickhouse.PartitionRows{}, Views: []string{}, Later: []string{}, DryRun: dry}
		if j.Frozen == nil {
			if !a.json {
				fmt.Fprintf(a.Err, "job %s ended before its first chunk: there is nothing to undo\n", j.ID)
				return nil
			}
			return a.printJSON(u)
		}
		if err := u.look(ctx, s.clickhouse, j); err != nil {
			return err
		}
		if !a.json {
			w := a.Err
			if dry {
				w = a.Out
			}
			if err := u.print(w, j); err != nil {
				return err
			}
		}
		if !dry {
			if u.Rows+u.Rejects > 0 {
				question := fmt.Sprintf("Take %s rows of job %s out of %s?", humanize.Comma(int64(u.Rows)), j.ID, u.Table)
				if err := a.confirm(ctx, yes, question); err != nil {
					return err
				}
			}
			if u.Removed, err = coordinator.Undo(ctx, s.queue, s.clickhouse, j.ID); err != nil {
				return refused(err, "dray cancel %s --wait first", j.ID)
			}
		}
		switch {
		case a.json:
			return a.printJSON(u)
		case !dry:
			fmt.Fprintf(a.Out, "%s: %s rows removed\n", j.ID, humanize.Comma(int64(u.Removed)))
		}
		return nil
	}
	return cmd
}

// look finds out what there is to take out.
func (u *undoing) look(ctx context.Context, ch *clickhouse.Client, j job.Job) error {
	u.Table = tables(j)
	stores, err := coordinator.Stores(ctx, ch, j)
	if err != nil {
		return err
	}
	for _, s := range stores {
		if s.Records {
			continue
		}
		if err := u.lookAt(ctx, s.Client, j, s.Table); err != nil {
			return err
		}
	}
	if u.Rejects, err = ch.CountRejects(ctx, j.ID); err != nil {
		return err
	}
	for _, c := range j.Claims {
		u.Later = append(u.Later, c.Job)
	}
	return nil
}

// lookAt finds out what there is to take out of one table.
func (u *undoing) lookAt(ctx context.Context, ch *clickhouse.Client, j job.Job, t clickhouse.Table) error {
	partitions, err := ch.JobRows(ctx, t, j.ID)
	var untraceable *clickhouse.ProvenanceError
	switch {
	case errors.As(err, &untraceable):
		return hinted(err, "drayage.ledger says what was loaded and when; take it out by hand")
	case errors.Is(err, clickhouse.ErrNoTable):
		return hinted(err, "the table is gone, and the rows with it")
	case err != nil:
		return err
	}
	for _, p := range partitions {
		u.Rows += p.Rows
	}
	u.Partitions = append(u.Partitions, partitions...)
	info, err := ch.Describe(ctx, t)
	if err != nil {
		return err
	}
	for _, v := range info.Views {
		u.Views = append(u.Views, v.String())
	}
	return nil
}

// shownPartitions bounds the partitions that undo lists.
const shownPartitions = 20

func (u *undoing) print(out io.Writer, j job.Job) error {
	w := &table{}
	row := w.row
	row("job", "%s (%s)", j.ID, j.State)
	if !j.UndoneAt.IsZero() {
		row("undone", "%s already", humanize.Time(j.UndoneAt))
	}
	row("table", "%s", u.Table)
	row("rows", "%s", humanize.Comma(int64(u.Rows)))
	for i, p := range u.Partitions {
		if i == shownPartitions {
			row("", "and %d more partitions", len(u.Partitions)-i)
			break
		}
		row("", "partition %s: %s", p.Partition, humanize.Comma(int64(p.Rows)))
	}
	row("quarantine", "%s rows", humanize.Comma(int64(u.Rejects)))
	if len(u.Views) > 0 {
		row("stays", "what materialized views have made of the rows: %s", strings.Join(u.Views, ", "))
	}
	if len(u.Later) > 0 {
		row("stays", "what was taken over from it by %s", strings.Join(u.Later, ", "))
	}
	return w.write(out)
}
