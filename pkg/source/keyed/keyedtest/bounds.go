package keyedtest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source/keyed"
	"drayage/pkg/source/sourcetest"
)

// Watermark is a column that a job reads by.
type Watermark struct {
	Type, Value string // of the column, and its value for n, which grows with it
	Index       bool   // leads to the column
	Query       bool   // a query is read, not the table
}

// Bounds tests that a job reads what came since the state of the one before,
// whatever the column is and whether an index leads to it or not. fill selects
// n and a value for each n from from to to.
func Bounds(t *testing.T, d Database, fill func(value string, from, to int) string, cases map[string]Watermark) {
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table := "bounds_" + strings.ReplaceAll(name, " ", "_")
			d.Exec(t, fmt.Sprintf("CREATE TABLE %s (id bigint PRIMARY KEY, at %s)", table, tt.Type))
			if tt.Index {
				d.Exec(t, fmt.Sprintf("CREATE INDEX %s_at ON %[1]s (at)", table))
			}
			add := func(from, to int) {
				d.Exec(t, fmt.Sprintf("INSERT INTO %s %s", table, fill(tt.Value, from, to)))
			}
			cfg := keyed.Config{Table: table, Rows: 300, Watermark: job.Watermark{Column: "at"}}
			if tt.Query {
				cfg.Table, cfg.Query = "", "SELECT * FROM "+table
			}
			var state json.RawMessage
			next := func() (rows, chunks int) {
				t.Helper()
				bounded := cfg
				bounded.Bounds, state = bounds(t, d, cfg, state)
				return count(t, d, bounded)
			}
			if rows, chunks := next(); rows != 0 || chunks != 0 {
				t.Errorf("an empty table has %d rows in %d chunks", rows, chunks)
			}
			add(0, 999)
			if rows, chunks := next(); rows != 1000 || !tt.Query && chunks < 4 {
				t.Errorf("%d rows in %d chunks", rows, chunks)
			}
			if rows, _ := next(); rows != 0 {
				t.Errorf("%d rows are read again", rows)
			}
			add(1000, 1099)
			if rows, chunks := next(); rows != 100 || tt.Index && chunks != 1 {
				t.Errorf("%d rows in %d chunks", rows, chunks)
			}
		})
	}
}

// bounds are those of a job, and the state for the next.
func bounds(t *testing.T, d Database, cfg keyed.Config, state json.RawMessage) (now, next json.RawMessage) {
	t.Helper()
	now, next, err := d.New(t, cfg).Bounds(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	return now, next
}

// count reads a source.
func count(t *testing.T, d Database, cfg keyed.Config) (rows, chunks int) {
	t.Helper()
	all, planned := sourcetest.Lines(t, d.New(t, cfg))
	for _, some := range all {
		rows += len(some)
	}
	return rows, len(planned)
}

// Late is a look-back on the table late.
type Late struct {
	Column string
	Back   job.Lookback
	Where  string
	Rows   int    // that are read again
	Text   string // in the error of the second job; "" for none
}

// Lookbacks tests that a second job reads again what its look-back reaches.
func Lookbacks(t *testing.T, d Database, cases map[string]Late) {
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			cfg := keyed.Config{Table: "late", Where: tt.Where, Watermark: job.Watermark{Column: tt.Column, Lookback: tt.Back}}
			_, state := bounds(t, d, cfg, nil)
			if tt.Text != "" {
				_, _, err := d.New(t, cfg).Bounds(t.Context(), state)
				sourcetest.WantError(t, err, job.Permanent, tt.Text)
				return
			}
			cfg.Bounds, _ = bounds(t, d, cfg, state)
			if rows, _ := count(t, d, cfg); rows != tt.Rows {
				t.Errorf("%d rows are read again, want %d: %s", rows, tt.Rows, cfg.Bounds)
			}
		})
	}
}
