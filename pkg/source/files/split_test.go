package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// leaves splits a chunk until nothing is left to split.
func leaves(t fataler, s *Source, chunk job.Part, floor int64) []job.Part {
	t.Helper()
	parts, err := s.split(context.Background(), chunk.Input, floor)
	if errors.Is(err, source.ErrWhole) {
		if job.ClassOf(err) != job.Permanent {
			t.Fatalf("class %v of %v", job.ClassOf(err), err)
		}
		return []job.Part{chunk}
	}
	if err != nil {
		t.Fatalf("splitting %s: %v", chunk.Input, err)
	}
	again, err := s.split(context.Background(), chunk.Input, floor)
	if err != nil || !slices.EqualFunc(parts, again, samePart) {
		t.Fatalf("%s is split in two ways: %v, %v: %v", chunk.Input, parts, again, err)
	}
	if len(parts) < 2 {
		t.Fatalf("%s is split into %d", chunk.Input, len(parts))
	}
	var all []job.Part
	for _, p := range parts {
		if p.Bytes <= 0 || p.Bytes >= chunk.Bytes {
			t.Fatalf("a part of %d bytes of a chunk of %d", p.Bytes, chunk.Bytes)
		}
		all = append(all, leaves(t, s, p, floor)...)
	}
	return all
}

func samePart(a, b job.Part) bool { return string(a.Input) == string(b.Input) && a.Bytes == b.Bytes }

func partsOf(chunks []source.Planned) []job.Part {
	var all []job.Part
	for _, c := range chunks {
		all = append(all, job.Part{Input: c.Input, Bytes: c.Bytes})
	}
	return all
}

// TestSplitProperty: a chunk that is split as far as it goes gives the chunks
// that planning gives when each is to be one record. That those have no gap and
// no overlap, and give the engine the rows of the whole, TestHostileFiles says.
func TestSplitProperty(t *testing.T) {
	for name, draw := range hostileFamilies() {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cut := 0
			rapid.Check(t, func(t *rapid.T) {
				c := draw(t)
				path := filepath.Join(dir, "f")
				put(t, path, c.data)
				c.cfg.Paths = []string{path}
				if c.cfg.Format == "CSV" || c.cfg.Format == "TSV" {
					c.cfg.Header = new(bool)
				}
				one := c.cfg
				one.ChunkBytes = 1
				records, err := plan(mustNew(t, one), nil, c.cfg.Columns)
				if err != nil || len(records) == 0 {
					return
				}
				c.cfg.ChunkBytes = int64(rapid.SampledFrom([]int{30, 200, 1 << 30}).Draw(t, "chunk"))
				s := mustNew(t, c.cfg)
				chunks, err := plan(s, nil, c.cfg.Columns)
				if err != nil {
					t.Fatalf("%v", err)
				}
				if slices.ContainsFunc(slices.Concat(records, chunks), func(c source.Planned) bool {
					p, err := parsePiece(c.Input)
					return err != nil || p.Doubt != ""
				}) {
					return // it has no borders to be cut at
				}
				var all []job.Part
				for _, chunk := range partsOf(chunks) {
					all = append(all, leaves(t, s, chunk, 1)...)
				}
				if !slices.EqualFunc(all, partsOf(records), samePart) {
					t.Fatalf("%q: the parts are\n%v\nthe records\n%v", c.data, all, partsOf(records))
				}
				if len(all) > len(chunks) {
					cut++
				}
			})
			if cut < 10 {
				t.Errorf("only %d files were cut: this tests little", cut)
			}
		})
	}
}

