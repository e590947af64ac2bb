package files

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"drayage/pkg/job"
)

// made lets the engine write rows to a file of a format.
func made(t *testing.T, name, format, sel, compression string, settings map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if _, err := text(fmt.Sprintf("INSERT INTO FUNCTION file(%s, %s, 'auto', %s) %s", literal(path), literal(format), literal(compression), sel), settings); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// parquetOf is a Parquet file with a column a of so many rows.
func parquetOf(t *testing.T, rows, group int) string {
	return made(t, "a.parquet", "Parquet", fmt.Sprintf("SELECT number AS a FROM numbers(%d)", rows), "none",
		map[string]string{"output_format_parquet_row_group_size": fmt.Sprint(group), "max_block_size": fmt.Sprint(group), "output_format_parquet_use_custom_encoder": "1"})
}

// readyMade are files of compressions that no library here writes, by bzip2 and xz.
var readyMade = map[string]map[string]string{
	"bz2": {
		"id,n\n1,2\n3,4\n":        "QlpoOTFBWSZTWbhbKxAAAAXZAAAQAAQ8AAQhIAAxBkxBDIYk1cmmBCfF3JFOFCQuFsrEAA==",
		"n,id\n6,5\n":             "QlpoOTFBWSZTWW58QVwAAARZAAAQAAQDAAQhIAAiGAIYBp2Sk4XckU4UJBufEFcA",
		"[{\"a\":1},\n{\"a\":2}]": "QlpoOTFBWSZTWVpKl+0AAAVbgAAQEAQwEAAKIAAACiAAISkwj01CAaaaJRo0dHUjWv4u5IpwoSC0lS/a",
		"skipped\nid,n\n7,8\n":    "QlpoOTFBWSZTWeAppT8AAAhZgAAQAAQAwAYpSAAgADEA000FMbUBYDomsWbKDhdyRThQkOAppT8=",
	},
	"xz": {
		"id,n\n1,2\n3,4\n":        "/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQAMaWQsbgoxLDIKMyw0CgAAAABv4MM45Jnh9gABJQ1xGcS2H7bzfQEAAAAABFla",
		"n,id\n6,5\n":             "/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQAIbixpZAo2LDUKAAAAAGQ8WISMtJTbAAEhCWwYxdUftvN9AQAAAAAEWVo=",
		"[{\"a\":1},\n{\"a\":2}]": "/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQARW3siYSI6MX0sCnsiYSI6Mn1dAAAAfwa8WPpPULAAASoSSwhUvB+2830BAAAAAARZWg==",
		"skipped\nid,n\n7,8\n":    "/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQAQc2tpcHBlZAppZCxuCjcsOAoAAAAAZdyb/vT7/bAAASkRMgpwDh+2830BAAAAAARZWg==",
	},
}

func compressed(t *testing.T, name, data string) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch name {
	case "gzip":
		return gz(data)
	case "zstd":
		w, _ = zstd.NewWriter(&b)
	case "lz4":
		w = lz4.NewWriter(&b)
	case "br":
		w = brotli.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "snappy-framed":
		w = s2.NewWriter(&b, s2.WriterSnappyCompat())
	case "bz2", "xz":
		b, err := base64.StdEncoding.DecodeString(readyMade[name][data])
		if err != nil || len(b) == 0 {
			t.Fatalf("no %s of %q: %v", name, data, err)
		}
		return string(b)
	}
	if _, err := w.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestCompressions(t *testing.T) {
	declared := cols("n", "Int32", "id", "Int32")
	for _, c := range []struct{ name, ext string }{
		{"gzip", "gz"}, {"zstd", "zst"}, {"bz2", "bz2"}, {"xz", "xz"}, {"lz4", "lz4"}, {"br", "br"}, {"deflate", "deflate"}, {"snappy-framed", "sz"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := write(t, map[string]string{
				"h.csv." + c.ext:  compressed(t, c.name, "id,n\n1,2\n3,4\n"),
				"r.csv." + c.ext:  compressed(t, c.name, "n,id\n6,5\n"),
				"a.json." + c.ext: compressed(t, c.name, "[{\"a\":1},\n{\"a\":2}]"),
				"b.bin":           compressed(t, c.name, "skipped\nid,n\n7,8\n"),
			})
			for _, cfg := range []struct {
				cfg     Config
				columns []job.Column
				rows    []string
			}{
				{Config{Paths: []string{"*.csv.*"}, Header: yes()}, cols("id", "Nullable(Int64)", "n", "Nullable(Int64)"), []string{`[1, 2]`, `[3, 4]`, `[5, 6]`}},
				{Config{Paths: []string{"*.csv.*"}, Header: yes(), Columns: declared}, declared, []string{`[2, 1]`, `[4, 3]`, `[6, 5]`}},
				{Config{Paths: []string{"a.json.*"}}, cols("a", "Nullable(Int64)"), []string{`[1]`, `[2]`}},
				{Config{Paths: []string{"b.bin"}, Format: "CSV", Compression: c.name, Header: yes(), SkipLines: 1, Columns: declared}, declared, []string{`[8, 7]`}},
			} {
				cfg.cfg.Dir = dir
				s := mustNew(t, cfg.cfg)
				columns, err := s.Columns(t.Context(), eng)
				if err != nil || !slices.Equal(columns, cfg.columns) {
					t.Fatalf("%v: columns %v: %v", cfg.cfg.Paths, columns, err)
				}
				rows, chunks, err := load(t, s, columns)
				if err != nil || !slices.Equal(rows, cfg.rows) {
					t.Fatalf("%v: rows %v: %v", cfg.cfg.Paths, rows, err)
				}
				if chunks[0].Bytes == 0 {
					t.Error("no bytes")
				}
			}
		})
	}
}

