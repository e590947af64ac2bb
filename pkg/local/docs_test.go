package local_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(pipeline: ([a-z_]+)\n.*?)```")

// documented returns the pipeline of that name from a page of the documentation.
func documented(t *testing.T, page, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
		if m[2] == name {
			return m[1]
		}
	}
	t.Fatalf("docs/%s has no pipeline %s", page, name)
	return ""
}

// The pipelines of the pages share the ClickHouse of these tests, so each has
// tables of its own.
func TestPagesShareNoTable(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) < 10 {
		t.Fatalf("there are %d pages: %v", len(pages), err)
	}
	seen := map[string]string{}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
			doc, err := pipeline.Parse(m[1], page, t.TempDir(), nil)
			if err != nil {
				t.Errorf("the pipeline %s: %v", m[2], err)
				continue
			}
			for _, o := range doc.Pipeline.All() {
				if other, taken := seen[o.Load.Table]; taken {
					t.Errorf("%s loads into %s, as %s does", page, o.Load.Table, other)
				}
				seen[o.Load.Table] = page
			}
		}
	}
}

// The pipelines of the documentation run as they stand there.
func TestDocumentedPipelines(t *testing.T) {
	t.Setenv("SOURCE_CLICKHOUSE_URL", origin(t))
	for _, tt := range []struct {
		page, name string
		chunks     uint64
		rows       uint64
	}{
		{"source-query.md", "readings", 31, 31_000},
		{"source-query.md", "synthetic", 4, 100_000},
		{"source-clickhouse.md", "copied", 4, 50_000},
		{"incremental.md", "readings", 1, 100_000},
		{"schedules.md", "readings_hourly", 1, 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := stack.Ended(t, submit(t, t.TempDir(), documented(t, tt.page, tt.name)))
			if j.State != job.Done || j.Totals.Chunks != tt.chunks || j.Totals.RowsLoaded != tt.rows {
				t.Errorf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
			}
		})
	}
}

// origin starts another ClickHouse, with a table, and returns its URL.
func origin(t *testing.T) string { return another(t).URL() }

// another starts another ClickHouse, with a table.
func another(t *testing.T) *engine.Process {
	t.Helper()
	p, err := engine.Start(t.Context(), engine.Config{Name: "origin", Path: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	_, err = p.Client().Exec(t.Context(), engine.Statement{SQL: "CREATE TABLE default.origin ENGINE = MergeTree ORDER BY id SETTINGS index_granularity = 1000 AS SELECT number AS id, toString(number) AS v FROM numbers(100000)"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
