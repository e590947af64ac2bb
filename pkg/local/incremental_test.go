package local_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"drayage/coordinator"
	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// again runs the pipeline's next job.
func again(t *testing.T, text string, full bool) job.Job {
	t.Helper()
	return stack.Ended(t, stack.Create(t, job.Submission{Job: coordinator.NewID("inc", time.Now()), Pipeline: text, File: "p.yaml", Dir: t.TempDir(), Full: full}))
}

// loads runs a pipeline once more: it must load so many rows, after which a query of
// its table says what is wanted.
func loads(t *testing.T, text, query string, rows uint64, want string) {
	t.Helper()
	if j := again(t, text, false); j.State != job.Done || j.Totals.RowsLoaded != rows {
		t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
	if got := stack.SQL(t, query); got != want {
		t.Errorf("the table has %q, want %q", got, want)
	}
}

// A job reads what came since the job before it, and nothing twice.
func TestIncremental(t *testing.T) {
	o := another(t)
	t.Setenv("INCREMENTAL_URL", o.URL())
	add := func(from, to int) {
		t.Helper()
		_, err := o.Client().Exec(t.Context(), engine.Statement{SQL: fmt.Sprintf(
			"INSERT INTO default.moving SELECT number, toDateTime64('2026-01-01 00:00:00', 3, 'UTC') + number FROM numbers(%d, %d)", from, to-from)})
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := o.Client().Exec(t.Context(), engine.Statement{SQL: "CREATE TABLE default.moving (id UInt64, at Nullable(DateTime64(3, 'UTC'))) ENGINE = MergeTree ORDER BY id SETTINGS index_granularity = 1000"})
	if err != nil {
		t.Fatal(err)
	}
	const text = `pipeline: moving
source: {clickhouse: {url: '${env:INCREMENTAL_URL}', table: moving}, rows: 1000}
incremental: {column: at}
load: {table: moving, order_by: id}
`
	rows := func() string {
		t.Helper()
		return stack.SQL(t, "SELECT count(), uniqExact(id) FROM moving")
	}
	step := func(chunks uint64, want string) job.Job {
		t.Helper()
		j := again(t, text, false)
		if j.State != job.Done || j.Totals.Chunks != chunks || rows() != want {
			t.Fatalf("the job is %s with %d chunks: %s; there are %q rows, want %d chunks and %q", j.State, j.Totals.Chunks, j.Error, rows(), chunks, want)
		}
		return j
	}
	step(0, "0\t0") // an empty table
	add(0, 5000)
	step(5, "5000\t5000")
	last := step(0, "5000\t5000")
	w, _, err := stack.Queue.Watermark(t.Context(), "moving")
	if err != nil || w.MovedBy != last.ID || w.Job != "" || !strings.Contains(string(w.State), "2026-01-01 01:23:19.000") {
		t.Errorf("the watermark is %+v, %v", w, err)
	}
	add(5000, 5700)
	step(1, "5700\t5700")

	// What a job has loaded that did not end well is taken out by the next, which
	// reads it again. This one has lost a chunk, and then its good end.
	add(5700, 9000)
	broken := again(t, strings.Replace(text, "load:", "retry: {attempts: 1}\ntransform: SELECT id, at FROM chunk WHERE throwIf(id = 7100) = 0\nload:", 1), false)
	if broken.State != job.DoneWithRejects || broken.Totals.Dead != 1 || broken.Totals.RowsLoaded == 0 {
		t.Fatalf("the job is %s: %s: %+v", broken.State, broken.Error, broken.Totals)
	}
	if err = stack.Queue.ForgetWatermark(t.Context(), "moving"); err != nil {
		t.Fatal(err)
	}
	w.State, w.Job = []byte(`{"to":"2026-01-01 01:34:59.000"}`), broken.ID
	if _, err := stack.Queue.PutWatermark(t.Context(), w, 0); err != nil {
		t.Fatal(err)
	}
	next := again(t, text, false)
	if next.State != job.Done || rows() != "9000\t9000" {
		t.Errorf("the job is %s: %s; there are %q rows", next.State, next.Error, rows())
	}

	if j, _, err := stack.Queue.Job(t.Context(), broken.ID); err != nil || j.UndoneAt.IsZero() {
		t.Errorf("the job before was not undone: %v", err)
	}

	// From the begin, in the place of what is there.
	full := again(t, strings.Replace(text, "order_by: id", "order_by: id, mode: replace", 1), true)
	if full.State != job.Done || rows() != "9000\t9000" || full.Totals.RowsLoaded != 9000 {
		t.Errorf("the job is %s: %s: %+v; there are %q rows", full.State, full.Error, full.Totals, rows())
	}
	step(0, "9000\t9000")
}

// Rows that came late are read with a lookback, into a table where they take
// their own place.
func TestLookback(t *testing.T) {
	o := another(t)
	t.Setenv("LOOKBACK_URL", o.URL())
	exec := func(sql string) {
		t.Helper()
		if _, err := o.Client().Exec(t.Context(), engine.Statement{SQL: sql}); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE TABLE default.late (id UInt64, at DateTime('UTC')) ENGINE = MergeTree ORDER BY id")
	exec("INSERT INTO default.late SELECT number, toDateTime('2026-01-01 00:00:00', 'UTC') + number FROM numbers(7200)")
	text := `pipeline: late
source: {clickhouse: {url: '${env:LOOKBACK_URL}', table: late}}
incremental: {column: at, lookback: 1 hour}
load: {table: late, order_by: id, engine: ReplacingMergeTree(at), mode: upsert}
`
	if j := again(t, text, false); j.State != job.Done || j.Totals.RowsLoaded != 7200 {
		t.Fatalf("the job is %s: %s: %+v", j.State, j.Error, j.Totals)
	}
	exec("INSERT INTO default.late VALUES (10000, '2026-01-01 01:30:00'), (10001, '2026-01-01 00:30:00')")
	j := again(t, text, false)
	if got := stack.SQL(t, "SELECT count(), countIf(id = 10000), countIf(id = 10001) FROM late FINAL"); j.State != job.Done || j.Totals.RowsLoaded != 3601 || got != "7201\t1\t0" {
		t.Errorf("the job is %s: %s: %+v; the table has %q", j.State, j.Error, j.Totals, got)
	}
}

func TestOneJobAtATime(t *testing.T) {
	const text = `pipeline: alone
source: {clickhouse: {url: '${env:ALONE_URL}', table: origin}, rows: 1000}
incremental: {column: id}
load: {table: alone, order_by: id}
`
	t.Setenv("ALONE_URL", origin(t))
	first := coordinator.NewID("alone", time.Now())
	// Somebody has it who is not at work yet.
	stack.Create(t, job.Submission{Job: first, Pipeline: text, File: "p.yaml"})
	claimed := func() bool {
		w, _, err := stack.Queue.Watermark(t.Context(), "alone")
		if err != nil && !errors.Is(err, queue.ErrNotFound) {
			t.Fatal(err)
		}
		return w.Job == first
	}
	for !claimed() {
		if j, _, err := stack.Queue.Job(t.Context(), first); err != nil || j.State.Terminal() {
			t.Fatalf("the job is %s, %v", j.State, err)
		}
	}
	second := again(t, text, false)
	if second.State != job.Failed || !strings.Contains(second.Error, "job "+first+" of pipeline alone is ") {
		t.Errorf("the job is %s: %s", second.State, second.Error)
	}
	if j := stack.Ended(t, first); j.State != job.Done {
		t.Errorf("the job is %s: %s", j.State, j.Error)
	}
}
