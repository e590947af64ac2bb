package cli_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// The pipelines that are shipped stand their own tests.
func TestShippedPipelines(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../pipelines/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d pipelines: %v", len(files), err)
	}
	for _, file := range files {
		out, stderr, code := dray(t, []string{"DRAY_DATA_DIR=" + t.TempDir()}, "test", file)
		if code != 0 || !strings.Contains(out, "ok ") {
			t.Errorf("%s: exit %d: %s%s", file, code, out, stderr)
		}
	}
}

func TestTest(t *testing.T) {
	t.Parallel()
	const head = `pipeline: p
params: {add: 1}
source: {files: {path: no-such-file.csv}, columns: "id UInt8, v Nullable(Decimal(9, 2))"}
transform: SELECT id + ${add} AS total, v, [id, 2] AS list FROM chunk WHERE id != 7
load: {table: mine, create: ENGINE = MergeTree ORDER BY total}
tests:
`
	for _, tt := range []struct {
		name, tests string
		args        []string
		code        int
		want        string // part of what is written
	}{
		{"rows", "  - {name: a, rows: [{id: 1, v: 1.50}, {id: 7}, {id: 2}], want: [{total: 3, v: null}, {total: 2, v: 1.5, list: [1, 2]}]}", nil, 1, `- {"list":null,"total":3,"v":null}`},
		{"some columns", "  - {name: a, rows: [{id: 1, v: 1.50}, {id: 7}, {id: 2}], want: [{total: 3, v: null}, {total: 2, v: 1.5}]}", nil, 0, "ok    a"},
		{"a file", "  - {name: a, input: \"1,2\\n9,\\n\", want: [{total: 2, v: 2}, {total: 10}]}", nil, 0, "ok    a"},
		{"params", "  - {name: a, params: {add: 5}, rows: [{id: 1}], want: [{total: 6, list: [1, 2]}]}", nil, 0, "ok    a"},
		{"params of another kind", "  - {name: a, params: {add: many}, rows: [{id: 1}], want: []}", nil, 2, "a whole number is expected for add"},
		{"no row", "  - {name: a, rows: [{id: 7}], want: []}", nil, 0, "ok    a"},
		{"a row too many", "  - {name: a, rows: [{id: 8}], want: []}", nil, 1, `+ {"list":[8,2],"total":9,`},
		{"rejects", "  - {name: a, rows: [{id: 300}, {id: 1}], want: [{total: 2}], rejects: 1}", nil, 0, "ok    a"},
		{"unforeseen rejects", "  - {name: a, rows: [{id: 300}], want: []}", nil, 1, "1 rows are rejected, 0 should be"},
		{"twice", "  - {name: a, rows: [{id: 1}, {id: 1}], want: [{total: 2}]}", nil, 1, `+ {"total":2}`},
		{"some", "  - {name: good, rows: [{id: 1}], want: [{total: 2}]}\n  - {name: bad, rows: [{id: 1}], want: []}", []string{"--run", "goo"}, 0, "ok    good"},
		{"an unknown column", "  - {name: a, rows: [{id: 1}], want: [{idd: 2}]}", nil, 2, "the column idd, which the SELECT does not give"},
		{"no name", "  - {rows: [{id: 1}], want: []}", nil, 2, "a test has no name"},
		{"nothing wanted", "  - {name: a, rows: [{id: 1}]}", nil, 2, "wants nothing"},
		{"neither rows nor input", "  - {name: a, want: []}", nil, 2, "either rows or input"},
		{"none", "  []", nil, 2, "has no such tests"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := writeFile(t, filepath.Join(t.TempDir(), "p.yaml"), head+tt.tests+"\n")
			out, stderr, code := dray(t, []string{"DRAY_DATA_DIR=" + t.TempDir()}, append([]string{"test", path}, tt.args...)...)
			if code != tt.code || !strings.Contains(out+stderr, tt.want) {
				t.Errorf("exit %d: %s%s", code, out, stderr)
			}
		})
	}
	out, _, code := dray(t, []string{"DRAY_DATA_DIR=" + t.TempDir()}, "test", "../../pipelines/flights.yaml", "--json")
	var verdicts []struct {
		Name string
		OK   bool
	}
	if err := json.Unmarshal([]byte(out), &verdicts); err != nil || code != 0 || len(verdicts) != 2 || !verdicts[1].OK {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
}
