package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/sourcetest"
	"drayage/pkg/testkit"
)

// eng is the real engine that all tests of the package share.
var eng *engine.Client

func TestMain(m *testing.M) {
	testkit.WithEngine(m, func(c *engine.Client) { eng = c })
}

// fataler is what a test and a rapid run have in common.
type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// write writes files into a new directory, and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		put(t, filepath.Join(dir, name), data)
	}
	return dir
}

func put(t fataler, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatalf("%v", err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatalf("%v", err)
	}
}

func mustNew(t fataler, cfg Config) *Source {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return s
}

// plan collects the chunks after cursor.
func plan(s *Source, cursor json.RawMessage, columns []job.Column) ([]source.Planned, error) {
	var all []source.Planned
	for p, err := range s.Plan(context.Background(), cursor, columns) {
		if err != nil {
			return all, err
		}
		all = append(all, p)
	}
	return all, nil
}

// text runs a query and returns its output.
func text(sql string, settings map[string]string) (string, error) {
	out, err := eng.Query(context.Background(), engine.Statement{SQL: sql, Settings: settings})
	if err != nil {
		return "", err
	}
	defer out.Close()
	b, err := io.ReadAll(out)
	return string(b), err
}

func backquoted(columns []job.Column, types bool) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(c.Name) + "`"
		if types {
			parts[i] += " " + c.Type
		}
	}
	return strings.Join(parts, ", ")
}

// readChunk opens a chunk and reads its rows with the engine, as a worker does.
func readChunk(t fataler, s *Source, p source.Planned, columns []job.Column) (string, error) {
	t.Helper()
	in, err := s.Open(context.Background(), p.Input, columns)
	if err != nil {
		return "", err
	}
	rows, err := readInput(t, in, columns)
	return rows, errors.Join(err, in.Check(), in.Close())
}

func readInput(t fataler, in *source.Input, columns []job.Column) (string, error) {
	t.Helper()
	f := in.File
	if in.Reader != nil {
		if f != nil {
			t.Fatalf("both a reader and a file")
		}
		var err error
		if f, err = scratch("test", 0); err != nil {
			return "", err
		}
		defer f.Close()
		if _, err := io.Copy(f, in.Reader); err != nil {
			return "", err
		}
	}
	sql := fmt.Sprintf("SELECT %s FROM %s FORMAT JSONCompactEachRow", backquoted(columns, false), sourcetest.Relation(enginePath(f), in))
	settings := maps.Clone(in.Settings)
	settings["max_threads"] = "1"
	return text(sql, settings)
}

// load plans and reads everything.
func load(t fataler, s *Source, columns []job.Column) (rows []string, chunks []source.Planned, err error) {
	t.Helper()
	chunks, err = plan(s, nil, columns)
	if err != nil {
		return nil, chunks, err
	}
	var all strings.Builder
	for _, c := range chunks {
		got, err := readChunk(t, s, c, columns)
		if err != nil {
			return nil, chunks, err
		}
		all.WriteString(got)
	}
	return split(all.String()), chunks, nil
}

func split(rows string) []string {
	if rows == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(rows, "\n"), "\n")
}

func cols(pairs ...string) []job.Column {
	var all []job.Column
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, job.Column{Name: pairs[i], Type: pairs[i+1]})
	}
	return all
}

func samePlanned(a, b source.Planned) bool {
	return string(a.Input) == string(b.Input) && string(a.Cursor) == string(b.Cursor) && a.Bytes == b.Bytes && a.Inputs == b.Inputs
}
