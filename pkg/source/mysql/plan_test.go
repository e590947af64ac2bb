package mysql

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source/keyed/keyedtest"
	"drayage/pkg/source/sourcetest"
)

// keys are types of columns to cut by.
var keys = []keyedtest.Type{
	{SQL: "tinyint unsigned", Values: []string{"0", "1", "255"}},
	{SQL: "int", Values: []string{"-2147483648", "-1", "0", "1", "2", "3", "1000000", "2147483647"}},
	{SQL: "bigint", Values: []string{"-9223372036854775808", "7", "8", "9", "9223372036854775807"}},
	{SQL: "bigint unsigned", Values: []string{"0", "7", "9223372036854775807", "9223372036854775808", "18446744073709551614", "18446744073709551615"}},
	{SQL: "varchar(250) COLLATE utf8mb4_general_ci", Values: []string{"''", "'a'", "'A'", "'á'", "'a '", "'ab'", "'b'", "''''", `'\\'`, `'\t'`, `'\n'`, "'ž'", "'z'", "'Z'", "'😀'", "'<&>'", `'"'`, "repeat('l', 240)"}},
	{SQL: "varchar(100) COLLATE utf8mb4_unicode_ci", Values: []string{"'strasse'", "'straße'", "'STRASSE'", "'漢'", "'😀'", "'😁'"}},
	{SQL: "varchar(100) COLLATE utf8mb4_nopad_bin", Values: []string{"'a'", "'a '", `'a\t'`, "'A'"}},
	{SQL: "varchar(50) CHARACTER SET latin1", Values: []string{"'é'", "'e'", "'E'", "_latin1 x'81FF00'", "'?'"}},
	{SQL: "varchar(50) CHARACTER SET cp932", Values: []string{"'ソ'", "'表'", "'a'"}},
	{SQL: "char(16) CHARACTER SET ascii COLLATE ascii_bin", Values: []string{"'a0eebc999c0b4ef8'", "'A0EEBC999C0B4EF8'", "''"}},
	{SQL: "binary(16)", Values: []string{"x'00'", "x'A0EEBC999C0B4EF8BB6D6BB9BD380A11'", "x'FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF'"}},
	{SQL: "varbinary(40)", Values: []string{"''", "x'00'", "x'0000'", "x'ff'", "x'5c27'"}},
	{SQL: "uuid", Values: []string{"'00000000-0000-0000-0000-000000000000'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'a0eebc98-9c0b-4ef9-bb6d-6bb9bd380a11'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"}},
	{SQL: "timestamp(6) DEFAULT '2000-01-01'", Values: []string{"'0000-00-00'", "'1970-01-02 00:00:00'", "'2026-01-01 00:00:00.000001'", "'2026-01-01 00:00:00.000002'", "'2038-01-19 03:14:07'"}},
	{SQL: "datetime", Values: []string{"'0000-00-00'", "'2026-00-00'", "'2026-01-01 00:00:05'", "'9999-12-31 23:59:59'"}},
	{SQL: "date", Values: []string{"'0000-00-00'", "'1000-01-01'", "'1970-01-01'", "'9999-12-31'"}},
	{SQL: "time(3)", Values: []string{"'-838:59:59'", "'-00:00:00.001'", "'00:00:00'", "'838:59:59.999'"}},
	{SQL: "year", Values: []string{"0", "1901", "2001", "2155"}},
	{SQL: "decimal(30, 10)", Values: []string{"-1e19", "0", "0.1", "0.1000000001", "99999999999999999999.9999999999"}},
	{SQL: "float", Values: []string{"-3.4e38", "-0e0", "0", "0.1", "0.30000001", "1e-45", "16777217", "3.4e38"}},
	{SQL: "double", Values: []string{"-1.7976931348623157e308", "0", "5e-320", "0.1", "0.30000000000000004", "1e300"}},
	{SQL: "bit(5)", Values: []string{"b'0'", "b'1'", "b'11111'"}},
	{SQL: "bit(64)", Values: []string{"0", "9223372036854775808", "18446744073709551615"}},
	{SQL: "enum('so so', 'sad', 'b', 'a', '10', '9')", Values: []string{"'so so'", "'sad'", "'a'", "'b'", "'10'", "'9'", "0"}},
	{SQL: "set('z', 'y', 'x')", Values: []string{"''", "'z'", "'y,x'", "'z,y,x'"}},
	{SQL: "inet6", Values: []string{"'::'", "'::1'", "'::ffff:10.0.0.1'", "'ffff::'"}},
	{SQL: "inet4", Values: []string{"'9.0.0.1'", "'10.0.0.1'", "'255.0.0.0'"}},
}

// Over any table and any key, chunks have every row once.
func TestEveryRowOnce(t *testing.T) {
	keyedtest.EveryRowOnce(t, database, keyedtest.Keys{Types: keys, Orders: []string{"", " DESC"}, Begin: "SET sql_mode = ''; "})
}

// However keys are distributed, chunks have the rows that they should.
func TestEvenChunks(t *testing.T) {
	fill := func(table string, e keyedtest.Even) string {
		return fmt.Sprintf("CREATE TABLE %s (k %s, n int, pad text, KEY (k)); INSERT INTO %[1]s SELECT %[3]s, i, repeat('x', 100) FROM (SELECT CAST(seq AS UNSIGNED) AS i FROM seq_1_to_%[4]d) s",
			table, e.Column, e.Value, keyedtest.EvenRows)
	}
	keyedtest.EvenChunks(t, database, fill, map[string]keyedtest.Even{
		"dense":          {Column: "bigint PRIMARY KEY", Value: "i"},
		"sparse":         {Column: "bigint unsigned PRIMARY KEY", Value: "i * 800000000000000"},
		"exponential":    {Column: "bigint PRIMARY KEY", Value: "IF(i < 19000, i, floor(pow(2, (i - 19000) / 16.5)) + i)"},
		"uuid":           {Column: "uuid PRIMARY KEY", Value: "insert(insert(md5(i), 13, 1, '4'), 17, 1, 'a')"},
		"bytes":          {Column: "binary(16) PRIMARY KEY", Value: "unhex(md5(i))"},
		"text":           {Column: "char(32) PRIMARY KEY", Value: "md5(i)"},
		"time":           {Column: "datetime(6) PRIMARY KEY", Value: "timestamp '2026-01-01 00:00:00' + interval round(sqrt(i) * 1000000) microsecond"},
		"decimal":        {Column: "decimal(30, 10) PRIMARY KEY", Value: "pow(i, 3) / 7"},
		"few values":     {Column: "int", Value: "i % 7", Most: 2858, Unlike: 3},
		"half is one":    {Column: "int", Value: "IF(i % 2 = 0, 5000, i)", Most: 11_000, Unlike: 4},
		"long and short": {Column: "varchar(500)", Value: "concat(repeat(char(97 + i % 20), IF(i % 2 = 0, 250, 40)), i)", Most: 2 * keyedtest.EvenPer, Unlike: 5},
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
				sourcetest.WantError(t, err, job.Permanent, tt.err)
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
	keyedtest.DescriptionsFit(t, database, keyedtest.Long{Letter: "<", Type: "varchar(100)", Value: "lpad(seq, 25, '<')", From: "seq_1_to_50"})
}

// What is too big for an attempt is cut until it is one key.
func TestSplitToTheEnd(t *testing.T) {
	keyedtest.SplitToTheEnd(t, database, "SELECT floor(seq / 3), seq FROM seq_0_to_29")
}
