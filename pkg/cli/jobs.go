package cli

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"drayage/coordinator/api"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

func (a *app) jobs() *cobra.Command {
	var states []string
	var pipeline, text, since string
	var limit int
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "List jobs, the newest first",
		Long: `List the jobs of the fleet behind DRAY_NATS_URL, of the dray up that works in
DRAY_DATA_DIR or, where there is neither, those of dray run there: how far each is,
what the rest will take, and why it waits.`,
		Example: `  dray jobs
  dray jobs --state running,paused --since 2h
  dray jobs --pipeline nightly --json | jq -r '.[] | select(.state=="FAILED") | .job'`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "only jobs in these states, such as running,failed; live: those that have not ended")
	cmd.Flags().StringVar(&pipeline, "pipeline", "", "only jobs of the pipeline of this name")
	cmd.Flags().StringVar(&text, "text", "", "only jobs with this in their name, pipeline, file, tables or error, in any case")
	cmd.Flags().StringVar(&since, "since", "", "only jobs created since: 90m, 2h, 7d, a date or a time such as 2026-11-28T06:00:00Z")
	cmd.Flags().IntVarP(&limit, "limit", "n", 50, "at most so many; 0: all")
	a.completeFlag(cmd, "state", append(stateNames(), liveJobs))
	a.completePipelines(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f := api.JobFilter{Pipeline: pipeline, Text: text}
		for _, s := range states {
			state := job.State(strings.ToUpper(s))
			switch {
			case s == liveJobs:
				f.Live = true
			case !state.Known():
				return hinted(usagef("--state %s: there is no such state", s), "one of %s", strings.Join(append(stateNames(), liveJobs), ", "))
			default:
				f.States = append(f.States, state)
			}
		}
		after, err := sinceWhen(since, time.Now())
		if err != nil {
			return err
		}
		if limit < 0 {
			return usagef("--limit %d: it is 0 or more", limit)
		}
		if limit == 0 {
			limit = math.MaxInt
		}
		list, err := a.jobRows(cmd.Context(), f, after, limit)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(list)
		}
		return a.printRows(list)
	}
	return cmd
}

// liveJobs stands for all states of jobs that have not ended.
const liveJobs = "live"

func stateNames() (names []string) {
	for _, s := range []job.State{
		job.Submitted, job.Planning, job.Running, job.Verifying, job.Paused, job.Cancelling,
		job.Done, job.DoneWithRejects, job.Failed, job.Cancelled,
	} {
		names = append(names, strings.ToLower(string(s)))
	}
	return names
}

// sinceWhen reads the value of --since; empty is the beginning of time.
func sinceWhen(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if days, found := strings.CutSuffix(text, "d"); found {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 && n < 1e5 {
			return now.Add(-time.Duration(n * 24 * float64(time.Hour))), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, hinted(usagef("--since %s is no time", text), "write 90m, 2h, 7d, 2026-11-28 or 2026-11-28T06:00:00Z")
}

// jobRows lists at most limit jobs that the filter lets through and that were
// created after a time, the newest first.
func (a *app) jobRows(ctx context.Context, f api.JobFilter, after time.Time, limit int) ([]api.JobRow, error) {
	q, end, err := a.openQueue(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	list := []api.JobRow{}
	err = a.withViews(ctx, q, func(ctx context.Context, views *api.Service) error {
		for f.Limit = min(limit, maxLive); f.Limit > 0; f.Limit = min(limit-len(list), maxLive) {
			page, err := views.Jobs(ctx, f)
			if err != nil {
				return err
			}
			for _, r := range page.Jobs {
				if r.CreatedAt.Before(after) {
					return nil
				}
				r.Waits = a.waitsHere(r.State, r.Waits)
				list = append(list, r)
			}
			if f.Cursor = page.Next; f.Cursor == "" {
				return nil
			}
		}
		return nil
	})
	return list, err
}

// withViews gives what the API tells of jobs and workers to fn.
func (a *app) withViews(ctx context.Context, q *queue.Queue, fn func(context.Context, *api.Service) error) error {
	if _, err := allJobs(ctx, q); err != nil { // says it better when there is no fleet
		return err
	}
	running, stop := context.WithCancel(ctx)
	views := api.New(api.Deps{Queue: q, Log: a.log, Sources: a.with.Sources})
	done := make(chan error, 1)
	go func() { done <- views.Run(running) }()
	err := fn(ctx, views)
	stop()
	if ended := <-done; err == nil {
		err = ended
	}
	return err
}

// waitsHere is why a job waits: in the data folder of dray run nobody works on it.
func (a *app) waitsHere(state job.State, waits []api.Wait) []api.Wait {
	if a.cfg.Remote() || state.Terminal() {
		return waits
	}
	return []api.Wait{{Reason: api.WaitNoWorkers, Detail: "nobody works on it now: dray resume, or the same dray run again, goes on"}}
}

func (a *app) printRows(list []api.JobRow) error {
	var t table
	t.head("JOB", "STATE", "PROGRESS", "", "CHUNKS", "ROWS", "REJECTED", "RATE", "TIME", "CREATED", "WAITS FOR")
	for _, r := range list {
		rejects := humanize.Comma(int64(r.Totals.RowsRejected))
		if r.Totals.RowsRejected > 0 {
			rejects = wary.Render(rejects)
		}
		why := ""
		if len(r.Waits) > 0 {
			why = wary.Render(oneLine(r.Waits[0].Detail, a.width()/2))
		}
		t.add(r.ID, stateStyle(r.State).Render(noted(r)), meter(r.Progress.Fraction, 10), percent(r.Progress.Fraction), chunksOfRow(r),
			humanize.Comma(int64(r.Totals.RowsLoaded)), rejects, humanize.SIWithDigits(r.Progress.RowsPerSecond, 1, "")+"/s",
			timeOf(r), humanize.Time(r.CreatedAt), why)
	}
	return t.write(a.Out)
}

// noted is the state of a job with what a person should know beside it.
func noted(r api.JobRow) string {
	switch {
	case !r.UndoneAt.IsZero():
		return string(r.State) + ", undone"
	case r.InFlight > 0:
		return string(r.State) + ", slowed down"
	}
	return string(r.State)
}

// timeOf is what a job took, or what the rest of it will take.
func timeOf(r api.JobRow) string {
	took := time.Duration(r.Progress.Seconds * float64(time.Second))
	switch {
	case r.State.Terminal():
		return took.Round(10 * time.Millisecond).String()
	case r.Progress.ETASeconds != nil:
		return etaOf(r.Progress) + " left"
	}
	return took.Round(time.Second).String() + " so far"
}
