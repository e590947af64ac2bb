package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/source"
)

// querier counts with the real engine.
type querier struct{ *engine.Client }

func (q querier) CountRows(ctx context.Context, relation string, settings map[string]string) (uint64, error) {
	var rows []struct {
		N uint64 `json:"n"`
	}
	err := q.Rows(ctx, engine.Statement{SQL: "SELECT count() AS n FROM " + relation, Settings: settings}, &rows)
	if err != nil {
		return 0, err
	}
	return rows[0].N, nil
}

// TestCount: every chunk has as many records as the engine reads rows of it.
func TestCount(t *testing.T) {
	sel := "SELECT toInt64(number) AS a, toString(number) AS b FROM numbers(1000)"
	ab := cols("a", "Int64", "b", "String")
	type sample struct {
		name, data string
		cfg        Config
	}
	var all []sample
	for _, f := range []string{"CSV", "CSVWithNames", "CSVWithNamesAndTypes", "TSV", "TSVWithNames", "TSVRaw", "TSKV", "JSONEachRow", "JSONStringsEachRow", "JSONCompactEachRow", "JSONCompactEachRowWithNames", "JSONCompactStringsEachRow",
		"Parquet", "Arrow", "ArrowStream", "ORC", "Avro", "Native", "RowBinary", "RowBinaryWithNamesAndTypes", "BSONEachRow", "MsgPack", "JSON", "JSONCompact", "JSONColumns", "JSONCompactColumns", "JSONObjectEachRow", "CustomSeparated", "Values"} {
		settings := map[string]string{"output_format_parquet_row_group_size": "100", "max_block_size": "100"}
		cfg := Config{Format: f, Columns: ab}
		if f == "CSV" || f == "TSV" {
			cfg.Header = no()
		}
		all = append(all, sample{f, made(t, "x", f, sel, "none", settings), cfg}, sample{f + " in gzip", gz(made(t, "x", f, sel, "none", settings)), cfg})
		all[len(all)-1].cfg.Compression = "gzip"
	}
	var text strings.Builder
	text.WriteString("id,n\n")
	for i := range 9 {
		fmt.Fprintf(&text, "%d,\"x\n%d\"\n", i, i)
	}
	for _, c := range []string{"zstd", "lz4", "br", "deflate", "snappy-framed"} {
		all = append(all, sample{"csv in " + c, compressed(t, c, text.String()), Config{Format: "CSV", Compression: strings.TrimSuffix(c, "-framed"), Header: yes(), Columns: cols("n", "String", "id", "Int32")}})
	}
	all = append(all,
		sample{"csv in bz2", compressed(t, "bz2", "id,n\n1,2\n3,4\n"), Config{Format: "CSV", Compression: "bz2", Header: yes(), Columns: cols("n", "String", "id", "Int32")}},
		sample{"csv in xz", compressed(t, "xz", "id,n\n1,2\n3,4\n"), Config{Format: "CSV", Compression: "xz", Header: yes(), Columns: cols("n", "String", "id", "Int32")}},
		sample{"csv with blank lines", "1\n\n\n2\n\n", Config{Format: "CSV", Header: no(), Columns: cols("a", "String")}},
		sample{"json array", "[{\"line\":\"}\"},\n{\"line\":\"2\"} , {\"line\":\"3\"}]\n", Config{Format: "JSONEachRow", Columns: cols("line", "String")}},
		sample{"json as string", "[{\"line\":\"}\"},\n{\"line\":\"2\"} , {\"line\":\"3\"}]\n", Config{Format: "JSONAsString", Columns: cols("json", "String")}},
		sample{"lines", "a\n\nb\r\n\"c", Config{Format: "LineAsString", Columns: cols("line", "String")}},
		sample{"regexp", "1 a\n2 b\n", Config{Format: "Regexp", Regexp: `(\d) (.)`, Columns: ab}},
		sample{"raw", "a\nb", Config{Format: "RawBLOB", Columns: cols("a", "String")}},
	)
	dir := t.TempDir()
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			// Always the same path and time: nothing may be remembered.
			path := filepath.Join(dir, "f")
			put(t, path, c.data)
			if err := os.Chtimes(path, time.Time{}, time.Unix(1_000_000, 0)); err != nil {
				t.Fatal(err)
			}
			c.cfg.Paths, c.cfg.ChunkBytes = []string{path}, 3000
			s := mustNew(t, c.cfg)
			chunks, err := plan(s, nil, c.cfg.Columns)
			if err != nil || len(chunks) == 0 {
				t.Fatalf("%d chunks: %v", len(chunks), err)
			}
			total := uint64(0)
			for i, chunk := range chunks {
				n, err := s.Count(t.Context(), querier{eng}, chunk.Input, c.cfg.Columns)
				if err != nil {
					t.Fatal(err)
				}
				total += n
				if i > 2 && i < len(chunks)-1 {
					continue // reading them all takes long
				}
				rows, err := readChunk(t, s, chunk, c.cfg.Columns)
				if err != nil {
					t.Fatal(err)
				}
				if n != uint64(len(split(rows))) || n == 0 {
					t.Errorf("chunk %s has %d records, and %d are read", chunk.Input, n, len(split(rows)))
				}
			}
			if c.name == c.cfg.Format && total != 1000 {
				t.Errorf("%d records in all chunks", total)
			}
		})
	}
}

