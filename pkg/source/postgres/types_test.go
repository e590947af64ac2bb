package postgres

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source/keyed/keyedtest"
	"drayage/pkg/source/sourcetest"
)

// mood makes an enum, once.
const mood = `DO $$ BEGIN CREATE TYPE mood AS ENUM ('sad', 'so so', E'it''s\\ok\tso'); EXCEPTION WHEN duplicate_object THEN END $$`

// Each type is read with its extreme values through the real engine, and each
// is what PostgreSQL says, or is rejected.
func TestTypes(t *testing.T) {
	exec(t, mood+`;
CREATE DOMAIN cents AS numeric(20, 2);
CREATE DOMAIN even AS int4 CHECK (VALUE % 2 = 0);
CREATE TYPE pair AS (a int4, b text)`)
	nasty := []string{`''`, `'\N'`, `'\\'`, `E'tab\t nl\n cr\r bs\b ff\f vt\x0b soh\x01 esc\x1b del\x7f'`, `'"quoted" ''single'' , ; |'`, `'NULL'`,
		`'null'`, `'\.'`, `E'\ufeffmark'`, `'žluťoučký 漢字 😀'`, `'  around  '`, `'[1,2]'`, `'\x41'`, `repeat('x', 1000000)`}
	times := []string{"'0001-01-01 00:00:00'", "'1582-10-10 00:00:00'", "'1899-12-31 23:59:59.999999'", "'1900-01-01 00:00:00'", "'1969-12-31 23:59:59.999999'", "'1970-01-01 00:00:00'", "'2000-02-29 12:00:00.1'",
		"'2026-03-29 02:30:00.000001'", "'2262-04-11 23:47:16.854776'", "'2299-12-31 23:59:59.999999'", "'9999-12-31 23:59:59.999999'"}
	beyond := []string{"'infinity'", "'-infinity'", "'0001-12-31 23:59:59.999999 BC'", "'2026-01-01 00:00:00 BC'", "'4713-01-01 00:00:00 BC'",
		"'10000-01-01 00:00:00'", "'12000-01-01 00:00:00'", "'294276-12-31 23:59:59.999999'"}
	floats := func(bits int, sql ...string) (all []string) {
		all = append(sql, "0", "'-0'", "1", "'NaN'", "'Infinity'", "'-Infinity'", "0.1", "1e-5", "123456789012345680")
		for i := range 200 {
			// Without a table of them: spread over all exponents.
			f := math.Float64frombits(uint64(i)*0x147AE147AE147AE + 0x3B9ACA07)
			if bits == 32 {
				f = float64(math.Float32frombits(uint32(i)*0x147AE14 + 0x1F123)) //nolint:gosec // wraps, as any bits will do
			}
			if !math.IsNaN(f) && !math.IsInf(f, 0) {
				all = append(all, "'"+strconv.FormatFloat(f, 'g', -1, bits)+"'")
			}
		}
		return all
	}
	for i, tt := range []struct {
		sql, typ string // the type in PostgreSQL and in ClickHouse
		declare  string // declared in place of typ
		good     []string
		bad      []string // rejected
		text     string   // PostgreSQL's text of v; v::text
		equal    func(pg, ch string) bool
	}{
		{sql: "bool", typ: "Nullable(Bool)", good: []string{"true", "false"}},
		{sql: "bool", typ: "Nullable(Bool)", declare: "String", good: []string{"true", "false"}, text: "CASE WHEN v THEN 't' ELSE 'f' END"},
		{sql: "bool", typ: "Nullable(Bool)", declare: "UInt8", good: []string{"true", "false"}, text: "v::int4::text"},
		{sql: "int2", typ: "Nullable(Int16)", good: []string{"-32768", "-1", "0", "32767"}},
		{sql: "int4", typ: "Nullable(Int32)", good: []string{"-2147483648", "0", "2147483647"}},
		{sql: "int4", typ: "Nullable(Int32)", declare: "UInt8", good: []string{"0", "255"}, bad: []string{"256", "-1"}},
		{sql: "int4", typ: "Nullable(Int32)", declare: "String", good: []string{"-7"}},
		{sql: "int8", typ: "Nullable(Int64)", good: []string{"-9223372036854775808", "0", "9223372036854775807"}},
		{sql: "oid", typ: "Nullable(UInt32)", good: []string{"0", "4294967295"}},
		{sql: "float4", typ: "Nullable(Float32)", good: floats(32, "'3.4028235e38'", "'1.17549435e-38'", "'1e-45'", "16777216"), equal: keyedtest.SameFloat(32)},
		{sql: "float8", typ: "Nullable(Float64)", good: floats(64, "'1.7976931348623157e308'", "'-1.7976931348623157e308'", "'2.2250738585072014e-308'",
			"'5e-324'", "9007199254740993", "0.30000000000000004", "'2.2250738585072011e-308'"), equal: keyedtest.SameFloat(64)},
		{sql: "numeric", typ: "Nullable(String)", good: []string{"0", "'NaN'", "'Infinity'", "'-Infinity'", "1.10", "1e400", "-1e-400",
			"99999999999999999999999999999999999999999999999999999999999999999999999999999.123456789"}},
		{sql: "numeric(10, 2)", typ: "Nullable(Decimal(10, 2))", good: []string{"0", "-99999999.99", "99999999.99", "0.01", "1.10"}, bad: []string{"'NaN'"}, equal: keyedtest.SameNumber},
		{sql: "numeric(76, 38)", typ: "Nullable(Decimal(76, 38))", good: []string{"99999999999999999999999999999999999999.99999999999999999999999999999999999999",
			"-0.00000000000000000000000000000000000001"}, bad: []string{"'NaN'"}, equal: keyedtest.SameNumber},
		{sql: "numeric(77, 0)", typ: "Nullable(String)", good: []string{strings.Repeat("9", 77), "'NaN'"}},
		{sql: "numeric(3, -2)", typ: "Nullable(Decimal(5, 0))", good: []string{"99900", "-123", "0"}, equal: keyedtest.SameNumber},
		{sql: "numeric(2, 5)", typ: "Nullable(Decimal(5, 5))", good: []string{"0.00099", "-0.00001"}, equal: keyedtest.SameNumber},
		{sql: "cents", typ: "Nullable(Decimal(20, 2))", good: []string{"-999999999999999999.99", "0.10"}, equal: keyedtest.SameNumber},
		{sql: "even", typ: "Nullable(Int32)", good: []string{"-2147483648", "2"}},
		{sql: "numeric(10, 2)", typ: "Nullable(Decimal(10, 2))", declare: "Decimal(6, 1)", good: []string{"12.50"}, bad: []string{"12.34", "123456"}, equal: keyedtest.SameNumber},
		{sql: "text", typ: "Nullable(String)", good: nasty},
		{sql: "varchar", typ: "Nullable(String)", good: nasty},
		{sql: "char(7)", typ: "Nullable(String)", good: []string{"'a'", "''", `'\N'`}, text: "concat(v)"},
		{sql: "text", typ: "Nullable(String)", declare: "FixedString(3)", good: []string{"'abc'"}, bad: []string{"'abcd'"}},
		{sql: "text", typ: "Nullable(String)", declare: "Int32", good: []string{"'12'", "'-5'"}, bad: []string{"'12x'", "''", "'300000000000'"}},
		{sql: "mood", typ: "LowCardinality(Nullable(String))", good: []string{"'sad'", "'so so'", `E'it''s\\ok\tso'`}},
		{sql: "bytea", typ: "Nullable(String)", declare: "String", good: []string{`'\x'`, `'\x00'`, `'\x5c4e'`, `'\x090a0d5c27225c78'`, `'\xefbbbf41'`,
			`'\xfffe80c0'`, "(SELECT string_agg(set_byte('\\x00'::bytea, 0, i), '') FROM generate_series(0, 255) i)"}, text: "upper(encode(v, 'hex'))"},
		{sql: "uuid", typ: "Nullable(UUID)", good: []string{"'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"}},
		{sql: "date", typ: "Nullable(Date32)", good: []string{"'1900-01-01'", "'1970-01-01'", "'2000-02-29'", "'2299-12-31'"},
			bad: []string{"'infinity'", "'-infinity'", "'1899-12-31'", "'2300-01-01'", "'0001-01-01'", "'0044-03-15 BC'", "'1950-01-01 BC'", "'12026-01-01'", "'5874897-12-31'"}},
		{sql: "date", typ: "Nullable(Date32)", declare: "String", good: []string{"'infinity'", "'4713-01-01 BC'", "'5874897-12-31'"}},
		{sql: "timestamp", typ: "Nullable(DateTime64(6, 'UTC'))", good: times, bad: beyond, equal: keyedtest.SameTime},
		{sql: "timestamp", typ: "Nullable(DateTime64(6, 'UTC'))", declare: "DateTime64(3)", good: []string{"'2026-01-01 00:00:00.123'"}, bad: []string{"'2026-01-01 00:00:00.1234'"}, equal: keyedtest.SameTime},
		{sql: "timestamptz", typ: "Nullable(DateTime64(6, 'UTC'))", good: append([]string{"'2026-10-25 02:30:00+02'", "'1900-01-01 00:00:00-15:59:59'"}, times...), bad: beyond,
			text: "(v AT TIME ZONE 'UTC')::text", equal: keyedtest.SameTime},
		{sql: "timestamptz", typ: "Nullable(DateTime64(6, 'UTC'))", declare: "String", good: []string{"'2026-10-25 02:30:00+02'", "'infinity'", "'294276-12-31 23:59:59.999999'"}},
		{sql: "time", typ: "Nullable(String)", good: []string{"'00:00:00'", "'24:00:00'", "'23:59:59.999999'"}},
		{sql: "timetz", typ: "Nullable(String)", good: []string{"'00:00:00+15:59'", "'24:00:00-15:59'"}},
		{sql: "interval", typ: "Nullable(String)", good: []string{"'178000000 years'", "'-178000000 years'", "'1 mon -3 days 04:05:06.7'", "'0'"}},
		{sql: "json", typ: "Nullable(String)", good: []string{`'{"a": "b\n\"", "c":[1, 2.50,null]}'`, `'null'`, `'"\u0041\\"'`, `' 1 '`, `'{"a":1,"a":2}'`}},
		{sql: "jsonb", typ: "Nullable(String)", good: []string{`'{"a": "b\n\"", "c":[1, 2.50,null]}'`, `'null'`, `'"\u0041\\"'`}},
		{sql: "xml", typ: "Nullable(String)", good: []string{`'<a b="c">&lt;</a>'`}},
		{sql: "inet", typ: "Nullable(String)", good: []string{"'10.0.0.1'", "'10.1.2.3/8'", "'::ffff:1.2.3.4'", "'2001:db8::/32'"}, text: "concat(v)"},
		{sql: "cidr", typ: "Nullable(String)", good: []string{"'10.0.0.0/8'", "'2001:db8::/32'"}},
		{sql: "macaddr", typ: "Nullable(String)", good: []string{"'08:00:2b:01:02:03'"}},
		{sql: "int4range", typ: "Nullable(String)", good: []string{"'[1,5)'", "'empty'", "'(,)'"}},
		{sql: "tstzrange", typ: "Nullable(String)", good: []string{"'[2026-01-01 00:00:00+01,infinity)'"}},
		{sql: "int4multirange", typ: "Nullable(String)", good: []string{"'{[1,3), [5,9)}'", "'{}'"}},
		{sql: "bit(5)", typ: "Nullable(String)", good: []string{"B'10110'"}},
		{sql: "varbit", typ: "Nullable(String)", good: []string{"B''", "B'1'"}},
		{sql: "money", typ: "Nullable(String)", good: []string{"'-92233720368547758.08'", "'1.10'"}},
		{sql: "point", typ: "Nullable(String)", good: []string{"'(1.5,-2e300)'"}},
		{sql: "tsvector", typ: "Nullable(String)", good: []string{"'a:1 b''c:2'"}},
		{sql: "pair", typ: "Nullable(String)", good: []string{`ROW(1, E'a"b\\c\t,')`, "ROW(NULL, NULL)"}},
		{sql: `"char"`, typ: "Nullable(String)", good: []string{"'a'", "''"}},
		{sql: "name", typ: "Nullable(String)", good: []string{"'pg_class'"}},
	} {
		name := strings.Join(strings.Fields(tt.sql+" "+tt.declare), "_")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.text == "" {
				tt.text = "v::text"
			}
			if tt.equal == nil {
				tt.equal = func(pg, ch string) bool { return pg == ch }
			}
			table := fmt.Sprintf("types_%d", i)
			exec(t, fmt.Sprintf("CREATE TABLE %s (n int4 PRIMARY KEY, v %s)", table, tt.sql))
			var insert strings.Builder
			for n, v := range append(append([]string{}, tt.good...), tt.bad...) {
				fmt.Fprintf(&insert, "INSERT INTO %s VALUES (%d, (%s)::%s);\n", table, n, v, tt.sql)
			}
			exec(t, insert.String())
			said := map[string]string{}
			err := json.Unmarshal([]byte(exec(t, fmt.Sprintf("SET TimeZone = 'UTC'; SELECT json_object_agg(n, %s) FROM %s", tt.text, table))), &said)
			if err != nil {
				t.Fatal(err)
			}
			cfg := Config{Table: table}
			if tt.declare == "" {
				// A value must come as NULL where it is, and only there.
				exec(t, fmt.Sprintf("INSERT INTO %s VALUES (1000000, NULL)", table))
			} else {
				cfg.Columns = []job.Column{{Name: "n", Type: "Int32"}, {Name: "v", Type: tt.declare}}
			}
			if got := sourcetest.Columns(t, mustNew(t, Config{Table: table})); got[1].Type != tt.typ {
				t.Errorf("it is read as %s, want %s", got[1].Type, tt.typ)
			}
			query := "SELECT * FROM chunk"
			if tt.sql == "bytea" {
				query = "SELECT n, hex(v) FROM chunk" // JSON has no bytes
			}
			rows, rejects := read(t, cfg, query)
			seen := map[string]bool{}
			for _, r := range rows {
				n := string(r[0].(json.Number))
				seen[n] = true
				if n == "1000000" {
					if r[1] != nil {
						t.Errorf("NULL is read as %v", r[1])
					}
					continue
				}
				got := fmt.Sprint(r[1])
				if r[1] == nil || !tt.equal(said[n], got) {
					t.Errorf("%.200q is read as %.200q", said[n], got)
				}
			}
			for n := range tt.good {
				if !seen[strconv.Itoa(n)] {
					t.Errorf("%s is not there", tt.good[n])
				}
			}
			for n := range tt.bad {
				if at := strconv.Itoa(len(tt.good) + n); seen[at] {
					t.Errorf("%s was not rejected", tt.bad[n])
				}
			}
			if len(rejects) != len(tt.bad) {
				t.Errorf("%d rows are rejected, want %d: %v", len(rejects), len(tt.bad), rejects)
			}
		})
	}
}

// read plans and reads a source, through the engine.
func read(t *testing.T, cfg Config, query string) (rows [][]any, rejects []error) {
	t.Helper()
	return sourcetest.Strict{Engine: eng}.Read(t, mustNew(t, cfg), query)
}
