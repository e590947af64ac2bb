package files

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files/borders"
	"drayage/pkg/source/sourcetest"
)

// outcome runs the whole way: columns, plan, open, read.
func outcome(t *testing.T, cfg Config) error {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		return err
	}
	columns, err := s.Columns(t.Context(), eng)
	if err != nil {
		return err
	}
	_, chunks, err := load(t, s, columns)
	for _, c := range chunks {
		in, err := s.Open(t.Context(), c.Input, columns)
		if err != nil {
			return err
		}
		if err := in.Close(); err != nil {
			return err
		}
		if in.Doubt != "" {
			return job.Permanentf("%s: %s", source.Place(s, c.Input), in.Doubt)
		}
	}
	return err
}

func TestErrors(t *testing.T) {
	if os.Getuid() == 0 {
		t.Log("root reads everything: the case of an unreadable file is only made, not seen")
	}
	ab := cols("a", "String", "b", "Int32")
	parquetFile := parquetOf(t, 10, 5)
	for _, c := range []struct {
		name  string
		files map[string]string
		cfg   Config
		parts []string // of the error
	}{
		{"glob without a match", map[string]string{"a.txt": "x"}, Config{Paths: []string{"*.csv"}}, []string{`"*.csv"`, "matches no file"}},
		{"second glob without a match", map[string]string{"a.csv": "x,1\n"}, Config{Paths: []string{"a.csv", "b/*.csv"}}, []string{`"b/*.csv"`, "matches no file", "does not exist"}},
		{"missing file", nil, Config{Paths: []string{"a.csv"}}, []string{"a.csv", "does not exist"}},
		{"missing file, columns declared", nil, Config{Paths: []string{"a.csv"}, Columns: ab}, []string{"a.csv", "does not exist"}},
		{"directory", map[string]string{"d.csv/a.csv": "x"}, Config{Paths: []string{"d.csv"}}, []string{"d.csv", "is a directory", "d.csv/*.csv"}},
		{"device", nil, Config{Paths: []string{"/dev/null"}, Format: "CSV"}, []string{"/dev/null", "not a regular file"}},
		{"empty file", map[string]string{"a.csv": ""}, Config{Paths: []string{"*.csv"}}, []string{"*.csv", "is empty", "declare columns"}},
		{"only headers", map[string]string{"a.csv": "a,b\n"}, Config{Paths: []string{"*.csv"}, Header: yes()}, []string{"empty", "declare columns"}},
		{"file without a known extension", map[string]string{"a.csv": "a,b\n", "b.dat": "a"}, Config{Paths: []string{"*"}, Columns: ab}, []string{"b.dat", `".dat"`, "format: CSV"}},
		{"archive", map[string]string{"a.zip": "PK"}, Config{Paths: []string{"*"}}, []string{"a.zip", "unpack"}},
		{"header of other columns", map[string]string{"a.csv": "a,c,d\nx,1,2\n"}, Config{Paths: []string{"a.csv"}, Columns: ab}, []string{"a.csv", `unknown: "c", "d"`, `missing: "b"`}},
		{"header of wholly other columns", map[string]string{"a.csv": "x,y\nx,1\n"}, Config{Paths: []string{"a.csv"}, Columns: ab}, []string{"a.csv", `unknown: "x", "y"`, `missing: "a", "b"`, "header: false"}},
		{"header true, of other columns", map[string]string{"a.csv": "x,y\nx,1\n"}, Config{Paths: []string{"a.csv"}, Columns: ab, Header: yes()}, []string{`unknown: "x", "y"`, `missing: "a", "b"`}},
		{"header with a name twice", map[string]string{"a.csv": "a,b,a\nx,1,2\n"}, Config{Paths: []string{"a.csv"}, Columns: ab}, []string{`twice: "a"`}},
		{"header with a name twice, inferred", map[string]string{"a.csv": "a,b,a\nx,1,2\n"}, Config{Paths: []string{"a.csv"}, Header: yes()}, []string{"a.csv"}},
		{"second file with another header", map[string]string{"a.csv": "a,b\nx,1\n", "b.csv": "a,z\nx,1\n"}, Config{Paths: []string{"*.csv"}}, []string{"b.csv", `unknown: "z"`, `missing: "b"`}},
		{"second file without a header", map[string]string{"a.csv": "a,b\nx,1\n", "b.csv": "y,2\n"}, Config{Paths: []string{"*.csv"}, Columns: ab}, []string{"b.csv", `unknown: "y", "2"`}},
		{"second file with a header", map[string]string{"a.csv": "x,1\n", "b.csv": "a,b\ny,2\n"}, Config{Paths: []string{"*.csv"}, Columns: ab}, []string{"b.csv", "begins with a header"}},
		{"empty header", map[string]string{"a.csv": "\nx,1\n"}, Config{Paths: []string{"a.csv"}, Columns: ab, Header: yes()}, []string{"a.csv", "empty line"}},
		{"header of compressed file", map[string]string{"a.csv.gz": gz("a,c\nx,1\n")}, Config{Paths: []string{"a.csv.gz"}, Columns: ab}, []string{"a.csv.gz", `unknown: "c"`}},
		{"endless header", map[string]string{"a.csv": "a,\"" + strings.Repeat("b", MaxHead) + "\n"}, Config{Paths: []string{"a.csv"}, Columns: ab}, []string{"header", "does not end"}},
		{"open quote", map[string]string{"a.csv": "x,1\n\"y,2\n"}, Config{Paths: []string{"a.csv"}, Columns: ab, Header: no()}, []string{"a.csv", "byte 4", "never closed"}},
		{"json cut off", map[string]string{"a.json": "[{\"a\":1},\n{\"a\":"}, Config{Paths: []string{"a.json"}, Columns: cols("a", "Int32")}, []string{"a.json", "byte 10", "cut off"}},
		{"csv said to be json", map[string]string{"a.csv": "x,1\n"}, Config{Paths: []string{"a.csv"}, Columns: ab, Format: "JSONEachRow"}, []string{"a.csv", "byte 0", "'x'"}},
		{"second of three is no gzip", map[string]string{"a.csv.gz": gz("x,1\n"), "b.csv.gz": "x,1\n", "c.csv.gz": gz("x,1\n")}, Config{Paths: []string{"*.csv.gz"}, Columns: ab}, []string{"b.csv.gz", "not compressed with gzip"}},
		{"UTF-16", map[string]string{"a.csv": "\xff\xfea\x00,\x00"}, Config{Paths: []string{"a.csv"}, Columns: ab}, []string{"UTF-16", "iconv"}},
		{"not gzip", map[string]string{"a.csv.gz": "x,1\n"}, Config{Paths: []string{"a.csv.gz"}, Columns: ab}, []string{"a.csv.gz", "not compressed with gzip"}},
		{"gzip without saying so", map[string]string{"a.csv": gz("x,1\n")}, Config{Paths: []string{"a.csv"}, Columns: ab}, []string{"a.csv", "compression: gzip"}},
		{"gzip cut off", map[string]string{"a.csv.gz": gz(strings.Repeat("x,1\n", 9))[:20]}, Config{Paths: []string{"a.csv.gz"}, Columns: ab}, []string{"a.csv.gz", "gzip"}},
		{"not Parquet", map[string]string{"a.parquet": "x,1\n"}, Config{Paths: []string{"a.parquet"}}, []string{"a.parquet", "not a file of the format Parquet"}},
		{"Parquet cut off", map[string]string{"a.parquet": parquetFile[:len(parquetFile)-20]}, Config{Paths: []string{"a.parquet"}}, []string{"a.parquet"}},
		{"Parquet cut off, columns declared", map[string]string{"a.parquet": parquetFile[:len(parquetFile)-20]}, Config{Paths: []string{"a.parquet"}, Columns: ab}, []string{"a.parquet", "cut off"}},
		{"Parquet without a column", map[string]string{"a.parquet": parquetFile}, Config{Paths: []string{"a.parquet"}, Columns: ab}, []string{"a.parquet", `missing: "b"`}},
		{"Arrow that is none", map[string]string{"a.arrow": "x,1\n"}, Config{Paths: []string{"a.arrow"}}, []string{"a.arrow", "ARROW1"}},
		{"xz with a header that may be", map[string]string{"a.csv.xz": "\xfd7zXZ\x00"}, Config{Paths: []string{"a.csv.xz"}, Columns: ab}, []string{"a.csv.xz", "header: true"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Dir = write(t, c.files)
			err := outcome(t, c.cfg)
			if err == nil {
				t.Fatal("no error")
			}
			for _, p := range c.parts {
				if !strings.Contains(err.Error(), p) {
					t.Errorf("no %q in: %v", p, err)
				}
			}
			if job.ClassOf(err) != job.Permanent {
				t.Errorf("class %v of: %v", job.ClassOf(err), err)
			}
		})
	}
}

