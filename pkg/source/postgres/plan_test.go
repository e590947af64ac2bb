package postgres

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
	"drayage/pkg/source/sourcetest"
)

// leave gaps and are hard to write.
var keys = []struct {
	sql    string
	values []string
}{
	{"int4", []string{"-2147483648", "-1", "0", "1", "2", "3", "1000000", "2147483647"}},
	{"int8", []string{"-9223372036854775808", "7", "8", "9", "9223372036854775807"}},
	{"text", []string{"", "a", "A", "ab", "b", "'", `\`, "\t", "\n", "ž", "z", "😀", "<&>", `"`, strings.Repeat("l", 300)}},
	{"uuid", []string{"00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "ffffffff-ffff-ffff-ffff-ffffffffffff"}},
	{"timestamptz", []string{"-infinity", "1970-01-01 00:00:00+00", "2026-01-01 00:00:00.000001+00", "2026-01-01 00:00:00.000002+00", "infinity"}},
	{"timestamp", []string{"0044-03-15 00:00:00 BC", "2026-01-01 00:00:00.5", "294276-12-31 23:59:59.999999"}},
	{"date", []string{"-infinity", "1970-01-01", "5874897-12-31"}},
	{"numeric", []string{"-Infinity", "-1e30", "0", "0.1", "0.10", "1e-30", "NaN"}},
	{"float8", []string{"-Infinity", "-0", "0", "5e-324", "0.1", "0.30000000000000004", "NaN"}},
	{"bool", []string{"t", "f"}},
	{"bytea", []string{`\x`, `\x00`, `\xff`, `\x5c27`}},
	{"char(3)", []string{"a", "b", "abc"}},
	{"inet", []string{"10.0.0.1", "10.0.0.0/8", "::1"}},
	{"interval", []string{"1 mon", "30 days", "-1 day"}},
	{"mood", []string{"so so", "sad"}},
}

// Over any table and any key, chunks have every row once; each cursor leads to
// the same chunks that came after it.
func TestEveryRowOnce(t *testing.T) {
	exec(t, mood)
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		table := fmt.Sprintf("once_%d", n)
		var columns, names []string
		var of [][]string
		for i := range rapid.IntRange(1, 3).Draw(r, "columns") {
			k := keys[rapid.IntRange(0, len(keys)-1).Draw(r, "type")]
			null := ""
			values := k.values
			if rapid.Bool().Draw(r, "null") {
				values = append([]string{"NULL", "NULL"}, values...)
			} else {
				null = " NOT NULL"
			}
			name := fmt.Sprintf(`K "%d"`, i)
			names = append(names, name)
			columns = append(columns, identifier(name)+" "+k.sql+null)
			of = append(of, values)
		}
		sql := fmt.Sprintf("CREATE TABLE %s (n int4, %s);", table, strings.Join(columns, ", "))
		rows := rapid.IntRange(0, 40).Draw(r, "rows")
		for i := range rows {
			values := []string{strconv.Itoa(i)}
			for _, all := range of {
				v := rapid.SampledFrom(all).Draw(r, "value")
				if v != "NULL" {
					v = literal(v)
				}
				values = append(values, v)
			}
			sql += fmt.Sprintf("INSERT INTO %s VALUES (%s);", table, strings.Join(values, ", "))
		}
		var list []string
		for _, name := range names {
			list = append(list, identifier(name))
		}
		order := rapid.SampledFrom([]string{"", " DESC", " NULLS FIRST", " DESC NULLS LAST"}).Draw(r, "order")
		index := rapid.Bool().Draw(r, "index")
		if index {
			sql += fmt.Sprintf("CREATE INDEX ON %s (%s);", table, strings.Join(list, order+", ")+order)
		}
		exec(t, sql)
		cfg := Config{Table: table, Key: names, Rows: rapid.Uint64Range(3, 20).Draw(r, "per chunk")}
		if rapid.IntRange(0, 3).Draw(r, "query") == 0 {
			cfg.Table, cfg.Query = "", "SELECT * FROM "+table
		}
		cfg.Columns = []job.Column{{Name: "n", Type: "Int32"}}
		s := mustNew(t, cfg)
		all, chunks := sourcetest.Lines(t, s)
		var got []int
		for _, rows := range all {
			for _, row := range rows {
				i, err := strconv.Atoi(row)
				if err != nil {
					r.Fatal(err)
				}
				got = append(got, i)
			}
		}
		slices.Sort(got)
		for i := range rows {
			if i >= len(got) || got[i] != i {
				r.Fatalf("of %d rows there are %v", rows, got)
			}
		}
		if len(got) != rows {
			r.Fatalf("there are %d rows, not %d", len(got), rows)
		}
		if len(chunks) > 0 {
			at := rapid.IntRange(0, len(chunks)-1).Draw(r, "cursor")
			rest, err := sourcetest.Plan(t, s, chunks[at].Cursor, cfg.Columns)
			if err != nil || !slices.EqualFunc(rest, chunks[at+1:], equal) {
				r.Fatalf("after chunk %d come %v, %v", at, rest, err)
			}
		}
		exec(t, "DROP TABLE "+table)
	})
}

func equal(a, b source.Planned) bool {
	return string(a.Input) == string(b.Input) && string(a.Cursor) == string(b.Cursor) && a.Bytes == b.Bytes
}

// However keys are distributed, chunks have the rows that they should, and no
// plan reads the table.
func TestEvenChunks(t *testing.T) {
	const rows, per = 20_000, 2000
	for name, tt := range map[string]struct {
		column, value string
		most          int // rows of a chunk
		unlike        int // chunks more or fewer than rows / per
	}{
		"dense":          {"int8 PRIMARY KEY", "i", per, 0},
		"sparse":         {"int8 PRIMARY KEY", "i * 400000000000", per, 0},
		"exponential":    {"int8 PRIMARY KEY", "CASE WHEN i < 19000 THEN i ELSE (2 ^ ((i - 19000) / 16.5))::int8 + i END", per, 0},
		"uuid":           {"uuid PRIMARY KEY", "md5(i::text)::uuid", per, 0},
		"text":           {"text PRIMARY KEY", "md5(i::text)", per, 0},
		"timestamp":      {"timestamptz PRIMARY KEY", "'2026-01-01Z'::timestamptz + sqrt(i) * interval '1 second'", per, 0},
		"few values":     {"int4", "i % 7", 2858, 3},
		"half is one":    {"int4", "CASE WHEN i % 2 = 0 THEN 5000 ELSE i END", 11_000, 4},
		"long and short": {"text", "repeat(chr(97 + i % 20), CASE WHEN i % 2 = 0 THEN 250 ELSE 100 END) || i", 2 * per, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table := "even_" + strings.ReplaceAll(name, " ", "_")
			exec(t, fmt.Sprintf("CREATE TABLE %s (k %s, n int4, pad text); INSERT INTO %[1]s SELECT %[3]s, i, repeat('x', 100) FROM generate_series(1, %[4]d) i ORDER BY md5(i::text); CREATE INDEX ON %[1]s (k); ANALYZE %[1]s",
				table, tt.column, tt.value, rows))
			s := mustNew(t, Config{Table: table, Key: []string{"k"}, Rows: per, Columns: []job.Column{{Name: "n", Type: "Int32"}}})
			all, chunks := sourcetest.Lines(t, s)
			if n := len(chunks); n > rows/per+tt.unlike || n < rows/per-tt.unlike {
				t.Errorf("there are %d chunks", n)
			}
			total := 0
			for i, rows := range all {
				total += len(rows)
				if len(rows) > tt.most || len(rows) < per && i < len(all)-1 && tt.most == per {
					t.Errorf("chunk %d has %d rows", i, len(rows))
				}
			}
			if total != rows {
				t.Errorf("there are %d rows", total)
			}
		})
	}
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

// Planned from any cursor, on any day, a plan is the same; descriptions fit.
func TestDescriptionsFit(t *testing.T) {
	var names, columns []string
	for i := range keyed.MaxKey {
		names = append(names, fmt.Sprintf("%s%d", strings.Repeat("\x01", 62), i))
		columns = append(columns, identifier(names[i])+" text NOT NULL")
	}
	exec(t, fmt.Sprintf("CREATE TABLE long_names (%s)", strings.Join(columns, ", ")))
	exec(t, fmt.Sprintf("INSERT INTO long_names SELECT %s FROM generate_series(1, 50) i", strings.Repeat(", lpad(i::text, 25, chr(1))", keyed.MaxKey)[2:]))
	exec(t, fmt.Sprintf("CREATE INDEX ON long_names (%s)", identifier(names[0])))
	s := mustNew(t, Config{Table: "long_names", Key: names[:1], Rows: 5})
	_, chunks := sourcetest.Lines(t, s)
	if len(chunks) < 10 {
		t.Errorf("there are %d chunks", len(chunks))
	}
	s = mustNew(t, Config{Query: "SELECT * FROM long_names", Key: names, Rows: 5})
	_, err := sourcetest.Plan(t, s, nil, sourcetest.Columns(t, s))
	if job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), "too long") {
		t.Errorf("the error is %v", err)
	}
}

