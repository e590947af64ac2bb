package coordinator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
	"drayage/pkg/telemetry/metrics"
)

// clock is a minute before the first run of the schedules of these tests.
var clock = time.Date(2026, 11, 23, 16, 9, 0, 0, time.UTC)

// A yard is a coordinator with a NATS of its own and no ClickHouse: its jobs
// stay where they are put.
type yard struct {
	*Coordinator
	t      *testing.T
	server *queue.Embedded
}

func newYard(t *testing.T) *yard {
	t.Helper()
	server, err := queue.StartEmbedded(t.Context(), queue.EmbeddedConfig{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	y := &yard{t: t, server: server}
	y.Coordinator = y.another()
	if err := y.Queue.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return y
}

// another is a coordinator of the same fleet.
func (y *yard) another() *Coordinator {
	y.t.Helper()
	q, err := y.server.Connect(y.t.Context(), queue.DefaultConfig())
	if err != nil {
		y.t.Fatal(err)
	}
	y.t.Cleanup(q.Close)
	return &Coordinator{Deps: Deps{Queue: q, Log: zerolog.Nop(), Metrics: metrics.NewCoordinator()}}
}

// add makes a schedule of a pipeline of that name.
func (y *yard) add(name, schedule string, at time.Time) {
	y.t.Helper()
	text := fmt.Sprintf("pipeline: %s\nparams: {day: x}\nsource: {files: {path: a.csv}}\nload: {table: t}\nschedule: %s\n", name, schedule)
	params := map[string]string{"day": "monday"}
	doc, err := pipeline.Parse(text, "p.yaml", "/x", params)
	if err != nil {
		y.t.Fatal(err)
	}
	sub := job.Submission{Job: "not-this", Pipeline: text, File: "p.yaml", Dir: "/x", Params: params}
	if _, _, err := AddSchedule(y.t.Context(), y.Queue, doc.Pipeline, sub, at); err != nil {
		y.t.Fatal(err)
	}
}

// step lets a coordinator that has just begun to lead do what is due.
func (y *yard) step(c *Coordinator, now time.Time) time.Time {
	y.t.Helper()
	all, err := c.Queue.Schedules(y.t.Context())
	if err != nil {
		y.t.Fatal(err)
	}
	known := map[string]runs{}
	for _, s := range all {
		known[s.Name] = runs{next: lookAt(s)}
	}
	next, err := c.schedulesOnce(y.t.Context(), now, known)
	if err != nil {
		y.t.Fatal(err)
	}
	return next
}

func (y *yard) schedule(name string) job.Schedule {
	y.t.Helper()
	s, _, err := y.Queue.Schedule(y.t.Context(), name)
	if err != nil {
		y.t.Fatal(err)
	}
	return s
}

// jobs are the names of the jobs, the times they are for only, in their order.
func (y *yard) jobs() string {
	y.t.Helper()
	all, err := y.Queue.Jobs(y.t.Context())
	if err != nil {
		y.t.Fatal(err)
	}
	var times []string
	for _, j := range all {
		if j.State == job.Failed {
			y.t.Errorf("job %s: %s", j.ID, j.Error)
		}
		if got := j.ID[strings.LastIndexByte(j.ID, '-')+1:]; got != j.Submission.JobTime.Format(runTime) || !jobTime(j).Equal(j.Submission.JobTime) {
			y.t.Errorf("job %s is for %s", j.ID, j.Submission.JobTime)
		}
		if j.Submission.Params["day"] != "monday" || j.Submission.Dir != "/x" {
			y.t.Errorf("job %s is of %+v", j.ID, j.Submission)
		}
		times = append(times, j.ID[len(j.ID)-len("161000z"):len(j.ID)-1])
	}
	slices.Sort(times)
	return strings.Join(times, " ")
}

// end lets every job end, at that time.
func (y *yard) end(at time.Time) {
	y.t.Helper()
	all, err := y.Queue.Jobs(y.t.Context())
	if err != nil {
		y.t.Fatal(err)
	}
	for _, j := range all {
		if _, err := y.Queue.EditJob(y.t.Context(), j.ID, func(j *job.Job) error {
			if !j.State.Terminal() {
				j.State, j.FinishedAt = job.Done, at
			}
			return nil
		}); err != nil {
			y.t.Fatal(err)
		}
	}
}

func (y *yard) want(what, jobs string, next, look time.Time, looked time.Time) {
	y.t.Helper()
	if got := y.jobs(); got != jobs {
		y.t.Errorf("%s: the jobs are %q, want %q", what, got, jobs)
	}
	if s := y.schedule("s"); !s.Next.Equal(next) || s.Last != nil && s.Last.Pending {
		y.t.Errorf("%s: %+v, last %+v; want next %s", what, s, s.Last, next)
	}
	if !looked.Equal(look) {
		y.t.Errorf("%s: it is looked again at %s, want %s", what, looked, look)
	}
}

func after(minutes float64) time.Time {
	return clock.Add(time.Duration(minutes * float64(time.Minute)))
}

func TestScheduleRunsWhenDue(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	if next := y.step(y.Coordinator, clock); !next.After(clock) {
		t.Errorf("without schedules it is looked again at %s", next)
	}
	y.add("s", `"*/10 * * * *"`, clock)
	y.want("before", "", after(1), after(1), y.step(y.Coordinator, clock))
	y.want("a moment before", "", after(1), after(1), y.step(y.Coordinator, after(0.999)))
	y.want("at the time", "161000", after(11), after(11), y.step(y.Coordinator, after(1)))
	y.want("again", "161000", after(11), after(11), y.step(y.Coordinator, after(1)))
	if last := y.schedule("s").Last; last.Job != "s-20261123t161000z" || !last.Planned.Equal(after(1)) {
		t.Errorf("the last run is %+v", last)
	}
	y.end(after(2))
	y.want("the next", "161000 162000", after(21), after(21), y.step(y.Coordinator, after(11.5)))
	if s := y.schedule("s"); s.Missed != 0 || s.Skipped != 0 {
		t.Errorf("%+v", s)
	}
}

func TestMissedRuns(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		schedule string
		late     float64 // minutes after the first time
		jobs     string  // one after another
		missed   uint64
		next     float64
	}{
		"once: one, late":          {`{cron: "*/10 * * * *"}`, 9, "161000", 0, 11},
		"once: five":               {`{cron: "*/10 * * * *", missed: run_once}`, 42, "165000", 4, 51},
		"skip: one, in time":       {`{cron: "*/10 * * * *", missed: skip}`, 1, "161000", 0, 11},
		"skip: one, late":          {`{cron: "*/10 * * * *", missed: skip}`, 1.1, "", 1, 11},
		"skip: five, late":         {`{cron: "*/10 * * * *", missed: skip}`, 42, "", 5, 51},
		"skip: five, last in time": {`{cron: "*/10 * * * *", missed: skip}`, 40.5, "165000", 4, 51},
		"all: one, late":           {`{cron: "*/10 * * * *", missed: all}`, 9, "161000", 0, 11},
		"all: five":                {`{cron: "*/10 * * * *", missed: all}`, 42, "161000 162000 163000 164000 165000", 0, 51},
		"every: once":              {`{cron: "@every 10m"}`, 44, "164900", 3, 50},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := newYard(t)
			y.add("s", tt.schedule, clock)
			now := after(1 + tt.late)
			for range 10 {
				y.step(y.Coordinator, now)
				y.end(now)
			}
			y.want("missed", tt.jobs, after(tt.next), after(tt.next), y.step(y.Coordinator, now))
			if s := y.schedule("s"); s.Missed != tt.missed || s.Skipped != 0 {
				t.Errorf("%d were missed, %d skipped", s.Missed, s.Skipped)
			}
		})
	}
}