// TestCountErrors: what can not be counted, and what can though it can not be
// loaded.
func TestCountErrors(t *testing.T) {
	columns := cols("a", "Int32", "b", "Int32")
	for _, c := range []struct {
		name, file, data string
		change           func(path string) error
		want             uint64
		is               error // nil with want 0: any that is permanent
	}{
		{"values that do not parse", "a.csv", "x,y\n1,2\n", nil, 2, nil},
		{"gone", "a.csv", "1,2\n", os.Remove, 0, source.ErrGone},
		{"changed", "a.csv", "1,2\n", func(p string) error { return os.WriteFile(p, nil, 0o644) }, 0, source.ErrChanged},
		{"changed, Parquet", "a.parquet", made(t, "x", "Parquet", "SELECT toInt32(1) AS a, a AS b", "none", nil), func(p string) error { return os.Truncate(p, 9) }, 0, source.ErrChanged},
		{"cut off, decompressed by the engine", "a.csv.gz", gz(strings.Repeat("1,2\n", 99))[:30], nil, 0, nil},
		{"cut off, decompressed here", "a.csv.sz", compressed(t, "snappy-framed", strings.Repeat("1,2\n", 99))[:30], nil, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := write(t, map[string]string{c.file: c.data})
			cfg := Config{Paths: []string{c.file}, Dir: dir, Columns: columns}
			if strings.Contains(c.file, "csv") {
				cfg.Header = no()
			}
			s := mustNew(t, cfg)
			var n uint64
			chunks, err := plan(s, nil, columns)
			if err == nil {
				if c.change != nil {
					if err := c.change(filepath.Join(dir, c.file)); err != nil {
						t.Fatal(err)
					}
				}
				n, err = s.Count(t.Context(), querier{eng}, chunks[0].Input, columns)
			}
			if n != c.want || (err == nil) != (c.want > 0) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%d records: %v", n, err)
			}
			if err != nil && (job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), c.file)) {
				t.Errorf("class %v: %v", job.ClassOf(err), err)
			}
		})
	}
}

// broken is an engine that fails, or that does not read what it is given.
type broken struct{ err error }

func (b broken) CountRows(context.Context, string, map[string]string) (uint64, error) {
	return 7, b.err
}

// TestCountPipe: an engine that leaves the pipe alone, and a context that ends,
// leave no goroutine and no file behind.
func TestCountPipe(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	columns := cols("a", "String")
	s := mustNew(t, Config{Paths: []string{"a.csv"}, Dir: write(t, map[string]string{"a.csv": strings.Repeat("x\n", 1<<20)}), Columns: columns, Header: no()})
	chunks, err := plan(s, nil, columns)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Count(t.Context(), broken{io.ErrNoProgress}, chunks[0].Input, columns); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("an engine that fails: %v", err)
	}
	if n, err := s.Count(t.Context(), broken{}, chunks[0].Input, columns); err == nil || n != 0 {
		t.Errorf("an engine that reads nothing: %d, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Count(ctx, querier{eng}, chunks[0].Input, columns); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
