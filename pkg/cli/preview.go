package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

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
		p := local.Scratched(*doc.Pipeline, previewTable, local.Unsorted)
		p.Source.Chunk = min(p.Source.Chunk, previewChunk)
		return local.Scratch(cmd.Context(), a.cfg, a.log, func(stack *local.Stack) error {
			j, err := stack.Try(cmd.Context(), p, doc.File, doc.Dir)
			if err != nil {
				return err
			}
			return a.printPreview(cmd.Context(), stack, doc.Pipeline.All(), j, rows)
		})
	}
	return cmd
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
		query := fmt.Sprintf("SELECT * EXCEPT (_job, _chunk) FROM %s LIMIT %d", local.ScratchTable(previewTable, i), rows)
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
