package files

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"drayage/pkg/job"
)

func gz(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

func yes() *bool { b := true; return &b }
func no() *bool  { return new(bool) }

// TestColumnsAndRows: what is inferred of a file, and the rows that come out.
func TestColumnsAndRows(t *testing.T) {
	for _, c := range []struct {
		name    string
		files   map[string]string
		cfg     Config
		columns []job.Column
		rows    []string
	}{
		{"csv with a header", map[string]string{"a.csv": "id,name\n1,x\n2,y\n"}, Config{},
			cols("id", "Nullable(Int64)", "name", "Nullable(String)"), []string{`[1, "x"]`, `[2, "y"]`}},
		{"csv without a header", map[string]string{"a.csv": "1,x\n2,y\n"}, Config{},
			cols("c1", "Nullable(Int64)", "c2", "Nullable(String)"), []string{`[1, "x"]`, `[2, "y"]`}},
		{"csv of text alone, with a header that only a person sees", map[string]string{"a.csv": "id,name\na,x\n"}, Config{Header: yes()},
			cols("id", "Nullable(String)", "name", "Nullable(String)"), []string{`["a", "x"]`}},
		{"csv whose header could be data", map[string]string{"a.csv": "id,n\n1,2\n"}, Config{Header: no()},
			cols("c1", "Nullable(String)", "c2", "Nullable(String)"), []string{`["id", "n"]`, `["1", "2"]`}},
		{"header called c1, c2", map[string]string{"a.csv": "c1,c2\n1,2\n"}, Config{},
			cols("c1", "Nullable(Int64)", "c2", "Nullable(Int64)"), []string{`[1, 2]`}},
		{"csv with names as a format", map[string]string{"a.txt": "id;n\n1;2\n"}, Config{Format: "csvwithnames", Delimiter: ";"},
			cols("id", "Nullable(Int64)", "n", "Nullable(Int64)"), []string{`[1, 2]`}},
		{"csv with names and types", map[string]string{"a.csv": "id,n\nUInt8,String\n1,2\n"}, Config{Format: "CSVWithNamesAndTypes"},
			cols("id", "UInt8", "n", "String"), []string{`[1, "2"]`}},
		{"files whose headers are in another order", map[string]string{"a.csv": "id,name\n1,x\n", "b.csv": "name,id\ny,2\n"}, Config{},
			cols("id", "Nullable(Int64)", "name", "Nullable(String)"), []string{`[1, "x"]`, `[2, "y"]`}},
		{"byte order mark before a quoted header", map[string]string{"a.csv": utf8BOM + "\"a b\",c\n1,2\n", "b.csv": "c,a b\n4,3\n"}, Config{},
			cols("a b", "Nullable(Int64)", "c", "Nullable(Int64)"), []string{`[1, 2]`, `[3, 4]`}},
		{"byte order mark without a header", map[string]string{"a.csv": utf8BOM + "x,1\ny,2\n"}, Config{},
			cols("c1", "Nullable(String)", "c2", "Nullable(Int64)"), []string{`["x", 1]`, `["y", 2]`}},
		{"awkward names", map[string]string{"a.csv": "Cost $,a`b,it's,\"say \"\"hi\"\"\",a.b,\"two\nlines\",ü\n1,2,3,4,5,6,7\n"}, Config{},
			cols("Cost $", "Nullable(Int64)", "a`b", "Nullable(Int64)", "it's", "Nullable(Int64)", `say "hi"`, "Nullable(Int64)", "a.b", "Nullable(Int64)", "two\nlines", "Nullable(Int64)", "ü", "Nullable(Int64)"),
			[]string{`[1, 2, 3, 4, 5, 6, 7]`}},
		{"skipped lines", map[string]string{"a.csv": "a report\nof today\nid,n\n1,2\n"}, Config{SkipLines: 2},
			cols("id", "Nullable(Int64)", "n", "Nullable(Int64)"), []string{`[1, 2]`}},
		{"tab as delimiter of csv", map[string]string{"a.csv": "id\tn\n1\t\"x\ny\"\n"}, Config{Delimiter: "\t"},
			cols("id", "Nullable(Int64)", "n", "Nullable(String)"), []string{`[1, "x\ny"]`}},
		{"single quotes", map[string]string{"a.csv": "id,n\n1,'x,y'\n2,\"z\n"}, Config{Quote: "'"},
			cols("id", "Nullable(Int64)", "n", "Nullable(String)"), []string{`[1, "x,y"]`, `[2, "\"z"]`}},
		{"tsv with a header and CRLF", map[string]string{"a.tsv": "id\tn\\tm\r\n1\tx\r\n\\N\ty\r\n"}, Config{},
			cols("id", "Nullable(Int64)", "n\tm", "Nullable(String)"), []string{`[1, "x"]`, `[null, "y"]`}},
		{"empty fields are NULL", map[string]string{"a.csv": "id,n\n1,\n,2\n"}, Config{Columns: cols("id", "Nullable(Int32)", "n", "Nullable(Int32)")},
			cols("id", "Nullable(Int32)", "n", "Nullable(Int32)"), []string{`[1, null]`, `[null, 2]`}},
		{"declared columns in another order", map[string]string{"a.csv": "name,id\nx,1\n"}, Config{Columns: cols("id", "UInt8", "name", "String")},
			cols("id", "UInt8", "name", "String"), []string{`[1, "x"]`}},
		{"declared columns without a header", map[string]string{"a.csv": "1,x\n"}, Config{Columns: cols("id", "UInt8", "name", "String")},
			cols("id", "UInt8", "name", "String"), []string{`[1, "x"]`}},
		{"json lines", map[string]string{"a.jsonl": "{\"a\":1,\"b\":\"x\"}\n{\"b\":\"y\",\"a\":2}\n"}, Config{},
			cols("a", "Nullable(Int64)", "b", "Nullable(String)"), []string{`[1, "x"]`, `[2, "y"]`}},
		{"json array with a byte order mark", map[string]string{"a.json": utf8BOM + "[{\"a\":1},\n{\"a\":2}]\n"}, Config{},
			cols("a", "Nullable(Int64)"), []string{`[1]`, `[2]`}},
		{"nested json", map[string]string{"a.json": `{"a":{"x":1,"y":["p"]}}`}, Config{},
			cols("a", "Tuple(x Nullable(Int64), y Array(Nullable(String)))"), []string{`[{"x":1,"y":["p"]}]`}},
		{"json arrays with names", map[string]string{"a.x": "[\"b\",\"a\"]\n[1,2]\n", "b.x": "[\"a\",\"b\"],[3,4]"}, Config{Format: "JSONCompactEachRowWithNames"},
			cols("b", "Nullable(Int64)", "a", "Nullable(Int64)"), []string{`[1, 2]`, `[4, 3]`}},
		{"log lines", map[string]string{"a.log": "x\n\ny"}, Config{}, cols("line", "String"), []string{`["x"]`, `[""]`, `["y"]`}},
		{"regexp", map[string]string{"a.log": "head\n1 x\r\n2 y z\n"}, Config{Format: "Regexp", Regexp: `(\d+) (.*)`, SkipLines: 1},
			cols("c1", "Nullable(Int64)", "c2", "Nullable(String)"), []string{`[1, "x"]`, `[2, "y z"]`}},
		{"gzip", map[string]string{"a.csv.gz": gz("id,n\n1,x\n"), "b.csv.gz": gz("n,id\ny,2\n")}, Config{},
			cols("id", "Nullable(Int64)", "n", "Nullable(String)"), []string{`[1, "x"]`, `[2, "y"]`}},
		{"gzip with lines to skip and a byte order mark", map[string]string{"a.csv.gz": gz(utf8BOM + "report\nid,n\n1,x\n"), "b.csv.gz": gz("report\nid,n\n2,y\n")}, Config{SkipLines: 1},
			cols("id", "Nullable(Int64)", "n", "Nullable(String)"), []string{`[1, "x"]`, `[2, "y"]`}},
		{"an empty file and one of a header alone among others", map[string]string{"a.csv": "", "b.csv": "id,n\n", "c.csv": "id,n\n1,2\n"}, Config{Header: yes()},
			cols("id", "Nullable(Int64)", "n", "Nullable(Int64)"), []string{`[1, 2]`}},
		{"all files empty, columns declared", map[string]string{"a.csv": ""}, Config{Columns: cols("a", "String")}, cols("a", "String"), nil},
		{"overlapping patterns", map[string]string{"a.csv": "a\n1\n", "b.csv": "a\n2\n"}, Config{Paths: []string{"b.csv", "*.csv", "{a,b}.csv"}},
			cols("a", "Nullable(Int64)"), []string{`[2]`, `[1]`}},
		{"a name with meta characters", map[string]string{"a[1]{x}*.csv": "a\n1\n", "a1x.csv": "a\n2\n"}, Config{Paths: []string{"a[1]{x}*.csv"}},
			cols("a", "Nullable(Int64)"), []string{`[1]`}},
		{"several formats by extension", map[string]string{"a.csv": "a\n1\n", "b.json": `{"a":2}`, "c.tsv": "a\n3\n"}, Config{Paths: []string{"*"}},
			cols("a", "Nullable(Int64)"), []string{`[1]`, `[2]`, `[3]`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Dir = write(t, c.files)
			if c.cfg.Paths == nil {
				c.cfg.Paths = []string{"*"}
			}
			for _, chunk := range []int64{1, 1 << 20} {
				c.cfg.ChunkBytes = chunk
				s := mustNew(t, c.cfg)
				columns, err := s.Columns(t.Context(), eng)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(columns, c.columns) {
					t.Fatalf("columns\n%q, not\n%q", columns, c.columns)
				}
				rows, chunks, err := load(t, s, columns)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(rows, c.rows) {
					t.Errorf("chunks of %d bytes: rows\n%q, not\n%q", chunk, rows, c.rows)
				}
				for i, p := range chunks {
					if tail, err := plan(s, p.Cursor, columns); err != nil || !slices.EqualFunc(tail, chunks[i+1:], samePlanned) {
						t.Errorf("going on after chunk %d: %v, %v", i, tail, err)
					}
				}
			}
		})
	}
}

// TestRealFiles loads the files of the demo in small chunks.
func TestRealFiles(t *testing.T) {
	dir, err := filepath.Abs("../../../pipelines/data")
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]struct {
		columns int
		format  string
	}{"flights-20k.json": {5, "JSONEachRow"}, "airports.csv": {7, "CSVWithNames"}, "birdstrikes.csv": {14, "CSVWithNames"}} {
		t.Run(file, func(t *testing.T) {
			s := mustNew(t, Config{Paths: []string{file}, Dir: dir, ChunkBytes: 100 << 10})
			columns, err := s.Columns(t.Context(), eng)
			if err != nil || len(columns) != want.columns {
				t.Fatalf("columns %v: %v", columns, err)
			}
			rows, chunks, err := load(t, s, columns)
			if err != nil {
				t.Fatal(err)
			}
			out, err := text("SELECT "+backquoted(columns, false)+" FROM file("+literal(filepath.Join(dir, file))+", "+literal(want.format)+", "+literal(backquoted(columns, true))+") FORMAT JSONCompactEachRow", map[string]string{"input_format_parallel_parsing": "0"})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(rows, split(out)) {
				t.Errorf("%d rows in chunks are not the %d of the whole", len(rows), len(split(out)))
			}
			var bytes int64
			for _, c := range chunks {
				bytes += c.Bytes
			}
			if size := s.Size(t.Context()); len(chunks) < 3 || bytes > size || bytes < size-300 {
				t.Errorf("%d chunks of %d bytes in a file of %d", len(chunks), bytes, size)
			}
		})
	}
}

