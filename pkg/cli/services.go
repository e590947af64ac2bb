package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"drayage/coordinator"
	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/local"
	"drayage/pkg/queue"
	"drayage/pkg/telemetry"
	"drayage/pkg/telemetry/metrics"
	"drayage/pkg/version"
	"drayage/worker"
)

// service marks a verb that runs until it is stopped and logs what it does.
var service = map[string]string{"service": "yes"}

func (a *app) coordinator() *cobra.Command {
	return &cobra.Command{
		Use:   "coordinator",
		Short: "Lead a fleet: take jobs in, plan chunks, account, verify",
		Long: `Lead a fleet. It takes jobs in from NATS, plans their chunks, adds up the results,
asks ClickHouse for proof and ends the jobs. Needs DRAY_NATS_URL and
DRAY_CLICKHOUSE_URL. SIGTERM ends it; another coordinator, or the next start, goes
on.

Answers /healthz, /readyz and /metrics on DRAY_HTTP_ADDR, the page at / and the
HTTP API at /api/v1: docs/page.md, docs/api.md. On an address that other machines
reach it does not start without tokens in DRAY_HTTP_TOKENS_FILE, unless
DRAY_HTTP_INSECURE=true.`,
		Example:     "  DRAY_NATS_URL=nats://nats:4222 DRAY_CLICKHOUSE_URL=http://ch:8123 dray coordinator",
		Args:        cobra.NoArgs,
		Annotations: service,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.serve(cmd.Context(), a.coordinatorHTTP, func(ctx context.Context, m *member) error {
				c, err := coordinator.New(a.cfg.Coordinator, coordinator.Deps{
					Queue: m.queue, ClickHouse: m.clickhouse, Engine: m.engine, Log: a.log, Faults: a.cfg.Faults,
					Stages: a.with.Stages, Sources: a.with.Sources, Allow: a.cfg.Rules, Metrics: m.metrics.Coordinator(), Traces: a.cfg.Traces,
				})
				if err != nil {
					return &usageError{err}
				}
				return c.Run(ctx)
			})
		},
	}
}

func (a *app) worker() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Work in a fleet: extract, transform and load chunks",
		Long: `Work in a fleet. It pulls chunks while it has a free slot and carries each into
ClickHouse. Needs DRAY_NATS_URL and DRAY_CLICKHOUSE_URL. Answers /healthz,
/readyz and /metrics on DRAY_HTTP_ADDR. SIGTERM drains it: it takes no more chunks and has
DRAY_GRACE to finish those at work; a second one ends it at once.`,
		Example:     "  DRAY_NATS_URL=nats://nats:4222 DRAY_CLICKHOUSE_URL=http://ch:8123 dray worker --slots 4",
		Args:        cobra.NoArgs,
		Annotations: service,
	}
	slots := slotsFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *slots != 0 {
			a.cfg.Worker.Slots = *slots
		}
		return a.serve(cmd.Context(), a.workerHTTP, func(ctx context.Context, m *member) error {
			w, err := worker.New(a.cfg.Worker, worker.Deps{
				Queue: m.queue, ClickHouse: m.clickhouse, Engine: m.engine, Log: a.log, Faults: a.cfg.Faults,
				Stages: a.with.Stages, Sources: a.with.Sources, Allow: a.cfg.Rules, Metrics: m.metrics.Worker(), Traces: a.cfg.Traces,
			})
			if err != nil {
				return &usageError{err}
			}
			if err := m.queue.Check(ctx); err != nil {
				return err
			}
			return w.Run(ctx)
		})
	}
	return cmd
}

// member is what a service of the fleet is connected to.
type member struct {
	queue      *queue.Queue
	clickhouse *clickhouse.Client
	engine     *engine.Process
	metrics    *metrics.Registry
}

// endpoints are what it answers to those who look after it.
func (m *member) endpoints() telemetry.Endpoints {
	return telemetry.Endpoints{
		Checks:  map[string]telemetry.Check{"nats": m.queue.Check, "clickhouse": m.clickhouse.Ping},
		Metrics: m.metrics.Handler(),
	}
}

