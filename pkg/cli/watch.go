package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"drayage/coordinator/api"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

func (a *app) watch() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch [JOB...]",
		Short: "Watch jobs live: progress, chunks, workers, errors, why one waits",
		Long: `Watch the named jobs until all of them have ended, or without JOB all live jobs
until it is stopped. On a terminal it fills the screen; the arrows choose a job, p
pauses it, r resumes it, c cancels it after a question, q leaves. Elsewhere it
writes a line when something has changed, at most every five seconds a job.

With --json each line is an object: {"event":"job","job":{…}} for each change of a
job and {"event":"attempt","attempt":{…}} for each failed attempt of a chunk of the
named jobs. The exit code is that of the job, of several that of the worst: 0 done,
4 with rejects or dead letters, 1 failed or cancelled.`,
		Example: `  dray watch
  dray watch last
  dray watch nightly-7 nightly-8 --json | jq -r 'select(.event=="job") | .job.state'`,
		Args: cobra.ArbitraryArgs,
	}
	cmd.ValidArgsFunction = a.completeJobs(math.MaxInt, nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if !a.cfg.Remote() {
			return a.noFleet("dray run shows its own progress")
		}
		q, end, err := a.openQueue(ctx)
		if err != nil {
			return err
		}
		defer end()
		var ids []string
		if len(args) > 0 {
			jobs, err := findJobs(ctx, q, args)
			if err != nil {
				return err
			}
			for _, j := range jobs {
				ids = append(ids, j.ID)
			}
		}
		return a.watchJobs(ctx, newFeed(q, a, ids))
	}
	return cmd
}

// watchJobs shows what the feed sees until the named jobs have ended, and then
// says how.
func (a *app) watchJobs(ctx context.Context, f *feed) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	running := f.run(ctx)
	defer func() { cancel(); <-running }()
	var err error
	if !a.json && terminal(a.Out) && terminal(a.In) {
		err = a.watchScreen(ctx, f)
	} else {
		err = a.watchLines(ctx, f)
	}
	if err != nil {
		return err
	}
	return a.watched(ctx, f)
}

// watched reports the named jobs that have ended.
func (a *app) watched(ctx context.Context, f *feed) error {
	code := ExitDone
	for _, id := range f.ids {
		j, _, err := f.queue.Job(ctx, id)
		if err != nil {
			return fmt.Errorf("reading the job: %w", err)
		}
		if !a.json {
			a.printSummary(j, elapsed(j))
		}
		switch {
		case j.State == job.DoneWithRejects && code == ExitDone:
			code = ExitRejects
		case j.State == job.Failed, j.State == job.Cancelled:
			code = ExitFailed
		}
	}
	if code == ExitDone {
		return nil
	}
	return &exitError{code: code}
}

// watchEvent is a line of watch --json.
type watchEvent struct {
	Event   string       `json:"event"` // job or attempt
	Job     *api.JobRow  `json:"job,omitempty"`
	Attempt *job.Attempt `json:"attempt,omitempty"`
}

// watchLines writes changes as lines until every named job has ended.
func (a *app) watchLines(ctx context.Context, f *feed) error {
	told := map[string]toldJob{}
	attempts := uint64(0)
	for {
		s, err := f.look(ctx, "")
		if err != nil {
			return err
		}
		for _, e := range f.attemptsSince(&attempts) {
			if err := a.tellAttempt(e); err != nil {
				return err
			}
		}
		for _, r := range s.jobs {
			before, known := told[r.ID]
			now := toldJob{state: r.State, totals: r.Totals, plan: r.Plan, waits: fmt.Sprint(r.Waits), at: time.Now()}
			same := known && before.state == now.state && before.totals == now.totals && before.plan == now.plan && before.waits == now.waits
			soon := known && before.state == now.state && time.Since(before.at) < lineEvery
			if same || soon && !a.json {
				continue
			}
			told[r.ID] = now
			if err := a.tellJob(r); err != nil {
				return err
			}
		}
		if s.over {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lookEvery):
		}
	}
}

// toldJob is what was told of a job last.
type toldJob struct {
	state  job.State
	totals job.Totals
	plan   api.PlanRow
	waits  string
	at     time.Time
}

func (a *app) tellJob(r api.JobRow) error {
	if a.json {
		return a.printLine(watchEvent{Event: "job", Job: &r})
	}
	line := fmt.Sprintf("%s  %-10s %s %s rows  %s  %s rows/s  %s chunks  ETA %s", r.ID, strings.ToLower(string(r.State)), percent(r.Progress.Fraction),
		humanize.Comma(int64(r.Totals.RowsLoaded)), humanize.IBytes(uint64(r.Totals.BytesRead)), humanize.Comma(int64(r.Progress.RowsPerSecond)),
		chunksOfRow(r), etaOf(r.Progress))
	for _, w := range r.Waits {
		line += "\n  waits: " + w.Detail
	}
	_, err := fmt.Fprintln(a.Out, line)
	return err
}