func TestUnreadableFile(t *testing.T) {
	dir := write(t, map[string]string{"a.csv": "x,1\n"})
	path := filepath.Join(dir, "a.csv")
	err := openError(path, &os.PathError{Op: "open", Path: path, Err: os.ErrPermission})
	if job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), "can not be read") || !errors.Is(err, os.ErrPermission) {
		t.Error(err)
	}
	if os.Getuid() == 0 {
		return // root reads it all the same
	}
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if err := outcome(t, Config{Paths: []string{path}}); err == nil || !strings.Contains(err.Error(), "can not be read") {
		t.Error(err)
	}
}

// TestChanges: a file that is no longer the one that was planned.
func TestChanges(t *testing.T) {
	columns := cols("a", "String", "b", "Int32")
	for _, c := range []struct {
		name   string
		change func(path string) error
		is     error
	}{
		{"unchanged", func(string) error { return nil }, nil},
		{"gone", os.Remove, source.ErrGone},
		{"longer", func(p string) error { return os.WriteFile(p, []byte("x,1\ny,2\nz,3\n"), 0o644) }, source.ErrChanged},
		{"shorter", func(p string) error { return os.Truncate(p, 3) }, source.ErrChanged},
		{"touched", func(p string) error { return os.Chtimes(p, time.Time{}, time.Unix(1, 1)) }, source.ErrChanged},
		{"a folder in its place", func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o755)) }, source.ErrChanged},
		{"a file in its folder's place", func(p string) error {
			dir := filepath.Dir(p)
			return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o644))
		}, source.ErrGone},
		{"of another format", func(p string) error { return os.WriteFile(p, []byte(gz("x,1\n")), 0o644) }, source.ErrChanged},
		{"replaced by its like", func(p string) error {
			info, err := os.Stat(p)
			if err != nil {
				return err
			}
			if err := os.WriteFile(p+".new", []byte("x,9\ny,9\n"), 0o644); err != nil {
				return err
			}
			return errors.Join(os.Chtimes(p+".new", time.Time{}, info.ModTime()), os.Rename(p+".new", p))
		}, source.ErrChanged},
	} {
		t.Run(c.name, func(t *testing.T) {
			open := func() (*Source, []source.Planned, string) {
				dir := write(t, map[string]string{"a.csv": "x,1\ny,2\n"})
				s := mustNew(t, Config{Paths: []string{"*.csv"}, Dir: dir, Columns: columns, ChunkBytes: 1})
				chunks, err := plan(s, nil, columns)
				if err != nil || len(chunks) != 2 {
					t.Fatalf("%v, %v", chunks, err)
				}
				return s, chunks, filepath.Join(dir, "a.csv")
			}
			// Changed while a chunk is read: Check tells.
			s, chunks, path := open()
			in, err := s.Open(t.Context(), chunks[0].Input, columns)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.change(path); err != nil {
				t.Fatal(err)
			}
			if err := in.Check(); !errors.Is(err, c.is) || err != nil && job.ClassOf(err) != job.Permanent {
				t.Errorf("Check: %v", err)
			}
			if err := in.Close(); err != nil {
				t.Error(err)
			}
			// Changed before a chunk is opened, and before planning goes on.
			if c.name == "replaced by its like" {
				return // size and time are all that a chunk knows
			}
			if _, err := s.Open(t.Context(), chunks[1].Input, columns); !errors.Is(err, c.is) || err != nil && job.ClassOf(err) != job.Permanent {
				t.Errorf("Open: %v", err)
			}
			if c.name == "a folder in its place" || c.name == "a file in its folder's place" || c.name == "of another format" {
				return // the walk ends before it comes to the file
			}
			if _, err := plan(s, chunks[0].Cursor, columns); !errors.Is(err, c.is) {
				t.Errorf("Plan: %v", err)
			}
		})
	}
}

