package transform_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"drayage/pkg/job"
)

// The values of each type: what is in them goes through as the engine writes
// it, or is refused.
var strictValues = []struct {
	typ string
	ok  string // text=value, or text alone; separated by |
	bad string // separated by |
}{
	{"UInt8", "0|255|+5=5|007=7", "256|300|-1|1e2|1.0|abc|||1_0|999999999999999999999|0x10|- 5|18446744073709551617"},
	{"Int8", "127|-128", "128|-129|+-5"},
	{"UInt16", "65535", "65536|-1"},
	{"Int32", "-2147483648", "2147483648|-2147483649|340282366920938463463374607431768211457"},
	{"UInt32", "4294967295", "4294967296"},
	{"UInt64", "18446744073709551615", "18446744073709551616|99999999999999999999|100000000000000000000000000000|-1"},
	{"Int64", "-9223372036854775808|9223372036854775807", "9223372036854775808|-9223372036854775809"},
	{"Int128", "170141183460469231731687303715884105727|-170141183460469231731687303715884105728|000000000000000000000000000000000000000000000001=1", "170141183460469231731687303715884105728"},
	{"UInt256", "115792089237316195423570985008687907853269984665640564039457584007913129639935", "115792089237316195423570985008687907853269984665640564039457584007913129639936|-1"},
	{"Float64", "1.5|inf|-inf|nan|1e300|-0.25|12345678901234567890123=1.2345678901234568e22", "1e400|-1e400|1e|abc||1,5|0x10|."},
	{"Float32", "1.5|inf", "1e39|-1e39"},
	{"Decimal(10, 2)", "1.99|1.990=1.99|12345678.12|-12345678.12|+1=1|.5=0.5|0|0.00=0|1e3=1000|-1.5E1=-15|0000000000001.5=1.5", "1.999|123456789.1|-123456789|1e9|1e-3|-|+||abc|99999999999999999999999|1.00000000000000000000000000000000000000000000000001|1e400"},
	{"Decimal(4, 4)", "0.1234|.5=0.5", "1|1.0|0.12345|1e0"},
	{"Date", "2026-01-02|1970-01-01|2149-06-06|20260102=2026-01-02|2026-1-2=2026-01-02|2026/01/02=2026-01-02|2024-02-29", "2026-02-30|2026-02-29|2026-13-01|2026-00-01|2026-01-00|1969-12-31|2149-06-07|9999-01-01|2026-01-01 10:00:00||abc|0000-00-00|2026-04-31"},
	{"Date32", "1900-01-01|2299-12-31", "1899-12-31|2300-01-01|2026-02-30|0000-00-00"},
	{"DateTime('UTC')", "2026-01-01 23:59:59|2026-01-01T00:00:00=2026-01-01 00:00:00|2026-01-01T00:00:00Z=2026-01-01 00:00:00|2026-01-01=2026-01-01 00:00:00|2026-01-01 10:20=2026-01-01 10:20:00|1767225600=2026-01-01 00:00:00|1970-01-01 00:00:00|2106-02-07 06:28:15|2026-1-2 3:4:5=2026-01-02 03:04:05|2026/01/02 00:00:00=2026-01-02 00:00:00|2026-01-01T02:00:00+02:00=2026-01-01 00:00:00|2026-01-01T13:55:36-07:00=2026-01-01 20:55:36|Thu, 01 Jan 2026 10:59:59 GMT=2026-01-01 10:59:59|5 Jan 2026=2026-01-05 00:00:00|Thu, 01 Jan 2026 00:00:00 GMT=2026-01-01 00:00:00|20260102030405=2026-01-02 03:04:05|1767225600000=2026-01-01 00:00:00|2026-01-01 00:00:00.000=2026-01-01 00:00:00",
		"2026-02-30 00:00:00|2026-01-01 24:00:00|2026-01-01 25:00:00|2026-01-01 23:60:00|2026-01-01 23:59:60|2107-01-01 00:00:00|1969-12-31 23:59:59|5|12:00|Jan 5|2026|2026-01|202601|0000-00-00 00:00:00|2026-01-01 00:00:00.5|99999999999|4294967296||abc|2026-01-01T25:00:00Z|2300-01-01T00:00:00Z|2106-03-01T00:00:00Z|1960-01-01T00:00:00Z|now|1767225600123|2026-01-01T25:00:00+02:00|2026-01-01T10:60:00+02:00|2026-01-01T10:59:60+02:00"},
	{"DateTime('Europe/Berlin')", "2026-01-01 00:00:00|2026-07-01 12:00:00|2025-12-31T23:00:00Z=2026-01-01 00:00:00", "2026-03-29 02:30:00|2026-01-01 24:00:00"},
	{"DateTime64(3, 'UTC')", "2026-01-01 00:00:00.123|2026-01-01 00:00:00=2026-01-01 00:00:00.000|2026-01-01 00:00:00.1=2026-01-01 00:00:00.100|2026-01-01T00:00:00.123Z=2026-01-01 00:00:00.123|1767225600.5=2026-01-01 00:00:00.500|1767225600123=2026-01-01 00:00:00.123|2026-01-01 00:00:00.123000=2026-01-01 00:00:00.123|2300-01-01 00:00:00.000|2026-01-01=2026-01-01 00:00:00.000",
		"2026-02-30 00:00:00.123|2026-01-01 25:00:00.1|2026-01-01 00:00:00.1239|0000-00-00 00:00:00|2026-01-01T00:00:00.1239Z|1767225600.1234|5|"},
	{"Time", "12:30:00|100:00:00", "12:60:00|1000:00:00|aa|"},
	{"Time64(3)", "12:30:00.123", "12:30:00.1234|12:61:61"},
	{"Bool", "true|false|1=true|0=false", "2|maybe|"},
	{"UUID", "6d38d288-5b13-4714-b6e4-faa59ffd49d8", "6d38d288-5b13-4714-b6e4-faa59ffd49d|x|"},
	{"IPv4", "1.2.3.4", "256.1.1.1|1.2.3||1.2.3.4.5"},
	{"IPv6", "::1", "x|"},
	{"FixedString(3)", "abc", "abcd"},
	{"Enum8('a' = 1, 'b' = 2)", "a|b|1=a", "c|3|"},
	{"String", "|abc|300", ""},
	{"LowCardinality(String)", "|abc", ""},
	{"Nullable(UInt8)", `7|\N`, "300|x"},
	{"Nullable(DateTime('UTC'))", `2026-01-01 00:00:00|\N|2026-01-01T00:00:00Z=2026-01-01 00:00:00`, "2026-01-01 25:00:00|x"},
	{"Nullable(DateTime64(3, 'UTC'))", `2026-01-01 00:00:00.000|\N`, "2026-01-01 25:00:00|x"},
	{"Nullable(Decimal(10, 2))", `1.5|\N`, "1.555|x"},
	{"Nullable(Date)", `2026-01-01|\N`, "2026-02-30"},
	{"Nullable(Enum8('a' = 1))", `a|\N`, "b"},
	{"Nullable(Int256)", `1|\N`, "x"},
	{"LowCardinality(Nullable(FixedString(2)))", `ab|\N`, "abc"},
	{"LowCardinality(FixedString(2))", "ab", "abc"},
}

