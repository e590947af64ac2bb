package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"drayage/pkg/clickhouse"
	"drayage/pkg/fault"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
	"drayage/pkg/telemetry/metrics"
)

// account adds up a running job: it folds the results into totals, writes the
// ledger and keeps the record current. It is the only one of the job's
// goroutines that touches the record.
type account struct {
	d      *driver
	job    job.Job
	rev    queue.Revision
	window *window
	slower throttle
	hedges hedger

	totals  job.Totals // of the results folded so far
	present uint64     // results that were there when the account began
	retired map[uint64]bool
	parts   []job.Chunk // replacements that are recorded and not published yet
	ledger  []clickhouse.LedgerRow
	changed bool      // beside the totals, since the record was written
	revived uint64    // dead letters whose chunk has a result, when checked
	checked outcomes  // what revived was counted for
	counted time.Time // when the backlog was counted last
	began   time.Time // when this account did
}

// outcomes are the dead letters and results that there are.
type outcomes struct{ dead, results uint64 }

// ledgerBatch bounds the ledger rows that are held before they are written.
const ledgerBatch = 10_000

// calmAfter is how long a job must have run without trouble for its trouble to be
// over, when nothing else has shown that.
const calmAfter = 10 * time.Second

var errComplete = errors.New("every chunk has an outcome")

// process plans and accounts for a running job until every chunk has an
// outcome, then moves it on to be verified. It returns queue.ErrConflict when
// somebody else changed the job.
func (d *driver) process(ctx context.Context, j job.Job, rev queue.Revision) error {
	p, err := pipeline.Thaw(j.Frozen.Pipeline, j.Frozen.JobTime, d.c.Allow)
	if err != nil {
		return err
	}
	src, err := d.source(ctx, j, p)
	if err != nil {
		return err
	}
	full := d.bound(p)
	if err := d.open(ctx, full); err != nil {
		return err
	}
	if err := d.c.Queue.ResumeJob(ctx, j.ID); err != nil {
		return fmt.Errorf("resuming the job's queue: %w", err)
	}
	if err := d.replace(ctx, j); err != nil {
		return err
	}
	present, err := d.c.Queue.CountResults(ctx, j.ID)
	if err != nil {
		return fmt.Errorf("counting the job's results: %w", err)
	}
	a := &account{
		d: d, job: j, rev: rev, began: time.Now(), present: present, retired: map[uint64]bool{},
		window: newWindow(d.c.cfg.Window, j.Plan.Chunks),
		slower: throttle{full: full, now: full},
		hedges: hedger{q: d.c.Queue, job: j.ID, after: d.c.cfg.Hedge, given: map[uint64]bool{}, hedged: d.c.Metrics.Hedged},
	}
	for _, r := range j.Plan.Replaced {
		a.retired[r.Chunk] = true
	}

	group, ctx := errgroup.WithContext(ctx)
	results := make(chan job.Result, 256)
	attempts := make(chan job.Attempt, 256)
	plans := make(chan job.Plan, 1)
	group.Go(func() error {
		return d.c.Queue.Results(ctx, j.ID, func(r job.Result) error { return send(ctx, results, r) })
	})
	group.Go(func() error {
		return d.c.Queue.Attempts(ctx, j.ID, func(t job.Attempt) error { return send(ctx, attempts, t) })
	})
	if !j.Plan.Complete {
		pl := &planner{
			d: d, source: src, columns: j.Frozen.Columns, window: a.window, plan: j.Plan,
			moved: func(p job.Plan) { _ = send(ctx, plans, p) },
		}
		group.Go(func() error { return p.Redact(pl.run(ctx)) })
	}
	group.Go(func() error { return a.run(ctx, results, attempts, plans) })
	err = group.Wait()
	if errors.Is(err, errComplete) {
		a.job.InFlight = 0
		return d.advance(context.WithoutCancel(ctx), a.job, a.rev, job.Verifying)
	}
	return err
}

