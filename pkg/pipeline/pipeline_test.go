package pipeline

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"drayage/pkg/job"
)

const good = `pipeline: flights
params: {since: "2001-01-01", floor: 5}
source:
  files:
    path: data/flights-*.json
    format: JSONEachRow
    settings: {format_csv_delimiter: ";"}
  columns: "date String, delay Decimal(10, 2), "odd ""name""" Enum8('a,b' = 1)"
  chunk: 16MiB
transform: |
  SELECT date, delay
  FROM chunk WHERE date >= '${since}' AND delay > ${floor} AND x != '$${literal}'
lookups:
  airports: {path: data/airports.csv}
load:
  table: db.flights
  create: ENGINE = MergeTree ORDER BY date
retry: {attempts: 7, backoff: 2s..1m}
limits: {in_flight: 8, lease: "orders-db:4"}
reject: {max: 0.1%}
`

func TestParse(t *testing.T) {
	text := strings.Replace(good, `"date String, delay Decimal(10, 2), "odd ""name""" Enum8('a,b' = 1)"`, `'date String, delay Decimal(10, 2), "odd ""name""" Enum8(''a,b'' = 1)'`, 1)
	d, err := Parse(text, "flights.yaml", "/x", map[string]string{"floor": "9"})
	if err != nil {
		t.Fatal(err)
	}
	p := d.Pipeline
	if want := "WHERE date >= '2001-01-01' AND delay > 9 AND x != '$${literal}'"; !strings.Contains(p.Transform, want) {
		t.Errorf("transform is %q, want it to contain %q", p.Transform, want)
	}
	want := Columns{{Name: "date", Type: "String"}, {Name: "delay", Type: "Decimal(10, 2)"}, {Name: `odd "name"`, Type: "Enum8('a,b' = 1)"}}
	if got, _ := json.Marshal(p.Source.Columns); string(got) != string(mustJSON(t, want)) {
		t.Errorf("columns are %s", got)
	}
	if p.Source.Chunk != 16<<20 || p.Retry.Attempts != 7 || p.Retry.Backoff != (Backoff{2 * time.Second, time.Minute}) {
		t.Errorf("chunk %d, attempts %d, backoff %s", p.Source.Chunk, p.Retry.Attempts, p.Retry.Backoff)
	}
	again, err := p.Text()
	if err != nil {
		t.Fatal(err)
	}
	if d2, err := Parse(again, "again", "/x", nil); err != nil || !reflect.DeepEqual(d2.Pipeline, p) {
		t.Errorf("written and read again it is %s: %v", again, err)
	}
	if got := p.Limits.Lease; got != (Lease{"orders-db", 4}) {
		t.Errorf("the lease is %+v", got)
	}
	if got := p.Reject.Limit(); got != (RowLimit{Percent: 0.1, Relative: true}) {
		t.Errorf("reject.max is %s", got)
	}
	var back Pipeline
	if err := json.Unmarshal(mustJSON(t, p), &back); err != nil {
		t.Fatalf("a pipeline must survive the job's record: %v", err)
	}
	if string(mustJSON(t, back)) != string(mustJSON(t, p)) {
		t.Errorf("the record changed the pipeline:\n%s\n%s", mustJSON(t, p), mustJSON(t, back))
	}
}

