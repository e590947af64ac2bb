package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"drayage/coordinator"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
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

// mend puts the mended pipeline and parameters into a submission, and checks
// them.
func (r *replayPlan) mend(s *job.Submission) error {
	params, err := parseParams(*r.set)
	if err != nil {
		return err
	}
	if r.dir != "" {
		s.Dir = r.dir
	}
	if r.file == "" && len(params) == 0 {
		return nil
	}
	merged := maps.Clone(s.Params)
	if merged == nil {
		merged = map[string]string{}
	}
	if r.file != "" {
		// Parameters that the mended pipeline has no more are left behind.
		declared := pipeline.ReadOutline(r.file).Params
		maps.DeleteFunc(merged, func(name, _ string) bool { _, ok := declared[name]; return !ok })
		maps.Copy(merged, params)
		doc, err := pipeline.Read(r.file, merged)
		if err != nil {
			return unreadable(err)
		}
		s.Pipeline, s.File = doc.Text, filepath.Base(r.file)
	}
	maps.Copy(merged, params)
	s.Params = merged
	_, err = pipeline.Parse(s.Pipeline, s.File, s.Dir, s.Params)
	return err
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
		fmt.Fprintf(a.Err, "nothing to do: job %s has left none of %s that nobody has taken over\n", old.ID, replayed(what))
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
	sub, err := coordinator.Replay(old, what, chunks)
	if err != nil {
		return sub, err
	}
	if err := r.mend(&sub); err != nil {
		return sub, err
	}
	// The name follows from the old job, so that asking twice is asking once;
	// asking for something else meanwhile must not pass for the same. One that
	// ended and took nothing over, for a mistake in its pipeline, is not in the
	// way.
	for n, name := 2, sub.Job; ; n++ {
		there, _, err := q.Job(ctx, sub.Job)
		switch {
		case errors.Is(err, queue.ErrNotFound):
			return sub, nil
		case err != nil:
			return sub, fmt.Errorf("looking for job %s: %w", sub.Job, err)
		case !there.State.Terminal() && sameReplay(there, sub):
			return sub, nil
		case !there.State.Terminal():
			return sub, otherReplay(there, sub)
		}
		if sub.Job = fmt.Sprintf("%s-%d", name, n); len(sub.Job) > job.MaxID {
			return sub, fmt.Errorf("the name of job %s is too long for one that continues it", old.ID)
		}
	}
}

func sameReplay(there job.Job, sub job.Submission) bool {
	r := there.Submission.Replay
	return r != nil && r.Job == sub.Replay.Job && r.What == sub.Replay.What && slices.Equal(r.Chunks, sub.Replay.Chunks) &&
		there.Submission.Pipeline == sub.Pipeline && maps.Equal(there.Submission.Params, sub.Params)
}

func otherReplay(there job.Job, sub job.Submission) error {
	return hinted(fmt.Errorf("job %s, which is %s, is about to take over something else, or in another way, from job %s", there.ID, there.State, sub.Replay.Job),
		"dray show %s; once it runs, run this again", there.ID)
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
	case err == nil && !sameReplay(j, sub):
		return j, otherReplay(j, sub) // somebody was quicker with another
	}
	return j, err
}
