package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	env := []string{"DRAY_DATA_DIR=" + t.TempDir()}
	out, stderr, code := dray(t, env, "plan", "../../pipelines/flights.yaml", "--chunks", "2", "--json")
	var plan struct {
		Chunks, Inputs uint64
		Bytes          int64
		List           []struct {
			Chunk uint64
			Place string
			Bytes int64
		}
		Estimate struct {
			RowsRead   uint64 `json:"rows_read"`
			RowsLoaded uint64 `json:"rows_loaded"`
			Parts      []uint64
			Slots      int
			Seconds    float64
		}
	}
	if err := json.Unmarshal([]byte(out), &plan); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, stderr)
	}
	info, err := os.Stat("../../pipelines/data/flights-20k.json")
	if err != nil {
		t.Fatal(err)
	}
	if plan.Inputs != 1 || plan.Chunks < 7 || plan.Bytes > info.Size() || plan.Bytes < info.Size()-100 || len(plan.List) != 2 || !strings.Contains(plan.List[1].Place, "flights-20k.json bytes") {
		t.Errorf("the plan is %+v", plan)
	}
	// 20,000 rows of about the same length.
	if e := plan.Estimate; e.RowsRead < 19_500 || e.RowsRead > 20_500 || e.RowsLoaded != e.RowsRead || len(e.Parts) != 1 || e.Parts[0] != plan.Chunks || e.Slots < 1 || e.Seconds <= 0 {
		t.Errorf("the estimate is %+v", e)
	}
	out, _, code = dray(t, env, "plan", "../../pipelines/flights.yaml", "--chunks", "2", "--estimate=false")
	if code != 0 || !strings.Contains(out, "and 5 more") || !strings.Contains(out, "7 chunks of 1 inputs") || strings.Contains(out, "estimate") {
		t.Errorf("exit %d: %s", code, out)
	}
	// No chunks are a list too.
	dir := t.TempDir()
	for name, text := range map[string]string{
		"none.csv":  "",
		"none.yaml": "pipeline: none\nsource: {files: {path: none.csv}, columns: id UInt64}\nload: {table: none, order_by: id}\n",
	} {
		writeFile(t, filepath.Join(dir, name), text)
	}
	if out, stderr, code := dray(t, env, "plan", filepath.Join(dir, "none.yaml"), "--json"); code != 0 || !strings.Contains(out, `"list": []`) {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
	if jobs, _, _ := dray(t, env, "jobs", "--json"); strings.Contains(jobs, "flights") {
		t.Errorf("to plan made a job: %s", jobs)
	}
}

// The parts are estimated by the partitions of the table that is there, or of
// the one that will be made.
func TestEstimatedParts(t *testing.T) {
	t.Parallel()
	env := []string{"DRAY_DATA_DIR=" + t.TempDir()}
	if _, stderr, code := dray(t, env, "sql", "CREATE TABLE there (number UInt64) ENGINE = MergeTree PARTITION BY number % 3 ORDER BY number SETTINGS non_replicated_deduplication_window = 10000"); code != 0 {
		t.Fatal(stderr)
	}
	file := filepath.Join(t.TempDir(), "p.yaml")
	text := `pipeline: p
source: {generate: {rows: 1000, select: number}, rows: 100}
outputs:
- load: {table: there}
- transform: SELECT number FROM chunk WHERE number % 2 = 0
  load: {table: made, order_by: number, partition_by: number % 4}
`
	writeFile(t, file, text)
	out, stderr, code := dray(t, env, "plan", file)
	for _, want := range []string{"10 chunks", "default.there, about 30 parts", "default.made, about 20 parts", "1,000 rows read, 1,500 loaded"} {
		if !strings.Contains(out, want) {
			t.Errorf("exit %d: %s%s, want %s", code, out, stderr, want)
		}
	}
	if out, _, _ := dray(t, env, "sql", "SHOW TABLES FROM default"); strings.Contains(out, "made") || strings.Contains(out, "estimated") {
		t.Errorf("an estimate left tables: %s", out)
	}
}

func TestPreview(t *testing.T) {
	t.Parallel()
	dir, tmp := t.TempDir(), t.TempDir()
	env := []string{"DRAY_DATA_DIR=" + t.TempDir(), "TMPDIR=" + tmp}
	file := func(name, text string) string {
		t.Helper()
		return writeFile(t, filepath.Join(dir, name), text)
	}
	file("a.csv", "id,v\n1,2\nx,3\n4,5\n")
	const head = "pipeline: p\nsource:\n  files: {path: a.csv}\n  columns: id UInt8, v UInt8\nload: {table: mine, create: ENGINE = MergeTree ORDER BY id}\n"
	for _, tt := range []struct {
		name, text string
		args       []string
		code       int
		out, err   string // parts of what is written
	}{
		{"rows and rejects", head, nil, 4, "id\tv\n1\t2\n4\t5\n", "\"x\" is no UInt8"},
		{"some rows", head + "transform: SELECT id + 100 AS id FROM chunk\n", []string{"-n", "1"}, 4, "id\n101\n", "2 rows of 3"},
		{"a mistake in the SQL", head + "transform: |\n  SELECT id,\n    idd FROM chunk\n", nil, 2, "", "a mistake in the SQL.yaml:8:5"},
		{"a failing SELECT", head + "transform: SELECT throwIf(v > 0) AS a FROM chunk\n", nil, 4, "", "would be rejected"},
		{"too many rows", head, []string{"-n", "100000"}, 2, "", "must be 1 to 10000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, stderr, code := dray(t, env, append([]string{"preview", file(tt.name+".yaml", tt.text)}, tt.args...)...)
			if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(stderr, tt.err) {
				t.Errorf("exit %d, %q, %q", code, out, stderr)
			}
		})
	}
	if out, _, _ := dray(t, env, "sql", "SHOW TABLES FROM default"); strings.Contains(out, "mine") || strings.Contains(out, "preview") {
		t.Errorf("a preview left tables: %s", out)
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "*")); len(left) > 0 {
		t.Errorf("a preview left %v", left)
	}
}