func (a *app) tellAttempt(t job.Attempt) error {
	if a.json {
		return a.printLine(watchEvent{Event: "attempt", Attempt: &t})
	}
	_, err := fmt.Fprintf(a.Out, "%s  chunk %d, attempt %d on %s: %s: %s\n", t.Job, t.Chunk, t.Attempt, t.Worker, t.Verdict, oneLine(firstLine(t.Error), shownError))
	return err
}

// percent writes a fraction, "-" when it is not known.
func percent(fraction *float64) string {
	if fraction == nil {
		return "  - "
	}
	return fmt.Sprintf("%3.0f%%", 100**fraction)
}

// chunksOfRow are the chunks with an outcome and those planned, with a + while
// these may grow.
func chunksOfRow(r api.JobRow) string {
	more := "+"
	if r.Plan.Complete {
		more = ""
	}
	return fmt.Sprintf("%d/%d%s", r.Progress.Chunks, r.Plan.Chunks, more)
}

// etaOf is what the rest takes, "-" when that can not be told.
func etaOf(p api.Progress) string {
	if p.ETASeconds == nil {
		return "-"
	}
	return (time.Duration(*p.ETASeconds) * time.Second).String()
}

// feed is where watch looks: the fleet as it is now.
type feed struct {
	queue   *queue.Queue
	service *api.Service
	ids     []string // the jobs to watch; none: all that live
	told    map[string]api.JobRow
	errors  *attempts
}

// Bounds of what watch does.
const (
	lookEvery = 500 * time.Millisecond
	lookWait  = 10 * time.Second // for one look
	maxLive   = 500              // jobs shown without JOB
	maxEnded  = 20               // that ended meanwhile, shown with them
)

func newFeed(q *queue.Queue, a *app, ids []string) *feed {
	return &feed{
		queue: q, service: api.New(api.Deps{Queue: q, Log: a.log, Sources: a.with.Sources}), ids: ids,
		told: map[string]api.JobRow{}, errors: newAttempts(q),
	}
}

// run keeps the feed's sources up until ctx ends; the channel is closed then.
func (f *feed) run(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.service.Run(ctx) // it ends with ctx, and well
		f.errors.wait()
	}()
	for _, id := range f.ids {
		f.errors.follow(ctx, id)
	}
	return done
}

// attemptsSince returns the failed attempts that came after number n, and moves
// it on.
func (f *feed) attemptsSince(n *uint64) []job.Attempt { return f.errors.since(n) }

// scene is what was seen in one look.
type scene struct {
	at       time.Time
	jobs     []api.JobRow // those watched, the newest first or as they were named
	workers  api.WorkerList
	chosen   string // whose queue and errors these are
	queued   uint64
	inFlight uint64
	opened   bool // the job has a queue
	errors   []job.Attempt
	over     bool // every named job has ended
}

// look looks at the jobs, the workers, and the queue and the errors of one job;
// empty: of none.
func (f *feed) look(ctx context.Context, chosen string) (scene, error) {
	ctx, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	s := scene{at: time.Now(), chosen: chosen}
	var err error
	if len(f.ids) > 0 {
		s.over = true
		for _, id := range f.ids {
			v, err := f.service.Job(ctx, id)
			if err != nil {
				return s, err
			}
			s.jobs = append(s.jobs, v.JobRow)
			s.over = s.over && v.State.Terminal()
		}
	} else if s.jobs, err = f.live(ctx); err != nil {
		return s, err
	}
	if s.workers, err = f.service.Workers(ctx); err != nil {
		return s, err
	}
	if chosen == "" {
		return s, nil
	}
	s.errors = f.errors.of(chosen)
	switch s.queued, s.inFlight, err = f.queue.Backlog(ctx, chosen); {
	case err == nil:
		s.opened = true
	case !errors.Is(err, queue.ErrNotFound): // before its first chunk and after its last
		return s, fmt.Errorf("looking at the queue: %w", err)
	}
	return s, nil
}

// live are the jobs that have not ended, and after them those that have while
// they were watched.
func (f *feed) live(ctx context.Context) ([]api.JobRow, error) {
	page, err := f.service.Jobs(ctx, api.JobFilter{Live: true, Limit: maxLive})
	if err != nil {
		return nil, err
	}
	now := map[string]api.JobRow{}
	for _, r := range page.Jobs {
		now[r.ID] = r
	}
	var ended []api.JobRow
	for id, r := range f.told {
		if _, lives := now[id]; lives {
			continue
		}
		if !r.State.Terminal() {
			v, err := f.service.Job(ctx, id)
			if err != nil {
				if errors.Is(err, queue.ErrNotFound) {
					continue
				}
				return nil, err
			}
			r = v.JobRow
		}
		ended = append(ended, r)
	}
	slices.SortFunc(ended, func(x, y api.JobRow) int { return y.FinishedAt.Compare(x.FinishedAt) })
	ended = ended[:min(len(ended), maxEnded)]
	for _, r := range ended {
		now[r.ID] = r
	}
	f.told = now
	return append(page.Jobs, ended...), nil
}