// TestShorterWhileRead: the end of the file is not the end of a range.
func TestShorterWhileRead(t *testing.T) {
	dir := write(t, map[string]string{"a.csv": strings.Repeat("x,1\n", 1000)})
	columns := cols("a", "String", "b", "Int32")
	s := mustNew(t, Config{Paths: []string{"a.csv"}, Dir: dir, Columns: columns})
	chunks, err := plan(s, nil, columns)
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Open(t.Context(), chunks[0].Input, columns)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := os.Truncate(filepath.Join(dir, "a.csv"), 2000); err != nil {
		t.Fatal(err)
	}
	if _, err := readInput(t, in, columns); !errors.Is(err, source.ErrChanged) {
		t.Error(err)
	}
}

// TestClasses: what the operating system says of a path, and what it is for a
// chunk.
func TestClasses(t *testing.T) {
	for _, c := range []struct {
		err  error
		want job.Class
	}{
		{syscall.ENOENT, job.Permanent},
		{syscall.ENOTDIR, job.Permanent},
		{syscall.EACCES, job.Permanent},
		{syscall.EPERM, job.Permanent},
		{syscall.ELOOP, job.Permanent},
		{syscall.ENAMETOOLONG, job.Permanent},
		{syscall.EIO, job.Retry},
		{syscall.ESTALE, job.Retry},
		{syscall.ETIMEDOUT, job.Retry},
		{syscall.EMFILE, job.Retry},
		{syscall.ENFILE, job.Retry},
	} {
		err := openError("d/a.csv", &os.PathError{Op: "open", Path: "/d/a.csv", Err: c.err})
		if job.ClassOf(err) != c.want || !errors.Is(err, c.err) || !strings.Contains(err.Error(), "d/a.csv") {
			t.Errorf("%v: class %v, not %v", err, job.ClassOf(err), c.want)
		}
	}
}

