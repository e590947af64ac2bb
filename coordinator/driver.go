package coordinator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"drayage/pkg/clickhouse"
	"drayage/pkg/fault"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
	"drayage/pkg/source"
	"drayage/pkg/telemetry"
	"drayage/pkg/telemetry/metrics"
	"drayage/pkg/telemetry/trace"
)

// driver leads one job from state to state until it has ended. All that it
// knows is in the job's record and in the streams, so another driver can go on
// at any point; two at once disturb each other only by lost compare-and-sets.
type driver struct {
	c   *Coordinator
	id  string
	log zerolog.Logger

	denied int       // times in a row that there was no record of the job
	traced string    // the record's Trace, once it is in the log's fields
	said   time.Time // when the record was last told why the job waits
}

// maxDenied is how often a job that a watch told of must be said not to exist.
// A server that has just come to lead its stream may not know of it yet.
const maxDenied = 5

func (d *driver) run(ctx context.Context) {
	for ctx.Err() == nil {
		done, err := d.step(ctx)
		if newer := new(job.NewerError); errors.As(err, &newer) {
			d.log.Warn().Err(err).Msg("the job is not led by this coordinator any more")
			return
		}
		if done {
			return
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, queue.ErrConflict) {
			d.c.Metrics.Retried()
			d.log.Warn().Err(err).Msg("the job can not go on now; it is tried again")
			d.waiting(ctx, err)
			pause(ctx, retryEvery)
		}
	}
}

// sayAgain is how long the reason that a job waits for stays in its record before
// a newer one takes its place.
const sayAgain = 30 * time.Second

// waiting writes into the record why the job does not go on.
func (d *driver) waiting(ctx context.Context, why error) {
	ctx, cancel := context.WithTimeout(ctx, retryEvery)
	defer cancel()
	now := time.Now().UTC()
	if now.Sub(d.said) < sayAgain {
		return
	}
	_, err := d.c.Queue.EditJob(ctx, d.id, func(j *job.Job) error {
		if j.State.Terminal() {
			return errComplete
		}
		since := now
		if j.Waiting != nil {
			since = j.Waiting.Since
		}
		j.Waiting = &job.Waiting{Error: why.Error(), Since: since}
		return nil
	})
	if err == nil {
		d.said = now
	} else {
		d.log.Debug().Err(err).Msg("the record does not say why the job waits") // NATS itself may be away
	}
}

// step does what the job's state asks for, up to its next state. It reports
// true when nothing is left to do.
func (d *driver) step(ctx context.Context) (bool, error) {
	j, rev, err := d.c.Queue.Job(ctx, d.id)
	if errors.Is(err, queue.ErrNotFound) {
		d.denied++
		if d.denied < maxDenied {
			pause(ctx, retryEvery)
		}
		return d.denied >= maxDenied, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the job: %w", err)
	}
	d.denied = 0
	if err := j.Understood(); err != nil {
		return false, err
	}
	ctx = d.follow(ctx, j)
	switch j.State {
	case job.Submitted:
		j.StartedAt = time.Now().UTC()
		if j.Trace == "" { // of a job that was made here, and not by a submission
			_, span := d.c.Traces.Begin(ctx, "create", trace.Internal, trace.Of{Job: j.ID, Pipeline: j.Name})
			span.End(nil)
			j.Trace = span.Parent()
		}
		return false, d.advance(ctx, j, rev, job.Planning)
	case job.Planning:
		err = d.c.Engine.Guard(ctx, func() error { return d.freeze(ctx, j, rev) })
	case job.Running:
		err = d.process(ctx, j, rev)
	case job.Verifying:
		err = d.verify(ctx, j, rev)
	case job.Cancelling:
		err = d.cancel(ctx, j, rev)
	case job.Paused:
		err = d.rest(ctx)
	default:
		d.dropLookups(ctx, j)
		return true, d.c.Queue.CloseJob(ctx, d.id)
	}
	if err != nil && ctx.Err() == nil && job.ClassOf(err) == job.Permanent {
		return false, d.fail(ctx, err)
	}
	return false, err
}

// advance moves the job, if nobody else changed it since it was read.
func (d *driver) advance(ctx context.Context, j job.Job, rev queue.Revision, to job.State) error {
	from := j.State
	if err := move(&j, to); err != nil {
		return err
	}
	if to.Terminal() {
		// Before anybody sees that it has ended: nothing of it is queued then.
		if err := d.c.Queue.CloseJob(ctx, d.id); err != nil {
			return fmt.Errorf("taking the job's queue away: %w", err)
		}
		if to == job.Cancelled || to == job.Failed {
			if err := d.release(ctx, j); err != nil {
				return fmt.Errorf("giving back what was taken over: %w", err)
			}
			if err := d.discard(ctx, j); err != nil {
				return fmt.Errorf("dropping what was loaded for nothing: %w", err)
			}
		}
	}
	if _, err := d.c.Queue.UpdateJob(ctx, j, rev); err != nil {
		return fmt.Errorf("moving the job from %s to %s: %w", from, to, err)
	}
	d.log.Info().Str("from", string(from)).Str("state", string(to)).Msg("job moved")
	if to.Terminal() {
		d.ended(ctx, j)
		d.dropLookups(ctx, j)
	}
	return nil
}

