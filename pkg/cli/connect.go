package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"drayage/coordinator"
	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/local"
	"drayage/pkg/queue"
)

// openQueue opens the fleet's queue or, where no fleet is named, that of the
// data folder.
func (a *app) openQueue(ctx context.Context) (*queue.Queue, func(), error) {
	q, end, err := local.OpenQueue(ctx, a.cfg, a.log)
	if err != nil {
		return nil, nil, err
	}
	if !a.cfg.Remote() {
		if err := q.Ensure(ctx); err != nil {
			end()
			return nil, nil, fmt.Errorf("setting up the streams: %w", err)
		}
	}
	return q, end, nil
}

// openQueueJob is openQueue for a verb about one job, which it finds by its name,
// a beginning of it, or last.
func (a *app) openQueueJob(ctx context.Context, name string) (*queue.Queue, job.Job, func(), error) {
	q, end, err := a.openQueue(ctx)
	if err != nil {
		return nil, job.Job{}, nil, err
	}
	j, err := findJob(ctx, q, name)
	if err != nil {
		end()
		return nil, job.Job{}, nil, err
	}
	return q, j, end, nil
}

// noFleet says that a verb needs a fleet, and what else there is.
func (a *app) noFleet(note string) error {
	return usagef("DRAY_NATS_URL is not set and no dray up works in %s\n  hint: name the fleet's NATS, such as nats://nats:4222, or start dray up; %s", a.cfg.DataDir, note)
}

// allJobs lists the jobs, the newest first.
func allJobs(ctx context.Context, q *queue.Queue) ([]job.Job, error) {
	list, err := q.Jobs(ctx)
	switch {
	case errors.Is(err, queue.ErrNotFound):
		return nil, &exitError{ExitEnvironment, hinted(fmt.Errorf("no fleet has worked with this NATS yet: %w", err), "start dray coordinator, which sets it up")}
	case err != nil:
		return nil, fmt.Errorf("listing the jobs: %w", err)
	}
	return list, nil
}

func noDestination() error {
	return usagef("DRAY_CLICKHOUSE_URL is not set\n  hint: name the fleet's destination, such as http://clickhouse:8123")
}

// site is where jobs run: a fleet, or the data folder of dray run.
type site struct {
	queue      *queue.Queue
	clickhouse *clickhouse.Client // nil in a fleet unless it was asked for
	stack      *local.Stack       // nil in a fleet; what runs jobs here
	close      func()
}

// openSite opens the fleet or, where none is named, everything that is needed
// to look at jobs in the data folder and to run them.
func (a *app) openSite(ctx context.Context, withClickHouse bool) (*site, error) {
	if !a.cfg.Remote() {
		return a.openHere(ctx)
	}
	if withClickHouse && a.cfg.ClickHouse.URL == "" {
		return nil, noDestination()
	}
	q, end, err := local.OpenQueue(ctx, a.cfg, a.log)
	if err != nil {
		return nil, err
	}
	s := &site{queue: q, close: end}
	if !withClickHouse {
		return s, nil
	}
	if s.clickhouse, err = clickhouse.Open(ctx, a.cfg.ClickHouse); err != nil {
		end()
		return nil, err
	}
	s.close = func() {
		s.clickhouse.Close()
		end()
	}
	return s, nil
}

// openJob is openSite for a verb about one job, which it finds by its name, a
// beginning of it, or last. The caller closes the site.
func (a *app) openJob(ctx context.Context, name string, withClickHouse bool) (*site, job.Job, error) {
	s, err := a.openSite(ctx, withClickHouse)
	if err != nil {
		return nil, job.Job{}, err
	}
	j, err := findJob(ctx, s.queue, name)
	if err != nil {
		s.close()
		return nil, job.Job{}, err
	}
	return s, j, nil
}

func (a *app) openHere(ctx context.Context) (*site, error) {
	stack, err := local.Start(ctx, a.cfg, a.log)
	if err != nil {
		return nil, err
	}
	s := &site{queue: stack.Queue, clickhouse: stack.ClickHouse, stack: stack, close: func() {
		if _, err := stack.Close(); err != nil {
			a.log.Warn().Err(err).Msg("what was started here did not end well")
		}
	}}
	if err := s.queue.Ensure(ctx); err != nil {
		s.close()
		return nil, fmt.Errorf("setting up the streams: %w", err)
	}
	if err := s.clickhouse.EnsureLedger(ctx); err != nil {
		s.close()
		return nil, fmt.Errorf("setting up the ledger: %w", err)
	}
	return s, nil
}

// runHere runs a job on the stack until it has ended, or until ctx ends, and
// then says how to go on.
func (a *app) runHere(ctx context.Context, stack *local.Stack, id, again string, quiet bool) (job.Job, error) {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	watching, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		err := stack.Run(running, id)
		cancel(err)
		ended <- err
	}()
	j, watchErr := a.follow(watching, stack.Queue, id, quiet)
	stop()
	runErr := <-ended
	switch {
	case runErr != nil && !errors.Is(runErr, context.Canceled):
		return j, runErr
	case ctx.Err() != nil:
		return j, &exitError{ExitInterrupted, fmt.Errorf("interrupted; %s", again)}
	}
	return j, watchErr
}

// tables are where the rows of a job that was frozen are, for people.
func tables(j job.Job) string {
	var list []string
	for _, t := range coordinator.Tables(j) {
		list = append(list, t.String())
	}
	return strings.Join(list, ", ")
}
