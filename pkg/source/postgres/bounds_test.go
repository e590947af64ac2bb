package postgres

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source/sourcetest"
)

// A job reads what came since the state of the one before, whatever the column
// is and whether an index leads to it or not.
func TestBounds(t *testing.T) {
	for name, tt := range map[string]struct {
		typ, value string // of the column, and its value for n
		index      bool
		query      bool
	}{
		"bigint":             {"bigint NOT NULL", "n", true, false},
		"timestamptz":        {"timestamptz", "'2026-01-01 00:00:00.000001+02'::timestamptz + n * interval '1 ms'", true, false},
		"no index":           {"timestamp NOT NULL", "'2026-01-01'::timestamp + n * interval '1 s'", false, false},
		"date":               {"date", "'2026-01-01'::date + n", true, false},
		"numeric of a query": {"numeric(20, 4)", "n * 1.5", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			table := "bounds_" + strings.ReplaceAll(name, " ", "_")
			exec(t, fmt.Sprintf("DROP TABLE IF EXISTS %[1]s; CREATE TABLE %[1]s (id bigint PRIMARY KEY, at %[2]s)", table, tt.typ))
			if tt.index {
				exec(t, fmt.Sprintf("CREATE INDEX ON %s (at)", table))
			}
			add := func(from, to int) {
				exec(t, fmt.Sprintf("INSERT INTO %s SELECT n, %s FROM generate_series(%d, %d) n", table, tt.value, from, to-1))
			}
			cfg := Config{Table: table, Rows: 300, Watermark: job.Watermark{Column: "at"}}
			if tt.query {
				cfg.Table, cfg.Query = "", "SELECT * FROM "+table
			}
			var state json.RawMessage
			next := func() (rows []string, chunks int) {
				t.Helper()
				bounds, after, err := mustNew(t, cfg).Bounds(t.Context(), state)
				if err != nil {
					t.Fatal(err)
				}
				bounded := cfg
				bounded.Bounds, state = bounds, after
				all, planned := sourcetest.Lines(t, mustNew(t, bounded))
				for _, some := range all {
					rows = append(rows, some...)
				}
				return rows, len(planned)
			}
			if rows, chunks := next(); len(rows) != 0 || chunks != 0 {
				t.Errorf("an empty table has %d rows in %d chunks", len(rows), chunks)
			}
			add(0, 1000)
			rows, chunks := next()
			if len(rows) != 1000 || !tt.query && chunks < 4 {
				t.Errorf("%d rows in %d chunks", len(rows), chunks)
			}
			if rows, _ := next(); len(rows) != 0 {
				t.Errorf("%d rows are read again", len(rows))
			}
			add(1000, 1100)
			if rows, chunks = next(); len(rows) != 100 || tt.index && chunks != 1 {
				t.Errorf("%d rows in %d chunks", len(rows), chunks)
			}
		})
	}
}

func TestLookback(t *testing.T) {
	exec(t, "CREATE TABLE late (id bigint PRIMARY KEY, at timestamptz NOT NULL); INSERT INTO late SELECT n, '2026-01-01 00:00:00+00'::timestamptz + n * interval '1 s' FROM generate_series(0, 7199) n")
	for column, back := range map[string]job.Lookback{"at": {N: 1, Unit: "hour"}, "id": {N: 3600}} {
		cfg := Config{Table: "late", Watermark: job.Watermark{Column: column, Lookback: back}}
		_, state, err := mustNew(t, cfg).Bounds(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		bounds, _, err := mustNew(t, cfg).Bounds(t.Context(), state)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Bounds = bounds
		all, _ := sourcetest.Lines(t, mustNew(t, cfg))
		n := 0
		for _, some := range all {
			n += len(some)
		}
		if n != 3600 {
			t.Errorf("%s: %d rows are read again", column, n)
		}
	}
	_, _, err := mustNew(t, Config{Table: "late", Watermark: job.Watermark{Column: "nowhere"}}).Bounds(t.Context(), nil)
	if err == nil || job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("the error is %v", err)
	}
}