// follow is ctx within the trace of the job.
func (d *driver) follow(ctx context.Context, j job.Job) context.Context {
	ctx = trace.WithParent(ctx, j.Trace)
	if j.Trace != d.traced {
		d.traced = j.Trace
		if trace.ID(ctx) == "" {
			return ctx
		}
		d.log = d.log.With().Str("trace_id", trace.ID(ctx)).Logger()
	}
	return ctx
}

// ended counts the job, and traces its life as a whole.
func (d *driver) ended(ctx context.Context, j job.Job) {
	d.c.Metrics.Ended(j)
	_, span := d.c.Traces.Begin(ctx, "job", trace.Internal, trace.Of{Job: j.ID, Pipeline: j.Name, Began: j.StartedAt})
	span.Text("state", string(j.State))
	span.Count("chunks", j.Totals.Chunks)
	span.Count("rows_read", j.Totals.RowsRead)
	span.Count("rows_loaded", j.Totals.RowsLoaded)
	span.Count("rows_rejected", j.Totals.RowsRejected)
	var err error
	if j.State == job.Failed {
		err = job.WithClass(errors.New(j.Error), job.Permanent)
	}
	span.End(err)
}

// fail ends the job with a reason. It reads the record anew, for the driver's
// own may be behind.
func (d *driver) fail(ctx context.Context, why error) error {
	j, rev, err := d.c.Queue.Job(ctx, d.id)
	if err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	j.Error = why.Error()
	return d.advance(ctx, j, rev, job.Failed)
}

// freeze finds out what the job depends on and records it.
func (d *driver) freeze(ctx context.Context, j job.Job, rev queue.Revision) (err error) {
	ctx, end := d.c.measure(ctx, metrics.Freeze, trace.Of{Job: j.ID, Pipeline: j.Name})
	defer func() { end(err) }()
	doc, err := document(j)
	if err != nil {
		return err
	}
	state, err := d.claimWatermark(ctx, j, doc.Pipeline)
	if err != nil {
		return err
	}
	frozen, err := Freezer{
		Allow:  d.c.Allow,
		State:  state,
		Engine: d.c.Engine.Client(), ClickHouse: d.c.ClickHouse, Create: true, Append: j.Submission.Replay != nil, Seats: d.c.seats(doc.Pipeline), Faults: d.c.Faults,
		Stages: d.c.Stages, Custom: d.c.Sources,
		Lookups: clickhouse.SnapshotLimit{Rows: d.c.cfg.LookupRows, Bytes: d.c.cfg.LookupBytes},
	}.Freeze(ctx, doc, j.ID, jobTime(j))
	if err != nil {
		return err
	}
	// Before the job is seen to run, so that no worker looks for it in vain.
	if err := d.open(ctx, d.bound(doc.Pipeline)); err != nil {
		return err
	}
	if err := d.c.Faults.At(fault.Frozen); err != nil {
		return err
	}
	j.Frozen = &frozen.Frozen
	if r := j.Submission.Replay; r != nil {
		old, _, err := d.c.Queue.Job(ctx, r.Job)
		if err != nil {
			return fmt.Errorf("reading the job that is replayed: %w", err)
		}
		if old.Frozen != nil {
			j.Frozen.Bounds = old.Frozen.Bounds
		}
	}
	j.Frozen.At = time.Now().UTC()
	if j.Error, err = d.before(ctx); err != nil {
		return err
	}
	if j.Error != "" {
		// By the record as it was read, for a driver that is behind finds here what
		// the job itself has loaded meanwhile.
		return d.advance(ctx, j, rev, job.Failed)
	}
	j.Plan.EstimatedBytes = frozen.Source.Size(ctx)
	if j.Submission.Replay != nil {
		j.Plan.EstimatedBytes = 0
		if err := d.takeOver(ctx, j); err != nil {
			return err
		}
	}
	return d.advance(ctx, j, rev, job.Running)
}

