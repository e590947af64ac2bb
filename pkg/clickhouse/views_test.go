package clickhouse_test

import (
	"testing"
	"time"

	"drayage/pkg/clickhouse"
)

// The views show the ledger as a person asks for it: each chunk once, errors by
// kind, what was loaded when.
func TestViews(t *testing.T) {
	t.Parallel()
	c := openIn(t, shared.URL())
	if err := c.EnsureLedger(t.Context()); err != nil {
		t.Fatal(err)
	}
	if missing, err := c.Missing(t.Context()); err != nil || len(missing) > 0 {
		t.Errorf("missing are %v, %v", missing, err)
	}
	const id = "seen-1"
	target := clickhouse.Table{Database: c.Database(), Name: "t"}
	failed := func(chunk, attempt int, outcome, text string) clickhouse.LedgerRow {
		r := ledger(target, id, chunk, 0, attempt, 0, outcome)
		r.Error = text
		return r
	}
	later := ledger(target, id, 3, 0, 1, 7, "loaded")
	later.RecordedAt = later.RecordedAt.Add(time.Minute)
	for range 2 { // written again by another coordinator
		append1(t, c,
			failed(0, 1, "retry", "no answer of 10.0.0.1:9000"), failed(0, 2, "retry", "no answer of 10.0.0.2:9000"), ledger(target, id, 0, 0, 3, 100, "loaded"),
			failed(1, 1, "slow_down", "too many parts (300)"), failed(1, 2, "retry", "no answer of 10.0.0.3:9000"),
			failed(2, 1, "dead", "cannot parse 'x'"), ledger(target, id, 2, 0, 2, 9, "retired"),
			later)
	}
	for query1, want := range map[string]string{
		"SELECT chunk, outcome, attempt, rows_loaded, pipeline, worker FROM drayage.chunks WHERE job = 'seen-1' ORDER BY chunk": "0\tloaded\t3\t100\tp\tw1\n1\tretry\t2\t0\tp\tw1\n2\tretired\t2\t9\tp\tw1\n3\tloaded\t1\t7\tp\tw1",
		"SELECT outcome, kind, attempts, chunks FROM drayage.errors WHERE job = 'seen-1' ORDER BY outcome, kind":                "dead\tcannot parse \\'x\\'\t1\t1\nretry\tno answer of N.N.N.N:N\t3\t2\nslow_down\ttoo many parts (N)\t1\t1",
		"SELECT minute, chunks, rows_loaded, workers FROM drayage.throughput WHERE job = 'seen-1' ORDER BY minute":              "2026-01-02 03:04:00\t1\t100\t1\n2026-01-02 03:05:00\t1\t7\t1",
	} {
		if got := query(t, c, query1); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", query1, got, want)
		}
	}
}
