package cli_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// The values of parameters are what their types say, for every verb that takes
// them, and stand in the SQL as what they are.
func TestParameters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string { return writeFile(t, filepath.Join(dir, name), text) }
	write("a.csv", "id,at,region\n1,2026-01-01,eu\n2,2026-02-01,o'r\n3,2026-03-01,o'r\n")
	file := write("p.yaml", `pipeline: typed
params:
  since: {type: Date, default: 2026-01-02}
  region: {type: String}
  ids: {type: Array(UInt8), default: [2, 3]}
source: {files: {path: a.csv, header: true}, columns: "id UInt8, at Date, region String"}
transform: SELECT id, region FROM chunk WHERE at >= {since:Date} AND region = {region:String} AND region = '${region}' AND id IN {ids:Array(UInt8)}
load: {table: typed, order_by: id}
tests:
  - {name: given, params: {region: x, since: 2026-01-01}, rows: [{id: 2, at: 2026-01-01, region: x}, {id: 3, at: 2026-01-01, region: y}], want: [{id: 2}]}
`)
	env := []string{"DRAY_DATA_DIR=" + filepath.Join(dir, "data")}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"test", []string{"test", file}, 0, "ok    given"},
		{"validate", []string{"validate", file, "--set", "region=o'r"}, 0, "is valid"},
		{"no value", []string{"validate", file}, 2, "p.yaml:4:12: params.region: the parameter region has no value"},
		{"no value, run", []string{"run", file}, 2, "with --set region=…"},
		{"no value, submit", []string{"submit", file}, 2, "the parameter region has no value"},
		{"no value, schedule", []string{"schedules", "add", file}, 2, "the parameter region has no value"},
		{"no day", []string{"run", file, "--set", "region=eu", "--set", "since=2026-02-30"}, 2, `the value given for since: "2026-02-30" is no Date`},
		{"no list", []string{"plan", file, "--set", "region=eu", "--set", "ids=[300]"}, 2, `the value given for ids: "[300]" is no Array(UInt8)`},
		{"run", []string{"run", file, "-q", "--set", "region=o'r", "--set", "since=2026-02-15"}, 0, "1 rows"},
		{"loaded", []string{"sql", "SELECT id, region FROM typed"}, 0, "3\to"},
	} {
		t.Run(tt.name, func(t *testing.T) { // in turn: they share the data folder
			out, stderr, code := dray(t, env, tt.args...)
			if code != tt.code || !strings.Contains(out+stderr, tt.want) {
				t.Errorf("exit %d, it does not say %q: %s%s", code, tt.want, out, stderr)
			}
		})
	}
}
