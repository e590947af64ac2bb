package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"drayage/coordinator"
	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/queue"
	"drayage/pkg/telemetry/metrics"
	"drayage/worker"
)

// ErrInUse means that another process works in the data folder.
var ErrInUse = errors.New("the data folder is in use")

// ErrNotLoopback means that others could reach what is for this machine alone.
var ErrNotLoopback = errors.New("the NATS of dray up listens on an address of this machine alone, such as 127.0.0.1:4222")

// Usage is what the engines of a Stack cost.
type Usage struct {
	Worker      engine.Usage // of the transform engine
	Destination engine.Usage // of the embedded ClickHouse; zero when it is elsewhere
}

// Stack is a whole Drayage in one process: NATS within it, the engines as its
// children. Make it with Start and end it with Close.
type Stack struct {
	cfg         Config
	log         zerolog.Logger
	lock        *flock.Flock
	listen      string // where its NATS serves other processes; empty: nowhere
	token       string // that they must give
	announced   bool
	embedded    *queue.Embedded
	Queue       *queue.Queue
	destination *engine.Process // nil when ClickHouse is elsewhere
	ClickHouse  *clickhouse.Client
	Engine      *engine.Process
	// Metrics, when set before Run, count what the coordinator and the worker do.
	Metrics *metrics.Registry
}

// Start starts everything that a job in one process needs, or returns why it
// can not, with nothing left behind. Where cfg names a ClickHouse it is used;
// otherwise one is embedded, with its data in cfg.DataDir.
func Start(ctx context.Context, cfg Config, log zerolog.Logger) (*Stack, error) {
	return start(ctx, &Stack{cfg: cfg, log: log})
}

// StartShared is Start with a NATS that other processes of this user reach, on
// the loopback address listen (host:port, port 0 for any free one). They must give
// a token that is kept in the data folder. Announce tells them.
func StartShared(ctx context.Context, cfg Config, listen string, log zerolog.Logger) (*Stack, error) {
	host, _, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%w, and %q is not one", ErrNotLoopback, listen)
	}
	return start(ctx, &Stack{cfg: cfg, log: log, listen: listen})
}

func start(ctx context.Context, s *Stack) (_ *Stack, err error) {
	defer func() {
		if err != nil {
			_, closing := s.Close()
			err = errors.Join(err, closing)
		}
	}()
	if s.lock, err = lockData(s.cfg.DataDir); err != nil {
		return nil, err
	}
	if s.listen != "" {
		if s.token, err = keepToken(s.cfg.DataDir); err != nil {
			return nil, err
		}
	}
	var group errgroup.Group
	group.Go(func() (err error) {
		s.Engine, err = StartEngine(ctx, s.cfg, s.log)
		return err
	})
	group.Go(func() error { return s.startClickHouse(ctx) })
	group.Go(func() error { return s.startQueue(ctx) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return s, nil
}

// lockData makes the data folder and takes it for this process.
func lockData(dir string) (*flock.Flock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data folder (DRAY_DATA_DIR): %w", err)
	}
	lock := flock.New(filepath.Join(dir, "lock"))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("locking the data folder %s: %w", dir, err)
	}
	if !ok {
		if up, err := findEndpoint(dir); err == nil && up != nil {
			return nil, fmt.Errorf("%w: dray up (process %d) works in %s; dray submit gives it jobs, or set DRAY_DATA_DIR to another folder", ErrInUse, up.PID, dir)
		}
		return nil, fmt.Errorf("%w: another dray works in %s; wait for it, or set DRAY_DATA_DIR to another folder", ErrInUse, dir)
	}
	// What a killed dray up has left would send others to nobody.
	if err := os.Remove(filepath.Join(dir, endpointFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("removing what a killed dray up has left: %w", err), lock.Unlock())
	}
	return lock, nil
}

