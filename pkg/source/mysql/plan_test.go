package mysql

import (
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

// keys are types of columns to cut by, with values that are equal to each other,
// leave gaps and are hard to write.
var keys = []struct {
	sql    string
	values []string
}{
	{"tinyint unsigned", []string{"0", "1", "255"}},
	{"int", []string{"-2147483648", "-1", "0", "1", "2", "3", "1000000", "2147483647"}},
	{"bigint", []string{"-9223372036854775808", "7", "8", "9", "9223372036854775807"}},
	{"bigint unsigned", []string{"0", "7", "9223372036854775807", "9223372036854775808", "18446744073709551614", "18446744073709551615"}},
	{"varchar(250) COLLATE utf8mb4_general_ci", []string{"''", "'a'", "'A'", "'á'", "'a '", "'ab'", "'b'", "''''", `'\\'`, `'\t'`, `'\n'`, "'ž'", "'z'", "'Z'", "'😀'", "'<&>'", `'"'`, "repeat('l', 240)"}},
	{"varchar(100) COLLATE utf8mb4_unicode_ci", []string{"'strasse'", "'straße'", "'STRASSE'", "'漢'", "'😀'", "'😁'"}},
	{"varchar(100) COLLATE utf8mb4_nopad_bin", []string{"'a'", "'a '", `'a\t'`, "'A'"}},
	{"varchar(50) CHARACTER SET latin1", []string{"'é'", "'e'", "'E'", "_latin1 x'81FF00'", "'?'"}},
	{"varchar(50) CHARACTER SET cp932", []string{"'ソ'", "'表'", "'a'"}},
	{"char(16) CHARACTER SET ascii COLLATE ascii_bin", []string{"'a0eebc999c0b4ef8'", "'A0EEBC999C0B4EF8'", "''"}},
	{"binary(16)", []string{"x'00'", "x'A0EEBC999C0B4EF8BB6D6BB9BD380A11'", "x'FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF'"}},
	{"varbinary(40)", []string{"''", "x'00'", "x'0000'", "x'ff'", "x'5c27'"}},
	{"uuid", []string{"'00000000-0000-0000-0000-000000000000'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'a0eebc98-9c0b-4ef9-bb6d-6bb9bd380a11'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"}},
	{"timestamp(6) DEFAULT '2000-01-01'", []string{"'0000-00-00'", "'1970-01-02 00:00:00'", "'2026-01-01 00:00:00.000001'", "'2026-01-01 00:00:00.000002'", "'2038-01-19 03:14:07'"}},
	{"datetime", []string{"'0000-00-00'", "'2026-00-00'", "'2026-01-01 00:00:05'", "'9999-12-31 23:59:59'"}},
	{"date", []string{"'0000-00-00'", "'1000-01-01'", "'1970-01-01'", "'9999-12-31'"}},
	{"time(3)", []string{"'-838:59:59'", "'-00:00:00.001'", "'00:00:00'", "'838:59:59.999'"}},
	{"year", []string{"0", "1901", "2001", "2155"}},
	{"decimal(30, 10)", []string{"-1e19", "0", "0.1", "0.1000000001", "99999999999999999999.9999999999"}},
	{"float", []string{"-3.4e38", "-0e0", "0", "0.1", "0.30000001", "1e-45", "16777217", "3.4e38"}},
	{"double", []string{"-1.7976931348623157e308", "0", "5e-320", "0.1", "0.30000000000000004", "1e300"}},
	{"bit(5)", []string{"b'0'", "b'1'", "b'11111'"}},
	{"bit(64)", []string{"0", "9223372036854775808", "18446744073709551615"}},
	{"enum('so so', 'sad', 'b', 'a', '10', '9')", []string{"'so so'", "'sad'", "'a'", "'b'", "'10'", "'9'", "0"}},
	{"set('z', 'y', 'x')", []string{"''", "'z'", "'y,x'", "'z,y,x'"}},
	{"inet6", []string{"'::'", "'::1'", "'::ffff:10.0.0.1'", "'ffff::'"}},
	{"inet4", []string{"'9.0.0.1'", "'10.0.0.1'", "'255.0.0.0'"}},
}

// Over any table and any key, chunks have every row once; each cursor leads to
// the same chunks that came after it.
func TestEveryRowOnce(t *testing.T) {
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		table := fmt.Sprintf("once_%d", n)
		var columns, names []string
		var of [][]string
		for i := range rapid.IntRange(1, 3).Draw(r, "columns") {
			k := keys[rapid.IntRange(0, len(keys)-1).Draw(r, "type")]
			null := " NULL"
			values := k.values
			if rapid.Bool().Draw(r, "null") {
				values = append([]string{"NULL", "NULL"}, values...)
			} else {
				null = " NOT NULL"
			}
			name := fmt.Sprintf("K `%d\"", i)
			names = append(names, name)
			columns = append(columns, identifier(name)+" "+k.sql+null)
			of = append(of, values)
		}
		sql := fmt.Sprintf("SET sql_mode = ''; CREATE TABLE %s (n int, %s)", table, strings.Join(columns, ", "))
		rows := rapid.IntRange(0, 40).Draw(r, "rows")
		for i := range rows {
			values := []string{strconv.Itoa(i)}
			for _, all := range of {
				values = append(values, rapid.SampledFrom(all).Draw(r, "value"))
			}
			sql += fmt.Sprintf("; INSERT INTO %s VALUES (%s)", table, strings.Join(values, ", "))
		}
		var list []string
		for _, name := range names {
			list = append(list, identifier(name))
		}
		order := rapid.SampledFrom([]string{"", " DESC"}).Draw(r, "order")
		cfg := Config{Table: table, Key: names, Rows: rapid.Uint64Range(3, 20).Draw(r, "per chunk")}
		if rapid.IntRange(0, 3).Draw(r, "query") == 0 {
			cfg.Table, cfg.Query = "", "SELECT * FROM "+table
		} else {
			sql += fmt.Sprintf("; CREATE INDEX k ON %s (%s)", table, strings.Join(list, order+", ")+order)
		}
		exec(t, sql)
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
				r.Fatalf("of %d rows there are %v: %s", rows, got, sql)
			}
		}
		if len(got) != rows {
			r.Fatalf("there are %d rows, not %d: %s", len(got), rows, sql)
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

// The day 0000-00-00 is NULL to IS NULL where the server knows that there are no
// NULLs, also of a query, of which we do not know it.
func TestZeroDayInKey(t *testing.T) {
	exec(t, "SET sql_mode = ''; CREATE TABLE zero_day (d date NOT NULL, n int NOT NULL, KEY (d, n)); INSERT INTO zero_day SELECT IF(seq % 2, '0000-00-00', '2026-01-01'), seq FROM seq_1_to_40")
	for _, cfg := range []Config{{Table: "zero_day"}, {Query: "SELECT * FROM zero_day"}} {
		cfg.Key, cfg.Rows, cfg.Columns = []string{"d", "n"}, 7, []job.Column{{Name: "n", Type: "Int32"}}
		all, _ := sourcetest.Lines(t, mustNew(t, cfg))
		var got []string
		for _, rows := range all {
			got = append(got, rows...)
		}
		slices.Sort(got)
		if n := len(slices.Compact(slices.Clone(got))); n != 40 || len(got) != 40 {
			t.Errorf("there are %d rows, %d of them distinct: %v", len(got), n, got)
		}
	}
}

func equal(a, b source.Planned) bool {
	return string(a.Input) == string(b.Input) && string(a.Cursor) == string(b.Cursor) && a.Bytes == b.Bytes
}

// However keys are distributed, chunks have the rows that they should.
func TestEvenChunks(t *testing.T) {
	const rows, per = 20_000, 2000
	for name, tt := range map[string]struct {
		column, value string
		most          int // rows of a chunk
		unlike        int // chunks more or fewer than rows / per
	}{
		"dense":          {"bigint PRIMARY KEY", "i", per, 0},
		"sparse":         {"bigint unsigned PRIMARY KEY", "i * 800000000000000", per, 0},
		"exponential":    {"bigint PRIMARY KEY", "IF(i < 19000, i, floor(pow(2, (i - 19000) / 16.5)) + i)", per, 0},
		"uuid":           {"uuid PRIMARY KEY", "insert(insert(md5(i), 13, 1, '4'), 17, 1, 'a')", per, 0},
		"bytes":          {"binary(16) PRIMARY KEY", "unhex(md5(i))", per, 0},
		"text":           {"char(32) PRIMARY KEY", "md5(i)", per, 0},
		"time":           {"datetime(6) PRIMARY KEY", "timestamp '2026-01-01 00:00:00' + interval round(sqrt(i) * 1000000) microsecond", per, 0},
		"decimal":        {"decimal(30, 10) PRIMARY KEY", "pow(i, 3) / 7", per, 0},
		"few values":     {"int", "i % 7", 2858, 3},
		"half is one":    {"int", "IF(i % 2 = 0, 5000, i)", 11_000, 4},
		"long and short": {"varchar(500)", "concat(repeat(char(97 + i % 20), IF(i % 2 = 0, 250, 40)), i)", 2 * per, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table := "even_" + strings.ReplaceAll(name, " ", "_")
			exec(t, fmt.Sprintf("CREATE TABLE %s (k %s, n int, pad text, KEY (k)); INSERT INTO %[1]s SELECT %[3]s, i, repeat('x', 100) FROM (SELECT CAST(seq AS UNSIGNED) AS i FROM seq_1_to_%[4]d) s",
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

// reads are how many rows, of indexes or of tables, the server has read so far for
// statements of a user.
func reads(t *testing.T, user string) int {
	t.Helper()
	n, err := strconv.Atoi(exec(t, "SELECT COALESCE(SUM(rows_read), 0) FROM information_schema.user_statistics WHERE user = '"+user+"'"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A plan walks the index once, and each chunk reads its own rows, also where most
// rows share the first column of the key.
func TestNoFullScan(t *testing.T) {
	const rows, per = 20_000, 1000
	exec(t, `SET GLOBAL userstat = ON; CREATE USER scanner; GRANT SELECT ON test.* TO scanner;
CREATE TABLE scanned (a int, b varchar(20), pad text, PRIMARY KEY (a, b));
INSERT INTO scanned SELECT IF(seq % 10 < 8, 42, seq), seq, repeat('x', 500) FROM seq_1_to_20000; ANALYZE TABLE scanned`)
	s := mustNew(t, Config{URL: db.URL("scanner", ""), Table: "scanned", Rows: per})
	columns := sourcetest.Columns(t, s)
	before := reads(t, "scanner")
	chunks, err := sourcetest.Plan(t, s, nil, columns)
	if err != nil || len(chunks) != rows/per {
		t.Fatalf("%d chunks, %v", len(chunks), err)
	}
	planned := reads(t, "scanner")
	if n := planned - before; n > rows+rows/2 {
		t.Errorf("to plan %d rows of the index were read", n)
	}
	for _, p := range chunks {
		if _, err := sourcetest.Chunk(t, s, p.Input, columns); err != nil {
			t.Fatal(err)
		}
	}
	if n := reads(t, "scanner") - planned; n < rows || n > rows+rows/2 {
		t.Errorf("to read %d rows, %d were read", rows, n)
	}
	// The next chunk alone is looked for.
	before, n := reads(t, "scanner"), 0
	for range s.Plan(t.Context(), nil, columns) {
		if n++; n == 2 {
			break
		}
	}
	if n := reads(t, "scanner") - before; n > 5*per {
		t.Errorf("for two chunks of %d rows %d were read", per, n)
	}
}

// Without a primary key a unique index without NULLs serves; without any the
// table is one chunk, and a key without an index is refused.
func TestWhichKey(t *testing.T) {
	const fill = "; INSERT INTO which SELECT seq, seq, seq FROM seq_1_to_100"
	for name, tt := range map[string]struct {
		table  string
		key    []string
		chunks int
		err    string
	}{
		"primary":       {"a int, b int, c int, UNIQUE (b), PRIMARY KEY (a))", nil, 10, ""},
		"unique":        {"a int, b int NOT NULL, c int, UNIQUE (a), UNIQUE (b))", nil, 10, ""},
		"with NULLs":    {"a int, b int, c int, UNIQUE (b))", nil, 1, ""},
		"not unique":    {"a int NOT NULL, b int, c int, KEY (a))", nil, 1, ""},
		"named":         {"a int, b int, c int, KEY (b, c))", []string{"b"}, 10, ""},
		"not the first": {"a int, b int, c int, KEY (b, c))", []string{"c"}, 0, "no index that begins with c"},
		"prefix":        {"a int, b varchar(90), c int, KEY (b(2)))", []string{"b"}, 0, "no index that begins with b"},
		"two ways":      {"a int, b int, c int, KEY (b, c DESC))", []string{"b", "c"}, 0, "no index that begins with b, c"},
		"hash":          {"a int NOT NULL, b int, c int, UNIQUE (a) USING HASH) ENGINE = MEMORY", []string{"a"}, 0, "no index"},
	} {
		t.Run(name, func(t *testing.T) {
			exec(t, "DROP TABLE IF EXISTS which; CREATE TABLE which ("+tt.table+fill)
			s := mustNew(t, Config{Table: "which", Key: tt.key, Rows: 10})
			columns, err := s.Columns(t.Context(), nil)
			if tt.err != "" {
				if err == nil || job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("the error is %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if chunks, err := sourcetest.Plan(t, s, nil, columns); err != nil || len(chunks) != tt.chunks {
				t.Errorf("%d chunks, want %d: %v", len(chunks), tt.chunks, err)
			}
		})
	}
}

// Descriptions fit, or the key is refused.
func TestDescriptionsFit(t *testing.T) {
	var names, columns []string
	for i := range keyed.MaxKey {
		names = append(names, fmt.Sprintf("%s%d", strings.Repeat("<", 62), i))
		columns = append(columns, identifier(names[i])+" varchar(100) NOT NULL")
	}
	exec(t, fmt.Sprintf("CREATE TABLE long_names (%s, KEY (%s)); INSERT INTO long_names SELECT %s FROM seq_1_to_50",
		strings.Join(columns, ", "), identifier(names[0]), strings.Repeat(", lpad(seq, 25, '<')", keyed.MaxKey)[2:]))
	s := mustNew(t, Config{Table: "long_names", Key: names[:1], Rows: 5})
	_, chunks := sourcetest.Lines(t, s)
	if len(chunks) < 10 {
		t.Errorf("there are %d chunks", len(chunks))
	}
	s = mustNew(t, Config{Query: "SELECT * FROM long_names", Key: names, Rows: 5})
	_, err := sourcetest.Plan(t, s, nil, sourcetest.Columns(t, s))
	if job.ClassOf(err) != job.Permanent || err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("the error is %v", err)
	}
}

// What is too big for an attempt is cut until it is one key.
func TestSplitToTheEnd(t *testing.T) {
	exec(t, `CREATE TABLE cut (k int, n int, KEY (k)); INSERT INTO cut SELECT floor(seq / 3), seq FROM seq_0_to_29`)
	s := mustNew(t, Config{Table: "cut", Key: []string{"k"}, Columns: []job.Column{{Name: "n", Type: "Int32"}}})
	_, chunks := sourcetest.Lines(t, s)
	if len(chunks) != 1 {
		t.Fatalf("there are %d chunks", len(chunks))
	}
	var leaves []string
	var cut func(input []byte)
	cut = func(input []byte) {
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
	want := ""
	for i := range 30 {
		want += fmt.Sprintln(i)
	}
	if len(leaves) != 10 || strings.Join(leaves, "") != want {
		t.Errorf("it was cut into %q", leaves)
	}
}
