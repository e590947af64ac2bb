package clickhouse_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// loaded is a ledger row of a chunk that was loaded with so many rejects.
func loaded(table clickhouse.Table, id string, chunk, rows, rejected int) clickhouse.LedgerRow {
	row := ledger(table, id, chunk, 0, 1, rows, "loaded")
	row.RowsRejected = uint64(rejected) //nolint:gosec // small
	return row
}

func TestVerifyRejects(t *testing.T) {
	t.Parallel()
	c, id := jobs(t)
	table := target(t, c, "t")
	wantProofs := func(rows, rejected uint64, differ ...job.Difference) {
		t.Helper()
		for _, provenance := range []bool{true, false} {
			p, err := c.Verify(t.Context(), table, id, provenance)
			if err != nil || p.Rows != rows || p.Rejected != rejected || !reflect.DeepEqual(p.Differ, differ) {
				t.Errorf("with provenance %v: got %+v, %v, want %d, %d, %v", provenance, p, err, rows, rejected, differ)
			}
			var each []job.Difference
			err = c.VerifyEach(t.Context(), table, id, provenance, func(d job.Difference) error { each = append(each, d); return nil })
			if err != nil || !reflect.DeepEqual(each, differ) {
				t.Errorf("with provenance %v: got %+v, %v, want %v", provenance, each, err, differ)
			}
		}
	}
	wantProofs(0, 0)
	for chunk := range 4 {
		chunkOf(t, c, table, id, chunk, 10)
		reject(t, c, batch(table, id, uint64(chunk), 2)) //nolint:gosec // small
		append1(t, c, loaded(table, id, chunk, 10, 2))
	}
	// Those of other jobs and other tables are none of ours.
	reject(t, c, batch(table, id+"-b", 1, 2))
	reject(t, c, batch(clickhouse.Table{Name: "another"}, id, 90, 2))
	wantProofs(40, 8)

	// Some are missing, some are too many, some come from nowhere.
	exec1(t, c, "DELETE FROM drayage.rejects WHERE job = '"+id+"' AND chunk = 0 AND record = 1")
	b := batch(table, id, 2, 1)
	b.Chunk.Generation = 1
	reject(t, c, b)
	reject(t, c, batch(table, id, 80, 3))
	wantProofs(40, 11,
		job.Difference{Chunk: 0, Recorded: 10, Found: 10, RejectedRecorded: 2, RejectedFound: 1},
		job.Difference{Chunk: 2, Recorded: 10, Found: 10, RejectedRecorded: 2, RejectedFound: 3},
		job.Difference{Chunk: 80, RejectedFound: 3})
	if err := c.DeleteRejects(t.Context(), table, id, []uint64{0, 2, 80}); err != nil {
		t.Fatal(err)
	}
	append1(t, c, ledger(table, id, 0, 1, 1, 10, "loaded"), ledger(table, id, 2, 1, 1, 10, "loaded")) // without rejects
	wantProofs(40, 4)

	// A dead chunk must have none, neither rows nor rejects.
	append1(t, c, ledger(table, id, 1, 1, 5, 0, "dead"))
	p, err := c.Verify(t.Context(), table, id, true)
	if err != nil || !reflect.DeepEqual(p.Differ, []job.Difference{{Chunk: 1, Found: 10, RejectedFound: 2}}) {
		t.Errorf("got %+v, %v", p, err)
	}
	if err := c.DeleteChunks(t.Context(), table, id, []uint64{1}); err != nil {
		t.Fatal(err)
	}
	wantProofs(30, 2)

	mine := errors.New("mine")
	append1(t, c, loaded(table, id, 50, 1, 1), loaded(table, id, 51, 1, 1))
	for from, want := range map[error]error{clickhouse.ErrStop: nil, mine: mine} {
		n := 0
		err := c.VerifyEach(t.Context(), table, id, true, func(job.Difference) error { n++; return from })
		if n != 1 || !errors.Is(err, want) {
			t.Errorf("called %d times, got %v", n, err)
		}
	}
}