func (s *Stack) startQueue(ctx context.Context) error {
	var err error
	s.embedded, err = queue.StartEmbedded(ctx, queue.EmbeddedConfig{
		StoreDir: filepath.Join(s.cfg.DataDir, "nats"), Listen: s.listen, Token: s.token, Log: s.log,
	})
	if err != nil {
		return fmt.Errorf("starting the embedded NATS: %w", err)
	}
	cfg := s.cfg.Queue
	cfg.Log = s.log
	if s.Queue, err = s.embedded.Connect(ctx, cfg); err != nil {
		return fmt.Errorf("connecting to the embedded NATS: %w", err)
	}
	return nil
}

func (s *Stack) startClickHouse(ctx context.Context) (err error) {
	s.destination, s.ClickHouse, err = startClickHouse(ctx, s.cfg, s.log)
	return err
}

// startClickHouse connects to the configured ClickHouse, or to one that it
// starts in the data folder.
func startClickHouse(ctx context.Context, cfg Config, log zerolog.Logger) (*engine.Process, *clickhouse.Client, error) {
	var process *engine.Process
	ch := cfg.ClickHouse
	if ch.URL == "" {
		var err error
		if process, err = startEmbedded(ctx, cfg, log); err != nil {
			return nil, nil, fmt.Errorf("starting the embedded ClickHouse: %w", err)
		}
		// Its user and password are in the URL; those of a server elsewhere
		// are not its.
		ch.URL = process.URL()
		ch.User, ch.Password, ch.PasswordFile, ch.CAFile = "", "", "", ""
	}
	client, err := clickhouse.Open(ctx, ch)
	if err != nil {
		if process != nil {
			_, _ = process.Close() // the error of Open is the one to tell
		}
		return nil, nil, err
	}
	return process, client, nil
}

// unlockWait bounds the wait for an embedded ClickHouse that has lost its
// parent to let go of its data.
const unlockWait = 10 * time.Second

