package clickhouse_test

import (
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// ledger makes a row of job j for a chunk.
func ledger(table clickhouse.Table, id string, chunk, generation, attempt, rows int, outcome string) clickhouse.LedgerRow {
	return clickhouse.LedgerRow{
		Result: job.Result{Job: id, Chunk: uint64(chunk), Generation: uint32(generation), Attempt: attempt, Worker: "w1", RowsRead: uint64(rows), RowsLoaded: uint64(rows), //nolint:gosec // small
			StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)},
		Table: table, Pipeline: "p", Outcome: outcome, RecordedAt: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC),
	}
}

func append1(t *testing.T, c *clickhouse.Client, rows ...clickhouse.LedgerRow) {
	t.Helper()
	if err := c.AppendLedger(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	if err := c.EnsureLedger(t.Context()); err != nil {
		t.Fatal(err)
	}
	table := target(t, c, "t")
	id := "job of " + table.Database // the ledger is shared
	verify := func(provenance bool) job.Proof {
		t.Helper()
		p, err := c.Verify(t.Context(), table, id, provenance)
		if err != nil {
			t.Fatal(err)
		}
		if p.At.IsZero() {
			t.Error("no time")
		}
		return p
	}
	put := func(chunk, from, n int, token string) {
		t.Helper()
		body := native(t, c, fmt.Sprintf("SELECT number AS id, '' AS s, toLowCardinality('%s') AS _job, toUInt64(%d) AS _chunk FROM numbers(%d, %d)", id, chunk, from, n))
		mustLoad(t, c, load(table, body, token))
	}
	want := func(p job.Proof, rows uint64, differ ...job.Difference) {
		t.Helper()
		if p.Rows != rows || !reflect.DeepEqual(p.Differ, differ) {
			t.Errorf("got %d rows and %v, want %d and %v", p.Rows, p.Differ, rows, differ)
		}
	}
	want(verify(true), 0)
	want(verify(false), 0)

	for chunk := range 5 {
		put(chunk, 100*chunk, 100, fmt.Sprint("a", chunk))
		append1(t, c, ledger(table, id, chunk, 0, 1, 0, "retry"), ledger(table, id, chunk, 0, 2, 100, "loaded"))
	}
	// The same rows again, a loser's row, another job, another table.
	for range 2 {
		append1(t, c, ledger(table, id, 0, 0, 2, 100, "loaded"), ledger(table, id, 0, 0, 3, 100, "loaded"),
			ledger(table, "other", 77, 0, 1, 5, "loaded"),
			ledger(clickhouse.Table{Database: table.Database, Name: "u"}, id, 78, 0, 1, 5, "loaded"))
	}
	if p := verify(true); p.Kind != "provenance" {
		t.Errorf("kind %s", p.Kind)
	}
	want(verify(true), 500)
	if p := verify(false); p.Kind != "ledger" {
		t.Errorf("kind %s", p.Kind)
	}
	want(verify(false), 500)

	// A chunk is missing, one has too many rows, one is not in the ledger.
	exec1(t, c, "ALTER TABLE t DELETE WHERE _chunk = 1 SETTINGS mutations_sync = 1")
	put(2, 0, 3, "b2")
	put(9, 0, 7, "b9")
	want(verify(true), 410, job.Difference{Chunk: 1, Recorded: 100}, job.Difference{Chunk: 2, Recorded: 100, Found: 103}, job.Difference{Chunk: 9, Found: 7})
	want(verify(false), 500)

	// Repaired under the next generation; given up.
	exec1(t, c, "DELETE FROM t WHERE _chunk IN (2, 9)")
	put(1, 100, 90, "c1")
	put(2, 200, 100, "c2")
	append1(t, c, ledger(table, id, 1, 1, 1, 90, "loaded"), ledger(table, id, 2, 1, 1, 100, "loaded"), ledger(table, id, 9, 0, 5, 0, "dead"), ledger(table, id, 3, 1, 5, 0, "dead"))
	want(verify(true), 490, job.Difference{Chunk: 3, Found: 100})
	want(verify(false), 390)
	if got := query(t, c, "SELECT chunks_loaded, chunks_dead, rows_loaded, pipeline FROM drayage.jobs WHERE job = '"+id+"' AND table = 't'"); got != "4\t2\t390\tp" {
		t.Errorf("the summary says %q", got)
	}

	// At most 100 differences, the first ones.
	var rows []clickhouse.LedgerRow
	for chunk := 1000; chunk < 3000; chunk++ {
		rows = append(rows, ledger(table, id, chunk, 0, 1, 1, "loaded"))
	}
	append1(t, c, rows...)
	p := verify(true)
	if p.Rows != 490 || len(p.Differ) != 100 || p.Differ[0].Chunk != 3 || p.Differ[99].Chunk != 1098 {
		t.Errorf("%d rows, %d differences", p.Rows, len(p.Differ))
	}

	if n, err := c.ChunkRows(t.Context(), table, id, 2); n != 100 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if n, err := c.ChunkRows(t.Context(), table, "nobody", 2); n != 0 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestLedgerKeepsEveryField(t *testing.T) {
	t.Parallel()
	p := ownEngine(t, "")
	defer closeEngine(t, p)
	c := open(t, p.URL(), func(cfg *clickhouse.Config) { cfg.Database = "default" })
	// A ledger of an older version, and several coordinators at once.
	exec1(t, c, "CREATE DATABASE drayage")
	exec1(t, c, `CREATE TABLE drayage.ledger (job String, database LowCardinality(String), table LowCardinality(String), chunk UInt64, generation UInt32, attempt UInt32, outcome LowCardinality(String), recorded_at DateTime64(3, 'UTC'))
ENGINE = ReplacingMergeTree(recorded_at) ORDER BY (job, database, table, chunk, generation, attempt, outcome)`)
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() { errs[i] = c.EnsureLedger(t.Context()) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := c.AppendLedger(t.Context(), nil); err != nil {
		t.Error(err)
	}
	row := clickhouse.LedgerRow{
		Result: job.Result{Job: "j", Chunk: 1 << 60, Generation: 2, Attempt: 3, Worker: "w", RowsRead: 4, RowsLoaded: 5, RowsRejected: 6, BytesRead: 7, BytesLoaded: 8,
			Hash: "cafe", StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.FixedZone("", 3600)), TransformMS: 9, LoadMS: 10, Recovered: true},
		Table: clickhouse.Table{Database: "d", Name: "t"}, Pipeline: "p", Outcome: "loaded", Error: "it's\n\x00", RecordedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	for range 3 { // the first under another token, as with others beside it
		append1(t, c, row)
		append1(t, c, row, clickhouse.LedgerRow{Outcome: "retry"})
	}
	exec1(t, c, "OPTIMIZE TABLE drayage.ledger FINAL")
	got := query(t, c, "SELECT * FROM drayage.ledger WHERE job = 'j' FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 0")
	want := `{"job":"j","database":"d","table":"t","chunk":1152921504606846976,"generation":2,"attempt":3,"outcome":"loaded",` +
		`"recorded_at":"2026-01-02 03:04:05.000","pipeline":"p","worker":"w","rows_read":4,"rows_loaded":5,"rows_rejected":6,"bytes_read":7,"bytes_loaded":8,` +
		`"hash":"cafe","started_at":"2026-01-02 02:04:05.006","transform_ms":9,"load_ms":10,"recovered":true,"error":"it's\n\u0000"}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := query(t, c, "SELECT count(), max(started_at) FROM drayage.ledger WHERE job = ''"); got != "1\t1970-01-01 00:00:00.000" {
		t.Errorf("got %s", got)
	}
}