// formats write a record of the two values id and v.
var strictFormats = map[string]func(v string) (data string, ok bool){
	"CSV":                func(v string) (string, bool) { return "1," + csvField(v) + "\n", true },
	"TSV":                func(v string) (string, bool) { return "1\t" + v + "\n", true },
	"TSVRaw":             func(v string) (string, bool) { return "1\t" + v + "\n", true },
	"TSKV":               func(v string) (string, bool) { return "id=1\tv=" + v + "\n", true },
	"JSONEachRow":        func(v string) (string, bool) { return `{"id":1,"v":` + quoted(v) + "}\n", true },
	"JSONStringsEachRow": func(v string) (string, bool) { return `{"id":"1","v":` + quoted(v) + "}\n", v != `\N` },
	"JSONCompactEachRow": func(v string) (string, bool) { return `[1,` + quoted(v) + "]\n", true },
	"Regexp":             func(v string) (string, bool) { return "1;" + v + "\n", true },
	"pattern":            func(v string) (string, bool) { return "1;" + v + "\n", true },
}

func csvField(v string) string {
	if strings.ContainsAny(v, `,"`) {
		return `"` + strings.ReplaceAll(v, `"`, `""`) + `"`
	}
	return v
}

func quoted(v string) string {
	if v == `\N` {
		return "null"
	}
	b, _ := json.Marshal(v)
	return string(b)
}

