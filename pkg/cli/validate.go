package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drayage/coordinator"
	"drayage/pkg/job"
	"drayage/pkg/local"
	"drayage/pkg/pipeline"
	"drayage/pkg/transform"
)

func (a *app) validate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a pipeline: file, source, SQL and target, without loading",
		Long: `Check a pipeline file without loading anything: keys and values, the columns of
the source, the stages, the SQL in the engine, and the target, where it can be
reached.
Mistakes are written with line and column; the exit code is then 2.`,
		Example: "  dray validate pipelines/flights.yaml\n  dray validate flights.yaml --json",
		Args:    cobra.ExactArgs(1),
	}
	set := paramFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		doc, frozen, end, err := a.inspect(ctx, args[0], *set)
		if err != nil {
			return err
		}
		defer end()
		size := frozen.Source.Size(ctx)
		next, err := nextRuns(doc.Pipeline, time.Now(), validatedRuns)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(map[string]any{
				"pipeline": doc.Pipeline.Name, "valid": true, "columns": frozen.Columns, "staged": frozen.Staged, "output": frozen.Output,
				"database": frozen.Database, "table": frozen.Table, "table_exists": frozen.Found[0].Exists, "difference": frozen.Found[0].Difference,
				"others": frozen.Others, "estimated_bytes": size, "next_runs": next,
			})
		}
		fmt.Fprintf(a.Out, "%s is valid\n", args[0])
		fmt.Fprintf(a.Out, "  source   %s\n", columns(frozen.Columns))
		if len(frozen.Staged) > 0 {
			fmt.Fprintf(a.Out, "  stages   %s\n", columns(frozen.Staged))
		}
		outputs := doc.Pipeline.All()
		for i, t := range frozen.Targets() {
			fmt.Fprintf(a.Out, "  output   %s\n", columns(t.Output))
			note := "exists and fits"
			if !frozen.Found[i].Exists {
				note = "will be created"
			}
			fmt.Fprintf(a.Out, "  target   %s.%s (%s)\n", t.Database, t.Table, note)
			if d := frozen.Found[i].Difference; d != "" {
				fmt.Fprintf(a.Out, "  columns to be added (load.evolve: add)\n    %s\n", strings.ReplaceAll(d, "\n", "\n    "))
			}
			if m := outputs[i].Load.Mode; m != "" {
				fmt.Fprintf(a.Out, "  mode     %s\n", m)
			}
		}
		if size > 0 {
			fmt.Fprintf(a.Out, "  input    about %s, chunks of %s\n", pipeline.Size(size), doc.Pipeline.Source.Chunk)
		}
		for i, at := range next {
			name := "runs"
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(a.Out, "  %-8s %s\n", name, clockTime(doc.Pipeline.Schedule.Timing(), at))
		}
		return nil
	}
	return cmd
}

// validatedRuns are the next runs of a schedule that validate shows.
const validatedRuns = 3

// inspect reads a pipeline file and finds out what a job of it would depend on.
// The function frees what that took.
func (a *app) inspect(ctx context.Context, file string, set []string) (*pipeline.Document, *coordinator.Frozen, func(), error) {
	params, err := parseParams(set)
	if err != nil {
		return nil, nil, nil, err
	}
	return a.inspectWith(ctx, file, params)
}

// inspectWith is inspect with the values of --set.
func (a *app) inspectWith(ctx context.Context, file string, params map[string]string) (*pipeline.Document, *coordinator.Frozen, func(), error) {
	doc, err := pipeline.Read(file, params)
	if err != nil {
		return nil, nil, nil, unreadable(err)
	}
	eng, err := local.StartEngine(ctx, a.cfg, a.log)
	if err != nil {
		return nil, nil, nil, err
	}
	ch, end, err := local.OpenClickHouse(ctx, a.cfg, a.log)
	if err != nil {
		_, _ = eng.Close() // the error of ClickHouse is the one to tell
		return nil, nil, nil, err
	}
	both := func() {
		end()
		_, _ = eng.Close() // it was only asked
	}
	var frozen *coordinator.Frozen
	err = eng.Guard(ctx, func() error {
		frozen, err = coordinator.Freezer{
			Engine: eng.Client(), ClickHouse: ch, Stages: a.with.Stages, Custom: a.with.Sources, Allow: a.cfg.Rules,
		}.Freeze(ctx, doc, "validate", time.Now().UTC())
		return err
	})
	if err != nil {
		both()
		return nil, nil, nil, err
	}
	return doc, frozen, both, nil
}

func columns(cols []job.Column) string { return transform.Structure(cols) }
