package worker_test

import (
	"context"
	"errors"
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
	"drayage/pkg/job"
	"drayage/pkg/local"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
	"drayage/pkg/testkit"
	"drayage/worker"
)

func TestMain(m *testing.M) {
	testkit.Engine()
	goleak.VerifyTestMain(m)
}

// bench is everything but a coordinator, with one running job of one chunk
// that the test hands out itself.
type bench struct {
	*local.Stack
	cfg   local.Config
	chunk job.Chunk
	file  string // its input
}

func newBench(t *testing.T, lines int, transform string, before ...string) *bench {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("DRAY_DATA_DIR", filepath.Join(dir, "data"))
	t.Setenv("DRAY_LEASE", "2s")
	cfg, err := local.Load()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{cfg: cfg, file: filepath.Join(dir, "a.csv")}
	if b.Stack, err = local.Start(t.Context(), cfg, zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(b.Queue.Ensure(t.Context()), b.ClickHouse.EnsureLedger(t.Context())); err != nil {
		t.Fatal(err)
	}
	for _, sql := range before {
		if err := b.ClickHouse.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	var csv strings.Builder
	for i := range lines {
		fmt.Fprintf(&csv, "%d,x\n", i)
	}
	if err := os.WriteFile(b.file, []byte(csv.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	text := "pipeline: bench\nsource:\n  files: {path: a.csv, header: false}\n  columns: id UInt64, s String\ntransform: " + transform +
		"\nretry: {attempts: 2, backoff: 10ms..20ms}\nload: {table: bench, create: ENGINE = MergeTree PARTITION BY id % 3 ORDER BY id}\n"
	doc, err := pipeline.Parse(text, "bench.yaml", dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	j := job.Job{ID: "bench", Name: "bench", State: job.Running, CreatedAt: time.Now(), Submission: job.Submission{Pipeline: text, Dir: dir}}
	frozen, err := coordinator.Freezer{Engine: b.Engine.Client(), ClickHouse: b.ClickHouse, Create: true}.Freeze(t.Context(), doc, j.ID, j.CreatedAt)
	if err != nil {
		t.Fatal(err)
	}
	j.Frozen = &frozen.Frozen
	if err := b.Queue.OpenJob(t.Context(), j.ID, queue.JobQueue{MaxInFlight: 4}); err != nil {
		t.Fatal(err)
	}
	for planned, err := range frozen.Source.Plan(t.Context(), nil, frozen.Columns) {
		if err != nil {
			t.Fatal(err)
		}
		b.chunk = job.Chunk{Job: j.ID, Bytes: planned.Bytes, Input: planned.Input}
	}
	if err := b.Queue.PublishChunk(t.Context(), b.chunk); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Queue.CreateJob(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	return b
}

// work runs a worker until ok, or a minute.
func (b *bench) work(t *testing.T, ok func() bool) {
	t.Helper()
	b.workAndTell(t, zerolog.Nop(), ok)
}

func (b *bench) workAndTell(t *testing.T, log zerolog.Logger, ok func() bool) {
	t.Helper()
	w, err := worker.New(b.cfg.Worker, worker.Deps{Queue: b.Queue, ClickHouse: b.ClickHouse, Engine: b.Engine, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	deadline := time.Now().Add(time.Minute)
	for !ok() && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if !ok() {
		t.Fatal("the worker did not get there")
	}
}

func (b *bench) result(t *testing.T) (job.Result, bool) {
	t.Helper()
	r, err := b.Queue.Result(t.Context(), b.chunk.Job, b.chunk.Ordinal, b.chunk.Generation)
	if err != nil && !errors.Is(err, queue.ErrNotFound) {
		t.Fatal(err)
	}
	return r, err == nil
}

func (b *bench) count(t *testing.T) string {
	t.Helper()
	return b.sql(t, "SELECT count(), uniqExact(id) FROM bench")
}

func (b *bench) sql(t *testing.T, query string) string {
	t.Helper()
	var out strings.Builder
	if err := b.ClickHouse.Query(t.Context(), query, "TabSeparated", &out); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

// again hands the chunk out as if its worker had died between the insert and
// the record; redelivered: as its second delivery.
func (b *bench) again(t *testing.T, redelivered bool) {
	t.Helper()
	if err := b.Queue.PurgeResults(t.Context(), b.chunk.Job); err != nil {
		t.Fatal(err)
	}
	if err := b.Queue.PublishChunk(t.Context(), b.chunk); err != nil {
		t.Fatal(err)
	}
	if !redelivered {
		return
	}
	p, err := b.Queue.Puller(t.Context(), b.chunk.Job)
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Next(t.Context(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Settle(t.Context(), job.Verdict{Kind: job.VerdictRetry, After: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
}

// A chunk whose rows are in ClickHouse and whose worker died before it could
// say so adds no row when it is delivered again.
func TestRedeliveredChunkAddsNoRow(t *testing.T) {
	b := newBench(t, 1000, "SELECT id, s FROM chunk")
	recorded := func() bool { _, ok := b.result(t); return ok }
	b.work(t, recorded)
	first, _ := b.result(t)
	if got := b.count(t); got != "1000\t1000" || first.Recovered || first.Attempt != 1 || first.RowsRead != 1000 {
		t.Fatalf("table has %q, result %+v", got, first)
	}
	for _, redelivered := range []bool{false, true} {
		b.again(t, redelivered)
		b.work(t, recorded)
		again, _ := b.result(t)
		if got := b.count(t); got != "1000\t1000" {
			t.Errorf("redelivered %t: table has %q", redelivered, got)
		}
		if again.Recovered != redelivered || again.RowsLoaded != 1000 || again.Hash != first.Hash {
			t.Errorf("redelivered %t: result %+v after %+v", redelivered, again, first)
		}
	}
}

// ClickHouse is killed when the table has the rows of a chunk and the view has
// none of them yet: the redelivered chunk feeds the view, and the table not.
func TestRedeliveredChunkFeedsTheView(t *testing.T) {
	b := newBench(t, 1000, "SELECT id, s FROM chunk",
		"CREATE TABLE bench (id UInt64, s String, _job LowCardinality(String), _chunk UInt32) ENGINE = MergeTree PARTITION BY id % 3 ORDER BY id SETTINGS non_replicated_deduplication_window = 10000",
		"CREATE TABLE sums (s String, n UInt64) ENGINE = SummingMergeTree ORDER BY s SETTINGS non_replicated_deduplication_window = 10000",
		"CREATE MATERIALIZED VIEW feed TO sums AS SELECT s, count() AS n FROM bench GROUP BY s")
	recorded := func() bool { _, ok := b.result(t); return ok }
	for _, lost := range []bool{false, true} {
		b.work(t, recorded)
		if got := b.sql(t, "SELECT sum(n) FROM sums"); got != "1000" || b.count(t) != "1000\t1000" {
			t.Fatalf("lost %t: the view has %s rows, the table %q", lost, got, b.count(t))
		}
		if !lost {
			b.sql(t, "TRUNCATE TABLE sums") // forgets the token too
		}
		b.again(t, true)
	}
}

// A chunk that has a result is acknowledged and not done again.
func TestChunkWithResultIsNotDoneAgain(t *testing.T) {
	b := newBench(t, 10, "SELECT id, s FROM chunk")
	want := job.Result{Job: b.chunk.Job, Worker: "another", Attempt: 1, RowsLoaded: 77}
	if err := b.Queue.RecordResult(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	b.work(t, func() bool {
		queued, _, err := b.Queue.Backlog(t.Context(), b.chunk.Job)
		return err == nil && queued == 0
	})
	if got, _ := b.result(t); got.Worker != "another" || b.count(t) != "0\t0" {
		t.Errorf("result %+v, table %q", got, b.count(t))
	}
}

// A chunk whose attempts are used up ends in the dead letters with its error,
// and one that can never succeed does at its first attempt.
func TestGivenUp(t *testing.T) {
	for _, tt := range []struct {
		name, transform, reason, expect string
		attempts                        int
	}{
		{"permanent", "SELECT id, s FROM chunk", job.ReasonPermanent, "changed since it was planned", 1},
		{"rejects", "SELECT toUInt64(s) AS id, s FROM chunk", job.ReasonRejects, "Cannot parse", 1},
		// It makes no progress for longer than its lease, again and again.
		{"attempts", "SELECT id, s FROM chunk WHERE sleepEachRow(1) = 0", job.ReasonAttempts, "lost it each time", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, 3, tt.transform)
			if tt.reason == job.ReasonPermanent {
				if err := os.WriteFile(b.file, []byte("1,another file\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var dead []job.Dead
			b.work(t, func() bool {
				var err error
				if dead, err = b.Queue.DeadLetters(t.Context(), b.chunk.Job, 10); err != nil {
					t.Fatal(err)
				}
				return len(dead) > 0
			})
			if d := dead[0]; len(dead) != 1 || d.Reason != tt.reason || d.Attempts != tt.attempts || !strings.Contains(d.Error, tt.expect) {
				t.Errorf("dead letters are %+v", dead)
			}
			if got := b.count(t); got != "0\t0" {
				t.Errorf("table has %q", got)
			}
		})
	}
}

// A chunk that needs a newer worker is given back whole: it is neither done nor
// dead, and its attempts are all there for the one that comes.
func TestNewerChunkIsGivenBack(t *testing.T) {
	b := newBench(t, 10, "SELECT id, s FROM chunk")
	ctx := t.Context()
	b.chunk.Ordinal++
	b.chunk.Protocol = job.Protocol + 1
	if err := b.Queue.PublishChunk(ctx, b.chunk); err != nil {
		t.Fatal(err)
	}
	var log told
	b.workAndTell(t, zerolog.New(&log), func() bool { return log.has("needs a dray of protocol") })
	if r, done := b.result(t); done {
		t.Errorf("it has the result %+v", r)
	}
	if dead, err := b.Queue.DeadLetters(ctx, b.chunk.Job, 10); err != nil || len(dead) > 0 {
		t.Errorf("dead letters are %+v (%v)", dead, err)
	}
	p, err := b.Queue.Puller(ctx, b.chunk.Job)
	if err != nil {
		t.Fatal(err)
	}
	for {
		d, err := p.Next(ctx, 20*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if d.Chunk().Ordinal != b.chunk.Ordinal { // the worker may not have come to it
			continue
		}
		if excused, err := d.Excused(ctx); err != nil || excused != 1 || d.Attempt() != 2 {
			t.Errorf("it is delivered for the %dth time, %d of them excused (%v)", d.Attempt(), excused, err)
		}
		return
	}
}

// told is a log that can be asked while it is written.
type told struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *told) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *told) has(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), part)
}