func TestValidate(t *testing.T) {
	csv := []string{"a.csv"}
	for _, c := range []struct {
		name    string
		cfg     Config
		field   string // "" when it is right
		problem string
	}{
		{"right", Config{Paths: csv}, "", ""},
		{"right, by the glob's extension", Config{Paths: []string{"d/**/*.ndjson.gz"}}, "", ""},
		{"right, left to the files", Config{Paths: []string{"d/**", "d/*.csv.*"}}, "", ""},
		{"right, all fields", Config{Paths: csv, Format: "csv", Compression: "ZSTD", Header: yes(), Delimiter: "|", Quote: "none", SkipLines: 1, ChunkBytes: 1, Settings: map[string]string{"format_csv_null_representation": "-"}}, "", ""},
		{"no path", Config{}, "path", "missing"},
		{"empty path", Config{Paths: []string{""}, Format: "CSV"}, "path", "empty"},
		{"open bracket", Config{Paths: []string{"a[.csv"}}, "path", "not a glob"},
		{"numeric range", Config{Paths: []string{"a{1..3}.csv"}}, "path", "range of numbers"},
		{"no format", Config{Paths: []string{"a.dat"}}, "format", "extension"},
		{"unknown format", Config{Paths: csv, Format: "JSONEachRows"}, "format", "did you mean JSONEachRow"},
		{"unknown compression", Config{Paths: csv, Compression: "gzp"}, "compression", "did you mean gzip"},
		{"delimiter of two", Config{Paths: csv, Format: "CSV", Delimiter: "||"}, "delimiter", "one byte"},
		{"delimiter of tsv", Config{Paths: csv, Format: "TSV", Delimiter: "|"}, "delimiter", "does not apply"},
		{"quote of tsv", Config{Paths: csv, Format: "TSV", Quote: "'"}, "quote", "does not apply"},
		{"odd quote", Config{Paths: csv, Quote: "«"}, "quote", "can not be"},
		{"header of parquet", Config{Paths: csv, Format: "Parquet", Header: yes()}, "header", "does not apply"},
		{"header against the format", Config{Paths: csv, Format: "CSVWithNames", Header: no()}, "header", "has one"},
		{"lines to skip below zero", Config{Paths: csv, SkipLines: -1}, "skip_lines", "negative"},
		{"lines to skip in parquet", Config{Paths: csv, Format: "Parquet", SkipLines: 1}, "skip_lines", "does not apply"},
		{"regexp missing", Config{Paths: csv, Format: "Regexp"}, "regexp", "missing"},
		{"regexp broken", Config{Paths: csv, Format: "Regexp", Regexp: "("}, "regexp", "does not parse"},
		{"regexp for csv", Config{Paths: csv, Format: "CSV", Regexp: "."}, "regexp", "applies to"},
		{"regexp of one group", Config{Paths: csv, Format: "Regexp", Regexp: "(.)", Columns: cols("a", "String", "b", "String")}, "regexp", "1 groups for 2"},
		{"right, named groups", Config{Paths: csv, Format: "Regexp", Regexp: `(?P<a>.) (?<b>\C*)`, Columns: cols("b", "UInt8")}, "", ""},
		{"regexp without groups", Config{Paths: csv, Format: "Regexp", Regexp: "a"}, "regexp", "no groups"},
		{"some groups without names", Config{Paths: csv, Format: "Regexp", Regexp: `(?P<a>.)(.)`}, "regexp", "none for group 2"},
		{"a column that is no group", Config{Paths: csv, Format: "Regexp", Regexp: `(?P<a>.)`, Columns: cols("b", "UInt8")}, "columns", "b is no group"},
		{"regexp of a log", Config{Paths: csv, Format: "syslog_iso", Regexp: `(?P<a>.)`}, "regexp", "has one"},
		{"escapes of a log", Config{Paths: csv, Format: "syslog_iso", Settings: map[string]string{"format_regexp_escaping_rule": "JSON"}}, "settings.format_regexp_escaping_rule", "does not apply"},
		{"unknown log", Config{Paths: csv, Format: "access_log_combine"}, "format", "did you mean access_log_combined"},
		{"multiline without a format", Config{Paths: csv, Multiline: &Multiline{Begin: "a"}}, "multiline", "needs a format"},
		{"multiline of csv", Config{Paths: csv, Format: "CSV", Multiline: &Multiline{Begin: "a"}}, "multiline", "does not apply"},
		{"multiline of escapes", Config{Paths: csv, Format: "Regexp", Regexp: "(.)", Settings: map[string]string{"format_regexp_escaping_rule": "JSON"}, Multiline: &Multiline{Begin: "a"}}, "multiline", "escapes"},
		{"multiline without a begin", Config{Paths: csv, Format: "LineAsString", Multiline: &Multiline{}}, "multiline.begin", "missing"},
		{"multiline with a broken begin", Config{Paths: csv, Format: "LineAsString", Multiline: &Multiline{Begin: "("}}, "multiline.begin", "does not parse"},
		{"multiline too long", Config{Paths: csv, Format: "LineAsString", Multiline: &Multiline{Begin: "a", Max: 1 << 40}}, "multiline.max", "outside"},
		{"setting that moves borders", Config{Paths: csv, Settings: map[string]string{"input_format_csv_allow_cr_end_of_line": "1"}}, "settings.input_format_csv_allow_cr_end_of_line", "borders"},
		{"setting that drops rows", Config{Paths: csv, Settings: map[string]string{"input_format_allow_errors_num": "1"}}, "settings.input_format_allow_errors_num", "drop rows"},
		{"setting of something else", Config{Paths: csv, Settings: map[string]string{"max_threads": "1"}}, "settings.max_threads", "input formats"},
		{"negative chunk", Config{Paths: csv, ChunkBytes: -1}, "chunk", "negative"},
		{"column twice", Config{Paths: csv, Columns: cols("a", "String", "a", "String")}, "columns", "twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(c.cfg)
			sourcetest.WantMistake(t, err, c.field, c.problem)
		})
	}
	var all source.FieldErrors
	if _, err := New(Config{Delimiter: "||", SkipLines: -1, ChunkBytes: -1}); !errors.As(err, &all) || len(all) != 4 {
		t.Errorf("every mistake is to be told: %v", err)
	}
}

func TestBadDescriptions(t *testing.T) {
	s := mustNew(t, Config{Paths: []string{"a.csv"}, Dir: t.TempDir()})
	if _, err := s.Open(t.Context(), []byte("{"), nil); job.ClassOf(err) != job.Permanent {
		t.Error(err)
	}
	if _, err := plan(s, []byte("{"), nil); job.ClassOf(err) != job.Permanent {
		t.Error(err)
	}
	// A name may have 255 bytes, a path 4096.
	deep := strings.Repeat(strings.Repeat("d", 200)+"/", 16)
	dir := write(t, map[string]string{deep + "a.csv": "1\n"})
	_, err := plan(mustNew(t, Config{Paths: []string{"**/*.csv"}, Dir: dir, Columns: cols("a", "String")}), nil, cols("a", "String"))
	if err == nil || !strings.Contains(err.Error(), "too long") {
		t.Error(err)
	}
	var cut *borders.Error
	if errors.As(err, &cut) {
		t.Error("not a matter of borders")
	}
}
