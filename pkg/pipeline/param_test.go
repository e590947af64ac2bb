package pipeline

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Values of each type: what is one, as ClickHouse writes it, and what is none.
func TestParamTypes(t *testing.T) {
	for _, tt := range []struct {
		typ string
		ok  string // text=canonical, or text alone; separated by |
		bad string // separated by |
	}{
		{"UInt8", "0|255|007=7|+5=5", "256|-1|1.0|1e2||abc| 1|0x10|1_0"},
		{"Int8", "127|-128", "128|-129"},
		{"Int64", "-9223372036854775808|9223372036854775807", "9223372036854775808"},
		{"UInt256", "115792089237316195423570985008687907853269984665640564039457584007913129639935", "115792089237316195423570985008687907853269984665640564039457584007913129639936|-1"},
		{"Float64", "1.5|-2|.5|1e300", "1e400|nan|inf|0x1p3|1_0.5||."},
		{"Float32", "1.5", "1e39"},
		{"Decimal(10, 2)", "1.5|1.50|12345678.12|-1|.5", "1.555|123456789|1e2||.|-"},
		{"Bool", "true|False=false|1=true|0=false", "yes|2|"},
		{"String", "|a'b|${x}", ""},
		{"FixedString(2)", "ab|a", "abc"},
		{"Enum8('a' = 1, 'it\\'s' = 2)", "a|it's", "b|1|"},
		{"Date", "2001-01-01|1970-01-01|2149-06-06", "2001-02-30|2001-1-1|01/01/2001|1969-12-31|2149-06-07|2001-01-01 00:00:00||today"},
		{"Date32", "1900-01-01|2299-12-31", "1899-12-31|2300-01-01"},
		{"DateTime", "2026-01-02=2026-01-02 00:00:00|2026-01-02T03:04:05=2026-01-02 03:04:05|2026-01-02T03:04:05+02:00=2026-01-02 01:04:05|2106-02-07 06:28:15",
			"2106-02-07 06:28:16|2026-02-30 00:00:00|2026-01-02 24:00:00|2026-01-02 00:00:60|2026-01-02 00:00:00.5|1969-12-31 23:59:59|5|now()"},
		{"DateTime('Europe/Berlin')", "2026-07-01 12:00:00|2026-07-01T12:00:00Z=2026-07-01 14:00:00", "2026-03-29 02:30:00"},
		{"DateTime64(3)", "2026-01-02 03:04:05.123|2026-01-02=2026-01-02 00:00:00.000|2026-01-02 03:04:05.1=2026-01-02 03:04:05.100|1900-01-01=1900-01-01 00:00:00.000", "2026-01-02 03:04:05.1234|1899-12-31"},
		{"UUID", "6D38D288-5b13-4714-b6e4-faa59ffd49d8=6d38d288-5b13-4714-b6e4-faa59ffd49d8", "6d38d2885b134714b6e4faa59ffd49d8|x"},
		{"IPv4", "1.2.3.4", "::1|1.2.3|256.1.1.1"},
		{"IPv6", "2001:db8::1", "1.2.3.4|fe80::1%eth0"},
		{"LowCardinality(String)", "a", ""},
		{"Nullable(UInt8)", "7", "300|NULL|"},
		{"Array(UInt8)", `[1,2]=[1, 2]|["3"]=[3]|[]`, "[300]|1|[1|[[1]]"},
		{"Array(String)", `["it's","b"]=['it\'s', 'b']`, "a"},
	} {
		typ, err := paramTypeOf(tt.typ)
		if err != nil {
			t.Errorf("%s: %v", tt.typ, err)
			continue
		}
		for _, pair := range strings.Split(tt.ok, "|") {
			text, want, found := strings.Cut(pair, "=")
			if !found {
				want = text
			}
			if got, err := typ.check(text); err != nil || got != want {
				t.Errorf("%s: %q is %q, want %q: %v", tt.typ, text, got, want, err)
			}
		}
		if tt.bad == "" {
			continue
		}
		for _, text := range strings.Split(tt.bad, "|") {
			if got, err := typ.check(text); err == nil {
				t.Errorf("%s: %q became %q", tt.typ, text, got)
			}
		}
	}
	for _, typ := range []string{"", "Unit8", "Map(String, String)", "Tuple(UInt8)", "Decimal(10)", "Decimal(77, 2)", "Decimal(5, 6)", "DateTime('Nowhere')", "DateTime(UTC)", "DateTime64", "DateTime64(10)", "FixedString", "Array(Array(UInt8))", "String(5)", "Enum8()", "Nullable(Array(UInt8))", "uint8", "Int7"} {
		if got, err := paramTypeOf(typ); err == nil {
			t.Errorf("%q is a type: %+v", typ, got)
		}
	}
}

