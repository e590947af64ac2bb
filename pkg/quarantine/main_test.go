package quarantine_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/quarantine"
	"drayage/pkg/source"
	"drayage/pkg/testkit"
	"drayage/pkg/transform"
)

// eng is the real engine that all tests of the package share.
var eng *engine.Client

func TestMain(m *testing.M) {
	testkit.Engine()
	p, err := engine.Start(context.Background(), engine.Config{Name: "quarantine-test"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	eng = p.Client()
	code := m.Run()
	if p.Restarts() > 0 {
		fmt.Fprintln(os.Stderr, "the engine crashed")
		code = max(code, 1)
	}
	if _, err := p.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// chunk is a chunk of a test.
type chunk struct {
	format   string
	columns  []job.Column
	data     string
	sql      string // SELECT * FROM chunk
	settings map[string]string
	limit    pipeline.RowLimit
	offset   int64
	pattern  string
	framed   bool
}

// all lets every row be rejected.
var all = pipeline.RowLimit{Percent: 100, Relative: true}

// base are the settings that the files source sends.
var base = testkit.FileSettings()

func (c chunk) input(t testing.TB) *source.Input {
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, []byte(c.data), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	settings := maps.Clone(base)
	maps.Copy(settings, c.settings)
	return &source.Input{File: f, Format: c.format, Compression: "none", Structure: c.columns, Settings: settings, Pattern: c.pattern, Framed: c.framed}
}

// load computes a chunk as a worker does: once, and without its bad rows where
// that fails. It returns the rows as JSON and the rejects.
func (c chunk) load(t testing.TB) (rows []string, sep *quarantine.Separated, err error) {
	t.Helper()
	in := c.input(t)
	rows, err = c.compute(in, true)
	if err == nil || !quarantine.Suspicious(err) {
		return rows, nil, err
	}
	sep, err = quarantine.Separate(t.Context(), c.request(t, in, err))
	if err != nil {
		return nil, nil, err
	}
	defer sep.Close()
	rows, err = c.compute(sep.Input, false)
	return rows, sep, err
}

func (c chunk) request(t testing.TB, in *source.Input, cause error) quarantine.Request {
	limit := c.limit
	if limit == (pipeline.RowLimit{}) {
		limit = all
	}
	return quarantine.Request{
		Engine: eng, Database: "default", Input: in, Columns: c.columns, Selects: []quarantine.Select{{SQL: c.query(), Output: c.output(t)}},
		Limit: limit, Offset: c.offset, Dir: t.TempDir(), Cause: cause,
	}
}

func (c chunk) query() string {
	if c.sql == "" {
		return "SELECT * FROM chunk"
	}
	return c.sql
}

func (c chunk) output(t testing.TB) transform.Output {
	if c.sql == "" {
		return transform.Output{Columns: c.columns, From: c.columns}
	}
	cols, err := eng.Describe(context.Background(), transform.Relation(c.query(), transform.Nothing(c.columns)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return transform.Output{Columns: cols, From: cols}
}

func (c chunk) compute(in *source.Input, fresh bool) ([]string, error) {
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), in.File.Fd())
	b := transform.Bytes{
		Path: path, Format: in.Format, Compression: in.Compression, Structure: in.Structure, Columns: c.columns,
		Settings: in.Settings, Pattern: in.Pattern, Framed: in.Framed, Unscanned: fresh, Judged: !fresh,
	}
	return c.rows(transform.Strict(b), b.StrictSettings())
}

// plain computes the chunk as the engine's own parsers read it.
func (c chunk) plain(t testing.TB) ([]string, error) {
	in := c.input(t)
	in.Settings["input_format_csv_empty_as_default"] = "1"
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), in.File.Fd())
	return c.rows(transform.File(path, in.Format, "", in.Structure, c.columns), in.Settings)
}

func (c chunk) rows(in transform.Input, settings map[string]string) ([]string, error) {
	settings = maps.Clone(settings)
	maps.Copy(settings, transform.OneBlock())
	var got []struct {
		Row string `json:"row"`
	}
	err := eng.Rows(context.Background(), engine.Statement{
		SQL:      "SELECT formatRowNoNewline('JSONCompactEachRow', *) AS row FROM (" + strings.TrimPrefix(transform.Relation(c.query(), in), "("),
		Settings: settings,
	}, &got)
	rows := make([]string, len(got))
	for i, r := range got {
		rows[i] = r.Row
	}
	return rows, err
}

// framed puts each record behind its length.
func framed(records ...string) string {
	var b []byte
	for _, r := range records {
		b = append(binary.AppendUvarint(b, uint64(len(r))), r...)
	}
	return string(b)
}

func cols(pairs ...string) []job.Column {
	var out []job.Column
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, job.Column{Name: pairs[i], Type: pairs[i+1]})
	}
	return out
}