func TestParseErrors(t *testing.T) {
	const rest = "source: {files: {path: a.csv}}\nload: {table: t}\n"
	tests := []struct {
		name, text  string
		params      map[string]string
		line, col   int
		key, expect string
	}{
		{name: "empty", text: "", line: 1, col: 1, expect: "empty"},
		{name: "not YAML", text: "pipeline: [a\nload: {", line: 2, expect: ""},
		{name: "unknown key", text: "pipeline: a\n" + rest + "transfrom: SELECT 1\n", line: 4, col: 1, expect: "did you mean transform"},
		{name: "unknown nested key", text: "pipeline: a\nload: {table: t}\nsource:\n  files:\n    path: x\n    formatt: CSV\n", line: 6, col: 5, expect: "did you mean format"},
		{name: "wrong type", text: "pipeline: a\n" + rest + "retry: {attempts: many}\n", line: 4, col: 19, expect: ""},
		{name: "bad size", text: "pipeline: a\nload: {table: t}\nsource:\n  files: {path: x}\n  chunk: big\n", expect: "not a size"},
		{name: "chunk too large", text: "pipeline: a\nload: {table: t}\nsource:\n  files: {path: x}\n  chunk: 20GiB\n", line: 5, col: 10, key: "source.chunk", expect: "outside"},
		{name: "size is a map", text: "pipeline: a\nload: {table: t}\nsource:\n  files: {path: x}\n  chunk: {a: 1}\n", expect: "one value"},
		{name: "bad lease", text: "pipeline: a\n" + rest + "limits: {lease: orders-db}\n", expect: "not a lease"},
		{name: "no seats", text: "pipeline: a\n" + rest + "limits: {lease: 'orders-db:0'}\n", expect: "not a lease"},
		{name: "two kinds", text: "pipeline: a\nsource: {files: {path: a}, generate: {rows: 1, select: number}}\nload: {table: t}\n", expect: "several kinds: files, generate"},
		{name: "bad backoff", text: "pipeline: a\n" + rest + "retry: {backoff: 9s..1s}\n", expect: "not a backoff"},
		{name: "bad limit", text: "pipeline: a\n" + rest + "reject: {max: some}\n", expect: "is not a number of rows"},
		{name: "negative limit", text: "pipeline: a\n" + rest + "reject: {max: -1}\n", expect: "is not a number of rows"},
		{name: "limit above all", text: "pipeline: a\n" + rest + "reject: {max: 101%}\n", line: 4, col: 15, key: "reject.max", expect: "outside 0% to 100%"},
		{name: "limit of too many rows", text: "pipeline: a\n" + rest + "reject: {max: 1000001}\n", line: 4, col: 15, key: "reject.max", expect: "outside 0 to 1000000"},
		{name: "a list for a text", text: "pipeline: a\nsource: {files: {path: a.csv}}\nload: {table: [t]}\n", line: 3, col: 15, expect: "a text is expected, and this is a list"},
		{name: "a text for a number", text: "pipeline: a\nsource: {files: {path: a.csv, skip_lines: two}}\nload: {table: t}\n", line: 2, col: 43, expect: "a whole number is expected"},
		{name: "unknown key of reject", text: "pipeline: a\n" + rest + "reject: {maxx: 1}\n", line: 4, col: 10, expect: "did you mean max"},
		{name: "no name", text: rest, line: 1, col: 1, key: "pipeline", expect: "no name"},
		{name: "bad name", text: "pipeline: Flights 2\n" + rest, line: 1, col: 11, key: "pipeline", expect: "can not be a name"},
		{name: "no source", text: "pipeline: a\nload: {table: t}\n", key: "source", expect: "no kind"},
		{name: "no table", text: "pipeline: a\nsource: {files: {path: x}}\nload: {create: ENGINE = Log}\n", line: 3, key: "load", expect: "table is missing"},
		{name: "bad table", text: "pipeline: a\nsource: {files: {path: x}}\nload: {table: a.b.c}\n", line: 3, col: 15, key: "load.table", expect: "not a table"},
		{name: "bad create", text: "pipeline: a\nsource: {files: {path: x}}\nload: {table: a, create: ORDER BY x}\n", line: 3, key: "load.create", expect: "engine clause"},
		{name: "unknown reference", text: "pipeline: a\nparams: {since: 1}\n" + rest + "transform: |\n  SELECT ${sinse}\n", key: "transform", expect: "did you mean ${since}"},
		{name: "unknown parameter given", text: "pipeline: a\n" + rest, params: map[string]string{"x": "1"}, key: "params", expect: "no parameter x"},
		{name: "parameter is a list", text: "pipeline: a\nparams: {x: [1]}\n" + rest, line: 2, key: "params.x", expect: "one value"},
		{name: "column without type", text: "pipeline: a\nload: {table: t}\nsource:\n  files: {path: x}\n  columns: a Int32, b\n", expect: "column b has no type"},
		{name: "column twice", text: "pipeline: a\nload: {table: t}\nsource:\n  files: {path: x}\n  columns: a Int32, a String\n", expect: "declared twice"},
		{name: "lookup called chunk", text: "pipeline: a\n" + rest + "lookups: {chunk: {path: x}}\n", key: "lookups", expect: "chunk is the input itself"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.text, "p.yaml", "/x", tt.params)
			var errs Errors
			if !errors.As(err, &errs) {
				t.Fatalf("got %v, want Errors", err)
			}
			e := errs[0]
			if tt.line != 0 && e.Line != tt.line || tt.col != 0 && e.Column != tt.col {
				t.Errorf("place is %d:%d, want %d:%d (%v)", e.Line, e.Column, tt.line, tt.col, e)
			}
			if tt.key != "" && e.Key != tt.key {
				t.Errorf("key is %q, want %q", e.Key, tt.key)
			}
			if !strings.Contains(e.Error(), tt.expect) || !strings.HasPrefix(e.Error(), "p.yaml") {
				t.Errorf("message %q does not contain %q", e.Error(), tt.expect)
			}
		})
	}
}

