package mysql

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
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
	"drayage/pkg/testkit"
	"drayage/pkg/testkit/mysqltest"
	"drayage/pkg/transform"
)

// The real engine and server that all tests of the package share.
var (
	eng *engine.Client
	db  *mysqltest.Server
)

func TestMain(m *testing.M) {
	testkit.Engine()
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	ctx := context.Background()
	// Each check asks a real server many times. The command line outranks this.
	if err := flag.Set("rapid.checks", "25"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	p, err := engine.Start(ctx, engine.Config{Name: "mysql-test"})
	if err != nil {
		fail(err)
		return code
	}
	defer func() {
		_, err := p.Close()
		fail(err)
	}()
	eng = p.Client()
	if db, err = mysqltest.Start(ctx); err != nil {
		fail(err)
		return code
	}
	defer func() { fail(db.Close()) }()
	return m.Run()
}

func exec(t *testing.T, sql string) string {
	t.Helper()
	value, err := db.Exec(t.Context(), sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func mustNew(t *testing.T, cfg Config) *Source {
	t.Helper()
	if cfg.URL == "" {
		cfg.URL = db.URL("root", "")
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func columnsOf(t *testing.T, s *Source) []job.Column {
	t.Helper()
	columns, err := s.Columns(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return columns
}

func plan(t *testing.T, s *Source, cursor json.RawMessage, columns []job.Column) ([]source.Planned, error) {
	t.Helper()
	var all []source.Planned
	for p, err := range s.Plan(t.Context(), cursor, columns) {
		if err != nil {
			return all, err
		}
		all = append(all, p)
	}
	return all, nil
}

// chunk reads a chunk.
func chunk(t *testing.T, s *Source, input json.RawMessage, columns []job.Column) (string, error) {
	t.Helper()
	in, err := s.Open(t.Context(), input, columns)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(in.Reader)
	if err == nil {
		err = in.Check()
	}
	return string(b), errors.Join(err, in.Close())
}

// lines plans and reads everything, chunk by chunk.
func lines(t *testing.T, s *Source) (all [][]string, chunks []source.Planned) {
	t.Helper()
	columns := columnsOf(t, s)
	chunks, err := plan(t, s, nil, columns)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range chunks {
		text, err := chunk(t, s, p.Input, columns)
		if err != nil {
			t.Fatal(err)
		}
		var rows []string
		if text != "" {
			rows = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		}
		all = append(all, rows)
	}
	return all, chunks
}

// load reads the bytes of an input as a worker does: with every value checked,
// and where the engine refuses them, row by row. It returns the rows, each as a
// list of JSON, and the errors of those that are rejected.
func load(t *testing.T, data string, columns []job.Column, query string) (rows [][]any, rejects []error) {
	t.Helper()
	rows, err := compute(t, data, columns, query, false)
	if err == nil {
		return rows, nil
	}
	rows = nil
	for line := range strings.Lines(data) {
		row, err := compute(t, line, columns, query, true)
		if err != nil {
			rejects = append(rejects, fmt.Errorf("%.100q: %w", line, err))
		}
		rows = append(rows, row...)
	}
	return rows, rejects
}

func compute(t *testing.T, data string, columns []job.Column, query string, judged bool) ([][]any, error) {
	path := filepath.Join(t.TempDir(), "chunk")
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	b := transform.Bytes{
		Path: path, Format: "TSV", Structure: columns,
		Columns: columns, Settings: settings(), Unscanned: !judged, Judged: judged,
	}
	set := b.StrictSettings()
	maps.Copy(set, transform.OneBlock())
	for _, kind := range []string{"64bit_integers", "64bit_floats", "decimals", "denormals"} {
		set["output_format_json_quote_"+kind] = "1"
	}
	var got []struct {
		Row string `json:"row"`
	}
	err := eng.Rows(t.Context(), engine.Statement{
		SQL: "SELECT formatRowNoNewline('JSONCompactEachRow', *) AS row FROM (" +
			strings.TrimPrefix(transform.Relation(query, transform.Strict(b)), "("),
		Settings: set,
	}, &got)
	if err != nil {
		return nil, err
	}
	rows := make([][]any, len(got))
	for i, r := range got {
		d := json.NewDecoder(strings.NewReader(r.Row))
		d.UseNumber()
		err = errors.Join(err, d.Decode(&rows[i]))
	}
	return rows, err
}