// TestSplitRows: the parts give the rows of the chunk, headers, brackets and
// all, down to the floor and not below.
func TestSplitRows(t *testing.T) {
	var csvData, jsonData, compact strings.Builder
	csvData.WriteString(utf8BOM + "skipped\n\"the name\",id\n")
	jsonData.WriteString("[\n")
	compact.WriteString("[\"the name\", \"id\"]\n")
	for i := range 20_000 {
		fmt.Fprintf(&csvData, "\"name\n%d, \"\"so\"\" called\",%d\r\n", i, i)
		fmt.Fprintf(&jsonData, "  {\"id\": %d, \"the name\": \"} %d \\\" [\"}%s\n", i, i, map[bool]string{true: "\n]", false: ","}[i == 19_999])
		fmt.Fprintf(&compact, "[\"] %d\", %d],\n", i, i)
	}
	declared := cols("id", "Int64", "the name", "String")
	parquetData := parquetOf(t, 1000, 10)
	for _, c := range []struct {
		file, data string
		cfg        Config
		rows       int
		most       int64 // the bytes of the largest part
	}{
		{"a.csv", csvData.String(), Config{SkipLines: 1, Header: yes()}, 20_000, MinSplit},
		{"declared.csv", csvData.String(), Config{SkipLines: 1, Columns: declared}, 20_000, MinSplit},
		{"a.json", jsonData.String(), Config{}, 20_000, MinSplit},
		{"a.txt", compact.String(), Config{Format: "JSONCompactEachRowWithNames", Columns: declared}, 20_000, MinSplit},
		{"a.log", strings.Repeat("x\n", 50_000) + strings.Repeat("y", 200_000) + "\n", Config{}, 50_001, 200_001},
		{"a.parquet", parquetData, Config{}, 1000, 10 * 40},
	} {
		t.Run(c.file, func(t *testing.T) {
			c.cfg.Paths, c.cfg.Dir = []string{c.file}, write(t, map[string]string{c.file: c.data})
			s := mustNew(t, c.cfg)
			columns, err := s.Columns(t.Context(), eng)
			if err != nil {
				t.Fatal(err)
			}
			want, chunks, err := load(t, s, columns)
			if err != nil || len(chunks) != 1 || len(want) != c.rows {
				t.Fatalf("%d chunks, %d rows: %v", len(chunks), len(want), err)
			}
			parts := leaves(t, s, partsOf(chunks)[0], MinSplit)
			if len(parts) < 4 {
				t.Errorf("%d parts", len(parts))
			}
			var got strings.Builder
			for _, p := range parts {
				rows, err := readChunk(t, s, source.Planned{Input: p.Input}, columns)
				if err != nil {
					t.Fatal(err)
				}
				got.WriteString(rows)
				if p.Bytes > c.most {
					t.Errorf("a part of %d bytes: %s", p.Bytes, p.Input)
				}
			}
			if !slices.Equal(split(got.String()), want) {
				t.Errorf("the %d rows of the parts are not the %d of the chunk", len(split(got.String())), len(want))
			}
		})
	}
}

func TestSplitErrors(t *testing.T) {
	columns := cols("a", "String")
	long := strings.Repeat("x\n", MinSplit)
	for _, c := range []struct {
		name, file, data string
		change           func(path string)
		is               error
	}{
		{"compressed", "a.csv.gz", gz(long), nil, source.ErrWhole},
		{"compressed, of the engine alone", "a.csv.xz", compressed(t, "xz", "n,id\n6,5\n"), nil, source.ErrWhole},
		{"whole format", "a.native", made(t, "x", "Native", "SELECT toString(number) AS a FROM numbers(9)", "none", nil), nil, source.ErrWhole},
		{"one row group", "a.parquet", parquetOf(t, 10, 100), nil, source.ErrWhole},
		{"one record", "a.csv", "\"" + long + "\"\n", nil, source.ErrWhole},
		{"below the floor", "a.csv", long[:MinSplit-2], nil, source.ErrWhole},
		{"changed", "a.csv", long, func(p string) { put(t, p, "x\n") }, source.ErrChanged},
		{"changed, Parquet", "a.parquet", parquetOf(t, 10, 1), func(p string) { put(t, p, "PAR1") }, source.ErrChanged},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := write(t, map[string]string{c.file: c.data})
			cfg := Config{Paths: []string{c.file}, Dir: dir, Columns: columns}
			if strings.Contains(c.file, "csv") {
				cfg.Header = no()
			}
			s := mustNew(t, cfg)
			chunks, err := plan(s, nil, columns)
			if err != nil || len(chunks) != 1 {
				t.Fatalf("%v: %v", chunks, err)
			}
			if c.change != nil {
				c.change(filepath.Join(dir, c.file))
			}
			parts, err := s.Split(t.Context(), chunks[0].Input, columns)
			if !errors.Is(err, c.is) || job.ClassOf(err) != job.Permanent || parts != nil || !strings.Contains(err.Error(), c.file) {
				t.Errorf("%v: %v", parts, err)
			}
		})
	}
	s := mustNew(t, Config{Paths: []string{"a.csv"}, Dir: t.TempDir()})
	for _, input := range []string{"{", `{"p":"a.csv","s":9,"t":1,"z":9}`} {
		if _, err := s.Split(t.Context(), json.RawMessage(input), columns); err == nil || job.ClassOf(err) != job.Permanent {
			t.Errorf("%s: %v", input, err)
		}
	}
}