// TestStrictness: what the engine is told to refuse, and what it can not be.
func TestStrictness(t *testing.T) {
	number, nullable := cols("a", "Int32", "b", "String"), cols("a", "Nullable(Int32)", "b", "Nullable(String)")
	for _, c := range []struct {
		name, file, data string
		columns          []job.Column
		fails            string // a part of the error; "" when it is read
		rows             []string
	}{
		{"unknown key", "a.json", `{"a":1,"b":"x","c":2}`, number, "Unknown field", nil},
		{"missing key", "a.json", `{"a":1}`, number, "NULL", nil},
		{"missing key, Nullable", "a.json", `{"a":1}`, nullable, "", []string{`[1, null]`}},
		{"key twice", "a.json", `{"a":1,"a":2,"b":"x"}`, number, "Duplicate field", nil},
		{"missing element", "a.json", `{"a":{"x":1}}`, cols("a", "Tuple(x Int32, y Int32)"), "doesn't contain", nil},
		{"unknown element", "a.json", `{"a":{"x":1,"y":2}}`, cols("a", "Tuple(x Int32)"), "named tuple", nil},
		{"no number", "a.csv", "x,y\n", number, "Cannot parse", nil},
		{"too few fields", "a.csv", "1\n", number, "Cannot parse", nil},
		{"too many fields", "a.csv", "1,2,3\n", number, "Expected end of line", nil},
		{"null in csv", "a.csv", "\\N,x\n", number, "Cannot parse", nil},
		{"empty date", "a.csv", ",1\n", cols("a", "Date", "b", "Int8"), "date", nil},
		{"empty float", "a.csv", ",1\n", cols("a", "Float64", "b", "Int8"), "floating", nil},
		{"blanks at the end of the value before an empty one", "a.csv", "1,\"x \"\n2,\n3,\n4,z\n", number, "", []string{`[1, "x "]`, `[2, ""]`, `[3, ""]`, `[4, "z"]`}},
		{"empty field, Nullable", "a.csv", ",\n1,\"\"\n", nullable, "", []string{`[null, null]`, `[1, ""]`}},
		{"empty field of tsv, Nullable", "a.tsv", "\t\n", nullable, "", []string{`[null, null]`}},
		{"empty text of tsv, Nullable", "a.tsv", "\t\n", cols("a", "Nullable(String)", "b", "String"), "", []string{`["", ""]`}},
		{"no number in tsv", "a.tsv", "x\ty\n", number, "Cannot parse", nil},
		{"line that does not match", "a.log", "1 2\nx\n", number, "doesn't match", nil},
		{"unknown key of tskv", "a.tskv", "a=1\tb=x\tc=2\n", number, "Unknown field", nil},
		{"missing key of tskv", "a.tskv", "a=1\n", number, "NULL", nil},
		{"unknown key of JSONColumns", "a.jc", `{"a":[1],"b":["x"],"c":[2]}`, number, "Unknown", nil},
		// What the engine can not be told to refuse.
		{"empty float beside a text", "a.csv", ",x\n", cols("a", "Float64", "b", "String"), "", []string{`[0, "x"]`}},
		{"empty int", "a.csv", ",x\n", number, "", []string{`[0, "x"]`}},
		{"null in json", "a.json", `{"a":null,"b":"x"}`, number, "", []string{`[0, "x"]`}},
		{"number too big", "a.csv", "300\n", cols("a", "UInt8"), "", []string{`[44]`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Config{Paths: []string{c.file}, Dir: write(t, map[string]string{c.file: c.data}), Columns: c.columns}
			if strings.HasSuffix(c.file, ".log") {
				cfg.Format, cfg.Regexp = "Regexp", `(\d+) (\d+)`
			}
			if format, ok := map[string]string{".tskv": "TSKV", ".jc": "JSONColumns"}[filepath.Ext(c.file)]; ok {
				cfg.Format = format
			}
			if strings.HasSuffix(c.file, "sv") {
				cfg.Header = no()
			}
			rows, _, err := load(t, mustNew(t, cfg), c.columns)
			switch {
			case c.fails == "" && (err != nil || !slices.Equal(rows, c.rows)):
				t.Errorf("rows %q, not %q: %v", rows, c.rows, err)
			case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
				t.Errorf("rows %q, error %v, not one with %q", rows, err, c.fails)
			}
		})
	}
}