// filled reads a pipeline with these parameters and SELECT.
func filled(params, sql string, given map[string]string) (*Document, error) {
	text := fmt.Sprintf("pipeline: a\nparams: %s\nsource: {files: {path: '${region}.csv'}}\nload: {table: t}\ntransform: |\n  %s\n", params, sql)
	if !strings.Contains(params, "region") {
		text = strings.Replace(text, "${region}", "a", 1)
	}
	return Parse(text, "p.yaml", "/x", given)
}

// Values stand in SQL as what they are, whatever is in them.
func TestParamsInSQL(t *testing.T) {
	for _, tt := range []struct {
		params, sql string
		given       map[string]string
		want        string
	}{
		{"{since: {type: Date, default: 2001-01-01}}", "SELECT 1 WHERE d >= '${since}'", nil, "SELECT 1 WHERE d >= '2001-01-01'"},
		{"{since: {type: Date, default: 2001-01-01}}", "SELECT {since:Date}, { since : Nullable(Date) }", map[string]string{"since": "2002-02-02"}, "SELECT CAST('2002-02-02', 'Date'), CAST('2002-02-02', 'Nullable(Date)')"},
		{"{floor: {type: UInt32}}", "SELECT ${floor}, {floor:UInt32}, {floor:String}", map[string]string{"floor": "007"}, "SELECT 7, CAST('7', 'UInt32'), '7'"},
		{"{region: {type: String, default: eu}}", "SELECT {region:String}, '${region}', \"${region}\" -- {region:Nothing} ${region} it's", map[string]string{"region": `o'r"\n`},
			`SELECT 'o\'r"\\n', 'o\'r"\\n', "o'r\"\\n" -- {region:Nothing} ${region} it's`},
		{"{region: {type: String, default: eu}}", "SELECT {region:Identifier}, {region:LowCardinality(String)}", map[string]string{"region": "a`b"}, "SELECT `a\\`b`, CAST('a`b', 'LowCardinality(String)')"},
		{"{region: {type: String, default: eu}}", "SELECT {region:String}, '${region}'", map[string]string{"region": "x${env:HOME}"}, "SELECT 'x$${env:HOME}', 'x$${env:HOME}'"},
		{"{region: {type: String, enum: [eu, us], default: eu}}", "SELECT '${region}' /* '${region}' */, $x$ {region:Date} $x$, '{region:Date}', '\\'{region:Date}'", map[string]string{"region": "us"},
			"SELECT 'us' /* '${region}' */, $x$ {region:Date} $x$, '{region:Date}', '\\'{region:Date}'"},
		{"{ids: {type: Array(UInt8), default: [1, 2]}}", "SELECT x IN {ids:Array(UInt8)}, has(${ids}, x)", nil, "SELECT x IN CAST([CAST('1', 'UInt8'), CAST('2', 'UInt8')], 'Array(UInt8)'), has([1, 2], x)"},
		{"{names: {type: Array(String), default: []}}", "SELECT {names:Array(String)}", map[string]string{"names": `["it's"]`}, `SELECT CAST(['it\'s'], 'Array(String)')`},
		{"{at: {type: DateTime, default: '${job_time}'}}", "SELECT {at:DateTime}, '${at}'", nil, "SELECT CAST('${job_time}', 'DateTime'), '${job_time}'"},
		{"{at: {type: \"DateTime('Europe/Berlin')\", default: 2026-07-01T12:00:00Z}}", "SELECT {at:DateTime('Europe/Berlin')}", nil, `SELECT CAST('2026-07-01 14:00:00', 'DateTime(\'Europe/Berlin\')')`},
		// A value alone is text, checked only against the kind of its default.
		{"{cond: x = 1}", "SELECT 1 WHERE ${cond}", map[string]string{"cond": "y = '2'"}, "SELECT 1 WHERE y = '2'"},
		{"{n: 5}", "SELECT ${n}, {n:UInt8}", map[string]string{"n": "+6"}, "SELECT +6, CAST('6', 'UInt8')"},
		{"{d: 2001-01-01}", "SELECT {d:Date}", nil, "SELECT CAST('2001-01-01', 'Date')"},
		{"{n: 5}", "SELECT {'a': ${n}}, m{n}, '{n:UInt8}' = `{n:UInt8}`", nil, "SELECT {'a': 5}, m{n}, '{n:UInt8}' = `{n:UInt8}`"},
	} {
		d, err := filled(tt.params, tt.sql, tt.given)
		if err != nil {
			t.Errorf("%s: %v", tt.sql, err)
		} else if got := d.Pipeline.Transform; got != tt.want {
			t.Errorf("%s is\n%s, want\n%s", tt.sql, got, tt.want)
		}
	}
	// Elsewhere a value is text, and no reference.
	d, err := filled("{region: {type: String}}", "SELECT 1", map[string]string{"region": "a'${env:HOME}"})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Pipeline.Resolve(Resolver{JobTime: time.Now()}); err != nil || d.Pipeline.Source.Files.Path[0] != "a'${env:HOME}.csv" {
		t.Errorf("path %s: %v", d.Pipeline.Source.Files.Path, err)
	}
	// What was filled in is read again as it is.
	text, err := d.Pipeline.Text()
	if again, err2 := Parse(text, "again", "/x", nil); err != nil || err2 != nil || again.Pipeline.Transform != d.Pipeline.Transform {
		t.Errorf("%s: %v, %v", text, err, err2)
	}
}