func TestColumnsInABlock(t *testing.T) {
	d, err := Parse("pipeline: a\nload: {table: t}\nsource:\n  files: {path: x}\n  chunk: 1048576\n  columns: |\n    \"a b\" String,\n    c Int8\n", "p.yaml", "/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Columns{{Name: "a b", Type: "String"}, {Name: "c", Type: "Int8"}}
	if !reflect.DeepEqual(d.Pipeline.Source.Columns, want) {
		t.Errorf("columns are %s", d.Pipeline.Source.Columns)
	}
	var old Columns // as jobs of earlier versions froze them
	if err := json.Unmarshal([]byte(`[{"name":"a b","type":"String"},{"name":"c","type":"Int8"}]`), &old); err != nil || !reflect.DeepEqual(old, want) {
		t.Errorf("columns are %s: %v", old, err)
	}
	if d.Pipeline.Source.Chunk != 1<<20 {
		t.Errorf("chunk is %d", d.Pipeline.Source.Chunk)
	}
}

func TestSQLErrorPlace(t *testing.T) {
	d, err := Parse("pipeline: a\nsource: {files: {path: x}}\nload: {table: t}\ntransform: |\n  SELECT a,\n    frm\n  FROM chunk\n", "p.yaml", "/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	if e := d.SQLError("transform", 2, 3, "syntax error", ""); e.Line != 6 || e.Column != 5 {
		t.Errorf("place is %d:%d, want 6:5", e.Line, e.Column)
	}
}

func TestResolve(t *testing.T) {
	d, err := Parse("pipeline: a\nsource: {files: {path: '${env:DIR}/x'}}\nload: {table: t}\ntransform: SELECT '${job_time}', '${file:pw}', '$${x}' FROM chunk\n", "p.yaml", "/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	r := Resolver{
		JobTime: time.Date(2026, 11, 23, 6, 0, 0, 0, time.FixedZone("", 3600)),
		From: access{
			env:  func(n string) (string, bool) { return "/data", n == "DIR" },
			file: func(p string) ([]byte, error) { return []byte("pass\n"), nil },
		},
	}
	if err := d.Pipeline.Resolve(r); err != nil {
		t.Fatal(err)
	}
	if got, want := d.Pipeline.Transform, "SELECT '2026-11-23 05:00:00', 'pass', '${x}' FROM chunk"; got != want {
		t.Errorf("transform is %q, want %q", got, want)
	}
	if got := d.Pipeline.Source.Files.Path[0]; got != "/data/x" {
		t.Errorf("path is %q", got)
	}
	d.Pipeline.Load.Create = "${env:NOPE}"
	if err := d.Pipeline.Resolve(r); err == nil || !strings.Contains(err.Error(), "load.create: the environment variable NOPE is not set") {
		t.Errorf("got %v", err)
	}
}

func TestBackoffDelay(t *testing.T) {
	b := Backoff{time.Second, 10 * time.Second}
	for attempt, top := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 5: 10 * time.Second, 90: 10 * time.Second} {
		for range 50 {
			if d := b.Delay(attempt); d > top || d < top*4/5 {
				t.Fatalf("attempt %d waits %s, want %s to %s", attempt, d, top*4/5, top)
			}
		}
	}
}

func TestReadTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "big.yaml")
	if err := os.WriteFile(path, make([]byte, MaxBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, nil); err == nil || !strings.Contains(err.Error(), "a pipeline may have") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("pipeline: a\nsource: {files: {path: x}, columns: 'a Int32'}\nload: {table: t}\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Parse(text, "p.yaml", "/x", nil)
		if err == nil && d.Pipeline.Name == "" {
			t.Error("accepted a pipeline without a name")
		}
	})
}

func FuzzParseColumns(f *testing.F) {
	f.Add("a String, `b``c` Enum8('x,''y' = 1), \"d\" Tuple(a Int8, b Array(String))")
	f.Fuzz(func(t *testing.T, text string) {
		cols, err := ParseColumns(text)
		if err == nil && len(cols) == 0 {
			t.Error("no columns and no error")
		}
	})
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A job that was frozen keeps its limit; one frozen before there was any has
// the default.
func TestRejectLimit(t *testing.T) {
	for text, want := range map[string]map[uint64]uint64{
		"reject: {max: 100}\n":   {0: 100, 1_000_000: 100},
		"reject: {max: 0}\n":     {1_000_000: 0},
		"reject: {max: 0.1%}\n":  {0: 0, 1: 1, 1000: 1, 1001: 2, 1_000_000: 1000},
		"reject: {max: 100 %}\n": {7: 7, 1 << 40: MaxRejects},
		"reject: {}\n":           {9: 1, 11: 2},
		"":                       {1000: 100},
	} {
		d, err := Parse("pipeline: a\nsource: {files: {path: x}}\nload: {table: t}\n"+text, "p.yaml", "/x", nil)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		thawed, err := Thaw(mustJSON(t, d.Pipeline), time.Time{}, access{})
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for records, rows := range want {
			if got := thawed.Reject.Limit().Of(records); got != rows {
				t.Errorf("%q of %d records is %d, want %d", text, records, got, rows)
			}
		}
	}
	old, err := Thaw([]byte(`{"pipeline":"a"}`), time.Time{}, access{})
	if err != nil || old.Reject.Limit() != DefaultRejects {
		t.Errorf("%v, %v", old, err)
	}
}

// A pipeline that a newer program froze is told from a broken one.
func TestThawNewer(t *testing.T) {
	t.Parallel()
	var newer *job.NewerError
	if _, err := Thaw([]byte(`{"pipeline":"a","shape":"round"}`), time.Time{}, access{}); !errors.As(err, &newer) || job.ClassOf(err) != job.Retry || !strings.Contains(err.Error(), "shape") {
		t.Errorf("more than is known: %v", err)
	}
	if _, err := Thaw([]byte(`{"pipeline":7,"shape":"round"}`), time.Time{}, access{}); err == nil || errors.As(err, &newer) || job.ClassOf(err) != job.Permanent {
		t.Errorf("broken: %v", err)
	}
}