func newMetrics(q *queue.Queue, eng *engine.Process) *metrics.Registry {
	m := metrics.New(metrics.Build{Version: version.Version, Revision: version.Commit()})
	m.Watch(metrics.Process{NATSConnected: func() bool { return q.ServerVersion() != "" }, EngineRestarts: eng.Restarts})
	return m
}

// serve connects a service, runs it with what it answers over HTTP, and takes
// everything down again.
func (a *app) serve(ctx context.Context, answers func(*member) (serveHTTP, error), run func(context.Context, *member) error) error {
	if !a.cfg.Remote() {
		return a.noFleet("dray up serves one without anything else")
	}
	if a.cfg.ClickHouse.URL == "" {
		return noDestination()
	}
	q, end, err := local.OpenQueue(ctx, a.cfg, a.log)
	if err != nil {
		return err
	}
	defer end()
	ch, err := clickhouse.Open(ctx, a.cfg.ClickHouse)
	if err != nil {
		return err
	}
	defer ch.Close()
	if err := a.cfg.Restrict(); err != nil {
		return &usageError{err}
	}
	tidy, err := a.ownScratch()
	if err != nil {
		return err
	}
	defer tidy()
	eng, err := local.StartEngine(ctx, a.cfg, a.log)
	if err != nil {
		return err
	}
	defer eng.Close()

	m := &member{q, ch, eng, newMetrics(q, eng)}
	var web serveHTTP
	if a.withHTTP() {
		if web, err = answers(m); err != nil {
			return err
		}
	}

	group, serving := errgroup.WithContext(ctx)
	serving, stop := context.WithCancel(serving)
	defer stop()
	if a.withHTTP() {
		group.Go(func() error {
			return web(serving, func(addr net.Addr) { a.log.Info().Stringer("addr", addr).Msg("HTTP ready") })
		})
	}
	group.Go(func() error {
		defer stop()
		return run(serving, m)
	})
	err = group.Wait()
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = nil // stopped as asked
	}
	return err
}

// ownScratch gives this process a folder of its own for temporary files, all that
// its engine may write to, and says how well the kernel holds the engine.
func (a *app) ownScratch() (tidy func(), err error) {
	if a.cfg.Worker.WorkDir != "" {
		if err := os.MkdirAll(a.cfg.Worker.WorkDir, 0o700); err != nil {
			return nil, fmt.Errorf("making the folder for temporary files (DRAY_WORK_DIR): %w", err)
		}
	}
	dir, err := os.MkdirTemp(a.cfg.Worker.WorkDir, "dray-scratch-")
	if err != nil {
		return nil, fmt.Errorf("making the folder for temporary files (DRAY_WORK_DIR): %w", err)
	}
	a.cfg.Worker.WorkDir = dir
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return nil, fmt.Errorf("setting the folder for temporary files: %w", err)
	}
	held := engine.ConfinementHere()
	log := a.log.Info()
	if !held.Files {
		log = a.log.Warn()
	}
	log.Stringer("held", held).Msg("the kernel holds the engine to what pipelines may reach")
	return func() { os.RemoveAll(dir) }, nil
}

func (a *app) engine() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "engine",
		Short: "Serve the ClickHouse engine over HTTP",
		Long: `Serve the ClickHouse engine (libchdb) over the ClickHouse HTTP interface, for curl,
clickhouse-go and the like. Workers start it as their child; run by hand it is a
small ClickHouse for one machine. It needs the engine library: see dray doctor.`,
		Example:     "  dray engine --listen 127.0.0.1:8123 --path ./data\n  curl 'http://127.0.0.1:8123/?query=SELECT+version()'",
		Args:        cobra.NoArgs,
		Annotations: service,
	}
	listen := cmd.Flags().String("listen", "", "address, host:port or unix:/path (DRAY_ENGINE_LISTEN)")
	path := cmd.Flags().String("path", "", "folder of the data (DRAY_ENGINE_PATH); default: a temporary one")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := engine.ServerConfigFromEnv()
		if err != nil {
			return &usageError{err}
		}
		if *listen != "" {
			cfg.Listen = *listen
		}
		if *path != "" {
			cfg.Path = *path
		}
		return engine.Serve(cmd.Context(), cfg, a.log)
	}
	return cmd
}