func TestVerifyEachGivesAll(t *testing.T) {
	t.Parallel()
	c, id := jobs(t)
	table := target(t, c, "t")
	var rows []clickhouse.LedgerRow
	const chunks = 20_000
	for chunk := range chunks {
		rows = append(rows, loaded(table, id, chunks-1-chunk, 1, 0))
	}
	append1(t, c, rows...)
	n := uint64(0)
	err := c.VerifyEach(t.Context(), table, id, true, func(d job.Difference) error {
		if d != (job.Difference{Chunk: n, Recorded: 1}) {
			return fmt.Errorf("got %+v at place %d", d, n)
		}
		n++
		return nil
	})
	if n != chunks || err != nil {
		t.Errorf("got %d differences, %v", n, err)
	}
}

func TestRetiredAndUndoneChunksCountNothing(t *testing.T) {
	t.Parallel()
	c, id := jobs(t)
	table := target(t, c, "t")
	summary := func() string {
		t.Helper()
		return strings.ReplaceAll(query(t, c, "SELECT chunks_loaded, chunks_dead, chunks_retired, chunks_undone, rows_loaded, rows_rejected, pipeline, toString(started_at) FROM drayage.jobs WHERE job = '"+id+"'"), "\t", " ")
	}
	at := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	const start = " p 2026-01-02 03:04:05.006"
	append1(t, c, loaded(table, id, 0, 10, 1), loaded(table, id, 1, 10, 1), loaded(table, id, 2, 10, 1), ledger(table, id, 3, 0, 5, 0, "dead"))
	if got := summary(); got != "3 1 0 0 30 3"+start {
		t.Errorf("got %s", got)
	}
	// Whatever is loaded before or after, under whatever generation.
	for i := range 3 {
		if err := c.RetireChunks(t.Context(), table, id, "p", []uint64{1, 3, 4}, job.ReplacedRepair, at.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
		append1(t, c, ledger(table, id, 4, 7, 1, 10, "loaded"), ledger(table, id, 1, 9, 1, 10, "loaded"))
	}
	if got := summary(); got != "2 0 3 0 20 2"+start {
		t.Errorf("got %s", got)
	}
	if err := c.RetireChunks(t.Context(), table, id, "p", nil, "", at); err != nil {
		t.Error(err)
	}
	chunkOf(t, c, table, id, 0, 10)
	chunkOf(t, c, table, id, 1, 10)
	chunkOf(t, c, table, id, 2, 10)
	for _, chunk := range []uint64{0, 1, 2} {
		reject(t, c, batch(table, id, chunk, 1))
	}
	p, err := c.Verify(t.Context(), table, id, true)
	if err != nil || p.Rows != 30 || !reflect.DeepEqual(p.Differ, []job.Difference{{Chunk: 1, Found: 10, RejectedFound: 1}}) {
		t.Errorf("got %+v, %v", p, err)
	}
	if err := c.DeleteChunks(t.Context(), table, id, []uint64{1, 3, 4}); err != nil {
		t.Fatal(err)
	}
	if p, err = c.Verify(t.Context(), table, id, true); err != nil || p.Rows != 20 || p.Rejected != 2 || len(p.Differ) != 0 {
		t.Errorf("got %+v, %v", p, err)
	}

	// The whole job is undone; of another job nothing.
	append1(t, c, loaded(table, id+"-b", 0, 10, 1))
	for i := range 2 {
		if err := c.MarkUndone(t.Context(), table, id, at.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if p, err = c.Verify(t.Context(), table, id, true); err != nil || p.Rows != 20 || len(p.Differ) != 2 {
		t.Errorf("got %+v, %v", p, err)
	}
	if n, err := c.DeleteJob(t.Context(), table, id); n != 20 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if p, err = c.Verify(t.Context(), table, id, true); err != nil || p.Rows != 0 || p.Rejected != 0 || len(p.Differ) != 0 {
		t.Errorf("got %+v, %v", p, err)
	}
	if got := summary(); got != "0 0 0 5 0 0"+start {
		t.Errorf("got %s", got)
	}
	if p, err = c.Verify(t.Context(), table, id+"-b", false); err != nil || p.Rows != 10 {
		t.Errorf("got %+v, %v", p, err)
	}
	exec1(t, c, "OPTIMIZE TABLE drayage.ledger FINAL")
	if got := query(t, c, "SELECT count() FROM drayage.ledger WHERE job = '"+id+"' AND outcome IN ('retired', 'undone')"); got != "8" {
		t.Errorf("%s rows", got)
	}
}

// oldSummary is the view as the first version made it, in short.
const oldSummary = "CREATE VIEW drayage.jobs AS SELECT job, database, table, count() AS chunks_loaded FROM drayage.ledger GROUP BY job, database, table"

func TestEnsureLedgerReplacesAnOldSummary(t *testing.T) {
	t.Parallel()
	p := ownEngine(t, "")
	defer closeEngine(t, p)
	c := open(t, p.URL(), func(cfg *clickhouse.Config) { cfg.Database = "default"; cfg.MaxConns = 32 })
	ensure := func() {
		t.Helper()
		if err := c.EnsureLedger(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	version := func() string {
		return query(t, c, "SELECT comment, uuid FROM system.tables WHERE database = 'drayage' AND name = 'jobs'")
	}
	ensure()
	exec1(t, c, "DROP VIEW drayage.jobs")
	exec1(t, c, oldSummary)
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() { errs[i] = c.EnsureLedger(t.Context()) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if got := query(t, c, "SELECT chunks_retired, chunks_undone FROM drayage.jobs"); got != "" {
		t.Errorf("got %q", got)
	}
	before := version()
	ensure()
	if after := version(); after != before {
		t.Errorf("replaced without need: %s, %s", before, after)
	}
	// That of a newer version stays.
	exec1(t, c, "DROP VIEW drayage.jobs")
	exec1(t, c, oldSummary+" COMMENT 'Drayage''s jobs, summed up from the ledger; definition 999'")
	before = version()
	ensure()
	if after := version(); after != before {
		t.Errorf("a newer one was replaced: %s, %s", before, after)
	}
	// Who may not make views has a ledger all the same, and is told what is missing.
	exec1(t, c, "DROP VIEW drayage.errors")
	poor, err := clickhouse.Open(t.Context(), clickhouse.Config{URL: denyingAt(t, p.URL(), "CREATE OR REPLACE VIEW")})
	if err != nil {
		t.Fatal(err)
	}
	defer poor.Close()
	if err := poor.EnsureLedger(t.Context()); err != nil {
		t.Error(err)
	}
	if missing, err := poor.Missing(t.Context()); err != nil || !slices.Equal(missing, []clickhouse.Table{clickhouse.ErrorsView}) {
		t.Errorf("missing are %v, %v", missing, err)
	}
}

func TestViewsAndProjections(t *testing.T) {
	t.Parallel()
	c := openIn(t, shared.URL())
	describe := func(name string) clickhouse.TableInfo {
		t.Helper()
		info, err := c.Describe(t.Context(), clickhouse.Table{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	exec1(t, c, "CREATE TABLE t (a UInt32, `projection` String DEFAULT 'PROJECTION', b String COMMENT ', PROJECTION x') ENGINE = MergeTree ORDER BY a")
	if info := describe("t"); len(info.Views) != 0 || info.Projections {
		t.Errorf("got %+v", info)
	}
	exec1(t, c, "CREATE TABLE s (a UInt32) ENGINE = MergeTree ORDER BY a")
	exec1(t, c, "CREATE MATERIALIZED VIEW `v 2` TO s AS SELECT a FROM t")
	exec1(t, c, "CREATE MATERIALIZED VIEW v1 ENGINE = MergeTree ORDER BY a AS SELECT a FROM t")
	exec1(t, c, "CREATE MATERIALIZED VIEW chained ENGINE = MergeTree ORDER BY a AS SELECT a FROM s")
	exec1(t, c, "CREATE MATERIALIZED VIEW timed REFRESH EVERY 1 YEAR ENGINE = MergeTree ORDER BY a AS SELECT a FROM t")
	exec1(t, c, "CREATE VIEW plain AS SELECT a FROM t")
	exec1(t, c, "ALTER TABLE t ADD PROJECTION p (SELECT a, count() GROUP BY a)")
	d := c.Database()
	if info := describe("t"); !info.Projections || !reflect.DeepEqual(info.Views, []clickhouse.Table{{Database: d, Name: "v 2"}, {Database: d, Name: "v1"}}) {
		t.Errorf("got %+v", info)
	}
	if info := describe("s"); !reflect.DeepEqual(info.Views, []clickhouse.Table{{Database: d, Name: "chained"}}) {
		t.Errorf("got %+v", info)
	}
}
