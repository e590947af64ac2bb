package mysql

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source/keyed/keyedtest"
	"drayage/pkg/source/sourcetest"
)

// Each type is read with its extreme values through the real engine, of a table
// and of a query, and each is what the server says, or is NULL or rejected where
// that is said of it.
func TestTypes(t *testing.T) {
	nasty := []string{`''`, `'\\N'`, `'\\\\'`, `'tab\t nl\n cr\r bs\b nul\0 z\Z'`, `_utf8mb4 x'0B0C0E1B7F'`, `'"quoted" ''single'' , ; |'`, `'NULL'`,
		`'null'`, `'\\.'`, `_utf8mb4 x'EFBBBF41'`, `'žluťoučký 漢字 😀'`, `'  around  '`, `'[1,2]'`, `'\\x41'`, `'?'`, `repeat('x', 60000)`}
	ascii := append(append([]string{}, nasty[:10]...), nasty[11:]...)
	days := []string{"'1900-01-01'", "'1969-12-31'", "'1970-01-01'", "'2000-02-29'", "'2299-12-31'"}
	noDays := []string{"'0000-00-01'", "'2026-00-00'", "'2026-01-00'", "'2026-00-15'", "'0000-01-01'", "'1000-01-01'", "'1899-12-31'", "'2300-01-01'", "'9999-12-31'"}
	times := []string{"'0001-01-01 00:00:00'", "'1000-01-01 00:00:00'", "'1582-10-10 00:00:00'", "'1899-12-31 23:59:59'", "'1969-12-31 23:59:59'", "'1970-01-01 00:00:00'",
		"'2026-03-29 02:30:00'", "'2262-04-11 23:47:17'", "'2299-12-31 23:59:59'", "'9999-12-31 23:59:59'"}
	noTimes := []string{"'0000-00-01 00:00:00'", "'2026-00-00 01:02:03'", "'2026-01-00 00:00:00'", "'0000-01-01 00:00:00'"}
	fractions := append([]string{"'1899-12-31 23:59:59.999999'", "'1969-12-31 23:59:59.999999'", "'2000-02-29 12:00:00.1'", "'2262-04-11 23:47:16.854776'", "'9999-12-31 23:59:59.999999'"}, times...)
	floats := func(bits int, sql ...string) (all []string) {
		all = append(sql, "0", "-0e0", "1", "0.1", "1e-5", "123456789012345680")
		for i := range 200 {
			// Without a table of them: spread over all exponents.
			f := math.Float64frombits(uint64(i)*0x147AE147AE147AE + 0x3B9ACA07)
			if bits == bits32 {
				f = float64(math.Float32frombits(uint32(i)*0x147AE14 + 0x1F123)) //nolint:gosec // wraps, as any bits will do
			}
			if !math.IsNaN(f) && !math.IsInf(f, 0) {
				all = append(all, strconv.FormatFloat(f, 'e', -1, bits))
			}
		}
		return all
	}
	charset := func(name string, values ...string) []string {
		for i, v := range values {
			if !strings.HasPrefix(v, "x'") {
				values[i] = fmt.Sprintf("CONVERT(_utf8mb4 '%s' USING %s)", v, name)
			} else {
				values[i] = "_" + name + " " + v
			}
		}
		return values
	}
	every := make([]byte, 256) // byte that there is
	for i := range every {
		every[i] = byte(i)
	}
	bytesOf := func(n int) []string {
		return []string{"''", "x'00'", "x'5C4E'", "x'090A0D5C27225C78'", "x'EFBBBF41'", "x'FFFE80C0'", fmt.Sprintf("x'%X'", every[:min(n, len(every))])}
	}
	raw := regexp.MustCompile("binary|blob|point|geometry") // whose bytes count
	for i, tt := range []struct {
		sql, typ string // the type in MariaDB and in ClickHouse
		query    string // its type in ClickHouse as a column of a query, where it is another one
		declare  string // declared in place of typ
		good     []string
		null     []string // read as NULL
		bad      []string // rejected
		text     string   // the server's text of v
		equal    func(my, ch string) bool
	}{
		{sql: "tinyint", typ: "Nullable(Int8)", good: []string{"-128", "-1", "0", "127"}},
		{sql: "tinyint unsigned", typ: "Nullable(UInt8)", good: []string{"0", "255"}},
		{sql: "bool", typ: "Nullable(Int8)", good: []string{"true", "false", "-128"}},
		{sql: "bool", typ: "Nullable(Int8)", declare: "Bool", good: []string{"true", "false"}, bad: []string{"2"}, text: "IF(v, 'true', 'false')"},
		{sql: "smallint", typ: "Nullable(Int16)", good: []string{"-32768", "32767"}},
		{sql: "smallint unsigned", typ: "Nullable(UInt16)", good: []string{"0", "65535"}},
		{sql: "mediumint", typ: "Nullable(Int32)", good: []string{"-8388608", "8388607"}},
		{sql: "mediumint unsigned", typ: "Nullable(UInt32)", good: []string{"0", "16777215"}},
		{sql: "int", typ: "Nullable(Int32)", good: []string{"-2147483648", "0", "2147483647"}},
		{sql: "int unsigned", typ: "Nullable(UInt32)", good: []string{"0", "4294967295"}},
		{sql: "int(9) zerofill", typ: "Nullable(UInt32)", good: []string{"0", "17", "4294967295"}, text: "v + 0"},
		{sql: "int", typ: "Nullable(Int32)", declare: "UInt8", good: []string{"0", "255"}, bad: []string{"256", "-1"}},
		{sql: "int", typ: "Nullable(Int32)", declare: "String", good: []string{"-7"}},
		{sql: "bigint", typ: "Nullable(Int64)", good: []string{"-9223372036854775808", "9007199254740993", "9223372036854775807"}},
		{sql: "bigint unsigned", typ: "Nullable(UInt64)", good: []string{"0", "9223372036854775808", "18446744073709551615"}},
		{sql: "bigint unsigned", typ: "Nullable(UInt64)", declare: "Int64", good: []string{"9223372036854775807"}, bad: []string{"9223372036854775808", "18446744073709551615"}},
		{sql: "bigint NOT NULL", typ: "Int64", query: "Nullable(Int64)", good: []string{"-9223372036854775808"}},
		{sql: "decimal(10, 2)", typ: "Nullable(Decimal(10, 2))", query: "Nullable(Decimal(11, 2))", good: []string{"0", "-99999999.99", "99999999.99", "0.01", "1.10"}, equal: keyedtest.SameNumber},
		{sql: "decimal(10, 2) unsigned", typ: "Nullable(Decimal(10, 2))", good: []string{"0", "99999999.99", "0.01"}, equal: keyedtest.SameNumber},
		{sql: "decimal(5, 0) unsigned zerofill", typ: "Nullable(Decimal(5, 0))", good: []string{"0", "17", "99999"}, text: "v + 0", equal: keyedtest.SameNumber},
		{sql: "decimal(65, 30)", typ: "Nullable(Decimal(65, 30))", query: "Nullable(Decimal(66, 30))", good: []string{strings.Repeat("9", 35) + "." + strings.Repeat("9", 30),
			"-" + strings.Repeat("9", 35) + "." + strings.Repeat("9", 30), "-0.000000000000000000000000000001", "0"}, equal: keyedtest.SameNumber},
		{sql: "decimal(65, 0)", typ: "Nullable(Decimal(65, 0))", query: "Nullable(Decimal(66, 0))", good: []string{strings.Repeat("9", 65), "-" + strings.Repeat("9", 65)}, equal: keyedtest.SameNumber},
		{sql: "decimal(38, 38)", typ: "Nullable(Decimal(38, 38))", query: "Nullable(Decimal(39, 38))", good: []string{"0." + strings.Repeat("9", 38), "-0." + strings.Repeat("0", 37) + "1"}, equal: keyedtest.SameNumber},
		{sql: "decimal(10, 2)", typ: "Nullable(Decimal(10, 2))", declare: "Decimal(6, 1)", good: []string{"12.50"}, bad: []string{"12.34", "123456"}, equal: keyedtest.SameNumber},
		{sql: "float", typ: "Nullable(Float32)", good: floats(bits32, "3.4028234663852886e38", "-3.4028234663852886e38", "1.1754943508222875e-38", "1e-45", "16777216"), text: "v + 0e0", equal: keyedtest.SameFloat(bits32)},
		{sql: "double", typ: "Nullable(Float64)", good: floats(bits64, "1.7976931348623157e308", "-1.7976931348623157e308", "2.2250738585072014e-308",
			"-2.2250738585072014e-308", "9007199254740993e0", "0.30000000000000004e0"), equal: keyedtest.SameFloat(bits64)},
		{sql: "double(12, 3)", typ: "Nullable(Float64)", good: []string{"123456.789", "-0.001"}, equal: keyedtest.SameFloat(bits64)},
		{sql: "bit(1)", typ: "Nullable(UInt8)", query: "Nullable(UInt64)", good: []string{"b'0'", "b'1'"}, text: "v + 0"},
		{sql: "bit(8)", typ: "Nullable(UInt8)", query: "Nullable(UInt64)", good: []string{"0", "92", "255"}, text: "v + 0"},
		{sql: "bit(9)", typ: "Nullable(UInt16)", query: "Nullable(UInt64)", good: []string{"511"}, text: "v + 0"},
		{sql: "bit(33)", typ: "Nullable(UInt64)", good: []string{"8589934591"}, text: "v + 0"},
		{sql: "bit(64)", typ: "Nullable(UInt64)", good: []string{"0", "18446744073709551615"}, text: "v + 0"},
		{sql: "date", typ: "Nullable(Date32)", good: days, null: []string{"'0000-00-00'"}, bad: noDays},
		{sql: "date NOT NULL", typ: "Date32", query: "Nullable(Date32)", good: days[:2], bad: []string{"'0000-00-00'", "'2026-00-00'"}},
		{sql: "date", typ: "Nullable(Date32)", declare: "String", good: append([]string{"'0000-00-00'"}, append(days, noDays...)...)},
		{sql: "date", typ: "Nullable(Date32)", declare: "Nullable(Date)", good: days[2:4], null: []string{"'0000-00-00'"}, bad: []string{"'1969-12-31'", "'2299-12-31'"}},
		{sql: "datetime", typ: "Nullable(DateTime64(0, 'UTC'))", good: times, null: []string{"'0000-00-00 00:00:00'"}, bad: noTimes},
		{sql: "datetime(3)", typ: "Nullable(DateTime64(3, 'UTC'))", good: append([]string{"'2026-01-01 00:00:00.123'"}, times...), null: []string{"'0000-00-00 00:00:00'"}, bad: noTimes, equal: keyedtest.SameTime},
		{sql: "datetime(6)", typ: "Nullable(DateTime64(6, 'UTC'))", good: fractions, null: []string{"'0000-00-00 00:00:00'"}, bad: append([]string{"'0000-00-00 00:00:00.5'"}, noTimes...), equal: keyedtest.SameTime},
		{sql: "datetime NOT NULL", typ: "DateTime64(0, 'UTC')", query: "Nullable(DateTime64(0, 'UTC'))", good: times[:2], bad: []string{"'0000-00-00 00:00:00'"}},
		{sql: "datetime", typ: "Nullable(DateTime64(0, 'UTC'))", declare: "String", good: append([]string{"'0000-00-00 00:00:00'"}, append(times, noTimes...)...)},
		{sql: "datetime(6)", typ: "Nullable(DateTime64(6, 'UTC'))", declare: "DateTime64(3)", good: []string{"'2026-01-01 00:00:00.123'"}, bad: []string{"'2026-01-01 00:00:00.1234'", "'0000-00-00 00:00:00'"}, equal: keyedtest.SameTime},
		{sql: "timestamp NULL", typ: "Nullable(DateTime64(0, 'UTC'))", good: []string{"'1970-01-01 09:00:01'", "'2026-03-29 02:30:00'", "'2038-01-19 12:14:07'"}, null: []string{"'0000-00-00 00:00:00'"}},
		{sql: "timestamp(6) NULL", typ: "Nullable(DateTime64(6, 'UTC'))", good: []string{"'1970-01-01 09:00:01.000001'", "'2026-10-25 02:30:00.5'", "'2038-01-19 12:14:07.999999'"}, null: []string{"'0000-00-00 00:00:00'"}, equal: keyedtest.SameTime},
		{sql: "time", typ: "Nullable(String)", good: []string{"'-838:59:59'", "'00:00:00'", "'23:59:59'", "'24:00:00'", "'838:59:59'"}},
		{sql: "time(6)", typ: "Nullable(String)", good: []string{"'-838:59:59.999999'", "'-00:00:00.000001'", "'838:59:59.999999'"}},
		{sql: "year", typ: "Nullable(UInt16)", good: []string{"1901", "0", "2026", "2155"}, text: "v + 0"},
		{sql: "char(30)", typ: "Nullable(String)", good: nasty[:9]},
		{sql: "char(7)", typ: "Nullable(String)", good: []string{"'a   '", "'  a'", "''"}},
		{sql: "varchar(60000) CHARACTER SET latin1", typ: "Nullable(String)", good: append(charset("latin1", "x'"+hex.EncodeToString(every)+"'", "é€"), ascii...)},
		{sql: "varchar(50)", typ: "Nullable(String)", declare: "FixedString(3)", good: []string{"'abc'"}, bad: []string{"'abcd'"}},
		{sql: "varchar(50)", typ: "Nullable(String)", declare: "Int32", good: []string{"'12'", "'-5'"}, bad: []string{"'12x'", "''", "'300000000000'"}},
		{sql: "tinytext", typ: "Nullable(String)", good: nasty[:14]},
		{sql: "text", typ: "Nullable(String)", good: nasty},
		{sql: "mediumtext COLLATE utf8mb4_bin", typ: "Nullable(String)", good: nasty},
		{sql: "longtext", typ: "Nullable(String)", good: append([]string{"repeat('😀', 300000)"}, nasty...)},
		{sql: "text COMPRESSED", typ: "Nullable(String)", good: nasty},
		{sql: "text NOT NULL", typ: "String", query: "Nullable(String)", good: nasty},
		{sql: "text CHARACTER SET utf8mb3", typ: "Nullable(String)", good: append(charset("utf8mb3", "žluťoučký 漢字"), ascii...)},
		{sql: "text CHARACTER SET ucs2", typ: "Nullable(String)", good: append(charset("ucs2", "žluťoučký 漢字 ?", "?"), ascii[:4]...)},
		{sql: "text CHARACTER SET utf16", typ: "Nullable(String)", good: charset("utf16", "žluťoučký 漢字 😀?", "")},
		{sql: "text CHARACTER SET utf32", typ: "Nullable(String)", good: charset("utf32", "žluťoučký 漢字 😀?", "")},
		{sql: "text CHARACTER SET cp1250", typ: "Nullable(String)", good: charset("cp1250", "žluťoučký?", "€")},
		{sql: "text CHARACTER SET latin2", typ: "Nullable(String)", good: charset("latin2", "žluťoučký?")},
		{sql: "text CHARACTER SET koi8r", typ: "Nullable(String)", good: charset("koi8r", "Россия?")},
		{sql: "text CHARACTER SET cp932", typ: "Nullable(String)", good: charset("cp932", "漢字ソ表?", "x'815C'")},
		{sql: "text CHARACTER SET big5", typ: "Nullable(String)", good: charset("big5", "漢字功?")},
		{sql: "text CHARACTER SET gbk", typ: "Nullable(String)", good: charset("gbk", "汉字?")},
		{sql: "enum('sad', 'so so', 'it''s\\\\ok\tso', '?', 'ž')", typ: "LowCardinality(Nullable(String))", good: []string{"'sad'", "2", "3", "'?'", "'ž'", "0"}},
		{sql: "enum('ž', '?') CHARACTER SET latin2 NOT NULL", typ: "LowCardinality(String)", query: "LowCardinality(Nullable(String))", good: []string{"'ž'", "'?'"}},
		{sql: "set('a', 'b b', 'ž')", typ: "Nullable(String)", good: []string{"''", "'a'", "'a,b b,ž'"}},
		{sql: "json", typ: "Nullable(String)", good: []string{`'{"a": "b\\n\\"", "c":[1, 2.50,null]}'`, `'null'`, `'"\\u0041\\\\"'`, `' 1 '`, `'{"a":1,"a":2}'`, `'18446744073709551616.50'`}},
		{sql: "binary(5)", typ: "Nullable(String)", good: []string{"''", "'ab'", "x'FF00FF00FF'"}},
		{sql: "varbinary(300)", typ: "Nullable(String)", good: bytesOf(256)},
		{sql: "tinyblob", typ: "Nullable(String)", good: bytesOf(255)},
		{sql: "blob", typ: "Nullable(String)", good: bytesOf(256)},
		{sql: "mediumblob", typ: "Nullable(String)", good: append(bytesOf(256), "repeat(x'00FF5C', 500000)")},
		{sql: "longblob NOT NULL", typ: "String", query: "Nullable(String)", good: bytesOf(256)},
		{sql: "uuid", typ: "Nullable(UUID)", query: "Nullable(String)", good: []string{"'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"}},
		{sql: "inet4", typ: "Nullable(IPv4)", query: "Nullable(String)", good: []string{"'0.0.0.0'", "'10.1.2.3'", "'255.255.255.255'"}},
		{sql: "inet6", typ: "Nullable(IPv6)", query: "Nullable(String)", good: []string{"'::'", "'2001:db8::ff00:42:8329'", "'::ffff:192.0.2.1'", "'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'"}},
		{sql: "point", typ: "Nullable(String)", good: []string{"ST_PointFromText('POINT(1.5 -2e300)')", "ST_PointFromText('POINT(1 2)', 4326)"}},
		{sql: "geometry", typ: "Nullable(String)", good: []string{"ST_GeomFromText('POLYGON((0 0,4 0,4 4,0 0))')", "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))', 3857)"}},
	} {
		name := strings.Join(strings.Fields(strings.ReplaceAll(tt.sql, "\\", "")+" "+tt.declare), "_")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.text == "" {
				tt.text = "v"
			}
			if !raw.MatchString(tt.sql) {
				tt.text = "CONVERT(CAST(" + tt.text + " AS CHAR) USING utf8mb4)"
			}
			if tt.equal == nil {
				tt.equal = func(my, ch string) bool { return my == ch }
			}
			table := fmt.Sprintf("types_%d", i)
			var insert strings.Builder
			fmt.Fprintf(&insert, "SET sql_mode = '', time_zone = '+09:00'; CREATE TABLE %s (n int PRIMARY KEY, v %s)", table, tt.sql)
			values := append(append(append([]string{}, tt.good...), tt.null...), tt.bad...)
			for n, v := range values {
				fmt.Fprintf(&insert, "; INSERT INTO %s VALUES (%d, %s)", table, n, v)
			}
			optional := tt.declare == "" && !strings.Contains(tt.sql, "NOT NULL")
			if optional {
				// A value must come as NULL where it is, and only there.
				fmt.Fprintf(&insert, "; INSERT INTO %s VALUES (1000000, NULL)", table)
			}
			exec(t, insert.String())
			said := map[string]string{}
			err := json.Unmarshal([]byte(exec(t, fmt.Sprintf("SET time_zone = '+00:00', group_concat_max_len = 100000000; SELECT json_objectagg(n, HEX(%s)) FROM %s", tt.text, table))), &said)
			if err != nil {
				t.Fatal(err)
			}
			for from, cfg := range map[string]Config{"table": {Table: table}, "query": {Query: "SELECT * FROM " + table}} {
				typ := tt.typ
				if from == "query" && tt.declare != "" {
					continue // what is declared is read alike
				}
				if from == "query" && tt.query != "" {
					typ = tt.query
				}
				if got := sourcetest.Columns(t, mustNew(t, cfg)); got[1].Type != typ {
					t.Errorf("of a %s it is read as %s, want %s", from, got[1].Type, typ)
				}
				if tt.declare != "" {
					cfg.Columns = []job.Column{{Name: "n", Type: "Int32"}, {Name: "v", Type: tt.declare}}
				}
				rows, rejects := read(t, cfg, "SELECT n, hex(toString(v)) FROM chunk")
				seen := map[string]bool{}
				isNull := func(n string) bool {
					i, err := strconv.Atoi(n)
					zero := i >= len(tt.good) && i < len(tt.good)+len(tt.null)
					if from == "query" && strings.HasPrefix(typ, "Nullable(Date") && tt.declare == "" && i < len(values) {
						zero = zero || zeroDate([]byte(strings.Trim(values[i], "'")))
					}
					return err != nil || zero || i == 1000000
				}
				for _, r := range rows {
					n := string(r[0].(json.Number))
					seen[n] = true
					if (r[1] == nil) != isNull(n) {
						t.Errorf("of a %s, %.200q is read as %.200v", from, said[n], r[1])
					}
					if r[1] == nil || isNull(n) {
						continue
					}
					my, err1 := hex.DecodeString(said[n])
					ch, err2 := hex.DecodeString(fmt.Sprint(r[1]))
					if err1 != nil || err2 != nil || !tt.equal(string(my), string(ch)) {
						t.Errorf("of a %s, %.200q is read as %.200q", from, my, ch)
					}
				}
				bad := 0
				for n := range values {
					at := strconv.Itoa(n)
					want := n < len(tt.good) || isNull(at)
					if !want {
						bad++
					}
					if seen[at] != want {
						t.Errorf("of a %s, %.200s: it is there: %t, want %t", from, values[n], seen[at], want)
					}
				}
				if seen["1000000"] != optional || len(rejects) != bad {
					t.Errorf("of a %s, NULL is there: %t; %d rows are rejected, want %d: %v", from, seen["1000000"], len(rejects), bad, rejects)
				}
			}
		})
	}
}

