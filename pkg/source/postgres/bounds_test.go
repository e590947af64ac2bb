package postgres

import (
	"fmt"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source/keyed/keyedtest"
	"drayage/pkg/source/sourcetest"
)

// A job reads what came since the state of the one before, whatever the column
// is and whether an index leads to it or not.
func TestBounds(t *testing.T) {
	fill := func(value string, from, to int) string {
		return fmt.Sprintf("SELECT n, %s FROM generate_series(%d, %d) n", value, from, to)
	}
	keyedtest.Bounds(t, database, fill, map[string]keyedtest.Watermark{
		"bigint":             {Type: "bigint NOT NULL", Value: "n", Index: true},
		"timestamptz":        {Type: "timestamptz", Value: "'2026-01-01 00:00:00.000001+02'::timestamptz + n * interval '1 ms'", Index: true},
		"no index":           {Type: "timestamp NOT NULL", Value: "'2026-01-01'::timestamp + n * interval '1 s'"},
		"date":               {Type: "date", Value: "'2026-01-01'::date + n", Index: true},
		"numeric of a query": {Type: "numeric(20, 4)", Value: "n * 1.5", Query: true},
	})
}

func TestLookback(t *testing.T) {
	exec(t, "CREATE TABLE late (id bigint PRIMARY KEY, at timestamptz NOT NULL); INSERT INTO late SELECT n, '2026-01-01 00:00:00+00'::timestamptz + n * interval '1 s' FROM generate_series(0, 7199) n")
	keyedtest.Lookbacks(t, database, map[string]keyedtest.Late{
		"hour":   {Column: "at", Back: job.Lookback{N: 1, Unit: "hour"}, Rows: 3600},
		"number": {Column: "id", Back: job.Lookback{N: 3600}, Rows: 3600},
	})
	_, _, err := mustNew(t, Config{Table: "late", Watermark: job.Watermark{Column: "nowhere"}}).Bounds(t.Context(), nil)
	sourcetest.WantError(t, err, job.Permanent, "nowhere")
}
