package quarantine_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestSeparate: good rows are loaded, the others are rejected with their place,
// text, column and reason.
func TestSeparate(t *testing.T) {
	two := cols("id", "UInt8", "name", "String")
	for _, tt := range []struct {
		name    string
		c       chunk
		rows    string   // joined by a blank
		rejects []string // record@offset column reason-part raw
	}{
		{"nothing bad", chunk{format: "CSV", columns: two, data: "1,a\n2,b\n"}, `[1, "a"] [2, "b"]`, nil},
		{"too large", chunk{format: "CSV", columns: two, data: "1,a\n300,b\n3,c\n", offset: 100}, `[1, "a"] [3, "c"]`, []string{`2@104 id "300" is no UInt8 300,b`}},
		{"all bad", chunk{format: "CSV", columns: two, data: "x,a\n"}, ``, []string{`1@0 id "x" is no UInt8 x,a`}},
		{"field missing, field too many", chunk{format: "CSV", columns: two, data: "1\n2,b\n3,c,d\n4,d\n"}, `[2, "b"] [4, "d"]`,
			[]string{`1@0  1 fields, 2 are expected 1`, `3@6  3 fields, 2 are expected 3,c,d`}},
		{"quote not closed", chunk{format: "CSV", columns: two, data: "1,a\n2,\"b\n3,c\n4,\"d\ne\"\n"}, `[1, "a"] [3, "c"] [4, "d\ne"]`, []string{`2@4  text after a closing quote 2,"b`}},
		{"last quote not closed", chunk{format: "CSV", columns: two, data: "1,a\n2,\"b\n3,c\n"}, `[1, "a"] [3, "c"]`, []string{`2@4  a quote is not closed 2,"b`}},
		{"empty line", chunk{format: "CSV", columns: two, data: "1,a\n\n3,c\nx,d\n"}, `[1, "a"] [3, "c"]`, []string{`2@4  an empty line `, `4@9 id "x" is no UInt8 x,d`}},
		{"windows", chunk{format: "CSV", columns: two, data: "1,a\r\nx,b\r\n3,c\r\n"}, `[1, "a"] [3, "c"]`, []string{`2@5 id "x" is no UInt8 x,b`}},
		{"delimiter", chunk{format: "CSV", columns: two, data: "1;a\n-1;b\n", settings: map[string]string{"format_csv_delimiter": ";"}}, `[1, "a"]`, []string{`2@4 id "-1" is no UInt8 -1;b`}},
		{"skipped lines and header", chunk{format: "CSVWithNames", columns: two, data: "note\nname,id\na,1\nb,300\n", settings: map[string]string{"input_format_csv_skip_first_lines": "1", "input_format_with_names_use_header": "1"}},
			`[1, "a"]`, []string{`2@17 id "300" is no UInt8 b,300`}},
		{"tsv", chunk{format: "TSV", columns: two, data: "1\ta\\\tb\n300\tb\n3\n4\td\n"}, `[1, "a\tb"] [4, "d"]`, []string{`2@7 id "300" is no UInt8 300	b`, `3@13  1 fields, 2 are expected 3`}},
		{"raw", chunk{format: "TSVRaw", columns: two, data: "1\ta\\\n300\tb\n"}, `[1, "a\\"]`, []string{`2@5 id "300" is no UInt8 300	b`}},
		{"tskv", chunk{format: "TSKV", columns: two, data: "id=1\tname=a\nid=300\tname=b\nname=c\n"}, `[1, "a"]`, []string{`2@12 id "300" is no UInt8 id=300	name=b`, `3@26  Cannot insert NULL name=c`}},
		{"json", chunk{format: "JSONEachRow", columns: two, data: `{"id":1,"name":"a"}` + "\n" + `{"id":300,"name":"b"}` + "\n" + `{"name":"c"}` + "\n" + `{"id":4,"name":"d"}`}, `[1, "a"] [4, "d"]`,
			[]string{`2@20 id "300" is no UInt8 {"id":300,"name":"b"}`, `3@42  the key "id" is missing {"name":"c"}`}},
		{"broken json", chunk{format: "JSONEachRow", columns: two, data: `{"id":1,"name":"a"}` + "\n" + `{"id":2,"name":"b"` + "\n" + `{"id":3,"name":"c"}` + "\n" + `nonsense` + "\n" + `{"id":5,"name":"e"}`}, `[1, "a"] [3, "c"] [5, "e"]`,
			[]string{`2@20  the JSON row does not end {"id":2,"name":"b"`, `4@59  a JSON row was expected nonsense`}},
		{"json array", chunk{format: "JSONEachRow", columns: two, data: `[{"id":1,"name":"a"},{"id":"","name":"b"}, {"id":null,"name":"c"}]`}, `[1, "a"]`,
			[]string{`2@21 id "" is no UInt8 {"id":"","name":"b"}`, `3@43  Cannot parse {"id":null,"name":"c"}`}},
		{"compact", chunk{format: "JSONCompactEachRow", columns: two, data: "[1,\"a\"]\n[300,\"b\"]\n[3]\n[4,\"d\",5]\n[5,\"e\"]"}, `[1, "a"] [5, "e"]`,
			[]string{`2@8 id "300" is no UInt8 [300,"b"]`, `3@18  1 values, 2 are expected [3]`, `4@22  3 values, 2 are expected [4,"d",5]`}},
		{"strings", chunk{format: "JSONStringsEachRow", columns: two, data: `{"id":"1","name":"a"}{"id":"1.5","name":"b"}`}, `[1, "a"]`, []string{`2@21 id "1.5" is no UInt8 {"id":"1.5","name":"b"}`}},
		{"regexp", chunk{format: "Regexp", columns: two, data: "1 a\nx\n300 c\n4 d\n", settings: map[string]string{"format_regexp": `(\S+) (\S+)`}}, `[1, "a"] [4, "d"]`,
			[]string{`2@4  the line does not match the regular expression x`, `3@6 id "300" is no UInt8 300 c`}},
		{"pattern", chunk{format: "LineAsString", pattern: `(\d*) (\w+)`, columns: two, data: "1 a\r\nx\r\n300 c\n\n4 d", offset: 100}, `[1, "a"] [4, "d"]`,
			[]string{`2@105  the line does not match the regular expression x`, `3@108 id "300" is no UInt8 300 c`, `4@114  an empty line `}},
		{"pattern of Nullable columns and of any bytes", chunk{format: "LineAsString", pattern: `(?:-|(?P<n>\w+)) (?<t>\C*)`, columns: cols("n", "Nullable(UInt8)", "t", "Nullable(String)"), data: "- \xe9\n7 \n256 b\n"}, "[null, \"\ufffd\"] [7, \"\"]",
			[]string{`3@7 n "256" is no Nullable(UInt8) 256 b`}},
		{"framed pattern", chunk{format: "LineAsString", framed: true, pattern: `(\d+) (?s:(.*))`, columns: two, data: framed("1 a\n at x\n", "oops\r\n at y\r\n", strings.Repeat("9", 200)+" z\n", "300 c\n\n", "4 d"), offset: 100}, `[1, "a\n at x"] [4, "d"]`,
			[]string{"2@110  the record does not match the regular expression oops\r\n at y", `3@123 id "` + strings.Repeat("9", 200), "4@326 id \"300\" is no UInt8 300 c\n"}},
		{"framed lines, by the SELECT", chunk{format: "LineAsString", framed: true, columns: cols("line", "String"), data: framed("1\n2\n", "\n", "x\r\ny\r\n", "4"), sql: "SELECT toUInt8(splitByChar('\n', line)[1]) AS n FROM chunk WHERE line != ''"}, `[1] [4]`, []string{"3@5  Cannot parse string 'x\\r' as UInt8 x\r\ny"}},
		{"lines, by the SELECT", chunk{format: "LineAsString", columns: cols("line", "String"), data: "1\n\nx\n4\n", sql: "SELECT toUInt8(line) AS n FROM chunk WHERE line != ''"}, `[1] [4]`, []string{`3@3  Cannot parse string 'x' as UInt8 x`}},
		{"by the SELECT", chunk{format: "CSV", columns: two, data: "1,a\n0,b\n4,d\n", sql: "SELECT intDiv(8, id) AS n, name FROM chunk"}, `[8, "a"] [2, "d"]`, []string{`2@4  Division by zero 0,b`}},
		{"a row that the SELECT drops", chunk{format: "CSV", columns: two, data: "1,a\nx,b\n", sql: "SELECT name FROM chunk WHERE name = 'a'"}, `["a"]`, []string{`2@4 id "x" is no UInt8 x,b`}},
		{"nested", chunk{format: "JSONEachRow", columns: cols("a", "Array(UInt8)", "m", "Map(String, Int8)", "t", "Tuple(x UInt8, y Array(Nullable(Date)))"),
			data: `{"a":[1,2],"m":{"k":-1},"t":{"x":1,"y":["2026-01-01",null]}}` + "\n" + `{"a":[1,300],"m":{},"t":{"x":1,"y":[]}}` + "\n" + `{"a":[],"m":{"k":128},"t":{"x":1,"y":[]}}` + "\n" + `{"a":[],"m":{},"t":{"x":1,"y":["2026-02-30"]}}`},
			`[[1,2], {"k":-1}, {"x":1,"y":["2026-01-01",null]}]`, []string{`2@61 a "['1','300']" is no Array(UInt8) {"a":[1,300],"m":{},"t":{"x":1,"y":[]}}`, `3@101 m`, `4@143 t`}},
		{"nested in text", chunk{format: "CSV", columns: cols("a", "Array(UInt8)", "m", "Map(String, Int8)", "d", "Array(Decimal(4, 2))"),
			data: "\"[1,2]\",\"{'k':-1}\",\"[1.25,0.1]\"\n\"[1,300]\",{},[]\n[],\"{'k':128}\",[]\n[],{},[1.255]\n[100000000000000000000000000000000000000000000000000000000000000000000000000000001],{},[]\n[x],{},[]\n"},
			`[[1,2], {"k":-1}, [1.25,0.1]]`, []string{`2@32 a`, `3@48 m`, `4@66 d`, `5@80 a`, `6@170`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rows, sep, err := tt.c.load(t)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(rows, " "); got != tt.rows {
				t.Errorf("rows are %s, want %s", got, tt.rows)
			}
			if sep == nil {
				if len(tt.rejects) > 0 {
					t.Error("nothing was rejected")
				}
				return
			}
			for i, r := range sep.Rejects() {
				got := fmt.Sprintf("%d@%d %s %s %s", r.Record, r.Offset, r.Column, r.Reason, r.Raw)
				if i >= len(tt.rejects) || !matches(got, tt.rejects[i]) {
					t.Errorf("rejected %s; want %q", got, tt.rejects)
				}
			}
			if len(sep.Rejects()) != len(tt.rejects) || sep.Records < uint64(len(sep.Rejects())) {
				t.Errorf("%d rejects of %d, want %d", len(sep.Rejects()), sep.Records, len(tt.rejects))
			}
		})
	}
}

// matches reports whether want is the begin of got, or the begin and the end of
// it with more of the reason between.
func matches(got, want string) bool {
	if strings.HasPrefix(got, want) {
		return true
	}
	at := strings.LastIndexByte(want, ' ')
	for ; at > 0; at = strings.LastIndexByte(want[:at], ' ') {
		if strings.HasPrefix(got, want[:at]) && strings.HasSuffix(got, want[at:]) {
			return true
		}
	}
	return false
}
