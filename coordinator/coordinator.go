package coordinator

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// Engine is the coordinator's engine, which infers schemas and checks SQL.
type Engine interface{ Client() *engine.Client }

// Deps are what a coordinator works with. It closes none of them.
type Deps struct {
	Queue      *queue.Queue
	ClickHouse *clickhouse.Client
	Engine     Engine
	Log        zerolog.Logger
}

// Coordinator leads jobs. Make it with New and start it with Run, once.
type Coordinator struct {
	cfg Config
	Deps

	mu      sync.Mutex
	drivers map[string]bool // the jobs that have one
}

// New checks the configuration and makes a coordinator that does nothing yet.
func New(cfg Config, deps Deps) (*Coordinator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Coordinator{cfg: cfg, Deps: deps, drivers: map[string]bool{}}, nil
}

// Run sets up the streams and the ledger, then takes in jobs and leads every
// live one until ctx ends, when it returns nil. Jobs that were live when a
// coordinator died are gone on with. It returns an error when it cannot begin.
func (c *Coordinator) Run(ctx context.Context) error {
	if err := c.Queue.Ensure(ctx); err != nil {
		return fmt.Errorf("setting up the streams: %w", err)
	}
	if err := c.ClickHouse.EnsureLedger(ctx); err != nil {
		return fmt.Errorf("setting up the ledger: %w", err)
	}
	updates, err := c.Queue.WatchJobs(ctx)
	if err != nil {
		return fmt.Errorf("watching the jobs: %w", err)
	}
	c.Log.Info().Msg("coordinator ready")
	var group errgroup.Group
	group.Go(func() error { return c.intake(ctx) })
	for u := range updates {
		if u.Deleted || u.Job.ID == "" || u.Job.State.Terminal() || c.cfg.Only != "" && u.Job.ID != c.cfg.Only {
			continue
		}
		c.lead(ctx, &group, u.Job.ID)
	}
	return group.Wait()
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
	j.State = to
	if to.Terminal() {
		j.FinishedAt = time.Now().UTC()
	}
	return nil
}
