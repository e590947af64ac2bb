package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
	"drayage/pkg/source/kinds"
)

// account adds up a running job: it folds the results into totals, writes the
// ledger and keeps the record current. It is the only one of the job's
// goroutines that touches the record.
type account struct {
	d      *driver
	job    job.Job
	rev    queue.Revision
	window *window

	totals  job.Totals // of the results folded so far
	present uint64     // results that were there when the account began
	ledger  []clickhouse.LedgerRow
	changed bool     // since the record was written
	revived uint64   // dead letters whose chunk has a result, when checked
	checked outcomes // what revived was counted for
}

// outcomes are the dead letters and results that there are.
type outcomes struct{ dead, results uint64 }

// ledgerBatch bounds the ledger rows that are held before they are written.
const ledgerBatch = 10_000

var errComplete = errors.New("every chunk has an outcome")

// process plans and accounts for a running job until every chunk has an
// outcome, then moves it on to be verified. It returns queue.ErrConflict when
// somebody else changed the job.
func (d *driver) process(ctx context.Context, j job.Job, rev queue.Revision) error {
	p, err := pipeline.Thaw(j.Frozen.Pipeline, j.Frozen.JobTime)
	if err != nil {
		return err
	}
	src, err := kinds.New(p, j.Submission.Dir)
	if err != nil {
		return job.WithClass(fmt.Errorf("making the source: %w", err), job.Permanent)
	}
	if err := d.open(ctx, p); err != nil {
		return err
	}
	present, err := d.c.Queue.CountResults(ctx, j.ID)
	if err != nil {
		return fmt.Errorf("counting the job's results: %w", err)
	}
	a := &account{d: d, job: j, rev: rev, present: present, window: newWindow(d.c.cfg.Window, j.Plan.Chunks)}

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
			q: d.c.Queue, job: j.ID, source: src, columns: j.Frozen.Columns, window: a.window, plan: j.Plan,
			moved: func(p job.Plan) { _ = send(ctx, plans, p) },
		}
		group.Go(func() error { return pl.run(ctx) })
	}
	group.Go(func() error { return a.run(ctx, results, attempts, plans) })
	err = group.Wait()
	if errors.Is(err, errComplete) {
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
			a.totals.Add(r)
			a.ledger = append(a.ledger, a.loaded(r))
			a.changed = true
		case t := <-attempts:
			a.ledger = append(a.ledger, a.failed(t))
		case p := <-plans:
			a.job.Plan, a.changed = p, true
		case <-tick.C:
			if err := a.flush(ctx); err != nil {
				return err
			}
			continue
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		a.window.outcomes(a.totals.Chunks + a.totals.Dead)
		if len(a.ledger) >= ledgerBatch || a.finished() {
			if err := a.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// finished reports whether every chunk of a complete plan has an outcome.
func (a *account) finished() bool {
	return a.job.Plan.Complete && a.totals.Chunks+a.totals.Dead >= a.job.Plan.Chunks
}

// flush writes the ledger, then the record. It returns errComplete when the
// job has nothing left to wait for, with everything written.
func (a *account) flush(ctx context.Context) error {
	q := a.d.c.Queue
	if err := a.countDead(ctx); err != nil {
		return err
	}
	if len(a.ledger) > 0 {
		if err := a.d.c.ClickHouse.AppendLedger(ctx, a.ledger); err != nil {
			return fmt.Errorf("writing the ledger: %w", err)
		}
		a.ledger = a.ledger[:0]
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
	if a.totals.Chunks < a.present {
		return nil
	}
	if a.changed {
		a.job.Totals = a.totals
		if a.rev, err = q.UpdateJob(ctx, a.job, a.rev); err != nil {
			return fmt.Errorf("recording the job's totals: %w", err)
		}
		a.changed = false
	}
	if a.finished() {
		return errComplete
	}
	return nil
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
	seen := outcomes{letters, a.totals.Chunks}
	if letters > 0 && seen != a.checked && a.job.Plan.Complete && a.totals.Chunks+dead >= a.job.Plan.Chunks {
		if a.revived, err = a.countRevived(ctx); err != nil {
			return fmt.Errorf("comparing the dead letters with the results: %w", err)
		}
		a.checked, dead = seen, letters-a.revived
	}
	if dead != a.totals.Dead {
		a.totals.Dead, a.changed = dead, true
		a.window.outcomes(a.totals.Chunks + dead)
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

func (a *account) loaded(r job.Result) clickhouse.LedgerRow {
	return clickhouse.LedgerRow{
		Result: r, Pipeline: a.job.Name, Table: a.d.table(a.job),
		Outcome: clickhouse.OutcomeLoaded, RecordedAt: time.Now().UTC(),
	}
}

func (a *account) failed(t job.Attempt) clickhouse.LedgerRow {
	return clickhouse.LedgerRow{
		Result: job.Result{
			Job: t.Job, Chunk: t.Chunk, Generation: t.Generation, Attempt: t.Attempt, Worker: t.Worker,
			StartedAt: t.At.Add(-time.Duration(t.TookMS) * time.Millisecond), TransformMS: t.TransformMS, LoadMS: t.LoadMS,
		},
		Pipeline: a.job.Name, Table: a.d.table(a.job), RecordedAt: t.At,
		Outcome: t.Verdict, Error: t.Error,
	}
}
