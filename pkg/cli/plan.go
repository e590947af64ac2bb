package cli

import (
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"drayage/pkg/pipeline"
	"drayage/pkg/source"
)

// plannedChunk is a chunk as dray plan shows it.
type plannedChunk struct {
	Chunk uint64 `json:"chunk"`
	Place string `json:"place"`
	Bytes int64  `json:"bytes"`
}

func (a *app) plan() *cobra.Command {
	var shown uint64
	var guess bool
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "List the chunks that a job of a pipeline would have, without loading",
		Long: `List the chunks that a job of a pipeline would have: what each reads, and its
size. Nothing is loaded and nothing is written.

The first chunk is carried the whole way into a ClickHouse of its own, which is
thrown away, and the whole job is estimated by it: rows, bytes, time at the slots
of this machine, and parts: each chunk makes one in each partition that its rows
are of, which ClickHouse merges later. Of an incremental pipeline that chunk is
the first of everything. --estimate=false leaves that out.`,
		Example: "  dray plan pipelines/flights.yaml\n  dray plan orders.yaml --chunks 0 --json --estimate=false",
		Args:    cobra.ExactArgs(1),
	}
	set := paramFlag(cmd)
	cmd.Flags().BoolVar(&guess, "estimate", true, "carry the first chunk the whole way, and estimate the job by it")
	cmd.Flags().Uint64Var(&shown, "chunks", 20, "chunks to list; 0: all")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		doc, frozen, end, err := a.inspect(ctx, args[0], *set)
		if err != nil {
			return err
		}
		defer end()
		listed := []plannedChunk{} // a list in JSON, an empty one too
		var chunks, inputs uint64
		var bytes, largest int64
		for p, err := range frozen.Source.Plan(ctx, nil, frozen.Columns) {
			if err != nil {
				return fmt.Errorf("planning chunk %d: %w", chunks, err)
			}
			c := plannedChunk{chunks, source.Place(frozen.Source, p.Input), p.Bytes}
			switch {
			case shown > 0 && chunks >= shown:
			case a.json:
				listed = append(listed, c)
			default:
				fmt.Fprintf(a.Out, "%8d  %10s  %s\n", c.Chunk, sizeOrNone(c.Bytes), c.Place)
			}
			chunks++
			bytes += p.Bytes
			largest = max(largest, p.Bytes)
			inputs = p.Inputs
		}
		if !a.json {
			if more := chunks - min(chunks, shown); shown > 0 && more > 0 {
				fmt.Fprintf(a.Out, "%8s  and %s more (--chunks 0 lists all)\n", "…", humanize.Comma(int64(more))) //nolint:gosec // a count
			}
			fmt.Fprintf(a.Out, "%s: %s chunks of %s inputs, %s in all, the largest %s\n", doc.Pipeline.Name,
				humanize.Comma(int64(chunks)), humanize.Comma(int64(inputs)), sizeOrNone(bytes), sizeOrNone(largest)) //nolint:gosec // counts
		}
		var e *estimate
		if guess && chunks > 0 {
			if e, err = a.estimate(ctx, doc, frozen, chunks, bytes); err != nil {
				return fmt.Errorf("estimating the job by its first chunk (--estimate=false leaves that out): %w", err)
			}
		}
		if a.json {
			return a.printJSON(map[string]any{
				"pipeline": doc.Pipeline.Name, "chunks": chunks, "inputs": inputs, "bytes": bytes, "largest_bytes": largest,
				"database": frozen.Database, "table": frozen.Table, "others": frozen.Others, "list": listed, "estimate": e,
			})
		}
		for i, t := range frozen.Targets() {
			parts := ""
			if e != nil {
				parts = fmt.Sprintf(", about %s parts before merges", humanize.Comma(int64(e.Parts[i]))) //nolint:gosec // a count
			}
			fmt.Fprintf(a.Out, "  target    %s.%s%s\n", t.Database, t.Table, parts)
		}
		if e != nil {
			fmt.Fprintf(a.Out, "  estimate  %s\n", e)
		}
		return nil
	}
	return cmd
}

// sizeOrNone writes a size, or - where it is not known.
func sizeOrNone(n int64) string {
	if n == 0 {
		return "-"
	}
	return pipeline.Size(n).String()
}