func TestWholeFileFormats(t *testing.T) {
	sel := "SELECT toInt64(number) AS a, toString(number) AS b FROM numbers(3)"
	for _, c := range []struct{ format, ext string }{
		{"Arrow", "arrow"}, {"ArrowStream", "arrows"}, {"ORC", "orc"}, {"Avro", "avro"}, {"Native", "native"}, {"BSONEachRow", "bson"},
		{"RowBinaryWithNamesAndTypes", "bin"}, {"JSON", "bin"}, {"JSONCompact", "bin"}, {"JSONColumns", "bin"}, {"Values", "bin"}, {"MsgPack", "bin"}, {"CustomSeparated", "bin"}, {"TSKV", "bin"}, {"TSVRaw", "bin"},
	} {
		t.Run(c.format, func(t *testing.T) {
			columns := cols("a", "Int64", "b", "String")
			cfg := Config{Dir: write(t, map[string]string{"a." + c.ext: made(t, "x", c.format, sel, "none", nil), "empty." + c.ext: ""}), Paths: []string{"*." + c.ext}}
			if c.ext == "bin" {
				cfg.Format = c.format
			}
			if c.format == "MsgPack" || c.format == "TSVRaw" || c.format == "Values" || c.format == "CustomSeparated" {
				cfg.Columns = columns // they do not name their columns
			} else {
				s := mustNew(t, cfg)
				own, err := s.Columns(t.Context(), eng)
				if err != nil || len(own) != 2 || own[0].Name != "a" || own[1].Name != "b" {
					t.Fatalf("columns %v: %v", own, err)
				}
			}
			s := mustNew(t, cfg)
			rows, chunks, err := load(t, s, columns)
			if err != nil || len(chunks) != 1 || !slices.Equal(rows, []string{`[0, "0"]`, `[1, "1"]`, `[2, "2"]`}) {
				t.Fatalf("%d chunks, rows %q: %v", len(chunks), rows, err)
			}
		})
	}
}

func TestParquet(t *testing.T) {
	sel := `SELECT number AS a, toString(number) AS b, [number, 1] AS c, if(number % 3 = 0, NULL, number) AS d,
		CAST((number, 'x'), 'Tuple(p Int64, q String)') AS e, toDecimal64(number, 2) AS f, map('k', number) AS g, toDateTime64(number, 3, 'UTC') AS h,
		toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0') AS i, toLowCardinality(toString(number % 7)) AS j FROM numbers(10000)`
	for _, encoder := range []string{"0", "1"} {
		data := made(t, "x.parquet", "Parquet", sel, "none", map[string]string{
			"output_format_parquet_row_group_size": "700", "max_block_size": "350", "output_format_parquet_use_custom_encoder": encoder,
			"output_format_parquet_write_page_index": "1", "output_format_parquet_write_bloom_filter": "1", "output_format_parquet_parallel_encoding": "0",
		})
		dir := write(t, map[string]string{"a.parquet": data})
		for _, chunk := range []int64{1, 60_000, 1 << 30} {
			s := mustNew(t, Config{Paths: []string{"a.parquet"}, Dir: dir, ChunkBytes: chunk})
			columns, err := s.Columns(t.Context(), eng)
			if err != nil || len(columns) != 10 {
				t.Fatalf("columns %v: %v", columns, err)
			}
			rows, chunks, err := load(t, s, columns)
			if err != nil {
				t.Fatal(err)
			}
			whole, err := text("SELECT * FROM file("+literal(filepath.Join(dir, "a.parquet"))+", Parquet) FORMAT JSONCompactEachRow", map[string]string{"max_threads": "1", "input_format_parquet_preserve_order": "1"})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(rows, split(whole)) {
				t.Errorf("chunks of %d bytes: %d rows are not the %d of the whole", chunk, len(rows), len(split(whole)))
			}
			if n := len(chunks); chunk == 1 && n < 10 || chunk == 60_000 && (n < 2 || n > 14) || chunk == 1<<30 && n != 1 {
				t.Errorf("chunks of %d bytes: %d of them", chunk, n)
			}
			for i, p := range chunks {
				if tail, err := plan(s, p.Cursor, columns); err != nil || !slices.EqualFunc(tail, chunks[i+1:], samePlanned) {
					t.Fatalf("going on after chunk %d: %v", i, err)
				}
			}
			// Filters, which use indexes and Bloom filters, see the same rows.
			var sum int
			for _, p := range chunks {
				in, err := s.Open(t.Context(), p.Input, columns)
				if err != nil {
					t.Fatal(err)
				}
				out, err := text(fmt.Sprintf("SELECT count() FROM file(%s, %s, %s, 'none') WHERE a >= 5000 AND b != '7' AND j = '3'",
					literal(enginePath(in.File)), literal(in.Format), literal(backquoted(in.Structure, true))), in.Settings)
				if err != nil {
					t.Fatal(err)
				}
				var n int
				fmt.Sscan(out, &n)
				sum += n
				if err := in.Close(); err != nil {
					t.Error(err)
				}
			}
			if sum != 715 {
				t.Errorf("a filter sees %d rows", sum)
			}
		}
		// Declared columns may leave others out.
		few := cols("d", "Nullable(Int32)", "a", "String")
		rows, _, err := load(t, mustNew(t, Config{Paths: []string{"a.parquet"}, Dir: dir, ChunkBytes: 1, Columns: few}), few)
		if err != nil || len(rows) != 10000 || rows[1] != `[1, "1"]` {
			t.Errorf("%d rows: %v", len(rows), err)
		}
	}
}
