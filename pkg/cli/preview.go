package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"drayage/coordinator"
	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/local"
	"drayage/pkg/pipeline"
)

const (
	previewTable = "preview"
	previewChunk = pipeline.Size(1 << 20) // of input, where it can be cut
	maxPreview   = 10_000                 // rows
	maxShown     = 5                      // rejects
)

func (a *app) preview() *cobra.Command {
	var rows uint64
	cmd := &cobra.Command{
		Use:   "preview FILE",
		Short: "Run a pipeline on the beginning of its input and print the result",
		Long: `Run a pipeline on the first chunk of its input, of about 1 MiB where it can be
cut, with everything a job does, and print the first rows of the result. It is
loaded into a ClickHouse of its own, which is thrown away: the target is looked
at and not touched. Rows that would be rejected are listed with their reasons.`,
		Example: "  dray preview pipelines/flights.yaml\n  dray preview orders.yaml -n 100 --json",
		Args:    cobra.ExactArgs(1),
	}
	set := paramFlag(cmd)
	cmd.Flags().Uint64VarP(&rows, "rows", "n", 20, "rows to print")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if rows < 1 || rows > maxPreview {
			return usagef("-n is %d; it must be 1 to %d", rows, maxPreview)
		}
		// Looked at under its own text first, so that mistakes have their place.
		doc, _, end, err := a.inspect(cmd.Context(), args[0], *set)
		if err != nil {
			return err
		}
		end()
		p := scratched(*doc.Pipeline, previewTable, unsorted)
		p.Source.Chunk = min(p.Source.Chunk, previewChunk)
		return a.scratch(cmd.Context(), func(stack *local.Stack) error {
			j, err := a.try(cmd.Context(), stack, p, doc)
			if err != nil {
				return err
			}
			return a.printPreview(cmd.Context(), stack, doc.Pipeline.All(), j, rows)
		})
	}
	return cmd
}

// scratch starts a Drayage of its own for fn, which is thrown away after it. It
// plans no more than the first chunk of a job.
func (a *app) scratch(ctx context.Context, fn func(*local.Stack) error) (err error) {
	cfg := a.cfg
	if cfg.DataDir, err = os.MkdirTemp("", "dray-scratch-*"); err != nil {
		return fmt.Errorf("making a folder for a scratch ClickHouse: %w", err)
	}
	defer os.RemoveAll(cfg.DataDir)
	cfg.ClickHouse.URL, cfg.Coordinator.First = "", 1
	stack, err := local.Start(ctx, cfg, a.log)
	if err != nil {
		return err
	}
	defer func() { _, _ = stack.Close() }() // nothing of it is kept
	if err := stack.Queue.Ensure(ctx); err != nil {
		return fmt.Errorf("setting up the streams: %w", err)
	}
	return fn(stack)
}

// try runs a pipeline on a scratch stack. A job that fails is an error.
func (a *app) try(ctx context.Context, stack *local.Stack, p *pipeline.Pipeline, doc *pipeline.Document) (job.Job, error) {
	text, err := p.Text()
	if err != nil {
		return job.Job{}, fmt.Errorf("writing the pipeline: %w", err)
	}
	id := coordinator.NewID(p.Name, time.Now())
	err = coordinator.Create(ctx, stack.Queue, job.Submission{Job: id, Pipeline: text, File: doc.File, Dir: doc.Dir})
	if err != nil {
		return job.Job{}, fmt.Errorf("creating the job: %w", err)
	}
	j, err := a.runHere(ctx, stack, id, "nothing was loaded", true)
	switch {
	case err != nil:
		return j, err
	case j.State == job.Failed:
		return j, &exitError{ExitFailed, errors.New(j.Error)}
	case j.Totals.Dead > 0:
		dead, err := stack.Queue.DeadLetter(ctx, j.ID, 0, 0)
		if err != nil {
			return j, fmt.Errorf("reading why the chunk failed: %w", err)
		}
		return j, &exitError{ExitFailed, fmt.Errorf("the chunk would be a dead letter: %s", dead.Error)}
	}
	return j, nil
}

// unsorted is a table for rows that are only looked at.
func unsorted(int) pipeline.Load {
	return pipeline.Load{Create: "ENGINE = MergeTree ORDER BY tuple()"}
}

// scratched is the pipeline as it runs on a scratch stack, into scratchTable,
// which load makes of each output, from 0.
func scratched(p pipeline.Pipeline, table string, load func(output int) pipeline.Load) *pipeline.Pipeline {
	into := func(i int) pipeline.Load {
		l := load(i)
		l.Table = scratchTable(table, i)
		return l
	}
	if p.Outputs = slices.Clone(p.Outputs); len(p.Outputs) == 0 {
		p.Load = into(0)
	}
	for i := range p.Outputs {
		p.Outputs[i].Load = into(i)
	}
	p.Incremental = nil
	p.Reject.Max = &pipeline.RowLimit{Percent: 100, Relative: true}
	return &p
}

// scratchTable is the table of an output, from 0, on a scratch stack.
func scratchTable(table string, output int) string {
	if output == 0 {
		return table
	}
	return fmt.Sprintf("%s_%d", table, output)
}

// printPreview prints the rows that came of a chunk, and what became of the
// others.
func (a *app) printPreview(ctx context.Context, stack *local.Stack, outputs []pipeline.Output, j job.Job, rows uint64) error {
	format := "TabSeparatedWithNames"
	switch {
	case a.json:
		format = "JSON"
	case terminal(a.Out):
		format = "PrettyCompactMonoBlock"
	}
	for i, o := range outputs {
		if len(outputs) > 1 {
			fmt.Fprintf(a.Err, "%s\n", o.Load.Table)
		}
		query := fmt.Sprintf("SELECT * EXCEPT (_job, _chunk) FROM %s LIMIT %d", scratchTable(previewTable, i), rows)
		if err := stack.ClickHouse.Query(ctx, query, format, a.Out); err != nil {
			return fmt.Errorf("reading the rows: %w", err)
		}
	}
	t := j.Totals
	fmt.Fprintf(a.Err, "%d rows of %d in the first chunk of the input", t.RowsLoaded, t.RowsRead)
	if t.RowsRejected == 0 {
		fmt.Fprintln(a.Err)
		return nil
	}
	fmt.Fprintf(a.Err, "; %d would be rejected:\n", t.RowsRejected)
	err := stack.ClickHouse.Rejects(ctx, clickhouse.RejectFilter{Job: j.ID, Limit: maxShown}, func(r clickhouse.RejectRow) error {
		fmt.Fprintf(a.Err, "  %s\n    %s\n", r.Reason, r.Raw)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the rejects: %w", err)
	}
	return &exitError{code: ExitRejects}
}
