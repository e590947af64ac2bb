package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"drayage/coordinator"
	"drayage/pkg/job"
)

func (a *app) deadReplay() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay JOB",
		Short: "Load dead letters again, as a new job",
		Long: `Load the dead letters of an ended job again: all of them, or those that the flags
choose. A new job takes their inputs over, with the pipeline of the old job or with
a mended one. Nothing is taken over twice: what a later job has taken is left out.
Prints the name of the new job; in the data folder of dray run it is run at once.`,
		Example: `  dray dead replay last --wait
  dray dead replay last --pipeline mended.yaml --error 'Cannot parse'
  dray dead replay flights-20261123 --chunk 17 --chunk 18`,
		Args: cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = a.completeJobs(1, func(j job.Job) bool { return isEnded(j) && hasDead(j) })
	c := choiceFlags(cmd)
	r := replayFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkChoice(c); err != nil {
			return err
		}
		return a.replayDead(cmd.Context(), args[0], c, r)
	}
	return cmd
}

// replayDead submits, or runs, what loads the chosen dead letters again.
func (a *app) replayDead(ctx context.Context, name string, c *coordinator.Choice, r *replayPlan) error {
	s, old, err := a.openJob(ctx, name, false)
	if err != nil {
		return err
	}
	defer s.close()
	chosen, err := a.letters(s.queue, old).Choose(ctx, *c)
	if err != nil {
		return noLetter(err)
	}
	return a.replay(ctx, s, old, job.ReplayDead, chunksOf(chosen), r)
}

func chunksOf(letters []coordinator.Chosen) []uint64 {
	chunks := make([]uint64, len(letters))
	for i, l := range letters {
		chunks[i] = l.Chunk
	}
	return chunks
}

func (a *app) deadDrop() *cobra.Command {
	var every, yes bool
	cmd := &cobra.Command{
		Use:   "drop JOB",
		Short: "Forget dead letters; their input is not loaded",
		Long: `Forget dead letters of an ended job: those that the flags choose, or all. Their
input is not loaded, and nothing remembers it but the ledger. Those that another
job has taken over stay. Asks first, unless --yes.`,
		Example: `  dray dead drop last --chunk 17
  dray dead drop flights-20261123 --error 'input is gone' --yes
  dray dead drop last --all-chunks`,
		Args: cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = a.completeJobs(1, func(j job.Job) bool { return isEnded(j) && hasDead(j) })
	c := choiceFlags(cmd)
	cmd.Flags().BoolVar(&every, "all-chunks", false, "all dead letters of the job")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if err := checkChoice(c); err != nil {
			return err
		}
		if c.Narrow() == every {
			return usagef("say which: --chunk, --error or --reason, or --all-chunks for all")
		}
		q, j, end, err := a.openQueueJob(ctx, args[0])
		if err != nil {
			return err
		}
		defer end()
		if isLive(j) {
			return refused(&coordinator.StateError{Job: j.ID, State: j.State, What: "lose dead letters before it has ended"},
				"its chunks are counted by them; wait, or dray cancel %s", j.ID)
		}
		chosen, err := a.letters(q, j).Choose(ctx, *c)
		if err != nil {
			return noLetter(err)
		}
		if len(chosen) > 0 {
			question := fmt.Sprintf("Drop %s of job %s? Their input will not be loaded.", english.Plural(len(chosen), "dead letter", ""), j.ID)
			if err := a.confirm(ctx, yes, question); err != nil {
				return err
			}
		}
		dropped, err := a.letters(q, j).Drop(ctx, chosen)
		return errors.Join(err, a.printDropped(j.ID, dropped))
	}
	return cmd
}

func (a *app) printDropped(id string, n int) error {
	if a.json {
		return a.printJSON(map[string]any{"job": id, "dropped": n})
	}
	_, err := fmt.Fprintf(a.Out, "%s dropped\n", english.Plural(n, "dead letter", ""))
	return err
}
