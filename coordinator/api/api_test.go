package api_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"drayage/coordinator"
	"drayage/coordinator/api"
	"drayage/pkg/job"
	"drayage/pkg/local"
	"drayage/pkg/testkit"
)

// What all tests of this package share: a whole Drayage and a Service over it.
// Each works in tables of its own.
var (
	stack   *local.Stack
	service *api.Service
	trial   api.Trier
)

func TestMain(m *testing.M) {
	testkit.Engine()
	goleak.VerifyTestMain(withStack{m})
}

type withStack struct{ m *testing.M }

func (w withStack) Run() (code int) {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "dray-api-test-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "DRAY_") && name != "DRAY_LIBCHDB" || strings.HasPrefix(name, "CLICKHOUSE_") || name == "NATS_URL" {
			os.Unsetenv(name)
		}
	}
	os.Setenv("DRAY_DATA_DIR", dir)
	os.Setenv("DRAY_ACCOUNT_EVERY", "50ms")
	cfg, err := local.Load()
	if err != nil {
		return fail(err)
	}
	log := zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr, NoColor: true}).Level(zerolog.ErrorLevel)
	if stack, err = local.Start(context.Background(), cfg, log); err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := stack.Queue.Ensure(ctx); err != nil {
		return fail(err)
	}
	trial = local.Trial{Config: cfg, ClickHouse: stack.ClickHouse, Engine: stack.Engine.Client(), Log: log}
	service = api.New(api.Deps{Queue: stack.Queue, ClickHouse: stack.ClickHouse, Log: log})
	var running sync.WaitGroup
	for _, run := range []func() error{
		func() error { return stack.Run(ctx, "") },
		func() error { return service.Run(ctx) },
	} {
		running.Go(func() {
			if err := run(); err != nil {
				code = max(code, fail(err))
			}
		})
	}
	ended := w.m.Run()
	cancel()
	running.Wait()
	if _, err := stack.Close(); err != nil {
		return fail(err)
	}
	return max(code, ended)
}

// inputs makes a folder with files of a hundred rows each: the third has two
// rows that do not fit, of the fourth none does.
func inputs(t *testing.T, files int) string {
	t.Helper()
	dir := t.TempDir()
	for f := range files {
		var b strings.Builder
		b.WriteString("n,s\n")
		for i := range 100 {
			switch n := f*100 + i; {
			case f == 2 && i < 2, f == 3:
				fmt.Fprintf(&b, "none%d,x\n", i)
			default:
				fmt.Fprintf(&b, "%d,row %d\n", n, n)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("part-%02d.csv", f)), []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// pipe is a pipeline over inputs, into a table.
func pipe(name, table string) string {
	return fmt.Sprintf(`pipeline: %s
source: {files: {path: "part-*.csv", format: CSVWithNames}, columns: "n Int32, s String"}
transform: SELECT n, s FROM chunk
load: {table: %s, order_by: n}
reject: {max: 50%%}
retry: {attempts: 1}
`, name, table)
}

// ran is a job of pipe over six inputs that has ended.
func ran(t *testing.T, table string) job.Job {
	t.Helper()
	id := coordinator.NewID("api", time.Now())
	s := job.Submission{Job: id, Pipeline: pipe("api", table), File: "api.yaml", Dir: inputs(t, 6)}
	if err := coordinator.Create(t.Context(), stack.Queue, s); err != nil {
		t.Fatal(err)
	}
	return ended(t, id)
}

// ended waits for the end of a job.
func ended(t *testing.T, id string) job.Job {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	updates, err := stack.Queue.WatchJobs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for u := range updates {
		if u.Job.ID == id && u.Job.State.Terminal() {
			return u.Job
		}
	}
	t.Fatalf("job %s has not ended", id)
	return job.Job{}
}

// until waits until something that is on its way is there.
func until(t *testing.T, there func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !there() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("it never was")
		}
	}
}
