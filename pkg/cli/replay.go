package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"drayage/coordinator"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// replayPlan is how what a job has left is loaded again.
type replayPlan struct {
	file        string // the mended pipeline; empty: the old job's own text
	dir         string
	set         *[]string
	wait, quiet bool
}

// replayFlags adds the flags of a replay to a command.
func replayFlags(cmd *cobra.Command) *replayPlan {
	r := &replayPlan{set: paramFlag(cmd)}
	cmd.Flags().StringVar(&r.file, "pipeline", "", "the mended pipeline file; default: the pipeline as it was submitted")
	cmd.Flags().StringVar(&r.dir, "dir", "", "folder on the workers at which relative paths start; default: as for the old job")
	cmd.Flags().BoolVarP(&r.wait, "wait", "w", false, "wait until the new job has ended and exit as dray run does")
	cmd.Flags().BoolVarP(&r.quiet, "quiet", "q", false, "no progress, only the summary")
	_ = cmd.MarkFlagFilename("pipeline", "yaml", "yml") // the flag is there
	return r
}

// mended reads what is different from the old job.
func (r *replayPlan) mended() (coordinator.Mended, error) {
	params, err := parseParams(*r.set)
	m := coordinator.Mended{Dir: r.dir, Params: params}
	if err != nil || r.file == "" {
		return m, err
	}
	text, err := os.ReadFile(r.file)
	if err != nil {
		return m, unreadable(fmt.Errorf("reading the pipeline: %w", err))
	}
	m.Pipeline, m.File = string(text), filepath.Base(r.file)
	return m, nil
}

// submittedReplay is what --json says of a replay that was submitted.
type submittedReplay struct {
	Job    string `json:"job"` // empty: there was nothing to take over
	Of     string `json:"of_job"`
	What   string `json:"what"`
	Chunks int    `json:"chunks"`
}

// replay has a new job take the chunks over from an old one: in a fleet it is
// submitted, in the data folder it is run here.
func (a *app) replay(ctx context.Context, s *site, old job.Job, what string, chunks []uint64, r *replayPlan) error {
	if isLive(old) {
		return refused(&coordinator.StateError{Job: old.ID, State: old.State, What: "be replayed before it has ended"},
			"wait until it has, or dray cancel %s", old.ID)
	}
	if len(chunks) == 0 {
		if a.json {
			return a.printJSON(submittedReplay{Of: old.ID, What: what})
		}
		fmt.Fprintf(a.Err, "nothing to do: job %s has left none of %s that nobody has taken over\n", old.ID, job.Replayed(what))
		return nil
	}
	sub, err := a.prepareReplay(ctx, s.queue, old, what, chunks, r)
	if err != nil {
		return err
	}
	if s.stack == nil && !r.wait {
		if err := submitReplay(ctx, s.queue, sub); err != nil {
			return err
		}
		if a.json {
			return a.printJSON(submittedReplay{sub.Job, old.ID, what, len(chunks)})
		}
		_, err := fmt.Fprintln(a.Out, sub.Job)
		return err
	}
	j, err := a.finishReplay(ctx, s, sub, r.quiet)
	if err != nil {
		return err
	}
	return a.report(j, elapsed(j), nil)
}

// prepareReplay makes the submission, or says why the chunks can not be taken
// over.
func (a *app) prepareReplay(ctx context.Context, q *queue.Queue, old job.Job, what string, chunks []uint64, r *replayPlan) (job.Submission, error) {
	m, err := r.mended()
	if err != nil {
		return job.Submission{}, err
	}
	sub, err := coordinator.PrepareReplay(ctx, q, old, what, chunks, m)
	return sub, otherReplay(err)
}

// otherReplay adds to an error about another replay what to do.
func otherReplay(err error) error {
	var other *coordinator.ReplayError
	if !errors.As(err, &other) {
		return err
	}
	return hinted(err, "dray show %s; once it runs, run this again", other.Job)
}

func submitReplay(ctx context.Context, q *queue.Queue, sub job.Submission) error {
	if err := q.Check(ctx); err != nil {
		return err
	}
	if err := q.Submit(ctx, sub); err != nil {
		return fmt.Errorf("submitting the job: %w", err)
	}
	return nil
}

// finishReplay submits or runs a replay and waits for its end.
func (a *app) finishReplay(ctx context.Context, s *site, sub job.Submission, quiet bool) (job.Job, error) {
	if s.stack != nil {
		if err := coordinator.Create(ctx, s.queue, sub); err != nil {
			return job.Job{}, fmt.Errorf("creating the job: %w", err)
		}
		return a.runHere(ctx, s.stack, sub.Job, "dray resume "+sub.Job+" goes on", quiet)
	}
	if err := submitReplay(ctx, s.queue, sub); err != nil {
		return job.Job{}, err
	}
	if !a.json {
		fmt.Fprintln(a.Err, "submitted", sub.Job)
	}
	j, err := a.follow(ctx, s.queue, sub.Job, quiet)
	switch {
	case err != nil && ctx.Err() != nil:
		return j, errors.Join(fmt.Errorf("the job goes on: dray show %s", sub.Job), err)
	case err == nil && !coordinator.SameReplay(j, sub):
		return j, otherReplay(coordinator.OtherReplay(j, sub)) // somebody was quicker with another
	}
	return j, err
}