// read plans and reads a source, through the engine.
func read(t *testing.T, cfg Config, query string) (rows [][]any, rejects []error) {
	t.Helper()
	return sourcetest.Strict{Engine: eng}.Read(t, mustNew(t, cfg), query)
}

// What is generated, invisible or of a table's own temporal versions is a column
// as others are.
func TestColumns(t *testing.T) {
	exec(t, `CREATE TABLE generated (id int PRIMARY KEY, twice bigint AS (id * 2) STORED, text varchar(20) AS (concat('n', id)) VIRTUAL, hidden int INVISIBLE DEFAULT 7,
	`+"`a \"b\" ``c```"+` int DEFAULT 9) WITH SYSTEM VERSIONING; INSERT INTO generated (id) VALUES (1), (2); DELETE FROM generated WHERE id = 2`)
	s := mustNew(t, Config{Table: "generated"})
	if got := fmt.Sprint(sourcetest.Columns(t, s)); got != "[{id Int32} {twice Nullable(Int64)} {text Nullable(String)} {a \"b\" `c` Nullable(Int32)}]" {
		t.Errorf("the columns are %s", got)
	}
	rows, _ := read(t, Config{Table: "generated"}, "SELECT * FROM chunk")
	if fmt.Sprint(rows) != "[[1 2 n1 9]]" {
		t.Errorf("the rows are %v", rows)
	}
	rows, _ = read(t, Config{Table: "generated", Columns: []job.Column{{Name: "hidden", Type: "UInt8"}, {Name: "TWICE", Type: "String"}}}, "SELECT * FROM chunk")
	if fmt.Sprint(rows) != "[[7 2]]" {
		t.Errorf("the rows are %v", rows)
	}
}

