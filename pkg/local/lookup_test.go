package local_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"drayage/pkg/job"
)

// looked is a pipeline of generated rows that looks up the table l.
func looked(name string, rows int, lookup string) string {
	return fmt.Sprintf(`pipeline: %[1]s
source:
  generate: {rows: %[2]d, select: "number AS id, number %% 10 AS k"}
  rows: 100
transform: SELECT id, l.v AS v FROM chunk LEFT JOIN l ON l.k = chunk.k
lookups:
  l: %[3]s
retry: {attempts: 2, backoff: 10ms..20ms}
load: {table: %[1]s, create: ENGINE = MergeTree ORDER BY id}
`, name, rows, lookup)
}

// ended waits until a job has ended and checks that nothing is left of its
// lookups.
func ended(t *testing.T, id string) job.Job {
	t.Helper()
	j := stack.Ended(t, id)
	deadline := time.Now().Add(30 * time.Second)
	for {
		left := stack.SQL(t, "SELECT count() FROM system.tables WHERE database = 'drayage' AND JSONExtractString(comment, 'drayage_job') = '"+id+"'")
		if left == "0" {
			return j
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s snapshots of the lookups of job %s are left", left, id)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// Lookups of every kind give their rows, and go with the job.
func TestLookupKinds(t *testing.T) {
	t.Setenv("LOOKUP_ORIGIN", origin(t))
	stack.SQL(t, "CREATE TABLE looked_up (k UInt64, v LowCardinality(String), at DateTime64(3, 'UTC') DEFAULT 0, m UInt8 MATERIALIZED 7) ENGINE = MergeTree ORDER BY k")
	stack.SQL(t, "INSERT INTO looked_up (k, v) SELECT number, concat('v', toString(number)) FROM numbers(10)")
	dir := t.TempDir()
	write(t, dir, "a.csv", "k,v\n0,v0\n1,v1\n2,v2\n3,v3\n4,v4\n5,v5\n6,v6\n7,v7\n8,v8\n9,v9\n")
	for name, lookup := range map[string]string{
		"path":        "{path: a.csv, columns: 'k UInt64, v String'}",
		"path_types":  "{path: a.csv}",
		"table":       "{table: looked_up}",
		"table_cast":  "{table: default.looked_up, columns: 'k UInt8, v String'}",
		"query":       "{query: \"SELECT k, upper(v) AS v2, v FROM looked_up ORDER BY k DESC;\"}",
		"clickhouse":  "{source: {clickhouse: {url: '${env:LOOKUP_ORIGIN}', query: \"SELECT id AS k, 'v' || v AS v FROM default.origin WHERE id < 10\"}}}",
		"engine":      "{source: {query: {sql: \"SELECT number AS k, 'v' || toString(number) AS v FROM numbers(10)\"}}}",
		"files":       "{source: {files: {path: a.csv}, columns: 'k UInt64, v String', chunk: 1KiB}}",
		"range":       "{source: {query: {sql: \"SELECT number AS k, 'v' || toString(number) AS v FROM numbers(10) WHERE number >= {from} AND number < {to}\", range: {from: 0, to: 10, step: 3}}}}",
		"as_declared": "{source: {query: {sql: \"SELECT number AS k, 'v' || toString(number) AS v FROM numbers(10)\"}, columns: 'k UInt8, v LowCardinality(String)'}}",
	} {
		t.Run(name, func(t *testing.T) {
			table := "kind_" + name
			j := ended(t, submit(t, dir, looked(table, 1000, lookup)))
			if j.State != job.Done || j.Totals.RowsRead != 1000 || j.Frozen.Lookups["l"].Rows != 10 || len(j.Frozen.Lookups["l"].Columns) < 2 {
				t.Fatalf("the job is %s with %+v and %+v: %s", j.State, j.Totals, j.Frozen, j.Error)
			}
			if got := stack.SQL(t, "SELECT count(), countIf(v = 'v' || toString(id % 10)) FROM "+table); got != "1000\t1000" {
				t.Errorf("rows, and those with the right value: %s", got)
			}
		})
	}
}

// What a lookup is taken from may change while the job runs: all chunks see the
// rows of one moment.
func TestLookupFrozen(t *testing.T) {
	stack.SQL(t, "CREATE TABLE looked_changing (k UInt64, v UInt64) ENGINE = MergeTree ORDER BY k")
	stack.SQL(t, "INSERT INTO looked_changing SELECT number, 1 FROM numbers(10)")
	id := submit(t, t.TempDir(), looked("frozen_lookup", 8_000, "{table: looked_changing}"))
	for planned := false; !planned; {
		j, _, err := stack.Queue.Job(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		planned = j.Frozen != nil
	}
	stack.SQL(t, "TRUNCATE TABLE looked_changing")
	stack.SQL(t, "INSERT INTO looked_changing SELECT number, 2 FROM numbers(10)")
	if j := ended(t, id); j.State != job.Done {
		t.Fatalf("the job is %s: %s", j.State, j.Error)
	}
	if got := stack.SQL(t, "SELECT count(), groupUniqArray(v) FROM frozen_lookup"); got != "8000\t[1]" {
		t.Errorf("rows and looked up values: %s", got)
	}
}

// Rows of a lookup that can not be had end the job with their place.
func TestLookupRefused(t *testing.T) {
	t.Setenv("LOOKUP_PASSWORD", "open sesame")
	dir := t.TempDir()
	write(t, dir, "bad.csv", "k,v\n300,x\n")
	for _, tt := range []struct {
		name, lookup string
		want         []string
	}{
		{"too many rows", "{query: SELECT number AS k FROM numbers(200001)}", []string{"p.yaml:7:", "too big: it has more than 200000 rows"}},
		{"too many rows of a source", "{source: {query: {sql: SELECT toUInt8(number) AS k FROM numbers(200001)}}}", []string{"p.yaml:7:", "too big: it has more than 200000 rows"}},
		{"too many bytes", "{source: {query: {sql: \"SELECT number AS k, repeat('x', 1000000) AS v FROM numbers(20)\"}}}", []string{"too big: its rows have more than 16 MiB"}},
		{"no table", "{table: no_such_table}", []string{"p.yaml:7:", "no_such_table"}},
		{"no SELECT", "{query: SELEC 1}", []string{"p.yaml:7:", "Syntax error"}},
		{"no column", "{query: SELECT 1 AS k, columns: 'v String'}", []string{"there is no column v; there are"}},
		{"does not fit", "{query: SELECT 300 AS k, columns: 'k UInt8'}", []string{"p.yaml:7:", "k"}},
		{"does not fit, in a file", "{source: {files: {path: bad.csv}, columns: 'k UInt8, v String'}}", []string{"p.yaml:7:"}},
		{"no file", "{path: nope.csv}", []string{"p.yaml:7:", "nope.csv"}},
		{"wrong key of a source", "{source: {query: {sql: SELECT 1 AS k, range: {from: 5, to: 1, step: 1}}}}", []string{"p.yaml:7:", "lookups.l.source.query"}},
		{"a secret", "{query: \"SELECT throwIf(1, '${env:LOOKUP_PASSWORD}') AS k\"}", []string{"[hidden]"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := ended(t, submit(t, dir, looked("refused_lookup", 100, tt.lookup)))
			if j.State != job.Failed || strings.Contains(j.Error, "sesame") {
				t.Fatalf("the job is %s: %s", j.State, j.Error)
			}
			for _, want := range tt.want {
				if !strings.Contains(j.Error, want) {
					t.Errorf("the error does not say %q: %s", want, j.Error)
				}
			}
		})
	}
}