func send[T any](ctx context.Context, ch chan<- T, v T) error {
	select {
	case ch <- v:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (a *account) run(ctx context.Context, results <-chan job.Result, attempts <-chan job.Attempt, plans <-chan job.Plan) error {
	tick := time.NewTicker(a.d.c.cfg.Account)
	defer tick.Stop()
	if err := a.flush(ctx); err != nil {
		return err
	}
	for {
		select {
		case r := <-results:
			if err := a.fold(r); err != nil {
				return err
			}
		case t := <-attempts:
			a.ledger = append(a.ledger, a.failed(t))
			if t.Verdict == job.VerdictSlowDown.String() {
				a.slower.slow(t.At, time.Now())
			}
		case p := <-plans:
			p.Replaced = a.job.Plan.Replaced // the planner knows nothing of them
			a.job.Plan, a.job.Waiting, a.changed = p, nil, true
		case <-tick.C:
			if err := a.flush(ctx); err != nil {
				return err
			}
			if err := a.steer(ctx); err != nil {
				return err
			}
			a.countBacklog(ctx, time.Now())
			if a.job.Waiting != nil && time.Since(a.began) > calmAfter {
				a.job.Waiting, a.changed = nil, true
			}
			continue
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		a.progress()
		if len(a.ledger) >= ledgerBatch || a.finished() {
			if err := a.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// progress makes room for the planner. Replacements are outcomes too, but the
// planner did not wait to plan them.
func (a *account) progress() {
	done, extra := a.totals.Outcomes(), a.job.Plan.Replacements()
	a.window.outcomes(done - min(done, extra))
}

// fold counts a result.
func (a *account) fold(r job.Result) error {
	if err := r.Understood(); err != nil {
		return err
	}
	switch {
	case a.retired[r.Chunk]:
		a.totals.Retired++ // its rows are taken out again, whatever it says
		return nil
	case !r.Loaded():
		if len(a.job.Plan.Replaced) >= job.MaxReplaced {
			return job.WithClass(fmt.Errorf("more than %d chunks were too big and had to be cut; use a smaller source.chunk", job.MaxReplaced), job.Permanent)
		}
		by := job.Replaced{
			Chunk: r.Chunk, First: job.FirstReplacement + a.job.Plan.Replacements(), Count: uint64(len(r.Parts)),
			Reason: job.ReplacedTooBig,
		}
		a.job.Plan.Replaced, a.changed = append(a.job.Plan.Replaced, by), true
		a.d.c.Metrics.Replaced(job.ReplacedTooBig, 1)
		a.retired[r.Chunk] = true
		a.totals.Retired++
		a.parts = append(a.parts, replacements(by, r)...)
		for _, row := range a.loaded(r) {
			row.Outcome, row.Error = clickhouse.OutcomeRetired, fmt.Sprintf("too big for one attempt: cut into %d chunks", len(r.Parts))
			a.ledger = append(a.ledger, row)
		}
		return nil
	}
	a.totals.Add(r)
	a.hedges.ended(r)
	a.ledger = append(a.ledger, a.loaded(r)...)
	return nil
}

// finished reports whether every chunk of a complete plan has an outcome.
func (a *account) finished() bool {
	return a.job.Plan.Complete && a.totals.Outcomes() >= a.job.Plan.Total()
}

// flush writes the ledger, then the record, then publishes the replacements
// that the record names. It returns errComplete when the job has nothing left
// to wait for, with everything written.
func (a *account) flush(ctx context.Context) error {
	q := a.d.c.Queue
	if err := a.countDead(ctx); err != nil {
		return err
	}
	if len(a.ledger) > 0 {
		begun := time.Now()
		if err := AppendLedger(ctx, a.d.c.ClickHouse, a.job, a.ledger); err != nil {
			return fmt.Errorf("writing the ledger: %w", err)
		}
		a.d.c.Metrics.Step(metrics.Ledger, time.Since(begun))
		a.ledger = a.ledger[:0]
	}
	if err := a.d.c.Faults.At(fault.Ledger); err != nil {
		return err
	}
	_, rev, err := q.Job(ctx, a.job.ID)
	if err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	if rev != a.rev {
		return fmt.Errorf("somebody else moved the job: %w", queue.ErrConflict)
	}
	// Until the results that were there before are folded, the record's
	// totals are better than ours.
	if a.totals.Chunks+a.totals.Retired < a.present {
		return nil
	}
	// A record that says nothing new is not written: of two that lead, each write
	// sends the other back to the beginning.
	if a.changed || a.totals != a.job.Totals {
		a.job.Totals = a.totals
		if a.rev, err = q.UpdateJob(ctx, a.job, a.rev); err != nil {
			return fmt.Errorf("recording the job's totals: %w", err)
		}
		a.changed = false
	}
	for len(a.parts) > 0 {
		if err := a.d.publish(ctx, a.parts[0]); err != nil {
			return fmt.Errorf("publishing chunk %d: %w", a.parts[0].Ordinal, err)
		}
		a.parts = a.parts[1:]
	}
	if a.finished() {
		return errComplete
	}
	return nil
}

// backlogEvery is the pause between two counts of a job's backlog.
const backlogEvery = 5 * time.Second

// countBacklog counts the job's chunks in the queue, for the metrics. Nothing
// rests on it, so a count that fails is left out: the next one will do.
func (a *account) countBacklog(ctx context.Context, now time.Time) {
	if now.Sub(a.counted) < backlogEvery {
		return
	}
	a.counted = now
	if queued, inFlight, err := a.d.c.Queue.Backlog(ctx, a.job.ID); err == nil {
		a.d.c.Metrics.Backlog(a.job.ID, queued, inFlight)
	}
}

// steer adapts the job's bound to what ClickHouse bears, and hedges.
func (a *account) steer(ctx context.Context) error {
	now := time.Now()
	if a.slower.now < a.slower.full || a.slower.trouble.After(a.slower.moved) {
		_, busy, err := a.d.c.Queue.Backlog(ctx, a.job.ID)
		if err != nil {
			return fmt.Errorf("counting the job's chunks in flight: %w", err)
		}
		if a.slower.step(now, int(busy)) { //nolint:gosec // a bound of thousands
			if err := a.d.open(ctx, a.slower.now); err != nil {
				return err
			}
			a.job.InFlight, a.changed = a.slower.now, true
			if a.slower.now == a.slower.full {
				a.job.InFlight = 0
			}
			a.d.log.Info().Int("in_flight", a.slower.now).Msg("the bound on chunks in flight was moved")
		}
	}
	if !a.job.Plan.Complete {
		return nil
	}
	return a.hedges.step(ctx, a.job.Plan.Total()-min(a.totals.Outcomes(), a.job.Plan.Total()), now)
}

// countDead counts the chunks that are dead letters. A chunk that was given up
// by one worker may have been recorded by another that was thought lost: it is
// loaded, and must not be counted twice, or the job would seem complete with
// another chunk missing. That is looked for when the sum seems to be complete.
func (a *account) countDead(ctx context.Context) error {
	letters, err := a.d.c.Queue.CountDead(ctx, a.job.ID)
	if err != nil {
		return fmt.Errorf("counting the dead letters: %w", err)
	}
	dead := letters - a.revived
	ended := a.totals.Chunks + a.totals.Retired
	seen := outcomes{letters, ended}
	if letters > 0 && seen != a.checked && a.job.Plan.Complete && ended+dead >= a.job.Plan.Total() {
		if a.revived, err = a.countRevived(ctx); err != nil {
			return fmt.Errorf("comparing the dead letters with the results: %w", err)
		}
		a.checked, dead = seen, letters-a.revived
	}
	if dead != a.totals.Dead {
		a.totals.Dead = dead
		a.progress()
	}
	return nil
}

// countRevived counts the dead letters whose chunk has a result.
func (a *account) countRevived(ctx context.Context) (uint64, error) {
	following, present := context.WithCancel(ctx)
	defer present()
	var revived uint64
	err := a.d.c.Queue.FollowDead(following, a.job.ID, func(d job.Dead) error {
		_, err := a.d.c.Queue.Result(ctx, d.Chunk.Job, d.Chunk.Ordinal, d.Chunk.Generation)
		if err == nil {
			revived++
		} else if !errors.Is(err, queue.ErrNotFound) {
			return err
		}
		return nil
	}, queue.WhenCaughtUp(present))
	if err != nil && (following.Err() == nil || ctx.Err() != nil) {
		return 0, err
	}
	return revived, nil
}

// loaded are the ledger's rows of a result, one for each target.
func (a *account) loaded(r job.Result) []clickhouse.LedgerRow {
	var rows []clickhouse.LedgerRow
	for i, table := range Tables(a.job) {
		rows = append(rows, clickhouse.LedgerRow{
			Result: r.Of(i), Pipeline: a.job.Name, Table: table,
			Outcome: clickhouse.OutcomeLoaded, RecordedAt: time.Now().UTC(),
		})
	}
	return rows
}

// failed is the ledger's row of an attempt, under the first target.
func (a *account) failed(t job.Attempt) clickhouse.LedgerRow {
	return clickhouse.LedgerRow{
		Result: job.Result{
			Job: t.Job, Chunk: t.Chunk, Generation: t.Generation, Attempt: t.Attempt, Worker: t.Worker,
			StartedAt: t.At.Add(-time.Duration(t.TookMS) * time.Millisecond), TransformMS: t.TransformMS, LoadMS: t.LoadMS,
		},
		Pipeline: a.job.Name, Table: Tables(a.job)[0], RecordedAt: t.At,
		Outcome: t.Verdict, Error: t.Error,
	}
}
