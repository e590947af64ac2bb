package messages

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"drayage/pkg/job"
)

var (
	both = []Field{{"_key", "Nullable(String)"}, {"_offset", "Int64"}}
	at   = []Field{{"_time", "DateTime64(3)"}}
	head = []Field{{"_headers", HeadersType}}
)

func columns(names ...string) []job.Column {
	var all []job.Column
	for i := 0; i < len(names); i += 2 {
		all = append(all, job.Column{Name: names[i], Type: names[i+1]})
	}
	return all
}

func TestAppend(t *testing.T) {
	key := []Datum{{Kind: Text, Text: []byte("k\"\x01")}, {Kind: Int, Int: -7}}
	none := []Datum{{}, {Kind: Int, Int: 1}}
	some := []Datum{{Kind: Headers, Headers: []Header{{"a", []string{"1", "it's \"2\"\t"}}, {"b'", nil}}}}
	for name, tt := range map[string]struct {
		format  Format
		columns []job.Column
		fields  []Field
		value   string
		data    []Datum
		want    string
	}{
		"JSON":                   {JSONEachRow, nil, nil, " {\"a\":\r\n1} ", nil, "{\"a\":  1}\n"},
		"JSON and metadata":      {JSONEachRow, columns("_offset", "Int64", "_key", "String"), both, `{"a":1}`, key, `{"_offset":-7,"_key":"k\"\u0001","a":1}` + "\n"},
		"empty object":           {JSONEachRow, columns("_offset", "Int64"), both, `{ }`, key, `{"_offset":-7 }` + "\n"},
		"no key":                 {JSONEachRow, columns("_key", "Nullable(String)"), both, `{"a":1}`, none, `{"_key":null,"a":1}` + "\n"},
		"no key, not Nullable":   {JSONEachRow, columns("_key", "String"), both, `{}`, none, `{"_key":""}` + "\n"},
		"metadata nobody reads":  {JSONEachRow, columns("a", "Int64"), both, `{"a":1}`, key, `{"a":1}` + "\n"},
		"time":                   {JSONEachRow, columns("_time", "DateTime64(3)"), at, `{}`, []Datum{{Kind: Millis, Int: 1500}}, `{"_time":"1970-01-01T00:00:01.500Z"}` + "\n"},
		"exact time":             {JSONEachRow, columns("_time", "DateTime64(9)"), at, `{}`, []Datum{{Kind: Nanos, Int: 1500000001}}, `{"_time":"1970-01-01T00:00:01.500000001Z"}` + "\n"},
		"headers":                {JSONEachRow, columns("_headers", HeadersType), head, `{}`, some, `{"_headers":{"a":["1","it's \"2\"\u0009"],"b'":[]}}` + "\n"},
		"no headers":             {JSONEachRow, columns("_headers", HeadersType), head, `{}`, []Datum{{Kind: Headers}}, `{"_headers":{}}` + "\n"},
		"raw headers":            {Raw, columns("_headers", HeadersType, "value", "String"), head, `v`, some, `{'a':['1','it\'s "2"\t'],'b\'':[]}` + "\tv\n"},
		"not closed":             {JSONEachRow, nil, nil, "{\"a\":\"x", nil, `"{\"a\":\"x"` + "\n"},
		"two objects":            {JSONEachRow, nil, nil, "{}\n{}", nil, `"{}\u000a{}"` + "\n"},
		"array":                  {JSONEachRow, nil, nil, "[1]", nil, `"[1]"` + "\n"},
		"nothing":                {JSONEachRow, nil, nil, "", nil, `""` + "\n"},
		"no UTF-8":               {JSONEachRow, nil, nil, "\xff\\", nil, "\"\xff\\\\\"\n"},
		"line":                   {LineAsString, nil, nil, "a\nb", nil, "a\nb\n"},
		"line with its end":      {LineAsString, nil, nil, "a\n", nil, "a\n"},
		"CSV":                    {CSV, nil, nil, "1,\"a\"\"\nb\"", nil, "1,\"a\"\"\nb\"\n"},
		"CSV, a quote inside":    {CSV, nil, nil, `5" pipe,1`, nil, `5" pipe,1` + "\n"},
		"CSV, an open quote":     {CSV, nil, nil, "1,\"a\n", nil, "1,\"a \" the quote of this message is not closed\n"},
		"TSV":                    {TSV, nil, nil, `a\\`, nil, `a\\` + "\n"},
		"TSV, an open backslash": {TSV, nil, nil, `a\`, nil, `a\\` + "\tthe backslash at the end of this message escapes nothing\n"},
		"raw":                    {Raw, columns("_offset", "Int64", "value", "String", "_key", "String"), both, "a\t\n\\\r\x00", key, "-7\ta\\t\\n\\\\\\r\\0\tk\"\x01\n"},
		"raw, no key":            {Raw, columns("_key", "Nullable(String)", "value", "String"), both, "a", none, "\\N\ta\n"},
		"raw, no key, not Null":  {Raw, columns("_key", "String", "value", "String"), both, "a", none, "\ta\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := newEncoder(tt.format, tt.columns, tt.fields).Append([]byte("before\n"), []byte(tt.value), tt.data)
			if string(got) != "before\n"+tt.want {
				t.Errorf("%q becomes %q", tt.value, got)
			}
		})
	}
}

func TestNoValue(t *testing.T) {
	for typ, want := range map[string]string{"Nullable(String)": "\\N\n", "String": ""} {
		e := newEncoder(Raw, columns("value", typ), nil)
		if e.keepsNull != (want != "") {
			t.Errorf("%s keeps NULL: %v", typ, e.keepsNull)
		}
		if want != "" {
			if got := e.Append(nil, nil, nil); string(got) != want {
				t.Errorf("%s: %q", typ, got)
			}
		}
	}
}

// Whatever a message holds, it is one line of its own, and an object only if it
// was one.
func FuzzOneLine(f *testing.F) {
	for _, seed := range []string{`{"a":1}`, "{\n}", `{"a":"`, "\x00\xff", "", `"\`, `{} {}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		data := []Datum{{Kind: Text, Text: value}, {Kind: Int, Int: 1}, {Kind: Headers, Headers: []Header{{string(value), []string{string(value)}}}}}
		for _, format := range []Format{JSONEachRow, Raw} {
			row := newEncoder(format, columns("_key", "String", "_offset", "Int64", "_headers", HeadersType, "value", "String"), slices.Concat(both, head)).Append(nil, value, data)
			if bytes.Count(row, []byte{'\n'}) != 1 || row[len(row)-1] != '\n' {
				t.Fatalf("%q becomes %q", value, row)
			}
			if format == JSONEachRow && (row[0] == '{') != json.Valid(value) && bytes.HasPrefix(bytes.TrimSpace(value), []byte{'{'}) || format == JSONEachRow && !json.Valid(row) {
				t.Fatalf("%q becomes %q", value, row)
			}
		}
	})
}
