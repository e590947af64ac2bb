package transform_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/testkit"
	"drayage/pkg/transform"
)

// eng is the real engine that all tests of the package share, process its child.
var (
	eng     *engine.Client
	process *engine.Process
)

func TestMain(m *testing.M) {
	testkit.Engine()
	p, err := engine.Start(context.Background(), engine.Config{Name: "transform-test"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	eng, process = p.Client(), p
	code := m.Run()
	if _, err := p.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// base are the settings that the files source sends.
var base = testkit.FileSettings()

// bytesOf writes data to a file.
func bytesOf(t testing.TB, format, data string, cols []job.Column, more map[string]string) transform.Bytes {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := maps.Clone(base)
	maps.Copy(settings, more)
	b := transform.Bytes{Path: path, Format: format, Structure: cols, Columns: cols, Settings: settings, Judged: true}
	if format == "pattern" {
		b.Format, b.Pattern = "LineAsString", settings["format_regexp"]
	}
	return b
}

// read reads data strictly, as a worker does, and returns the rows as TSV.
func read(t testing.TB, format, data string, cols []job.Column, more map[string]string) (string, error) {
	t.Helper()
	b := bytesOf(t, format, data, cols, more)
	settings := b.StrictSettings()
	maps.Copy(settings, transform.OneBlock())
	return query(transform.Select("SELECT * FROM chunk", transform.Strict(b), transform.Output{Columns: cols, From: cols})+" FORMAT TSV", settings)
}

// judgement is the answer of transform.Judge.
type judgement struct {
	N     uint64  `json:"n"`
	Bad   uint64  `json:"bad"`
	Found [][]any `json:"found"`
}

func judge(t testing.TB, format, data string, cols []job.Column, more map[string]string) (judgement, error) {
	t.Helper()
	b := bytesOf(t, format, data, cols, more)
	settings := b.StrictSettings()
	maps.Copy(settings, transform.OneBlock())
	settings["output_format_json_named_tuples_as_objects"] = "0"
	var rows []judgement
	err := eng.Rows(t.Context(), engine.Statement{SQL: transform.Judge(b, 1000), Settings: settings}, &rows)
	if err != nil {
		return judgement{}, err
	}
	return rows[0], nil
}

func query(sql string, settings map[string]string) (string, error) {
	out, err := eng.Query(context.Background(), engine.Statement{SQL: sql, Settings: settings})
	if err != nil {
		return "", err
	}
	defer out.Close()
	text, err := io.ReadAll(out)
	return strings.TrimSuffix(string(text), "\n"), err
}