// A character that Unicode does not have would come as a question mark. The chunk
// fails, and says which column has it.
func TestStrayCharacters(t *testing.T) {
	exec(t, `CREATE TABLE stray (id int PRIMARY KEY, v varchar(20) CHARACTER SET cp1250, w varchar(20) CHARACTER SET ascii);
INSERT INTO stray VALUES (1, '?', '?'), (2, _cp1250 x'3F81', 'a')`)
	for _, cfg := range []Config{{Table: "stray"}, {Query: "SELECT * FROM stray"}} {
		s := mustNew(t, cfg)
		columns := sourcetest.Columns(t, s)
		chunks, err := sourcetest.Plan(t, s, nil, columns)
		if err != nil || len(chunks) != 1 {
			t.Fatalf("%d chunks, %v", len(chunks), err)
		}
		_, err = sourcetest.Chunk(t, s, chunks[0].Input, columns)
		sourcetest.WantError(t, err, job.Permanent, "a text of v has a character")
	}
	rows, _ := read(t, Config{Query: "SELECT id, CAST(v AS BINARY) AS v FROM stray ORDER BY id"}, "SELECT hex(v) FROM chunk")
	if fmt.Sprint(rows) != "[[3F] [3F81]]" {
		t.Errorf("the bytes are %v", rows)
	}
}