// before says, for a person, that the ledger knows of chunks that a job of this
// name has loaded before this one began; "" when there are none. Their tokens are
// those of the chunks to come: ClickHouse would take rows for loaded that are not,
// if the inputs have changed since, and doubled ones for new, if it has forgotten
// the tokens.
func (d *driver) before(ctx context.Context) (string, error) {
	l, err := d.c.ClickHouse.Loaded(ctx, d.id)
	if err != nil || l.Chunks == 0 {
		return "", err
	}
	return fmt.Sprintf("ClickHouse holds %d rows in %d chunks, the last of %s, of an earlier job of this name of which there is no record any more: "+
		"NATS has lost its store, or the job ended longer ago than DRAY_JOB_RETENTION. If that is all there is to load, nothing is to be done; "+
		"else take it out with dray undo %s, and submit the pipeline under another name or key", l.Rows, l.Chunks, l.Last.UTC().Format(time.RFC3339), d.id), nil
}

// bound is how many chunks may be in flight at once: no more than can have a
// connection each.
func (d *driver) bound(p *pipeline.Pipeline) int {
	n := d.c.cfg.InFlight
	if p.Limits.InFlight > 0 {
		n = p.Limits.InFlight
	}
	if s := p.Limits.Lease.Seats; s > 0 {
		n = min(n, s)
	}
	return n
}

// seats are the connections that the source of a pipeline may open.
func (c *Coordinator) seats(p *pipeline.Pipeline) source.Seats {
	if l := p.Limits.Lease; l.Seats > 0 {
		return telemetry.Seats(c.Metrics, c.Queue.Seats(queue.SeatConfig{Name: l.Name, Seats: l.Seats, Holder: "coordinator " + c.holder}))
	}
	return nil
}

// open makes the job's queue, or sets its limits anew.
func (d *driver) open(ctx context.Context, inFlight int) error {
	if err := d.c.Queue.OpenJob(ctx, d.id, queue.JobQueue{MaxInFlight: inFlight}); err != nil {
		return fmt.Errorf("opening the job's queue: %w", err)
	}
	return nil
}

// rest holds a paused job's queue shut for a moment.
func (d *driver) rest(ctx context.Context) error {
	if err := d.c.Queue.PauseJob(ctx, d.id); err != nil {
		return fmt.Errorf("pausing the job's queue: %w", err)
	}
	pause(ctx, d.c.cfg.Account)
	return nil
}

// cancel ends a job whose end was asked for. The workers have seen the same
// record and let go; one that was cut off loses its lease. Only then, and when
// no INSERT of the job runs on the server, can no row land any more.
func (d *driver) cancel(ctx context.Context, j job.Job, rev queue.Revision) error {
	q := d.c.Queue
	err := q.PauseJob(ctx, d.id)
	for deadline := time.Now().Add(q.Lease()); err == nil && time.Now().Before(deadline); {
		var held uint64
		if _, held, err = q.Backlog(ctx, d.id); held == 0 {
			break
		}
		pause(ctx, 50*time.Millisecond)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if err != nil && !errors.Is(err, queue.ErrNotFound) { // it may never have been opened
		return fmt.Errorf("waiting for the workers to let go: %w", err)
	}
	if err := d.stopInserts(ctx); err != nil {
		return err
	}
	if err := q.CloseJob(ctx, d.id); err != nil {
		return fmt.Errorf("taking back the job's chunks: %w", err)
	}
	if err := d.c.Faults.At(fault.Closing); err != nil {
		return err
	}
	return d.advance(ctx, j, rev, job.Cancelled)
}

// stopWait bounds the wait for INSERTs that were killed: one that waits for its
// client ends with it, or after the server's own 30 s. Killed it commits
// nothing, whatever the client may send later.
const stopWait = 35 * time.Second

// stopInserts ends what INSERTs of the job may still run on the server.
func (d *driver) stopInserts(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	j, _, err := d.c.Queue.Job(ctx, d.id)
	if err == nil {
		err = StopInserts(ctx, d.c.ClickHouse, j, nil)
	}
	if err != nil && (job.ClassOf(err) == job.Permanent || errors.Is(err, context.DeadlineExceeded)) {
		d.log.Warn().Err(err).Msg("INSERTs of lost workers may still run; verification will find what they leave")
		return nil
	}
	return err
}

// Tables hold the rows of a job that was frozen, one for each target.
func Tables(j job.Job) []clickhouse.Table {
	var all []clickhouse.Table
	for _, t := range j.Frozen.Targets() {
		database, name := t.Holds(!j.PublishedAt.IsZero())
		all = append(all, clickhouse.Table{Database: database, Name: name})
	}
	return all
}

// names writes tables for people.
func names(all []clickhouse.Table) string {
	var list []string
	for _, t := range all {
		list = append(list, t.String())
	}
	return strings.Join(list, ", ")
}
