package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"drayage/coordinator"
	"drayage/pkg/job"
	"drayage/pkg/local"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
	"drayage/pkg/telemetry/trace"
)

func (a *app) run() *cobra.Command {
	var anew, quiet, full bool
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Do a whole job in this process: coordinator, worker, NATS, engine",
		Long: `Do a whole job in this process and end when it is verified.

The rows go to DRAY_CLICKHOUSE_URL or, where that is not set, to a ClickHouse
embedded in this process, with its data in DRAY_DATA_DIR; look at them with
dray sql. A run that was interrupted or killed leaves its job in DRAY_DATA_DIR:
the same run again goes on with it and loads no row twice.`,
		Example: `  dray run pipelines/flights.yaml
  dray run flights.yaml --set since=2001-02-01 --json
  DRAY_CLICKHOUSE_URL=http://default:secret@ch:8123/db dray run flights.yaml`,
		Args: cobra.ExactArgs(1),
	}
	set := paramFlag(cmd)
	cmd.Flags().BoolVar(&full, "full", false, fullHelp)
	cmd.Flags().BoolVar(&anew, "new", false, "begin a new job even where an interrupted one could go on")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "no progress, only the summary")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		params, err := parseParams(*set)
		if err != nil {
			return err
		}
		doc, err := pipeline.Read(args[0], params)
		if err != nil {
			return unreadable(err)
		}
		s := job.Submission{Pipeline: doc.Text, File: doc.File, Dir: doc.Dir, Params: params, Full: full}
		return a.runDocument(cmd.Context(), doc.Pipeline.Name, s, anew, quiet)
	}
	return cmd
}

// fullHelp is the help of --full.
const fullHelp = "an incremental pipeline begins again, as if it had loaded nothing yet"

// unreadable makes a pipeline file that is not there bad usage.
func unreadable(err error) error {
	var mistakes pipeline.Errors
	if errors.As(err, &mistakes) {
		return err
	}
	return &usageError{err}
}

func (a *app) runDocument(ctx context.Context, name string, s job.Submission, anew, quiet bool) error {
	begin := time.Now()
	stack, err := local.Start(ctx, a.cfg, a.log)
	if err != nil {
		return err
	}
	closed := false
	defer func() {
		if !closed {
			_, _ = stack.Close() // an error is on its way out already
		}
	}()
	if err := stack.Queue.Ensure(ctx); err != nil {
		return fmt.Errorf("setting up the streams: %w", err)
	}
	id, err := a.findOrCreate(ctx, stack.Queue, name, s, anew)
	if err != nil {
		return err
	}
	j, err := a.runHere(ctx, stack, id, "the same run again goes on with job "+id, quiet)
	if err != nil {
		return err
	}
	closed = true
	usage, err := stack.Close()
	if err != nil {
		return err
	}
	return a.report(j, time.Since(begin), &usage)
}

// findOrCreate returns the job of an interrupted run of the same submission,
// or makes a new one.
func (a *app) findOrCreate(ctx context.Context, q *queue.Queue, name string, s job.Submission, anew bool) (string, error) {
	if !anew {
		jobs, err := q.Jobs(ctx)
		if err != nil {
			return "", fmt.Errorf("looking for an interrupted job: %w", err)
		}
		for _, j := range jobs {
			if !j.State.Terminal() && j.State != job.Cancelling && coordinator.SameSubmission(j.Submission, s) {
				if j.State == job.Paused {
					if _, err := coordinator.Resume(ctx, q, j.ID); err != nil {
						return "", err
					}
				}
				if !a.json {
					fmt.Fprintf(a.Err, "going on with job %s: %d of its chunks are done (--new begins another)\n", j.ID, j.Totals.Chunks)
				}
				return j.ID, nil
			}
		}
	}
	s.Job = coordinator.NewID(name, time.Now())
	ctx, span := a.cfg.Traces.Begin(ctx, "submit", trace.Internal, trace.Of{Job: s.Job, Pipeline: name})
	err := coordinator.Create(ctx, q, s)
	span.End(err)
	if err != nil {
		return "", fmt.Errorf("creating the job: %w", err)
	}
	return s.Job, nil
}
