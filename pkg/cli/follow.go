package cli

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"drayage/coordinator"
	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/local"
	"drayage/pkg/queue"
)

// lineEvery is the pause between two lines of progress where there is no
// terminal to draw a bar on.
const lineEvery = 5 * time.Second

// follow shows a job's progress until the job has ended, and returns it.
func (a *app) follow(ctx context.Context, q *queue.Queue, id string, quiet bool) (job.Job, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	updates, err := q.WatchJobs(ctx)
	if err != nil {
		return job.Job{}, fmt.Errorf("watching the job: %w", err)
	}
	var show view
	switch {
	case quiet || a.json:
		show = noView{}
	case terminal(a.Err):
		show = a.newBar()
	default:
		show = &lines{a: a}
	}
	defer show.end()
	for u := range updates {
		if u.Job.ID != id {
			continue
		}
		if u.Deleted {
			return job.Job{}, fmt.Errorf("job %s was deleted", id)
		}
		show.update(u.Job)
		if u.Job.State.Terminal() {
			return u.Job, nil
		}
	}
	return job.Job{}, context.Cause(ctx)
}

// view shows a job that moves.
type view interface {
	update(j job.Job)
	end()
}

type noView struct{}

func (noView) update(job.Job) {}
func (noView) end()           {}

// bar is the progress bar on a terminal.
type bar struct {
	progress *mpb.Progress
	bar      *mpb.Bar
	now      atomic.Pointer[job.Job] // what the bar's own goroutine draws
}

func (a *app) newBar() *bar {
	b := &bar{progress: mpb.New(mpb.WithOutput(a.Err), mpb.WithWidth(30), mpb.WithRefreshRate(100*time.Millisecond))}
	b.now.Store(&job.Job{})
	shown := func(fn func(j job.Job) string) decor.Decorator {
		return decor.Any(func(decor.Statistics) string { return fn(*b.now.Load()) })
	}
	b.bar = b.progress.AddBar(0,
		mpb.PrependDecorators(shown(func(j job.Job) string { return j.Name + " " + strings.ToLower(string(j.State)) + " " })),
		mpb.AppendDecorators(
			decor.Percentage(),
			shown(func(j job.Job) string {
				t := j.Totals
				slow := ""
				if j.InFlight > 0 {
					slow = "  (slowed down by ClickHouse)"
				}
				return fmt.Sprintf("  %s rows  %s  %s rows/s  %d/%s chunks  ETA %s%s",
					humanize.Comma(int64(t.RowsLoaded)), humanize.IBytes(uint64(t.BytesRead)), humanize.Comma(int64(rate(j))),
					t.Outcomes(), planned(j), eta(j), slow)
			}),
		))
	return b
}

func (b *bar) update(j job.Job) {
	b.now.Store(&j)
	if whole := j.InputBytes(); whole > 0 {
		b.bar.SetTotal(whole, false)
		b.bar.SetCurrent(min(j.Totals.BytesRead, whole))
	}
}

func (b *bar) end() {
	b.bar.Abort(false)
	b.progress.Wait()
}

// lines writes progress as plain lines.
type lines struct {
	a     *app
	state job.State
	last  time.Time
}

func (l *lines) update(j job.Job) {
	if j.State == l.state && time.Since(l.last) < lineEvery {
		return
	}
	l.state, l.last = j.State, time.Now()
	t := j.Totals
	slow := throttled(j)
	if slow != "" {
		slow = "  " + slow
	}
	fmt.Fprintf(l.a.Err, "%s  %-10s %s rows  %s  %s rows/s  %d/%s chunks  ETA %s%s\n", j.ID, strings.ToLower(string(j.State)),
		humanize.Comma(int64(t.RowsLoaded)), humanize.IBytes(uint64(t.BytesRead)), humanize.Comma(int64(rate(j))),
		t.Outcomes(), planned(j), eta(j), slow)
}

func (l *lines) end() {}

// planned is the number of chunks that must have an outcome, with a + while it
// may grow.
func planned(j job.Job) string {
	if j.Plan.Complete {
		return fmt.Sprint(j.Plan.Total())
	}
	return fmt.Sprintf("%d+", j.Plan.Total())
}

func elapsed(j job.Job) time.Duration { return j.Elapsed(time.Now()) }

// rate is in rows a second since the job started.
func rate(j job.Job) float64 { return j.RowsPerSecond(time.Now()) }

// eta is the time the rest takes at the rate so far, "-" when that can not be told.
func eta(j job.Job) string {
	left, known := j.Remaining(time.Now())
	if !known {
		return "-"
	}
	return left.Round(time.Second).String()
}

// report writes the summary of an ended job and returns its exit code as an
// error, nil for DONE.
func (a *app) report(j job.Job, wall time.Duration, usage *local.Usage) error {
	if a.json {
		if err := a.printJSON(summary(j, wall, usage)); err != nil {
			return err
		}
	} else {
		a.printSummary(j, wall)
	}
	switch j.State {
	case job.Done:
		return nil
	case job.DoneWithRejects:
		return &exitError{code: ExitRejects}
	}
	return &exitError{code: ExitFailed}
}