// startEmbedded starts ClickHouse in the data folder. The folder is ours
// alone, so whoever else has it locked is the child of a dray that was killed,
// and about to end.
func startEmbedded(ctx context.Context, cfg Config, log zerolog.Logger) (*engine.Process, error) {
	for deadline := time.Now().Add(unlockWait); ; {
		p, err := engine.Start(ctx, engine.Config{
			Name: "clickhouse", Path: filepath.Join(cfg.DataDir, "clickhouse"),
			MaxMemory: cfg.Engine.DataMemory, MaxThreads: cfg.Engine.Threads, Log: log,
		})
		if !errors.Is(err, engine.ErrLocked) || time.Now().After(deadline) {
			return p, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// StartEngine starts the transform engine of a worker or a coordinator. With
// rules it is confined to what they allow and to the folder for temporary files,
// which should then be this process's own.
func StartEngine(ctx context.Context, cfg Config, log zerolog.Logger) (*engine.Process, error) {
	held := confine(cfg)
	if held != nil {
		for _, path := range held.Read {
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				log.Warn().Str("path", path).Msg("DRAY_ALLOW_PATHS names what is not there: the engine can not read it until the service is started again")
			}
		}
	}
	p, err := engine.Start(ctx, engine.Config{
		Name: "worker", MaxMemory: cfg.Engine.Memory, MaxThreads: cfg.Engine.Threads, Log: log, Confine: held,
	})
	if err != nil {
		return nil, fmt.Errorf("starting the engine: %w", err)
	}
	return p, nil
}

// confine is what the transform engine reaches; nil: everything.
func confine(cfg Config) *engine.Confine {
	if cfg.Rules == nil {
		return nil
	}
	c := &engine.Confine{Read: cfg.Rules.Folders(), Write: []string{os.TempDir()}}
	if cfg.Worker.WorkDir != "" {
		c.Write = append(c.Write, cfg.Worker.WorkDir)
	}
	ports, all := cfg.Rules.Ports()
	if c.Connect = all || len(ports) > 0; !all {
		c.Ports = ports
	}
	return c
}

// Run runs a coordinator and a worker on the stack until ctx ends and both
// have drained. With only set they see to that job and no other.
func (s *Stack) Run(ctx context.Context, only string) error {
	ccfg, wcfg := s.cfg.Coordinator, s.cfg.Worker
	ccfg.Only, wcfg.Only = only, only
	var counted *metrics.Coordinator
	var carried *metrics.Worker
	if s.Metrics != nil {
		counted, carried = s.Metrics.Coordinator(), s.Metrics.Worker()
	}
	c, err := coordinator.New(ccfg, coordinator.Deps{
		Queue: s.Queue, ClickHouse: s.ClickHouse, Engine: s.Engine, Log: s.log, Faults: s.cfg.Faults,
		Stages: s.cfg.Extensions.Stages, Sources: s.cfg.Extensions.Sources, Allow: s.cfg.Rules, Metrics: counted, Traces: s.cfg.Traces,
	})
	if err != nil {
		return err
	}
	w, err := worker.New(wcfg, worker.Deps{
		Queue: s.Queue, ClickHouse: s.ClickHouse, Engine: s.Engine, Log: s.log, Faults: s.cfg.Faults,
		Stages: s.cfg.Extensions.Stages, Sources: s.cfg.Extensions.Sources, Allow: s.cfg.Rules, Metrics: carried, Traces: s.cfg.Traces,
	})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.Run(ctx) })
	group.Go(func() error {
		if err := s.Queue.Check(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		return w.Run(ctx)
	})
	return group.Wait()
}

// Close ends everything that Start started, waits for it, and says what the
// engines cost.
func (s *Stack) Close() (Usage, error) {
	var u Usage
	var errs []error
	if s.announced {
		errs = append(errs, os.Remove(filepath.Join(s.cfg.DataDir, endpointFile)))
	}
	if s.Queue != nil {
		s.Queue.Close()
	}
	if s.embedded != nil {
		s.embedded.Close()
	}
	if s.ClickHouse != nil {
		errs = append(errs, s.ClickHouse.Close())
	}
	for p, use := range map[*engine.Process]*engine.Usage{s.Engine: &u.Worker, s.destination: &u.Destination} {
		if p != nil {
			var err error
			*use, err = p.Close()
			errs = append(errs, err)
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Unlock())
	}
	return u, errors.Join(errs...)
}

// OpenClickHouse connects to the configured ClickHouse, to that of the dray up
// that works in the data folder, or starts the embedded one there. The function
// ends what was started.
func OpenClickHouse(ctx context.Context, cfg Config, log zerolog.Logger) (*clickhouse.Client, func(), error) {
	var lock *flock.Flock
	if cfg.ClickHouse.URL == "" {
		if cfg.Up != nil {
			return nil, nil, fmt.Errorf("%w: dray up in %s loads into a ClickHouse elsewhere; set DRAY_CLICKHOUSE_URL as it is there", ErrInUse, cfg.DataDir)
		}
		var err error
		if lock, err = lockData(cfg.DataDir); err != nil {
			return nil, nil, err
		}
	}
	process, client, err := startClickHouse(ctx, cfg, log)
	if err != nil {
		if lock != nil {
			_ = lock.Unlock()
		}
		return nil, nil, err
	}
	return client, func() {
		_ = client.Close()
		if process != nil {
			if _, err := process.Close(); err != nil {
				log.Warn().Err(err).Msg("the embedded ClickHouse did not end well")
			}
			_ = lock.Unlock()
		}
	}, nil
}

// OpenQueue connects to the configured NATS, to that of the dray up that works
// in the data folder, or starts the embedded one there. The function ends what was
// started.
func OpenQueue(ctx context.Context, cfg Config, log zerolog.Logger) (*queue.Queue, func(), error) {
	qc := cfg.Queue
	qc.Log = log
	if cfg.Remote() {
		q, err := queue.Connect(ctx, qc)
		if err != nil {
			return nil, nil, err
		}
		return q, q.Close, nil
	}
	lock, err := lockData(cfg.DataDir)
	if err != nil {
		return nil, nil, err
	}
	s := &Stack{cfg: cfg, log: log, lock: lock}
	end := func() {
		if _, err := s.Close(); err != nil {
			log.Warn().Err(err).Msg("the embedded NATS did not end well")
		}
	}
	if err := s.startQueue(ctx); err != nil {
		end()
		return nil, nil, err
	}
	return s.Queue, end, nil
}
