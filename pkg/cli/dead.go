package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"drayage/coordinator"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

func (a *app) dead() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "Dead letters: chunks that were given up. List, show, replay, drop",
		Long: `Dead letters are chunks that were given up, with the reason. The other chunks of
their job are loaded. Mend what was wrong, the input or the pipeline, and replay
them; or drop them.`,
		Example: `  dray dead list last
  dray dead show last 17
  dray dead replay last --pipeline mended.yaml --wait`,
	}
	chooses(cmd)
	cmd.AddCommand(a.deadList(), a.deadShow(), a.deadReplay(), a.deadDrop())
	return cmd
}

// listedDead bounds the dead letters of a table, unless -n says otherwise.
const listedDead = 100

func (a *app) deadList() *cobra.Command {
	var limit int
	var of, since string
	cmd := &cobra.Command{
		Use:   "list [JOB]",
		Short: "List dead letters, of one job or of all",
		Long: `List dead letters, the oldest of each job first. Those that another job has taken
over, and those whose chunk was loaded after all, are left out unless --all.
With --json each is an object on a line of its own.`,
		Example: `  dray dead list
  dray dead list last --error 'Cannot parse'
  dray dead list last --json | jq -r .place`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.ValidArgsFunction = a.completeJobs(1, hasDead)
	c := choiceFlags(cmd)
	cmd.Flags().BoolVar(&c.All, "all", false, "also those that were taken over or loaded after all")
	cmd.Flags().StringVar(&of, "pipeline", "", "only those of jobs of the pipeline of this name")
	cmd.Flags().StringVar(&since, "since", "", "only those of jobs created since, as in dray jobs: 2h, 7d, 2026-11-28")
	a.completePipelines(cmd)
	cmd.Flags().IntVarP(&limit, "limit", "n", listedDead, "at most so many in the table; 0: all. With --json all, unless it is given")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if err := checkChoice(c); err != nil {
			return err
		}
		if limit < 0 {
			return usagef("--limit %d: it is 0 or more", limit)
		}
		after, err := sinceWhen(since, time.Now())
		if err != nil {
			return err
		}
		if a.json && !cmd.Flags().Changed("limit") {
			limit = 0
		}
		q, end, err := a.openQueue(ctx)
		if err != nil {
			return err
		}
		defer end()
		jobs, err := withDead(ctx, q, args)
		if err != nil {
			return err
		}
		jobs = slices.DeleteFunc(jobs, func(j job.Job) bool {
			return of != "" && j.Name != of || j.CreatedAt.Before(after)
		})
		var t table
		listed, cut := 0, false
		for _, j := range jobs {
			if cut {
				break
			}
			err := a.letters(q, j).Each(ctx, *c, func(l coordinator.Letter) error {
				if limit > 0 && listed == limit {
					cut = true
					return queue.ErrStop
				}
				listed++
				if a.json {
					return a.printLine(l)
				}
				if listed == 1 {
					t.head("JOB", "CHUNK", "ATTEMPTS", "REASON", "ERROR", "INPUT", "AT")
				}
				style := bad
				if fate(l) != "" {
					style = faint
				}
				t.add(j.ID, fmt.Sprint(l.Chunk.Ordinal), fmt.Sprint(l.Attempts), style.Render(l.Reason+fate(l)),
					oneLine(firstLine(l.Error), a.width()/2), oneLine(l.Place, a.width()/2), l.At.Format(time.RFC3339))
				return nil
			})
			if err != nil {
				return err
			}
		}
		if err := t.write(a.Out); err != nil || a.json {
			return err
		}
		switch {
		case cut:
			fmt.Fprintf(a.Err, "and more; -n 0 lists all\n")
		case listed == 0:
			fmt.Fprintln(a.Err, "there are no such dead letters")
		}
		return nil
	}
	return cmd
}

// withDead returns the job that args names, or all that may have dead letters.
func withDead(ctx context.Context, q *queue.Queue, args []string) ([]job.Job, error) {
	if len(args) > 0 {
		j, err := findJob(ctx, q, args[0])
		return []job.Job{j}, err
	}
	all, err := allJobs(ctx, q)
	if err != nil {
		return nil, err
	}
	var jobs []job.Job
	for _, j := range all {
		if hasDead(j) || isLive(j) { // whose totals may be behind
			jobs = append(jobs, j)
		}
	}
	return jobs, nil
}