// However long nobody led, no more than the newest of the missed runs are made
// up for.
func TestMissedRunsAreBounded(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.add("s", `{cron: "@every 1s", missed: all}`, clock)
	now := clock.Add(1000 * time.Second)
	y.step(y.Coordinator, now)
	s := y.schedule("s")
	if want := now.Add(-(maxMadeUp - 1) * time.Second); !s.Last.Planned.Equal(want) || s.Missed != 1000-maxMadeUp {
		t.Errorf("the first run that is made up for is of %s, want %s; %d were missed", s.Last.Planned, want, s.Missed)
	}
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	t.Run("skip", func(t *testing.T) {
		t.Parallel()
		y := newYard(t)
		y.add("s", `"*/10 * * * *"`, clock)
		y.step(y.Coordinator, after(1))
		y.want("the one before runs", "161000", after(21), after(21), y.step(y.Coordinator, after(11)))
		y.want("and on", "161000", after(41), after(41), y.step(y.Coordinator, after(31)))
		if s := y.schedule("s"); s.Skipped != 3 || !s.SkippedAt.Equal(after(31)) || s.Missed != 0 {
			t.Errorf("%+v", s)
		}
		y.end(after(35))
		y.want("it has ended", "161000", after(41), after(41), y.step(y.Coordinator, after(35)))
		y.want("the next", "161000 165000", after(51), after(51), y.step(y.Coordinator, after(41)))
	})
	for _, missed := range []string{"run_once", "skip"} {
		t.Run("wait, missed: "+missed, func(t *testing.T) {
			t.Parallel()
			y := newYard(t)
			y.add("s", `{cron: "*/10 * * * *", overlap: wait, missed: `+missed+`}`, clock)
			y.step(y.Coordinator, after(1))
			y.want("the one before runs", "161000", after(11), after(11).Add(waitLook), y.step(y.Coordinator, after(11)))
			y.want("and on", "161000", after(11), after(32).Add(waitLook), y.step(y.Coordinator, after(32)))
			y.end(after(38))
			y.want("it has ended", "161000 164000", after(41), after(41), y.step(y.Coordinator, after(38.1)))
			if s := y.schedule("s"); s.Skipped != 0 || s.Missed != 2 {
				t.Errorf("%+v", s)
			}
		})
	}
	t.Run("the record of the one before is gone", func(t *testing.T) {
		t.Parallel()
		y := newYard(t)
		y.add("s", `"*/10 * * * *"`, clock)
		y.step(y.Coordinator, after(1))
		if err := y.Queue.DeleteJob(t.Context(), y.schedule("s").Last.Job); err != nil {
			t.Fatal(err)
		}
		y.want("the next", "162000", after(21), after(21), y.step(y.Coordinator, after(11)))
	})
}

