package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/fault"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// Bounds of what copies the states of jobs into ClickHouse.
const (
	maxStateRows = 1000                   // that are held: while they can not be written, no more is read
	stateLull    = 100 * time.Millisecond // rows are gathered for so long
	stateWait    = 10 * time.Second       // one try to write them
	stateDenied  = time.Minute            // pause after a refusal, which only a person can end
	stateLast    = 2 * time.Second        // the try that is left when the coordinator ends
)

// recorder copies the states of jobs into ClickHouse, for whoever asks it for jobs.
// It does so by what a watch of the records tells, and so needs nothing of those
// who move the jobs, which may be the command line of somebody: whoever watches
// next is told of every record once more, and writes what another was killed
// before. While ClickHouse is away it waits with what it has read, and the watch
// with the rest. Of states that a job has left meanwhile the record still tells.
type recorder struct {
	c    *Coordinator
	only map[string]bool      // tell of these jobs alone; nil: of all
	seen map[string]stateMark // of live jobs, what was told last
	rows []clickhouse.StateRow
	told bool // that rows can not be written was said
}

// stateMark is what a row is written for when it changes.
type stateMark struct {
	at      time.Time
	state   job.State
	waiting string
}

// recordStates keeps the table of states until ctx ends. Nothing waits for it.
func (c *Coordinator) recordStates(ctx context.Context) {
	r := &recorder{c: c, seen: map[string]stateMark{}}
	defer r.last(ctx)
	r.narrow(ctx)
	for ctx.Err() == nil {
		if err := r.follow(ctx); err != nil && ctx.Err() == nil {
			c.Log.Warn().Err(err).Msg("could not watch the states of jobs")
		}
		pause(ctx, retryEvery)
	}
}

// narrow leaves out, of a coordinator that sees to one job, the others in its data
// folder: they may have been loaded into another ClickHouse. But the end of one that
// this ClickHouse believes to be live is told, which a killed dray run has not done.
func (r *recorder) narrow(ctx context.Context) {
	if r.c.cfg.Only == "" {
		return
	}
	r.only = map[string]bool{r.c.cfg.Only: true}
	live, err := r.c.ClickHouse.LiveJobs(ctx)
	if err != nil {
		r.c.Log.Debug().Err(err).Msg("which jobs ClickHouse believes to be live can not be asked")
	}
	for _, id := range live {
		r.only[id] = true
	}
}

func (r *recorder) follow(ctx context.Context) error {
	updates, err := r.c.Queue.WatchJobs(ctx)
	if err != nil {
		return fmt.Errorf("watching the jobs: %w", err)
	}
	lull := time.NewTimer(stateLull)
	defer lull.Stop()
	waiting := true // for the lull
	for {
		select {
		case u, open := <-updates:
			if !open {
				return nil
			}
			r.take(u, time.Now().UTC())
			switch {
			case len(r.rows) >= maxStateRows:
				r.flush(ctx)
			case len(r.rows) > 0 && !waiting:
				lull.Reset(stateLull)
				waiting = true
			}
		case <-lull.C:
			waiting = false
			r.flush(ctx)
		}
	}
}

// take makes rows of what is new in a record.
func (r *recorder) take(u queue.JobUpdate, now time.Time) {
	j := u.Job
	if u.Deleted {
		delete(r.seen, j.ID)
	}
	if u.Deleted || j.ID == "" || r.only != nil && !r.only[j.ID] {
		return
	}
	history := j.History()
	mark := stateMark{at: history[len(history)-1].At, state: j.State}
	if j.Waiting != nil {
		mark.waiting = j.Waiting.Error
	}
	before, known := r.seen[j.ID]
	if known && before == mark {
		return
	}
	r.seen[j.ID] = mark
	if j.State.Terminal() { // what else becomes of it is told rarely, and written again
		delete(r.seen, j.ID)
	}
	row := clickhouse.StateRow{
		Job: j.ID, Pipeline: j.Name, Schedule: scheduleOf(j), CreatedAt: j.CreatedAt, StartedAt: j.StartedAt, RecordedAt: now,
	}
	if j.Frozen != nil {
		for _, t := range j.Frozen.Targets() {
			row.Loads = append(row.Loads, clickhouse.Table{Database: t.Database, Name: t.Table})
			database, name := t.Holds(true)
			row.Targets = append(row.Targets, clickhouse.Table{Database: database, Name: name})
		}
	}
	for i, m := range history {
		present := i == len(history)-1
		switch {
		case known && !present && !m.At.After(before.at):
			continue // written before
		case i == 0 && m.To != job.Submitted && !present:
			continue // what was before it is forgotten
		}
		row.State, row.At, row.Before = m.To, m.At, ""
		if i > 0 {
			row.Before = history[i-1].To
		}
		if present {
			row.Revision, row.Error, row.Waiting = uint64(u.Revision), j.Error, mark.waiting
			row.Planned, row.Totals = j.Plan.Total(), j.Totals
		}
		r.rows = append(r.rows, row)
	}
}

// scheduleOf is the schedule whose run a job is, or "".
func scheduleOf(j job.Job) string {
	if t := j.Submission.JobTime; !t.IsZero() && j.ID == runID(j.Name, t) {
		return j.Name
	}
	return ""
}

// flush writes the rows, again and again until it goes well or ctx ends.
func (r *recorder) flush(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.write(ctx, stateWait)
		if err == nil || ctx.Err() != nil {
			return
		}
		if !r.told {
			r.told = true
			r.c.Log.Warn().Err(err).Msg("the states of jobs can not be written to ClickHouse now; it is tried again")
		}
		if job.ClassOf(err) != job.Permanent {
			pause(ctx, retryEvery)
			continue
		}
		pause(ctx, stateDenied)
		if err := r.c.ClickHouse.EnsureLedger(ctx); err != nil { // the table may be missing
			r.c.Log.Debug().Err(err).Msg("the table of states can not be made")
		}
	}
}

// write tries once.
func (r *recorder) write(ctx context.Context, wait time.Duration) error {
	if len(r.rows) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if slices.ContainsFunc(r.rows, func(row clickhouse.StateRow) bool { return row.State.Terminal() }) {
		if err := r.c.Faults.At(fault.Ended); err != nil {
			return err
		}
	}
	if err := r.c.ClickHouse.AppendStates(ctx, r.rows); err != nil {
		return err
	}
	r.rows = r.rows[:0]
	if r.told {
		r.told = false
		r.c.Log.Info().Msg("the states of jobs are written to ClickHouse again")
	}
	return nil
}

// last writes what is left when the coordinator ends. Of jobs of a fleet others
// tell later; dray run may be the only program that ever sees its job.
func (r *recorder) last(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stateLast)
	defer cancel()
	if id := r.c.cfg.Only; id != "" {
		j, rev, err := r.c.Queue.Job(ctx, id)
		if err == nil {
			r.take(queue.JobUpdate{Job: j, Revision: rev}, time.Now().UTC())
		} else if !errors.Is(err, queue.ErrNotFound) {
			r.c.Log.Debug().Err(err).Str("job", id).Msg("the job's last state can not be read")
		}
	}
	if err := r.write(ctx, stateLast); err != nil {
		r.c.Log.Debug().Err(err).Msg("states of jobs are left to be written by the next coordinator")
	}
}
