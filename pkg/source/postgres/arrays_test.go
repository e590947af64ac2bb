package postgres

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source/sourcetest"
)

// Arrays of one dimension come whole, or are rejected.
func TestArrays(t *testing.T) {
	exec(t, mood)
	text := `array_to_json(v)::text`
	quoted := `(SELECT coalesce(json_agg(to_json(_e::text)), '[]') FROM unnest(v) AS _u(_e))::text`
	for i, tt := range []struct {
		sql, typ, declare string
		good, bad         []string
		text              string // the array as JSON
	}{
		{sql: "text[]", typ: "Array(Nullable(String))", good: []string{`'{}'`, `'{NULL}'`, `'{"NULL"}'`, `'{""}'`, `ARRAY['a', NULL, E'q''u"o\\te\t\n\x01', ',', '],[', 'ž']`,
			`'[5:6]={a,b}'`}, bad: []string{`'{{a,b},{c,d}}'`, `'{{a}}'`, "NULL"}},
		{sql: "int4[]", typ: "Array(Nullable(Int32))", good: []string{`'{}'`, `'{-2147483648,NULL,2147483647}'`}, bad: []string{`'{{1,2},{3,4}}'`}},
		{sql: "int8[]", typ: "Array(Nullable(Int64))", good: []string{`'{-9223372036854775808,9223372036854775807}'`}, text: quoted},
		{sql: "bool[]", typ: "Array(Nullable(Bool))", good: []string{`'{t,NULL,f}'`}},
		{sql: "bool[]", typ: "Array(Nullable(Bool))", declare: "Array(UInt8)", good: []string{`'{t,f}'`}, text: `'[1,0]'`},
		{sql: "float8[]", typ: "Array(Nullable(Float64))", good: []string{`'{1.7976931348623157e308,-0,NULL,0.1,5e-324}'`}, text: `'["1.7976931348623157e308","-0",null,"0.1","5e-324"]'`},
		{sql: "float8[]", typ: "Array(Nullable(Float64))", good: []string{`'{NaN,Infinity,-Infinity,NULL}'`}, text: `'["nan","inf","-inf",null]'`},
		{sql: "numeric(10, 2)[]", typ: "Array(Nullable(Decimal(10, 2)))", good: []string{`'{-99999999.99,NULL,0.01}'`}, bad: []string{`'{NaN}'`}, text: quoted},
		{sql: "numeric(38, 38)[]", typ: "Array(Nullable(Decimal(38, 38)))", good: []string{`'{-0.99999999999999999999999999999999999999}'`}, text: quoted},
		{sql: "numeric(60, 50)[]", typ: "Array(Nullable(String))", good: []string{`'{9999999999.00000000000000000000000000000000000000000000000001}'`}, text: quoted},
		{sql: "numeric[]", typ: "Array(Nullable(String))", good: []string{`'{NaN,1.10,NULL,1e50}'`}, text: quoted},
		{sql: "uuid[]", typ: "Array(Nullable(UUID))", good: []string{`'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,NULL}'`}},
		{sql: "date[]", typ: "Array(Nullable(Date32))", good: []string{`'{1900-01-01,NULL,2299-12-31}'`}, bad: []string{`'{infinity}'`, `'{1899-12-31}'`}},
		{sql: "timestamptz[]", typ: "Array(Nullable(DateTime64(6, 'UTC')))", good: []string{`'{2026-01-01 00:00:00.123456+01,NULL}'`},
			bad: []string{`'{infinity}'`, `'{10000-01-01 00:00:00+00}'`}, text: `'["2025-12-31 23:00:00.123456",null]'`},
		{sql: "bytea[]", typ: "Array(Nullable(String))", good: []string{`ARRAY['\x5c', '\x27', '\x09', NULL, '\x5c78', '\x414243']::bytea[]`}, text: `'["\\","''","\t",null,"\\x","ABC"]'`},
		{sql: "mood[]", typ: "Array(Nullable(String))", good: []string{`'{sad,NULL,"so so"}'`}},
		{sql: "json[]", typ: "Array(Nullable(String))", good: []string{`ARRAY['{"a": ["b\n"]}', 'null', NULL]::json[]`}, text: quoted},
		{sql: "interval[]", typ: "Array(Nullable(String))", good: []string{`'{1 mon -3 days,NULL}'`}, text: quoted},
		{sql: "char(3)[]", typ: "Array(Nullable(String))", good: []string{`'{a,NULL}'`}, text: `'["a  ",null]'`},
		{sql: "int4[][]", typ: "Nullable(String)", good: []string{`'{{1,2},{3,NULL}}'`, `'{}'`, "NULL"}, text: "to_json(array_to_json(v)::text)"},
		{sql: "int4[][]", typ: "Nullable(String)", declare: "Array(Array(Int32))", good: []string{`'{{1,2},{3,4}}'`}, bad: []string{`'{1,2}'`, `'{{1,NULL}}'`, `'{{{1}}}'`}, text: `'[[1,2],[3,4]]'`},
		{sql: "text[]", typ: "Array(Nullable(String))", declare: "Array(String)", good: []string{`'{a}'`, "NULL"}, bad: []string{`'{NULL}'`}, text: "coalesce(array_to_json(v), '[]')::text"},
		{sql: "text[]", typ: "Array(Nullable(String))", declare: "String", good: []string{`'{a,NULL,"\""}'`}, text: "to_json(array_to_json(v)::text)"},
		{sql: "int4[]", typ: "Array(Nullable(Int32))", declare: "Array(String)", good: []string{`'{1,2}'`}, text: quoted},
		{sql: "int4[]", typ: "Array(Nullable(Int32))", declare: "Array(UInt8)", good: []string{`'{0,255}'`}, bad: []string{`'{256}'`, `'{NULL}'`}},
		{sql: "text[]", typ: "Array(Nullable(String))", declare: "Array(Int32)", good: []string{"'{}'"}, bad: []string{`'{"1,2"}'`, `'{"1],[2"}'`, "'{x}'"}},
	} {
		t.Run(strings.Join(strings.Fields(tt.sql+" "+tt.declare), "_"), func(t *testing.T) {
			t.Parallel()
			if tt.text == "" {
				tt.text = text
			}
			table := fmt.Sprintf("arrays_%d", i)
			exec(t, fmt.Sprintf("CREATE TABLE %s (n int4 PRIMARY KEY, v %s)", table, tt.sql))
			var insert strings.Builder
			for n, v := range append(append([]string{}, tt.good...), tt.bad...) {
				fmt.Fprintf(&insert, "INSERT INTO %s VALUES (%d, %s);\n", table, n, v)
			}
			exec(t, insert.String())
			if got := sourcetest.Columns(t, mustNew(t, Config{Table: table})); got[1].Type != tt.typ {
				t.Errorf("it is read as %s, want %s", got[1].Type, tt.typ)
			}
			cfg := Config{Table: table}
			if tt.declare != "" {
				cfg.Columns = []job.Column{{Name: "n", Type: "Int32"}, {Name: "v", Type: tt.declare}}
			}
			rows, rejects := read(t, cfg, "SELECT * FROM chunk")
			if len(rows) != len(tt.good) || len(rejects) != len(tt.bad) {
				t.Errorf("%d rows and %d rejects, want %d and %d: %v %+v", len(rows), len(rejects), len(tt.good), len(tt.bad), rows, rejects)
			}
			for _, r := range rows {
				var want any
				said := exec(t, fmt.Sprintf("SET TimeZone = 'UTC'; SELECT coalesce((%s)::text, 'null') FROM %s WHERE n = %s", tt.text, table, r[0]))
				if err := json.Unmarshal([]byte(said), &want); err != nil {
					t.Fatal(err)
				}
				got, err := json.Marshal(r[1])
				var again any
				if err != nil || json.Unmarshal(got, &again) != nil || !reflect.DeepEqual(again, want) {
					t.Errorf("%s is read as %s", said, got)
				}
			}
		})
	}
}
