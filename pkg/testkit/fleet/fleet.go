// Package fleet is a whole Drayage that the tests of a package share: NATS,
// ClickHouse, a coordinator and a worker, in the test's process.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"drayage/coordinator"
	"drayage/pkg/job"
	"drayage/pkg/local"
	"drayage/pkg/testkit"
)

// wait bounds what a job of a test may take, on a busy machine.
const wait = 4 * time.Minute

// Setup is what differs between the fleets of two packages; the zero value is a
// fleet with the defaults.
type Setup struct {
	Env    map[string]string   // settings, DRAY_…
	Change func(*local.Config) // changes what was read from them; may be nil
}

// Fleet is a Drayage that runs until the tests have ended. Each test works in
// jobs and tables of its own.
type Fleet struct {
	*local.Stack
	Config local.Config
	Log    zerolog.Logger // writes errors alone

	ctx     context.Context
	running sync.WaitGroup
	mu      sync.Mutex
	errs    []error
}

// Main is the TestMain of a package whose tests share a fleet. It starts one in
// a folder of its own, gives it to use, and runs the tests; use may start more
// beside it (Go), and returns what is to be done after the tests while the fleet
// still runs, or nil. Then all of it is ended, it is checked that no goroutine is
// left behind, and the process ends. Settings of whoever runs the tests do not
// reach it.
func Main(m *testing.M, setup Setup, use func(*Fleet) (after func(), err error)) {
	testkit.Engine()
	goleak.VerifyTestMain(tests(func() int {
		code := 0
		if err := setup.run(use, func() { code = m.Run() }); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return max(code, 1)
		}
		return code
	}))
}

// tests are what goleak runs.
type tests func() int

func (t tests) Run() int { return t() }

func (s Setup) run(use func(*Fleet) (func(), error), tests func()) (err error) {
	dir, err := os.MkdirTemp("", "dray-fleet-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	f := &Fleet{Log: zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr, NoColor: true}).Level(zerolog.ErrorLevel)}
	if f.Config, err = s.load(dir); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.ctx = ctx
	if f.Stack, err = local.Start(ctx, f.Config, f.Log); err != nil {
		cancel()
		return fmt.Errorf("starting the fleet: %w", err)
	}
	defer func() {
		cancel()
		f.running.Wait()
		_, closed := f.Close()
		err = errors.Join(err, errors.Join(f.errs...), closed)
	}()
	f.Go(func(ctx context.Context) error { return f.Stack.Run(ctx, "") })
	// The coordinator makes both as it starts, which a test may not have to wait for.
	if err := errors.Join(f.Queue.Check(ctx), f.ClickHouse.EnsureLedger(ctx)); err != nil {
		return fmt.Errorf("waiting for the fleet: %w", err)
	}
	after, err := use(f)
	if err != nil {
		return err
	}
	if after != nil {
		defer after()
	}
	tests()
	return nil
}

// load reads the settings of a fleet in dir, with none of the environment that
// the tests were started in but where the engine's library is.
func (s Setup) load(dir string) (local.Config, error) {
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "DRAY_") && name != "DRAY_LIBCHDB" || strings.HasPrefix(name, "CLICKHOUSE_") || name == "NATS_URL" {
			if err := os.Unsetenv(name); err != nil {
				return local.Config{}, err
			}
		}
	}
	env := map[string]string{"DRAY_DATA_DIR": dir, "DRAY_ACCOUNT_EVERY": "50ms"}
	maps.Copy(env, s.Env)
	for name, value := range env {
		if err := os.Setenv(name, value); err != nil {
			return local.Config{}, err
		}
	}
	cfg, err := local.Load()
	if err == nil && s.Change != nil {
		s.Change(&cfg)
	}
	return cfg, err
}

// Go runs a part of the fleet until ctx is done, after the tests; its error
// fails them.
func (f *Fleet) Go(run func(ctx context.Context) error) {
	f.running.Go(func() {
		if err := run(f.ctx); err != nil {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.errs = append(f.errs, fmt.Errorf("a part of the fleet ended: %w", err))
		}
	})
}

// Create creates a job, and returns its name.
func (f *Fleet) Create(t testing.TB, s job.Submission) string {
	t.Helper()
	if err := coordinator.Create(t.Context(), f.Queue, s); err != nil {
		t.Fatal(err)
	}
	return s.Job
}

// Reach waits until a job is as it should be, and returns it.
func (f *Fleet) Reach(t testing.TB, id string, is func(job.Job) bool) job.Job {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	updates, err := f.Queue.WatchJobs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var last job.Job
	for u := range updates {
		if u.Job.ID != id {
			continue
		}
		if last = u.Job; is(last) {
			return last
		}
	}
	t.Fatalf("job %s never was as it should be; it is %s, %s", id, last.State, last.Error)
	return last
}

// Ended waits for the end of a job, whatever it is, and returns the job.
func (f *Fleet) Ended(t testing.TB, id string) job.Job {
	t.Helper()
	return f.Reach(t, id, func(j job.Job) bool { return j.State.Terminal() })
}

// SQL returns the answer of the destination to a query, as TabSeparated.
func (f *Fleet) SQL(t testing.TB, query string) string {
	t.Helper()
	var b strings.Builder
	if err := f.ClickHouse.Query(t.Context(), query, "TabSeparated", &b); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return strings.TrimSpace(b.String())
}