// fate says what has become of the chunk since, "" when nothing has.
func fate(l coordinator.Letter) string {
	switch {
	case l.TakenOverBy != "":
		return ", taken over by " + l.TakenOverBy
	case l.Loaded:
		return ", loaded after all"
	}
	return ""
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// shownAttempts bounds the failed attempts that dead show tells, the last ones.
const shownAttempts = 20

func (a *app) deadShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show JOB CHUNK",
		Short: "Show one dead letter: the whole error, its input, its attempts",
		Long: `Show one dead letter: the whole error, where its input is, the failed attempts as
far as they are still known, and which job took it over.`,
		Example: "  dray dead show last 17\n  dray dead show flights-20261123 17 --json",
		Args:    cobra.ExactArgs(2),
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 1 {
			return a.completeChunks(cmd, args[0]), cobra.ShellCompDirectiveNoFileComp
		}
		return a.completeJobs(1, hasDead)(cmd, args, begin)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		chunk, err := parseChunk(args[1])
		if err != nil {
			return err
		}
		q, j, end, err := a.openQueueJob(ctx, args[0])
		if err != nil {
			return err
		}
		defer end()
		l, err := a.letters(q, j).Find(ctx, chunk)
		if err != nil {
			return noLetter(err)
		}
		attempts, err := failedAttempts(ctx, q, j.ID, chunk)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(struct {
				coordinator.Letter
				Failed []job.Attempt `json:"failed_attempts"`
			}{l, attempts})
		}
		w := &table{}
		row := w.row
		row("job", "%s", j.ID)
		row("chunk", "%d, generation %d", l.Chunk.Ordinal, l.Chunk.Generation)
		row("input", "%s", l.Place)
		row("", "%s", l.Chunk.Input)
		row("given up", "%s (%s) by %s", l.At.Format(time.RFC3339), humanize.Time(l.At), l.Worker)
		row("attempts", "%d", l.Attempts)
		row("reason", "%s", l.Reason)
		row("error", "%s", l.Error)
		for _, t := range attempts {
			row(fmt.Sprintf("attempt %d", t.Attempt), "%s on %s after %s: %s: %s", t.At.Format(time.RFC3339), t.Worker,
				time.Duration(t.TookMS)*time.Millisecond, t.Verdict, oneLine(t.Error, shownError))
		}
		switch {
		case l.TakenOverBy != "":
			row("taken over", "by job %s: dray show %[1]s", l.TakenOverBy)
		case l.Loaded:
			row("loaded", "after all, by a worker that was thought lost")
		default:
			row("next", "dray dead replay %s --chunk %d, or dray dead drop", j.ID, chunk)
		}
		return w.write(a.Out)
	}
	return cmd
}

// completeChunks completes the chunks that are dead letters of a job.
func (a *app) completeChunks(cmd *cobra.Command, name string) (chunks []string) {
	if a.prepare(cmd, nil) != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWait)
	defer cancel()
	q, j, end, err := a.openQueueJob(ctx, name)
	if err != nil {
		return nil
	}
	defer end()
	letters, _ := q.DeadLetters(ctx, j.ID, listedDead) // those that were read will do
	for _, d := range letters {
		chunks = append(chunks, fmt.Sprintf("%d\t%s", d.Chunk.Ordinal, oneLine(firstLine(d.Error), shownError/4)))
	}
	return chunks
}

// failedAttempts reads what is still known of a chunk's failed attempts, the
// last ones.
func failedAttempts(ctx context.Context, q *queue.Queue, id string, chunk uint64) ([]job.Attempt, error) {
	last := []job.Attempt{}
	reading, present := context.WithCancel(ctx)
	defer present()
	err := q.Attempts(reading, id, func(t job.Attempt) error {
		if t.Chunk == chunk {
			if len(last) == shownAttempts {
				last = last[1:]
			}
			last = append(last, t)
		}
		return nil
	}, queue.WhenCaughtUp(present))
	if err != nil && (ctx.Err() != nil || !errors.Is(err, context.Canceled)) {
		return nil, fmt.Errorf("reading the failed attempts of job %s: %w", id, err)
	}
	return last, nil
}
