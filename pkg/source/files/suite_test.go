package files

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"

	"drayage/pkg/source"
	"drayage/pkg/source/sourcetest"
)

func TestSuite(t *testing.T) {
	var csv, json, log strings.Builder
	var want []string
	for i := range 20_000 {
		fmt.Fprintf(&csv, "%d,\"line\n%d\"\n", i, i)
		fmt.Fprintf(&json, "{\"id\":%d,\"s\":\"line\\n%d\"}\n", i, i)
		fmt.Fprintf(&log, "%d line\n%d\n", i, i)
		want = append(want, fmt.Sprintf(`[%d,"line\n%d"]`, i, i))
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write([]byte(json.String())); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	columns := cols("id", "UInt64", "s", "String")
	half := strings.Index(csv.String(), "10000,")
	for name, c := range map[string]struct {
		files  map[string]string
		config Config
	}{
		"csv":    {map[string]string{"a.csv": csv.String()[:half], "b/c.csv": csv.String()[half:]}, Config{Paths: []string{"**/*.csv", "*.csv"}, Columns: columns, Header: new(bool), ChunkBytes: 150 << 10}},
		"header": {map[string]string{"a.csv": "s,id\n" + swapped(csv.String()), "b.csv": "id,s\n"}, Config{Paths: []string{"*.csv"}, Columns: columns, ChunkBytes: 100 << 10}},
		"json":   {map[string]string{"a.json": json.String()}, Config{Paths: []string{"a.json"}, Columns: columns, ChunkBytes: 64 << 10}},
		"lines":  {map[string]string{"a.log": log.String()}, Config{Paths: []string{"a.log"}, Format: "Regexp", Regexp: `(?P<id>\d+) (?P<s>(?s:.*))`, Columns: columns[:1], Multiline: &Multiline{Begin: `^\d+ line`}, ChunkBytes: 64 << 10}},
		"gzip":   {map[string]string{"b.json.gz": zipped.String()}, Config{Paths: []string{"*.gz"}, Format: "JSONEachRow", Columns: columns, ChunkBytes: 64 << 10}},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "gzip" { // a compressed file is one chunk: two of them
				second := want
				c.files["c.json.gz"] = zipped.String()
				want = append(second[:len(second):len(second)], second...)
				defer func() { want = second }()
			}
			c.config.Dir = write(t, c.files)
			sourcetest.Run(t, sourcetest.Case{
				New: func() (source.Source, error) { return New(c.config) }, Engine: eng, Want: want, Memory: 8 << 20, Uncut: name == "gzip",
			})
		})
	}
}

// swapped puts the second column of a CSV first.
func swapped(csv string) string {
	var out strings.Builder
	for rec := range strings.SplitSeq(strings.TrimSuffix(csv, "\"\n"), "\"\n") {
		id, s, _ := strings.Cut(rec, ",")
		out.WriteString(s + "\"," + id + "\n")
	}
	return out.String()
}
