package files

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// TestLocate: where a chunk is, without opening anything.
func TestLocate(t *testing.T) {
	a := cols("a", "String")
	for _, c := range []struct {
		name, file, data string
		cfg              Config
		place            string // of the last chunk
		offset           int64
	}{
		{"first range", "a.csv", "x\n", Config{Header: no()}, "a.csv bytes 0-2", 0},
		{"later range", "a.csv", "a\nx\nyy\n", Config{Header: yes()}, "a.csv bytes 4-7", 4},
		{"range of an array", "a.json", `[{"a":"x"}, {"a":"y"}]`, Config{}, "a.json bytes 12-21", 12},
		{"compressed", "a.csv.gz", gz("x\n"), Config{Header: no()}, "a.csv.gz", -1},
		{"compressed by its configuration", "a.csv", gz("x\n"), Config{Header: no(), Compression: "gzip"}, "a.csv", -1},
		{"whole text", "a.x", "('x'),('y')", Config{Format: "Values"}, "a.x", 0},
		{"whole binary", "a.native", made(t, "x", "Native", "SELECT 'x' AS a", "none", nil), Config{}, "a.native", -1},
		{"row groups", "a.parquet", parquetOf(t, 10, 3), Config{}, "a.parquet row groups 3-4", -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Dir, c.cfg.Paths, c.cfg.Columns, c.cfg.ChunkBytes = write(t, map[string]string{c.file: c.data}), []string{c.file}, a, 1
			s := mustNew(t, c.cfg)
			chunks, err := plan(s, nil, a)
			if err != nil || len(chunks) == 0 {
				t.Fatalf("%v: %v", chunks, err)
			}
			if err := os.Remove(filepath.Join(c.cfg.Dir, c.file)); err != nil {
				t.Fatal(err)
			}
			input := chunks[len(chunks)-1].Input
			at, err := s.Locate(input)
			if err != nil || at.Name != c.file || at.Offset != c.offset || at.String() != c.place || source.Place(s, input) != c.place {
				t.Errorf("%+v, %s: %v", at, at, err)
			}
			if at.Unit == source.UnitBytes && c.offset > 0 && !strings.HasPrefix(c.data[at.Offset:], map[bool]string{true: "{", false: "yy"}[c.file == "a.json"]) {
				t.Errorf("no record begins at %d", at.Offset)
			}
		})
	}
	s := mustNew(t, Config{Paths: []string{"a.csv"}})
	if _, err := s.Locate([]byte("{")); job.ClassOf(err) != job.Permanent {
		t.Error(err)
	}
	if got := source.Place(s, []byte("{")); got != "{" {
		t.Error(got)
	}
}

// TestRecords: raw records of a chunk, each followed by a newline, read as the
// chunk's own.
func TestRecords(t *testing.T) {
	declared := cols("id", "Int64", "name", "String")
	for _, c := range []struct {
		name, file, data string
		cfg              Config
		raw              string
		rows             string
		remove           bool // the file is gone
		err              string
	}{
		{"csv", "a.csv", "1,x\n", Config{Header: no()}, "7,\"x\ny\"\n8,z\n", `[7, "x\ny"] [8, "z"] `, true, ""},
		{"csv with a header", "a.csv", "id,name\n1,x\n", Config{}, "7,\"x\ny\"\n8,z\n", `[7, "x\ny"] [8, "z"] `, true, ""},
		{"csv with a header in another order", "a.csv", "name,id\nx,1\n", Config{}, "\"x\ny\",7\n", `[7, "x\ny"] `, false, ""},
		{"the same, without the file", "a.csv", "name,id\nx,1\n", Config{}, "", "", true, "gone"},
		{"csv in gzip, another order", "a.csv.gz", gz("name,id\nx,1\n"), Config{}, "x,7\n", `[7, "x"] `, false, ""},
		{"csv in xz", "a.csv.xz", compressed(t, "xz", "n,id\n6,5\n"), Config{Header: yes()}, "", "", false, "order"},
		{"csv with names and types", "a.csv", "id,name\nInt64,String\n1,x\n", Config{Format: "CSVWithNamesAndTypes"}, "7,x\n", `[7, "x"] `, true, ""},
		{"tsv", "a.tsv", "id\tname\r\n1\tx\r\n", Config{}, "7\tx\\n\\\ny\r\n8\tz\n", `[7, "x\n\ny"] [8, "z"] `, true, ""},
		{"json", "a.json", `[{"id":1,"name":"x"}]`, Config{}, "{\"id\":7,\n\"name\":\"x\"}\n{\"id\":8,\"name\":\"z\"}\n", `[7, "x"] [8, "z"] `, true, ""},
		{"json arrays with names", "a.x", "[\"name\",\"id\"]\n[\"x\",1]", Config{Format: "JSONCompactEachRowWithNames"}, "[\"x\",7]\n[\"z\",8]\n", `[7, "x"] [8, "z"] `, false, ""},
		{"parquet", "a.parquet", made(t, "x", "Parquet", "SELECT 1::Int64 AS id, 'x' AS name", "none", nil), Config{}, "", "", false, "no raw records"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Dir, c.cfg.Paths, c.cfg.Columns = write(t, map[string]string{c.file: c.data}), []string{c.file}, declared
			if c.err == "order" {
				c.cfg.Columns = cols("id", "Int64", "n", "String")
			}
			s := mustNew(t, c.cfg)
			chunks, err := plan(s, nil, c.cfg.Columns)
			if err != nil || len(chunks) != 1 {
				t.Fatalf("%v: %v", chunks, err)
			}
			if c.remove {
				if err := os.Remove(filepath.Join(c.cfg.Dir, c.file)); err != nil {
					t.Fatal(err)
				}
			}
			in, err := s.Records(t.Context(), chunks[0].Input, c.cfg.Columns)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || job.ClassOf(err) != job.Permanent {
					t.Error(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			in.Reader = strings.NewReader(c.raw)
			rows, err := readInput(t, in, c.cfg.Columns)
			if err != nil || strings.ReplaceAll(rows, "\n", " ") != c.rows {
				t.Errorf("%q: %v", rows, err)
			}
		})
	}
	// A job with other columns that takes the chunk over.
	s := mustNew(t, Config{Paths: []string{"a.csv"}, Dir: write(t, map[string]string{"a.csv": "id,name\n1,x\n"}), Columns: declared})
	chunks, err := plan(s, nil, declared)
	if err != nil {
		t.Fatal(err)
	}
	swapped := cols("name", "String", "id", "Int64")
	if in, err := s.Records(t.Context(), chunks[0].Input, swapped); err != nil || in.Structure[0].Name != "id" {
		t.Errorf("%v: %v", in, err)
	}
	other := cols("id", "Int64", "title", "String")
	if _, err := s.Records(t.Context(), chunks[0].Input, other); err == nil || !strings.Contains(err.Error(), `missing: "title"`) || job.ClassOf(err) != job.Permanent {
		t.Error(err)
	}
	if _, err := s.Open(t.Context(), chunks[0].Input, other); err == nil || !strings.Contains(err.Error(), `missing: "title"`) {
		t.Error(err)
	}
}
