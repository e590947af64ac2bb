package coordinator

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"drayage/pkg/allow"
	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/fault"
	"drayage/pkg/job"
	"drayage/pkg/queue"
	"drayage/pkg/source"
	"drayage/pkg/stage"
	"drayage/pkg/telemetry"
	"drayage/pkg/telemetry/metrics"
	"drayage/pkg/telemetry/trace"
)

// Engine is the coordinator's engine, which infers schemas and checks SQL.
type Engine interface {
	Client() *engine.Client
	// Guard runs what uses the engine, and once more, alone, when the engine
	// ended meanwhile; see engine.Process.
	Guard(ctx context.Context, do func() error) error
}

// Deps are what a coordinator works with. It closes none of them.
type Deps struct {
	Queue      *queue.Queue
	ClickHouse *clickhouse.Client
	Engine     Engine
	Log        zerolog.Logger
	Faults     *fault.Set // nil: none
	// Stages and Sources are what this dray was built with beside its own.
	Stages  stage.Registry
	Sources source.Registry
	Allow   *allow.Rules         // what pipelines may reach; nil: everything
	Metrics *metrics.Coordinator // nil: nobody looks at them
	Traces  *trace.Tracer        // nil: nobody traces
}

// Coordinator leads jobs. Make it with New and start it with Run, once.
type Coordinator struct {
	cfg    Config
	holder string // its name among coordinators
	Deps

	mu      sync.Mutex
	drivers map[string]bool // the jobs that have one
}

// New checks the configuration and makes a coordinator that does nothing yet.
func New(cfg Config, deps Deps) (*Coordinator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Metrics == nil {
		deps.Metrics = metrics.NewCoordinator()
	}
	host, _ := os.Hostname() // the random part alone is a name too
	return &Coordinator{
		cfg: cfg, Deps: deps, drivers: map[string]bool{},
		holder: fmt.Sprintf("%s-%d-%s", host, os.Getpid(), strings.ToLower(rand.Text()[:6])),
	}, nil
}

// setUp makes what is not there yet.
func (c *Coordinator) setUp(ctx context.Context) error {
	if err := c.Queue.Ensure(ctx); err != nil {
		return fmt.Errorf("setting up the streams: %w", err)
	}
	if err := c.ClickHouse.EnsureLedger(ctx); err != nil {
		return fmt.Errorf("setting up the ledger: %w", err)
	}
	return nil
}

// Run sets up the streams and the ledger, then takes in jobs until ctx ends,
// when it returns nil. Of all coordinators one leads the jobs; when it dies
// another does within DRAY_LEAD_TTL and a second. Jobs that were live are gone
// on with. It returns an error when it cannot begin.
func (c *Coordinator) Run(ctx context.Context) error {
	if err := c.setUp(ctx); err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was asked to end before it had begun
		}
		return err
	}
	if missing, err := c.ClickHouse.Missing(ctx); err == nil && len(missing) > 0 {
		c.Log.Warn().Str("reason", names(missing)).Msg("what people read of jobs in ClickHouse is missing: it needs GRANT CREATE TABLE, CREATE VIEW, DROP VIEW ON drayage.*")
	}
	c.Log.Info().Msg("coordinator ready")
	var group errgroup.Group
	group.Go(func() error { return c.intake(ctx) })
	group.Go(func() error {
		for ctx.Err() == nil {
			if err := c.term(ctx); err != nil && ctx.Err() == nil {
				c.Log.Warn().Err(err).Msg("leading failed; it is tried again")
				pause(ctx, retryEvery)
			}
		}
		return nil
	})
	return group.Wait()
}