// TestStrictValues: every value is what its text says, or an error.
func TestStrictValues(t *testing.T) {
	for format, write := range strictFormats {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			settings := map[string]string{"format_regexp": `^(\d+);(.*)$`}
			for _, tt := range strictValues {
				cols := []job.Column{{Name: "id", Type: "UInt8"}, {Name: "v", Type: tt.typ}}
				var data strings.Builder
				var want []string
				for _, pair := range strings.Split(tt.ok, "|") {
					text, value, found := strings.Cut(pair, "=")
					if !found {
						value = text
					}
					record, ok := write(text)
					if !ok {
						continue
					}
					data.WriteString(record)
					want = append(want, "1\t"+value)
				}
				got, err := read(t, format, data.String(), cols, settings)
				if lines := strings.Split(got, "\n"); err != nil || len(lines) != len(want) {
					t.Errorf("%s: %v: %q", tt.typ, err, got)
				} else {
					for i := range want {
						if lines[i] != want[i] {
							t.Errorf("%s: got %q, want %q", tt.typ, lines[i], want[i])
						}
					}
				}
				if tt.bad == "" {
					continue
				}
				// The judge finds each, and finds nothing in the good ones.
				bad := strings.Split(tt.bad, "|")
				if tt.typ == "UInt8" && (format == "JSONEachRow" || format == "JSONCompactEachRow") {
					// In JSON that is a number without a fraction.
					bad = slices.DeleteFunc(bad, func(text string) bool { return text == "1e2" || text == "1.0" })
				}
				for _, text := range bad {
					record, _ := write(text)
					data.WriteString(record)
				}
				found, err := judge(t, format, data.String(), cols, settings)
				if err != nil || found.N != uint64(len(want)+len(bad)) || len(found.Found) != len(bad) {
					t.Errorf("%s: judged %+v: %v", tt.typ, found, err)
				} else {
					for i, f := range found.Found {
						if want := fmt.Sprintf("[%d 2 %s]", len(want)+i+1, bad[i]); fmt.Sprint(f) != want {
							t.Errorf("%s: judged %v, want %s", tt.typ, f, want)
						}
					}
				}
				if format != "CSV" {
					continue // one format shows that the statement throws for what the judge finds
				}
				for _, text := range bad {
					record, _ := write(text)
					if got, err := read(t, format, record, cols, settings); err == nil {
						t.Errorf("%s: %q became %q", tt.typ, text, got)
					}
				}
			}
		})
	}
}

// In JSON a number may stand for a number or in quotes, and true is 1.
func TestStrictJSONNumbers(t *testing.T) {
	cols := []job.Column{{Name: "a", Type: "UInt8"}, {Name: "b", Type: "Nullable(Int64)"}, {Name: "c", Type: "Array(UInt8)"}, {Name: "d", Type: "Int256"}}
	data := `{"a":1,"b":true,"c":[true,2],"d":"3"}` + "\n" + `{"a":false,"b":null,"c":[],"d":true}` + "\n"
	got, err := read(t, "JSONEachRow", data, cols, nil)
	if want := "1\t1\t[1,2]\t3\n0\t\\N\t[]\t1"; err != nil || got != want {
		t.Errorf("got %q, want %q: %v", got, want, err)
	}
	found, err := judge(t, "JSONEachRow", data+`{"a":"yes","b":1,"c":[],"d":1}`, cols, nil)
	if err != nil || found.N != 3 || len(found.Found) != 1 {
		t.Errorf("judged %+v: %v", found, err)
	}
}