// TestHeaderProperty: the names that we read in a header are those that the
// engine reads: infer compares them.
func TestHeaderProperty(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		sep, format := ",", "CSV"
		piece := []string{"a", "b", "c d", `"`, `""`, "'", "`", "$", ".", "é", " ", "\r", "=", "\\", `\t`}
		if rapid.Bool().Draw(t, "tsv") {
			sep, format = "\t", "TSV"
			piece = append(piece, ",", `\n`, `\\`, `\'`, `\N`, `\b`, `\x41`)
		}
		n := rapid.IntRange(1, 4).Draw(t, "columns")
		var header, values []string
		for i := range n {
			name := strings.Join(rapid.SliceOfN(rapid.SampledFrom(piece), 1, 6).Draw(t, "name"), "") + fmt.Sprint(i)
			if format == "CSV" {
				switch rapid.IntRange(0, 2).Draw(t, "quoted") {
				case 0:
					name = `"` + strings.ReplaceAll(name, `"`, `""`) + "\n" + `"`
				case 1:
					name = "  " + strings.TrimLeft(name, ` "`) + " "
				default:
					name = strings.TrimLeft(name, ` "`)
				}
			}
			header, values = append(header, name), append(values, fmt.Sprint(i))
		}
		path := filepath.Join(dir, "h")
		put(t, path, strings.Join(header, sep)+"\n"+strings.Join(values, sep)+"\n")
		s := mustNew(t, Config{Paths: []string{path}, Format: format, Header: yes()})
		columns, err := s.Columns(t.Context(), eng)
		if err != nil || len(columns) != n {
			t.Fatalf("%q: columns %q: %v", header, columns, err)
		}
		if rows, _, err := load(t, s, columns); err != nil || len(rows) != 1 {
			t.Fatalf("%q: rows %q: %v", header, rows, err)
		}
	})
}