// Coordinators that all think that they lead, with clocks that differ, begin
// each run once.
func TestTwoLeaders(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	const leaders, schedules = 4, 5
	for n := range schedules {
		y.add(fmt.Sprint("s", n), `"*/10 * * * *"`, clock)
	}
	var all []*Coordinator
	for range leaders {
		all = append(all, y.another())
	}
	for round := range 3 {
		var wg sync.WaitGroup
		for n, c := range all {
			now := after(1 + 10*float64(round) + 0.1*float64(n))
			wg.Go(func() {
				for range 2 {
					y.step(c, now)
				}
			})
		}
		wg.Wait()
		y.step(y.Coordinator, after(2+10*float64(round)))
		y.end(after(3))
	}
	if got, want := y.jobs(), strings.TrimSpace(strings.Repeat("161000 ", schedules)+strings.Repeat("162000 ", schedules)+strings.Repeat("163000 ", schedules)); got != want {
		t.Errorf("the jobs are %s", got)
	}
	for n := range schedules {
		if s := y.schedule(fmt.Sprint("s", n)); s.Skipped != 0 || s.Missed != 0 || !s.Next.Equal(after(31)) || s.Last.Pending {
			t.Errorf("%+v", s)
		}
	}
}

// A coordinator dies after it has decided on a run, or after it has made the
// job; the next goes on, and the run is one job.
func TestCrashBetweenTheStepsOfARun(t *testing.T) {
	t.Parallel()
	for _, created := range []bool{false, true} {
		t.Run(fmt.Sprintf("job there: %t", created), func(t *testing.T) {
			t.Parallel()
			y := newYard(t)
			y.add("s", `"*/10 * * * *"`, clock)
			s, rev, err := y.Queue.Schedule(t.Context(), "s")
			if err != nil {
				t.Fatal(err)
			}
			s, _, err = y.decideRun(t.Context(), after(1), s, rev)
			if err != nil || !s.Last.Pending {
				t.Fatalf("%+v, %v", s, err)
			}
			var before job.Job
			if created {
				sub := s.Submission
				sub.Job, sub.JobTime = s.Last.Job, s.Last.Planned
				if err := Create(t.Context(), y.Queue, sub); err != nil {
					t.Fatal(err)
				}
				y.end(after(2))
				if before, _, err = y.Queue.Job(t.Context(), s.Last.Job); err != nil {
					t.Fatal(err)
				}
			}
			// The next has a clock that is behind, and the run is begun all the same.
			y.want("the next coordinator", "161000", after(11), after(11), y.step(y.another(), clock))
			if j, _, err := y.Queue.Job(t.Context(), "s-20261123t161000z"); err != nil || created && !j.CreatedAt.Equal(before.CreatedAt) {
				t.Errorf("%+v, %v", j, err)
			}
		})
	}
}

// A schedule whose record nobody can read a time from does not hold up others.
func TestBrokenScheduleAlone(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.add("s", `"*/10 * * * *"`, clock)
	if _, err := y.Queue.PutSchedule(t.Context(), job.Schedule{Name: "broken", Next: clock, Timing: job.Timing{Cron: "soon"}}, 0); err != nil {
		t.Fatal(err)
	}
	known := map[string]runs{"s": {next: clock}, "broken": {next: clock}, "removed": {next: clock}}
	_, err := y.schedulesOnce(t.Context(), after(1), known)
	if err == nil || !strings.Contains(err.Error(), "schedule broken: ") || strings.Contains(err.Error(), "removed") {
		t.Errorf("got %v", err)
	}
	if got := y.jobs(); got != "161000" {
		t.Errorf("the jobs are %s", got)
	}
}

// A read that a replica answers which is behind decides nothing.
func TestScheduleReadLate(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.add("s", `"*/10 * * * *"`, clock)
	_, rev, err := y.Queue.Schedule(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]runs{"s": {clock, rev + 1}}
	next, err := y.schedulesOnce(t.Context(), after(1), known)
	if err != nil || !next.Equal(after(1).Add(waitLook)) || known["s"].revision != rev+1 || y.jobs() != "" {
		t.Errorf("%s, %+v, %v", next, known, err)
	}
}

// The loop itself: it begins what is due, notices what is added, and ends.
func TestKeepSchedules(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	watch, err := y.Queue.WatchJobs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { y.keepSchedules(ctx) })
	y.add("s", `"@every 1s"`, time.Now().Add(-time.Hour))
	for u := range watch {
		if strings.HasPrefix(u.Job.ID, "s-") {
			return
		}
	}
	t.Error("no run began")
}
