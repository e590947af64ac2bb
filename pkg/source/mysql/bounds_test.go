package mysql

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
		"unsigned":           {"bigint unsigned", "n + 9223372036854775800", true, false},
		"timestamp":          {"timestamp(6) NOT NULL DEFAULT '2020-01-01'", "'2026-01-01 00:00:00.000001' + interval n second", true, false},
		"no index":           {"datetime NOT NULL", "'2026-01-01 00:00:00' + interval n second", false, false},
		"date":               {"date", "'2026-01-01' + interval n day", true, false},
		"text":               {"varchar(20)", "concat('ž', lpad(n, 5, '0'))", true, false},
		"float":              {"float", "n / 8", true, false},
		"decimal of a query": {"decimal(20, 4)", "n * 1.5", false, true},
		"time of a query":    {"timestamp NULL", "'2026-01-01 00:00:00' + interval n second", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table := "bounds_" + strings.ReplaceAll(name, " ", "_")
			exec(t, fmt.Sprintf("CREATE TABLE %[1]s (id bigint PRIMARY KEY, at %[2]s)", table, tt.typ))
			if tt.index {
				exec(t, fmt.Sprintf("CREATE INDEX at ON %s (at)", table))
			}
			add := func(from, to int) {
				exec(t, fmt.Sprintf("INSERT INTO %s SELECT n, %s FROM (SELECT CAST(seq AS UNSIGNED) AS n FROM seq_%d_to_%d) s", table, tt.value, from, to-1))
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
	exec(t, `CREATE TABLE late (id bigint unsigned PRIMARY KEY, at timestamp(3) NOT NULL, day date, share double, amount decimal(12, 4), clock time, name varchar(10));
INSERT INTO late SELECT seq, '2026-01-01 00:00:00' + interval seq second, '2026-01-01' + interval seq day, seq / 8, seq / 4, '01:00:00', 'x' FROM seq_0_to_7199`)
	for name, tt := range map[string]struct {
		column string
		back   job.Lookback
		where  string
		rows   int
		err    string
	}{
		"hour":             {"at", job.Lookback{N: 1, Unit: "hour"}, "", 3600, ""},
		"number":           {"id", job.Lookback{N: 3600}, "", 3600, ""},
		"below zero":       {"id", job.Lookback{N: 9000}, "", 7200, ""},
		"days":             {"day", job.Lookback{N: 30, Unit: "day"}, "", 30, ""},
		"part of a day":    {"day", job.Lookback{N: 1, Unit: "hour"}, "", 1, ""},
		"before all days":  {"day", job.Lookback{N: 9000, Unit: "year"}, "", 7200, ""},
		"double":           {"share", job.Lookback{N: 10}, "", 80, ""},
		"decimal":          {"amount", job.Lookback{N: 10}, "", 40, ""},
		"where":            {"id", job.Lookback{N: 10}, "id < 100 -- all", 10, ""},
		"number of a time": {"at", job.Lookback{N: 3600}, "", 0, "write a time"},
		"time of a number": {"id", job.Lookback{N: 1, Unit: "hour"}, "", 0, "write a number"},
		"clock":            {"clock", job.Lookback{N: 1, Unit: "hour"}, "", 0, "can not be taken off a time"},
		"text":             {"name", job.Lookback{N: 1}, "", 0, "can not be taken off a varchar"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Table: "late", Where: tt.where, Watermark: job.Watermark{Column: tt.column, Lookback: tt.back}}
			_, state, err := mustNew(t, cfg).Bounds(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			bounds, _, err := mustNew(t, cfg).Bounds(t.Context(), state)
			if tt.err != "" {
				if err == nil || job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("the error is %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			cfg.Bounds = bounds
			all, _ := sourcetest.Lines(t, mustNew(t, cfg))
			n := 0
			for _, some := range all {
				n += len(some)
			}
			if n != tt.rows {
				t.Errorf("%d rows are read again, want %d: %s", n, tt.rows, bounds)
			}
		})
	}
}

func TestNoWatermark(t *testing.T) {
	exec(t, "CREATE TABLE unmarked (id int PRIMARY KEY, doc json, name varchar(300)); INSERT INTO unmarked VALUES (1, '1', repeat('x', 300))")
	for name, tt := range map[string]struct {
		Config
		column, text string
	}{
		"no column":       {Config{Table: "unmarked"}, "nowhere", `no column "nowhere"`},
		"text of a query": {Config{Query: "SELECT * FROM unmarked"}, "name", "can not be a watermark"},
		"long text":       {Config{Table: "unmarked"}, "name", "too long"},
		"geometry":        {Config{Query: "SELECT ST_PointFromText('POINT(1 2)') AS p"}, "p", "can not be a watermark"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.Watermark.Column = tt.column
			_, _, err := mustNew(t, tt.Config).Bounds(t.Context(), nil)
			if err == nil || job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("the error is %v", err)
			}
		})
	}
	// A state that is not of the column as it is now is nothing to go on from.
	cfg := Config{Table: "unmarked", Watermark: job.Watermark{Column: "id", Lookback: job.Lookback{N: 1}}}
	_, _, err := mustNew(t, cfg).Bounds(t.Context(), json.RawMessage(`{"to":"1; DROP TABLE unmarked"}`))
	if err == nil || !strings.Contains(err.Error(), "dray watermarks forget") {
		t.Errorf("the error is %v", err)
	}
	cfg.Bounds = json.RawMessage(`{"from":"2026-01-01","to":"2026-01-02"}`)
	s := mustNew(t, cfg)
	if _, err := sourcetest.Plan(t, s, nil, sourcetest.Columns(t, s)); err == nil || job.ClassOf(err) != job.Permanent {
		t.Errorf("the error is %v", err)
	}
}