func (a *app) printSummary(j job.Job, wall time.Duration) {
	t := j.Totals
	mark := paint(a.Err, good, "done")
	switch j.State {
	case job.DoneWithRejects:
		mark = paint(a.Err, wary, "done with rejects")
	case job.Failed:
		mark = paint(a.Err, bad, "failed")
	case job.Cancelled:
		mark = paint(a.Err, wary, "cancelled")
	}
	w := a.Err
	fmt.Fprintf(w, "%s: %s in %s\n", j.ID, mark, wall.Round(10*time.Millisecond))
	if j.Error != "" {
		fmt.Fprintf(w, "  %s\n", strings.ReplaceAll(j.Error, "\n", "\n  "))
	}
	if j.Frozen == nil {
		return
	}
	fmt.Fprintf(w, "  rows read      %s\n", humanize.Comma(int64(t.RowsRead)))
	fmt.Fprintf(w, "  rows loaded    %s\n", humanize.Comma(int64(t.RowsLoaded)))
	fmt.Fprintf(w, "  rows rejected  %s\n", rejected(j))
	if t.Dead > 0 {
		fmt.Fprintf(w, "  dead letters   %d of %d chunks: dray dead list %s\n", t.Dead, j.Plan.Total(), j.ID)
	}
	if t.Retired > 0 {
		fmt.Fprintf(w, "  replaced       %d chunks by %d others\n", t.Retired, j.Plan.Replacements())
	}
	if j.Repairs > 0 {
		fmt.Fprintf(w, "  repaired       %d times: ClickHouse did not hold what was recorded, now it does\n", j.Repairs)
	}
	seconds := max(wall.Seconds(), 0.001)
	fmt.Fprintf(w, "  rate           %s rows/s, %s/s, %d chunks\n", humanize.Comma(int64(float64(t.RowsLoaded)/seconds)),
		humanize.IBytes(uint64(float64(t.BytesRead)/seconds)), j.Plan.Total())
	if p := j.Proof; p != nil && len(p.Differ) == 0 {
		parts := p.Tables
		if len(parts) == 0 {
			parts = []job.TableProof{{Kind: p.Kind, Rows: p.Rows}}
		}
		for _, t := range parts {
			how := "counted by chunk in the table"
			if t.Kind == clickhouse.ProofLedger {
				how = "by the ledger; the table has no _job and _chunk columns to count by"
			}
			if t.Table != "" {
				t.Table = " in " + t.Table
			}
			fmt.Fprintf(w, "  verified       %s rows%s, %s\n", humanize.Comma(int64(t.Rows)), t.Table, how)
		}
	}
	for _, table := range coordinator.Tables(j) {
		look := fmt.Sprintf("SELECT * FROM %s LIMIT 10", table)
		if a.cfg.Remote() && a.cfg.ClickHouse.URL == "" {
			fmt.Fprintf(w, "  look           in ClickHouse: %s\n", look)
		} else {
			fmt.Fprintf(w, "  look           dray sql '%s'\n", look)
		}
	}
}

// rejected is the number of rows in quarantine, with where to look at them.
func rejected(j job.Job) string {
	n := humanize.Comma(int64(j.Totals.RowsRejected))
	if j.Totals.RowsRejected > 0 {
		n += ": dray rejects " + j.ID
	}
	return n
}

// throttled says that a job goes slower than it might; "" when it does not.
func throttled(j job.Job) string {
	if j.InFlight == 0 || j.State.Terminal() {
		return ""
	}
	return fmt.Sprintf("slowed down to %d chunks in flight because ClickHouse asked for it", j.InFlight)
}

// jobSummary is what --json says of an ended job.
type jobSummary struct {
	job.Job
	Seconds       float64         `json:"seconds"`
	RowsPerSecond float64         `json:"rows_per_second"`
	Resources     *resourcesUsage `json:"resources,omitempty"`
}

type resourcesUsage struct {
	Worker      engineUsage `json:"worker_engine"`
	Destination engineUsage `json:"destination_engine"`
}

type engineUsage struct {
	CPUSeconds float64 `json:"cpu_seconds"`
	MaxRSS     int64   `json:"max_rss_bytes"`
}

func summary(j job.Job, wall time.Duration, usage *local.Usage) jobSummary {
	s := jobSummary{Job: j, Seconds: wall.Seconds(), RowsPerSecond: float64(j.Totals.RowsLoaded) / wall.Seconds()}
	if usage != nil {
		s.Resources = &resourcesUsage{
			Worker:      engineUsage{usage.Worker.CPU.Seconds(), usage.Worker.MaxRSS},
			Destination: engineUsage{usage.Destination.CPU.Seconds(), usage.Destination.MaxRSS},
		}
	}
	return s
}
