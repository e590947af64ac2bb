package files

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"drayage/pkg/job"
)

// deframe takes frames apart.
func deframe(t fataler, data []byte) (records []string) {
	t.Helper()
	for len(data) > 0 {
		size, n := binary.Uvarint(data)
		if n <= 0 || size > uint64(len(data)-n) {
			t.Fatalf("no frame: %q", data[:min(len(data), 20)])
		}
		records = append(records, string(data[n:n+int(size)]))
		data = data[n+int(size):]
	}
	return records
}

// together puts lines together to records, slowly.
func together(text string, begin *regexp.Regexp) (records []string) {
	for line := range strings.Lines(text) {
		if len(records) == 0 || begin.MatchString(strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")) {
			records = append(records, "")
		}
		records[len(records)-1] += line
	}
	return records
}

// TestMultilineProperty: whatever the size of the chunks, also when they are
// split, they give the records of the file, each once.
func TestMultilineProperty(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		data := pieces(t, 40, "\n", "\r\n", "2026 a", "2026 b\n", " at x\n", "\tat 2026\r\n", "é", strings.Repeat("long ", 20), "2026 c\r\n", "\x00")
		begin := rapid.SampledFrom([]string{`^2026`, `^\S`, `2026`}).Draw(t, "begin")
		bom := rapid.SampledFrom([]string{"", "", utf8BOM}).Draw(t, "bom")
		path := filepath.Join(dir, "f")
		put(t, path, bom+data)
		s := mustNew(t, Config{
			Paths: []string{path}, Format: "LineAsString", Multiline: &Multiline{Begin: begin},
			ChunkBytes: int64(rapid.SampledFrom([]int{1, 2, 7, 30, 200, 1 << 20}).Draw(t, "chunk")),
		})
		columns := cols("line", "String")
		chunks, err := plan(s, nil, columns)
		if err != nil {
			t.Fatalf("%v", err)
		}
		read := func(parts []job.Part) (records []string) {
			for _, p := range parts {
				in, err := s.Open(t.Context(), p.Input, columns)
				if err != nil {
					t.Fatalf("%v", err)
				}
				b, err := io.ReadAll(iotest.OneByteReader(in.Reader))
				if err != nil || !in.Framed || in.Close() != nil {
					t.Fatalf("framed %v: %v", in.Framed, err)
				}
				records = append(records, deframe(t, b)...)
			}
			return records
		}
		want := together(data, regexp.MustCompile(begin))
		parts := partsOf(chunks)
		if got := read(parts); !slices.Equal(got, want) {
			t.Fatalf("records %q, not %q", got, want)
		}
		var split []job.Part
		for _, p := range parts {
			split = append(split, leaves(t, s, p, 2)...)
		}
		if got := read(split); !slices.Equal(got, want) {
			t.Fatalf("split, the records are %q, not %q", got, want)
		}
	})
}

