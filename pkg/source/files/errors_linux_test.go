package files

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files/borders"
)

// TestProvokedClasses: the same of real failures.
func TestProvokedClasses(t *testing.T) {
	columns := cols("a", "String")
	planned := func(t *testing.T, name, data string) (*Source, source.Planned, string) {
		t.Helper()
		dir := write(t, map[string]string{"d/" + name: data})
		s := mustNew(t, Config{Paths: []string{"d/" + name}, Dir: dir, Columns: columns, Header: no()})
		chunks, err := plan(s, nil, columns)
		if err != nil || len(chunks) != 1 {
			t.Fatalf("%v, %v", chunks, err)
		}
		return s, chunks[0], filepath.Join(dir, "d", name)
	}
	t.Run("links in a circle", func(t *testing.T) {
		s, chunk, path := planned(t, "a.csv", "x\n")
		if err := errors.Join(os.Remove(path), os.Symlink("a.csv", path)); err != nil {
			t.Fatal(err)
		}
		_, err := s.Open(t.Context(), chunk.Input, columns)
		if job.ClassOf(err) != job.Permanent || !errors.Is(err, syscall.ELOOP) || !strings.Contains(err.Error(), "d/a.csv") {
			t.Error(err)
		}
	})
	t.Run("no file handle left", func(t *testing.T) {
		s, chunk, _ := planned(t, "a.csv", "x\n")
		var old syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
			t.Fatal(err)
		}
		none := old
		none.Cur = 1
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
			t.Fatal(err)
		}
		_, err := s.Open(t.Context(), chunk.Input, columns)
		if e := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); e != nil {
			t.Fatal(e)
		}
		if job.ClassOf(err) != job.Retry || !errors.Is(err, syscall.EMFILE) || !strings.Contains(err.Error(), "d/a.csv") {
			t.Error(err)
		}
	})
	// A process has no memory at address 0: reading it there is EIO.
	memory := func(t *testing.T, name string) *file {
		t.Helper()
		h, err := os.Open("/proc/self/mem")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		f := &file{blob: &localBlob{File: h}, path: "d/a.csv", version: version{Size: 100}}
		f.comp, _ = compressionNamed(name)
		return f
	}
	for _, compression := range []string{"none", "gzip", "zstd", "bz2", "lz4", "br", "deflate"} {
		t.Run("disk fails under "+compression, func(t *testing.T) {
			r, err := memory(t, compression).plain()
			if err == nil {
				_, err = io.ReadAll(r)
				r.Close()
			}
			if job.ClassOf(err) != job.Retry || !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "d/a.csv") {
				t.Error(err)
			}
		})
	}
	t.Run("disk fails under Parquet", func(t *testing.T) {
		if _, _, err := memory(t, none).footer(); job.ClassOf(err) != job.Retry || !errors.Is(err, syscall.EIO) {
			t.Error(err)
		}
	})
	t.Run("disk fails in a range", func(t *testing.T) {
		_, err := io.ReadAll(newSection(memory(t, none).local(), 0, 10))
		if job.ClassOf(err) != job.Retry || !errors.Is(err, syscall.EIO) {
			t.Error(err)
		}
	})
	t.Run("disk fails while it is cut", func(t *testing.T) {
		f := memory(t, none)
		s := mustNew(t, Config{Paths: []string{"a.csv"}})
		f.format, _ = formatNamed("CSV")
		_, _, err := s.cutter(f.format, f, f.Size, 0).Next(t.Context(), borders.Position{}, 1)
		if err = f.cutError(err); job.ClassOf(err) != job.Retry || !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "d/a.csv") {
			t.Error(err)
		}
	})
	for name, data := range map[string]string{"a.csv.bz2": compressed(t, "bz2", "id,n\n1,2\n3,4\n"), "a.csv.sz": compressed(t, "snappy-framed", strings.Repeat("x\n", 99))} {
		t.Run("cut off "+name, func(t *testing.T) {
			dir := write(t, map[string]string{name: data[:len(data)-3]})
			s := mustNew(t, Config{Paths: []string{name}, Dir: dir, Columns: columns, Header: no()})
			_, _, err := load(t, s, columns)
			if job.ClassOf(err) != job.Permanent || errors.Is(err, source.ErrChanged) || !strings.Contains(err.Error(), name) {
				t.Error(err)
			}
		})
		t.Run("shorter while it is read "+name, func(t *testing.T) {
			s, chunk, path := planned(t, name, data)
			in, err := s.Open(t.Context(), chunk.Input, columns)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			if err := os.Truncate(path, 12); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(in.Reader); job.ClassOf(err) != job.Permanent || !errors.Is(err, source.ErrChanged) || !strings.Contains(err.Error(), name) {
				t.Error(err)
			}
		})
	}
}
