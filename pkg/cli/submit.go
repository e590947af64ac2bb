package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"drayage/coordinator"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
	"drayage/pkg/telemetry/trace"
)

func (a *app) submit() *cobra.Command {
	var wait, quiet, full bool
	var key, dir string
	cmd := &cobra.Command{
		Use:   "submit FILE",
		Short: "Give the fleet a job",
		Long: `Give the fleet behind DRAY_NATS_URL a job, and print its name. Relative paths in
the pipeline start at the file's folder; where the workers see that folder under
another name, say so with --dir. With --key, submitting again is not doing again:
the job of that key stays the only one.`,
		Example: `  dray submit pipelines/flights.yaml --wait
  dray submit nightly.yaml --key 2026-11-23 --set day=2026-11-22
  dray submit flights.yaml --dir /pipelines`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVarP(&wait, "wait", "w", false, "wait until the job has ended and exit as dray run does")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "with --wait: no progress, only the summary")
	cmd.Flags().BoolVar(&full, "full", false, fullHelp)
	cmd.Flags().StringVar(&key, "key", "", "makes the job's name; the same key again is the same job")
	cmd.Flags().StringVar(&dir, "dir", "", "folder on the workers at which relative paths start")
	set := paramFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		doc, sub, err := readSubmission(args[0], dir, *set)
		if err != nil {
			return err
		}
		id := coordinator.NewID(doc.Pipeline.Name, time.Now())
		if key != "" {
			id = coordinator.KeyID(doc.Pipeline.Name, key)
		}
		if !job.ValidID(id) {
			return usagef("--key makes the name %q, which is longer than %d characters", id, job.MaxID)
		}
		q, end, err := a.openFleet(ctx, "dray run does a job without one")
		if err != nil {
			return err
		}
		defer end()
		sub.Job, sub.Full = id, full
		publishing, span := a.cfg.Traces.Begin(ctx, "publish "+queue.SubmitDestination, trace.Producer, trace.Of{Job: id, Queue: queue.SubmitDestination})
		err = q.Submit(publishing, sub)
		span.End(err)
		if err != nil {
			return fmt.Errorf("submitting the job: %w", err)
		}
		if schedule := doc.Pipeline.Schedule; schedule != nil && !a.json {
			fmt.Fprintf(a.Err, "this is one run; dray schedules add %s repeats it (%s)\n", args[0], schedule.Cron)
		}
		return a.submitted(ctx, q, id, wait, quiet)
	}
	return cmd
}

// readSubmission reads a pipeline file and makes the submission of it, without
// the name of a job.
func readSubmission(file, dir string, set []string) (*pipeline.Document, job.Submission, error) {
	params, err := parseParams(set)
	if err != nil {
		return nil, job.Submission{}, err
	}
	doc, err := pipeline.Read(file, params)
	if err != nil {
		return nil, job.Submission{}, unreadable(err)
	}
	if dir == "" {
		dir = doc.Dir
	}
	return doc, job.Submission{Pipeline: doc.Text, File: filepath.Base(file), Dir: dir, Params: params}, nil
}

// submitted prints the name of a job that was submitted and, when asked to,
// waits until it has ended.
func (a *app) submitted(ctx context.Context, q *queue.Queue, id string, wait, quiet bool) error {
	if !wait {
		if a.json {
			return a.printJSON(map[string]string{"job": id})
		}
		fmt.Fprintln(a.Out, id)
		return nil
	}
	if !a.json {
		fmt.Fprintln(a.Err, "submitted", id)
	}
	j, err := a.follow(ctx, q, id, quiet)
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(fmt.Errorf("the job goes on: dray show %s", id), err)
		}
		return err
	}
	return a.report(j, elapsed(j), nil)
}