// term waits until this coordinator leads and leads the jobs until it does not
// any more. That there is one leader saves work; it is not what keeps the jobs
// right.
func (c *Coordinator) term(ctx context.Context) error {
	if c.cfg.Only == "" && !c.Faults.Skips(fault.Lead) {
		begun := time.Now()
		lead, err := c.Queue.Lead(ctx, queue.LeadConfig{Name: leadName, Holder: c.holder, TTL: c.cfg.Lead})
		if err != nil {
			return fmt.Errorf("asking to lead: %w", err)
		}
		c.Metrics.Waited(metrics.Lead, time.Since(begun))
		defer lead.Release()
		ctx = lead.Context()
		c.Log.Info().Str("coordinator", c.holder).Msg("coordinator leads")
		defer func() { c.Log.Info().Str("coordinator", c.holder).Msg("coordinator leads no more") }()
	}
	defer c.Metrics.Leads()()
	updates, err := c.Queue.WatchJobs(ctx)
	if err != nil {
		return fmt.Errorf("watching the jobs: %w", err)
	}
	var group errgroup.Group
	group.Go(func() error { c.sweep(ctx); return nil })
	group.Go(func() error { c.recordStates(ctx); return nil })
	if c.cfg.Only == "" {
		group.Go(func() error { c.keepSchedules(ctx); return nil })
	}
	newer := map[string]bool{}
	for u := range updates {
		c.tell(u)
		if err := u.Job.Understood(); err != nil && !u.Job.State.Terminal() {
			if !newer[u.Job.ID] {
				c.Log.Warn().Err(err).Str("job", u.Job.ID).Msg("a job is not led by this coordinator")
			}
			newer[u.Job.ID] = true
			continue
		}
		delete(newer, u.Job.ID)
		if u.Deleted || u.Job.ID == "" || u.Job.State.Terminal() || c.cfg.Only != "" && u.Job.ID != c.cfg.Only {
			continue
		}
		c.lead(ctx, &group, u.Job.ID)
	}
	return group.Wait()
}

// tell tells the metrics of the fleet what became of a job.
func (c *Coordinator) tell(u queue.JobUpdate) {
	switch {
	case u.Deleted:
		c.Metrics.Gone(u.Job.ID)
	case u.Job.ID != "":
		c.Metrics.Job(u.Job)
	}
}

// measure begins a step of a job's way.
func (c *Coordinator) measure(ctx context.Context, name metrics.Step, of trace.Of) (inner context.Context, end func(error)) {
	return telemetry.Measure(ctx, c.Metrics, c.Traces, name, of)
}

// leadName is the name of what coordinators compete for.
const leadName = "coordinator"

// sweepEvery is the pause between two looks for stranded chunks.
const sweepEvery = time.Minute

// sweep takes back chunks of jobs that have ended: a coordinator that was
// stopped while it planned, and went on later, may have published one more.
func (c *Coordinator) sweep(ctx context.Context) {
	var seen uint64 // up to where the queue was looked through
	for ctx.Err() == nil && c.cfg.Only == "" {
		var err error
		if seen, err = c.sweepOnce(ctx, seen); err != nil && ctx.Err() == nil {
			c.Log.Warn().Err(err).Msg("could not look for stranded chunks")
		}
		if err := c.sweepLookups(ctx); err != nil && ctx.Err() == nil {
			c.Log.Warn().Err(err).Msg("could not look for snapshots of lookups that are left")
		}
		pause(ctx, sweepEvery)
	}
}

func (c *Coordinator) sweepOnce(ctx context.Context, after uint64) (uint64, error) {
	stranded, seen, err := c.Queue.StrandedJobs(ctx, after, func(id string) bool {
		// What is not known to have ended is left alone.
		j, _, err := c.Queue.Job(ctx, id)
		return err != nil || !j.State.Terminal()
	})
	if err != nil {
		return after, err
	}
	for _, id := range stranded {
		c.Log.Info().Str("job", id).Msg("chunks of an ended job taken back")
		if err := c.Queue.CloseJob(ctx, id); err != nil {
			return after, err
		}
	}
	return seen, nil
}

// lead starts a driver for the job unless it has one.
func (c *Coordinator) lead(ctx context.Context, group *errgroup.Group, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drivers[id] {
		return
	}
	c.drivers[id] = true
	group.Go(func() error {
		defer func() {
			c.mu.Lock()
			delete(c.drivers, id)
			c.mu.Unlock()
		}()
		d := &driver{c: c, id: id, log: c.Log.With().Str("job", id).Logger()}
		d.run(ctx)
		return nil
	})
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// retryEvery is the pause before something is tried again that failed for a
// reason that may pass.
const retryEvery = 2 * time.Second

// move changes the state of a job whose record is at hand.
func move(j *job.Job, to job.State) error {
	if !j.State.CanMove(to) {
		return fmt.Errorf("a job that is %s can not become %s", j.State, to)
	}
	j.MoveTo(to, time.Now())
	return nil
}