// What is too big for an attempt is cut until it is one key.
func TestSplitToTheEnd(t *testing.T) {
	exec(t, `CREATE TABLE cut (k int4, n int4); CREATE INDEX ON cut (k); INSERT INTO cut SELECT i / 3, i FROM generate_series(0, 29) i`)
	s := mustNew(t, Config{Table: "cut", Key: []string{"k"}, Columns: []job.Column{{Name: "n", Type: "Int32"}}})
	_, chunks := sourcetest.Lines(t, s)
	if len(chunks) != 1 {
		t.Fatalf("there are %d chunks", len(chunks))
	}
	var leaves []string
	var cut func(input json.RawMessage)
	cut = func(input json.RawMessage) {
		parts, err := s.Split(t.Context(), input, s.cfg.Columns)
		if err != nil {
			text, err := sourcetest.Chunk(t, s, input, s.cfg.Columns)
			if err != nil {
				t.Fatal(err)
			}
			leaves = append(leaves, text)
			return
		}
		for _, p := range parts {
			cut(p.Input)
		}
	}
	cut(chunks[0].Input)
	if len(leaves) != 10 || strings.Join(leaves, "") != func() (all string) {
		for i := range 30 {
			all += fmt.Sprintln(i)
		}
		return all
	}() {
		t.Errorf("it was cut into %q", leaves)
	}
}