func TestParamErrors(t *testing.T) {
	for _, tt := range []struct {
		name, params, sql string
		given             map[string]string
		line, col         int
		expect            string
		more              int // mistakes beside it
	}{
		{name: "no value", params: "{floor: {type: UInt32}}", line: 2, col: 18, expect: "the parameter floor has no value\n  hint: give it, a UInt32, with --set floor=…"},
		{name: "no values", params: "{a: {type: UInt32}, b: {type: Date}}", expect: "the parameter a has no value", more: 1},
		{name: "no value, used", params: "{a: {type: UInt32}}", sql: "SELECT ${a}, {a:UInt32}", expect: "the parameter a has no value"},
		{name: "default", params: "{floor: {type: UInt8, default: 300}}", line: 2, col: 40, expect: `the default of floor: "300" is no UInt8`},
		{name: "given", params: "{floor: {type: UInt8, default: 3}}", given: map[string]string{"floor": "many"}, line: 2, col: 18, expect: `the value given for floor: "many" is no UInt8`},
		{name: "given for a number", params: "{n: 5}", given: map[string]string{"n": "1 OR 1"}, line: 2, expect: `a whole number is expected for n, as its default is, and "1 OR 1" is given`},
		{name: "given for a fraction", params: "{n: 0.5}", given: map[string]string{"n": "x"}, expect: "a number is expected"},
		{name: "given for a switch", params: "{n: true}", given: map[string]string{"n": "maybe"}, expect: "true or false is expected"},
		{name: "not in enum", params: "{region: {type: String, enum: [eu, us], default: eu}}", given: map[string]string{"region": "asia"}, expect: `the value given for region: "asia" is not one of eu, us`},
		{name: "default not in enum", params: "{region: {type: String, enum: [eu, us], default: asia}}", expect: "is not one of eu, us"},
		{name: "enum of another type", params: "{n: {type: UInt8, enum: [1, 300], default: 1}}", expect: `a value of enum: "300" is no UInt8`},
		{name: "enum is no list", params: "{n: {type: UInt8, enum: 1, default: 1}}", expect: "a list is expected", more: 0},
		{name: "no type", params: "{n: {default: 1}}", expect: "has no type"},
		{name: "unknown type", params: "{n: {type: Unit32, default: 1}}", line: 2, expect: "did you mean Int32"},
		{name: "type of others", params: "{n: {type: 'Map(String, UInt8)', default: 1}}", expect: "is no type that a parameter can have"},
		{name: "unknown key", params: "{n: {type: UInt8, defualt: 1}}", expect: "did you mean default", more: 1},
		{name: "text in SQL", params: "{region: {type: String, default: x}}", sql: "SELECT ${region}", line: 5, expect: "write {region:String} for the value"},
		{name: "day in SQL", params: "{d: {type: Date, default: 2001-01-01}}", sql: "SELECT ${d}", expect: "would be a piece of the SQL"},
		{name: "another type", params: "{d: {type: Date, default: 2001-01-01}}", sql: "SELECT {d:DateTime}", expect: "d is declared as Date\n  hint: write {d:Date}"},
		{name: "another zone", params: "{d: {type: \"DateTime('UTC')\", default: 2001-01-01}}", sql: "SELECT {d:DateTime}", expect: "write {d:DateTime('UTC')}"},
		{name: "value of no such type", params: "{d: soon}", sql: "SELECT {d:Date}", expect: `the value of d: "soon" is no Date`},
		{name: "no parameter", params: "{since: 1}", sql: "SELECT {sinse:Date}", expect: "did you mean ${since}"},
		{name: "no such type", params: "{since: 1}", sql: "SELECT {since:Data}", expect: "did you mean Date"},
		{name: "late default", params: "{d: {type: Date, default: '${env:DAY}'}}", expect: "refers to what is not known yet"},
		{name: "the job's time in another zone", params: "{d: {type: \"DateTime('Europe/Berlin')\", default: '${job_time}'}}", expect: "can be a DateTime of UTC"},
		{name: "late value", params: "{d: '${env:DAY}'}", sql: "SELECT {d:Date}", expect: "refers to what is not known yet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.sql == "" {
				tt.sql = "SELECT 1"
			}
			_, err := filled(tt.params, tt.sql, tt.given)
			var errs Errors
			if !errors.As(err, &errs) || len(errs) != tt.more+1 {
				t.Fatalf("got %v, want %d Errors", err, tt.more+1)
			}
			e := errs[0]
			if tt.line != 0 && e.Line != tt.line || tt.col != 0 && e.Column != tt.col {
				t.Errorf("place is %d:%d, want %d:%d (%v)", e.Line, e.Column, tt.line, tt.col, e)
			}
			if !strings.Contains(e.Error(), tt.expect) {
				t.Errorf("message %q does not contain %q", e.Error(), tt.expect)
			}
		})
	}
}

func FuzzParams(f *testing.F) {
	f.Add("SELECT '${a}', {a:String} -- x\n", "it's")
	f.Add("$x$ '${a}' $x$ \"${a}\\\"\" /* {a:String}", `\`)
	d, err := filled("{a: {type: String, default: x}}", "SELECT 1", nil)
	if err != nil {
		f.Fatal(err)
	}
	fill := func(sql, value string) string {
		one := *d
		one.Pipeline = &Pipeline{Params: map[string]any{"a": map[string]any{"type": "String"}}, Transform: sql}
		_ = one.substitute(map[string]string{"a": value})
		return one.Pipeline.Transform
	}
	f.Fuzz(func(t *testing.T, sql, value string) {
		// A value in quotes never ends them: a scan of the result ends within the
		// quote that one with another value ends in.
		if got := fill(sql, value); open(got) != open(fill(sql, "x")) {
			t.Errorf("%q in %q gives %q", value, sql, got)
		}
	})
}

// open is the quote that is open at the end of sql.
func open(sql string) byte {
	f := &filling{d: &Document{}, params: map[string]parameter{}}
	where := inSQL
	for sql != "" {
		n, _ := f.step("", sql, &where)
		sql = sql[n:]
	}
	return where
}
