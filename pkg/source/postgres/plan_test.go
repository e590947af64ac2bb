package postgres

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"drayage/pkg/source/keyed/keyedtest"
	"drayage/pkg/source/sourcetest"
)

// keys are types of columns to cut by.
var keys = []keyedtest.Type{
	{SQL: "int4", Values: []string{"-2147483648", "-1", "0", "1", "2", "3", "1000000", "2147483647"}},
	{SQL: "int8", Values: []string{"-9223372036854775808", "7", "8", "9", "9223372036854775807"}},
	{SQL: "text", Values: []string{"", "a", "A", "ab", "b", "'", `\`, "\t", "\n", "ž", "z", "😀", "<&>", `"`, strings.Repeat("l", 300)}},
	{SQL: "uuid", Values: []string{"00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "ffffffff-ffff-ffff-ffff-ffffffffffff"}},
	{SQL: "timestamptz", Values: []string{"-infinity", "1970-01-01 00:00:00+00", "2026-01-01 00:00:00.000001+00", "2026-01-01 00:00:00.000002+00", "infinity"}},
	{SQL: "timestamp", Values: []string{"0044-03-15 00:00:00 BC", "2026-01-01 00:00:00.5", "294276-12-31 23:59:59.999999"}},
	{SQL: "date", Values: []string{"-infinity", "1970-01-01", "5874897-12-31"}},
	{SQL: "numeric", Values: []string{"-Infinity", "-1e30", "0", "0.1", "0.10", "1e-30", "NaN"}},
	{SQL: "float8", Values: []string{"-Infinity", "-0", "0", "5e-324", "0.1", "0.30000000000000004", "NaN"}},
	{SQL: "bool", Values: []string{"t", "f"}},
	{SQL: "bytea", Values: []string{`\x`, `\x00`, `\xff`, `\x5c27`}},
	{SQL: "char(3)", Values: []string{"a", "b", "abc"}},
	{SQL: "inet", Values: []string{"10.0.0.1", "10.0.0.0/8", "::1"}},
	{SQL: "interval", Values: []string{"1 mon", "30 days", "-1 day"}},
	{SQL: "mood", Values: []string{"so so", "sad"}},
}

// Over any table and any key, chunks have every row once.
func TestEveryRowOnce(t *testing.T) {
	exec(t, mood)
	types := slices.Clone(keys)
	for i, k := range types {
		types[i].Values = nil
		for _, v := range k.Values {
			types[i].Values = append(types[i].Values, literal(v))
		}
	}
	keyedtest.EveryRowOnce(t, database, keyedtest.Keys{Types: types, Orders: []string{"", " DESC", " NULLS FIRST", " DESC NULLS LAST"}, NoIndex: true})
}

// However keys are distributed, chunks have the rows that they should.
func TestEvenChunks(t *testing.T) {
	fill := func(table string, e keyedtest.Even) string {
		return fmt.Sprintf("CREATE TABLE %s (k %s, n int4, pad text); INSERT INTO %[1]s SELECT %[3]s, i, repeat('x', 100) FROM generate_series(1, %[4]d) i ORDER BY md5(i::text); CREATE INDEX ON %[1]s (k); ANALYZE %[1]s",
			table, e.Column, e.Value, keyedtest.EvenRows)
	}
	keyedtest.EvenChunks(t, database, fill, map[string]keyedtest.Even{
		"dense":          {Column: "int8 PRIMARY KEY", Value: "i"},
		"sparse":         {Column: "int8 PRIMARY KEY", Value: "i * 400000000000"},
		"exponential":    {Column: "int8 PRIMARY KEY", Value: "CASE WHEN i < 19000 THEN i ELSE (2 ^ ((i - 19000) / 16.5))::int8 + i END"},
		"uuid":           {Column: "uuid PRIMARY KEY", Value: "md5(i::text)::uuid"},
		"text":           {Column: "text PRIMARY KEY", Value: "md5(i::text)"},
		"timestamp":      {Column: "timestamptz PRIMARY KEY", Value: "'2026-01-01Z'::timestamptz + sqrt(i) * interval '1 second'"},
		"few values":     {Column: "int4", Value: "i % 7", Most: 2858, Unlike: 3},
		"half is one":    {Column: "int4", Value: "CASE WHEN i % 2 = 0 THEN 5000 ELSE i END", Most: 11_000, Unlike: 4},
		"long and short": {Column: "text", Value: "repeat(chr(97 + i % 20), CASE WHEN i % 2 = 0 THEN 250 ELSE 100 END) || i", Most: 2 * keyedtest.EvenPer, Unlike: 5},
	})
}

// A plan walks the index, and does not read the table.
func TestNoFullScan(t *testing.T) {
	exec(t, `CREATE TABLE scanned (a int4, b text, pad text, PRIMARY KEY (a, b));
INSERT INTO scanned SELECT i / 10, i, repeat('x', 500) FROM generate_series(1, 20000) i`)
	exec(t, "VACUUM ANALYZE scanned") // only the index is read where no row is new
	reads := func() string {
		return exec(t, "SELECT pg_stat_force_next_flush(); SELECT seq_scan || ' ' || coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = 'scanned'")
	}
	before := reads()
	s := mustNew(t, Config{Table: "scanned", Rows: 1000})
	chunks, err := sourcetest.Plan(t, s, nil, sourcetest.Columns(t, s))
	if err != nil || len(chunks) != 20 {
		t.Fatalf("%d chunks, %v", len(chunks), err)
	}
	if after := reads(); after != before {
		t.Errorf("scans and rows fetched are %s, and were %s", after, before)
	}
	// The next chunk alone is looked for.
	n := 0
	for range s.Plan(t.Context(), nil, sourcetest.Columns(t, s)) {
		if n++; n == 2 {
			break
		}
	}
	if read := exec(t, "SELECT pg_stat_force_next_flush(); SELECT idx_tup_read < 25000 FROM pg_stat_user_indexes WHERE relname = 'scanned'"); read != "t" {
		t.Error("the index was read farther than it was planned")
	}
}

// Descriptions fit, or the key is refused.
func TestDescriptionsFit(t *testing.T) {
	keyedtest.DescriptionsFit(t, database, keyedtest.Long{Letter: "\x01", Type: "text", Value: "lpad(i::text, 25, chr(1))", From: "generate_series(1, 50) i"})
}

// What is too big for an attempt is cut until it is one key.
func TestSplitToTheEnd(t *testing.T) {
	keyedtest.SplitToTheEnd(t, database, "SELECT i / 3, i FROM generate_series(0, 29) i")
}
