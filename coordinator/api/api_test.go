package api_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drayage/coordinator"
	"drayage/coordinator/api"
	"drayage/pkg/job"
	"drayage/pkg/testkit/fleet"
)

// What all tests of this package share: a whole Drayage and a Service over it.
// Each works in tables of its own.
var (
	stack   *fleet.Fleet
	service *api.Service
)

func TestMain(m *testing.M) {
	fleet.Main(m, fleet.Setup{}, func(f *fleet.Fleet) (func(), error) {
		stack = f
		service = api.New(api.Deps{Queue: f.Queue, ClickHouse: f.ClickHouse, Log: f.Log})
		f.Go(service.Run)
		return nil, nil
	})
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
	return stack.Ended(t, stack.Create(t, job.Submission{Job: id, Pipeline: pipe("api", table), File: "api.yaml", Dir: inputs(t, 6)}))
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