// FuzzFramer: frames are the records, however the bytes come.
func FuzzFramer(f *testing.F) {
	for _, s := range []string{"2026 a\n at b\n2026 c\n", " at b\n2026\n", "2026\r\n\r\n2026", "\n\n", "2026"} {
		f.Add(s, false)
	}
	begin := regexp.MustCompile(`^2026`)
	f.Fuzz(func(t *testing.T, s string, slow bool) {
		var from io.Reader = strings.NewReader(s)
		if slow {
			from = iotest.DataErrReader(iotest.OneByteReader(from))
		}
		b, err := io.ReadAll(&framer{from: from, begin: begin, max: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if got := deframe(t, b); !slices.Equal(got, together(s, begin)) {
			t.Errorf("records %q of %q", got, s)
		}
	})
}

// TestMultilineRows: the engine reads the records with their newlines.
func TestMultilineRows(t *testing.T) {
	log := "lost\n2026-01-01 E boom\r\n\tat a\r\n\r\n2026-01-02 W " + strings.Repeat("x", 300) + "\n2026-01-03 I last"
	long := `"` + strings.Repeat("x", 300) + `"`
	for _, c := range []struct {
		name string
		cfg  Config
		rows []string
	}{
		{"lines", Config{Format: "LineAsString"}, []string{`["lost"]`, `["2026-01-01 E boom\r\n\tat a\r\n"]`, `["2026-01-02 W ` + long[1:] + `]`, `["2026-01-03 I last"]`}},
		{"regexp", Config{Format: "Regexp", Regexp: `(?P<day>[-\d]+) (?P<level>\w) (?P<text>[^\r\n]*)(?P<trace>(?s:.*))|lost`, Columns: cols("day", "Date")},
			[]string{`["", "", "", ""]`, `["2026-01-01", "E", "boom", "\r\n\tat a\r\n"]`, `["2026-01-02", "W", ` + long + `, ""]`, `["2026-01-03", "I", "last", ""]`}},
		{"regexp without names", Config{Format: "Regexp", Regexp: `(?s)(.)(.*)`}, []string{`["l", "ost"]`, `["2", "026-01-01 E boom\r\n\tat a\r\n"]`, `["2", "026-01-02 W ` + long[1:] + `]`, `["2", "026-01-03 I last"]`}},
	} {
		for _, file := range []string{"a.log", "a.log.gz"} {
			for _, size := range []int64{1, 30, 1 << 20} {
				t.Run(fmt.Sprint(c.name, file, size), func(t *testing.T) {
					t.Parallel()
					data := log
					if file == "a.log.gz" {
						data = gz(log)
					}
					cfg := c.cfg
					cfg.Paths, cfg.Dir, cfg.ChunkBytes, cfg.Multiline = []string{file}, write(t, map[string]string{file: data}), size, &Multiline{Begin: `^\d{4}`}
					s := mustNew(t, cfg)
					columns, err := s.Columns(t.Context(), eng)
					if err != nil {
						t.Fatal(err)
					}
					if c.name == "regexp" {
						// Here the engine converts, and a worker refuses the empty day.
						columns[0].Type = "String"
					}
					rows, _, err := load(t, s, columns)
					if err != nil || !slices.Equal(rows, c.rows) {
						t.Errorf("rows %q, not %q: %v", rows, c.rows, err)
					}
				})
			}
		}
	}
}

// TestMultilineErrors: a record that is too long fails its chunk, and is named.
func TestMultilineErrors(t *testing.T) {
	long := "2026 a\n" + strings.Repeat(" at b\n", 100_000) + "2026 c\n"
	read := func(cfg Config, name, data string) error {
		cfg.Paths, cfg.Dir, cfg.Format = []string{name}, write(t, map[string]string{name: data}), "LineAsString"
		_, _, err := load(t, mustNew(t, cfg), cols("line", "String"))
		return err
	}
	for _, c := range []struct {
		name    string
		cfg     Config
		file    string
		data    string
		problem string
	}{
		{"right", Config{Multiline: &Multiline{Begin: "^2026"}}, "a.log", long, ""},
		{"just right", Config{Multiline: &Multiline{Begin: "^2026", Max: 7}}, "a.log", "2026 a\n2026 b\n", ""},
		{"by a byte", Config{Multiline: &Multiline{Begin: "^2026", Max: 6}}, "a.log", "2026\n2026 b\n", "at byte 5: a record is longer than 6 bytes"},
		{"too long", Config{Multiline: &Multiline{Begin: "^2026", Max: 1 << 10}, ChunkBytes: 1}, "a.log", "2026\n" + long, "a.log: at byte 5: a record is longer than 1024 bytes: does multiline.begin match"},
		{"too long, compressed", Config{Multiline: &Multiline{Begin: "^2026", Max: 1 << 10}}, "a.log.gz", gz("2026\n" + long), "a.log.gz, decompressed,: at byte 5"},
		{"a compression of the engine's", Config{Multiline: &Multiline{Begin: "^2026"}}, "a.log.xz", "\xfd7zXZ\x00", "can not be put together"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := read(c.cfg, c.file, c.data)
			if c.problem == "" && err != nil || c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem) || job.ClassOf(err) != job.Permanent) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestFrameOfRejects: records in quarantine are framed as they were in the file.
func TestFrameOfRejects(t *testing.T) {
	s := mustNew(t, Config{Paths: []string{"x"}, Format: "LineAsString", Multiline: &Multiline{Begin: "^2026"}})
	b, err := io.ReadAll(s.Frame(strings.NewReader("lost\n2026 a\n at b\n2026 c\n"), "rejects"))
	if want := []string{"lost\n", "2026 a\n at b\n", "2026 c\n"}; err != nil || !slices.Equal(deframe(t, b), want) {
		t.Errorf("%q, %v", b, err)
	}
}

func BenchmarkFramer(b *testing.B) {
	data := bytes.Repeat([]byte("2026-01-01 10:00:00 ERROR something\n\tat com.example.Something.method(Something.java:123)\n\tat com.example.Other.run(Other.java:45)\n"), 100_000)
	begin := regexp.MustCompile(`^\d{4}-\d\d-\d\d `)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := io.Copy(io.Discard, &framer{from: bytes.NewReader(data), begin: begin, max: 1 << 20}); err != nil {
			b.Fatal(err)
		}
	}
}
