package local_test

import (
	"os"
	"regexp"
	"testing"

	"drayage/pkg/job"
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

// The pipelines of the documentation run as they stand there.
func TestDocumentedPipelines(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		page, name string
		chunks     uint64
		rows       uint64
	}{
		{"source-query.md", "readings", 31, 31_000},
		{"source-query.md", "synthetic", 4, 100_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			j := wait(t, submit(t, t.TempDir(), documented(t, tt.page, tt.name)))
			if j.State != job.Done || j.Totals.Chunks != tt.chunks || j.Totals.RowsLoaded != tt.rows {
				t.Errorf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
			}
		})
	}
}
