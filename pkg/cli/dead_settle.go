package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"drayage/coordinator"
	"drayage/pkg/job"
	"drayage/pkg/queue"
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
		if err := c.validate(); err != nil {
			return err
		}
		return a.replayDead(cmd.Context(), args[0], c, r)
	}
	return cmd
}

// replayDead submits, or runs, what loads the chosen dead letters again.
func (a *app) replayDead(ctx context.Context, name string, c *choice, r *replayPlan) error {
	s, old, err := a.openJob(ctx, name, false)
	if err != nil {
		return err
	}
	defer s.close()
	chosen, err := a.chosenLetters(ctx, s.queue, old, c)
	if err != nil {
		return err
	}
	return a.replay(ctx, s, old, job.ReplayDead, chunksOf(chosen), r)
}

// chosenLetter is what is kept of a letter while many are chosen.
type chosenLetter struct {
	chunk      uint64
	generation uint32
}

func chunksOf(letters []chosenLetter) []uint64 {
	chunks := make([]uint64, len(letters))
	for i, l := range letters {
		chunks[i] = l.chunk
	}
	return chunks
}

// chosenLetters finds the letters of a choice, in the order of their chunks. A
// chunk that was named must be among them.
func (a *app) chosenLetters(ctx context.Context, q *queue.Queue, j job.Job, c *choice) ([]chosenLetter, error) {
	var chosen []chosenLetter
	err := a.eachLetter(ctx, q, j, c, func(l letter) error {
		chosen = append(chosen, chosenLetter{l.Chunk.Ordinal, l.Chunk.Generation})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(chosen, func(x, y chosenLetter) int {
		return int(int64(x.chunk) - int64(y.chunk)) //nolint:gosec // at most job.MaxOrdinal
	})
	for _, chunk := range c.chunks {
		if slices.ContainsFunc(chosen, func(l chosenLetter) bool { return l.chunk == chunk }) {
			continue
		}
		l, err := a.findLetter(ctx, q, j, chunk)
		switch {
		case err != nil:
			return nil, err
		case l.TakenOverBy != "":
			return nil, hinted(fmt.Errorf("chunk %d of job %s was taken over by job %s", chunk, j.ID, l.TakenOverBy), "dray show %s", l.TakenOverBy)
		case l.Loaded:
			return nil, fmt.Errorf("chunk %d of job %s was loaded after all", chunk, j.ID)
		}
		return nil, fmt.Errorf("the dead letter of chunk %d of job %s is not one that the other flags choose", chunk, j.ID)
	}
	return chosen, nil
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
		if err := c.validate(); err != nil {
			return err
		}
		if c.narrow() == every {
			return usagef("say which: --chunk, --error or --reason, or --all-chunks for all")
		}
		q, end, err := a.openQueue(ctx)
		if err != nil {
			return err
		}
		defer end()
		j, err := findJob(ctx, q, args[0])
		if err != nil {
			return err
		}
		if isLive(j) {
			return refused(&coordinator.StateError{Job: j.ID, State: j.State, What: "lose dead letters before it has ended"},
				"its chunks are counted by them; wait, or dray cancel %s", j.ID)
		}
		chosen, err := a.chosenLetters(ctx, q, j, c)
		if err != nil {
			return err
		}
		if len(chosen) > 0 {
			question := fmt.Sprintf("Drop %s of job %s? Their input will not be loaded.", english.Plural(len(chosen), "dead letter", ""), j.ID)
			if err := a.confirm(ctx, yes, question); err != nil {
				return err
			}
		}
		dropped := 0
		for _, l := range chosen {
			if err = q.DropDead(ctx, j.ID, l.chunk, l.generation); err != nil {
				err = fmt.Errorf("dropping the dead letter of chunk %d: %w", l.chunk, err)
				break
			}
			dropped++
		}
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
