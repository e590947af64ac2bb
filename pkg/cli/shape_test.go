package cli_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	shapeRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]*) \\| (.*) \\|$")
	shapeKey = regexp.MustCompile("`([a-z_]+)`(\\?)?")
)

// shapes reads the tables of docs/cli.md: the keys of each thing, true for those
// that are always there.
func shapes(t *testing.T) map[string]map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]bool{}
	for _, row := range shapeRow.FindAllStringSubmatch(string(text), -1) {
		keys := map[string]bool{}
		for _, key := range shapeKey.FindAllStringSubmatch(row[3], -1) {
			keys[key[1]] = key[2] == ""
		}
		all[row[1]] = keys
	}
	return all
}

// What --json prints has the keys that docs/cli.md says, and no others.
func printShapes(t *testing.T, s *served) {
	file := numbers(t, s.dir, "shaped", 20, "4096")
	newer := filepath.Join(s.dir, "newer.yaml")
	text := `pipeline: newer
source: {files: {path: 'shaped*.csv', header: false}, columns: 'id UInt64, square UInt64'}
incremental: true
load: {table: newer, order_by: id}
tests: [{name: whole, rows: [{id: 1, square: 1}], want: [{id: 1, square: 1}]}]
schedule: "0 3 * * *"
`
	writeFile(t, newer, text)
	documented, met := shapes(t), map[string]bool{}
	check := func(name string, value any) {
		t.Helper()
		if list, ok := value.([]any); ok {
			if len(list) == 0 {
				t.Errorf("%s: there is none to look at", name)
				return
			}
			value = list[0]
		}
		object, ok := value.(map[string]any)
		if !ok {
			t.Errorf("%s is %T", name, value)
			return
		}
		met[name] = true
		want, known := documented[name]
		var wrong []string
		for key := range object {
			if _, there := want[key]; !there {
				wrong = append(wrong, key+" is not in docs/cli.md")
			}
		}
		for key, always := range want {
			if _, there := object[key]; always && !there {
				wrong = append(wrong, key+" is not printed")
			}
		}
		if !known || len(wrong) > 0 {
			t.Errorf("%s: %v; it has `%s`", name, wrong, strings.Join(slices.Sorted(maps.Keys(object)), "` `"))
		}
	}
	run := func(name string, code int, args ...string) any {
		t.Helper()
		out := expect(t, append(s.env, "DRAY_HTTP_ADDR=none"), append(args, "--json"), code)
		var first any
		if err := json.NewDecoder(strings.NewReader(out)).Decode(&first); err != nil {
			t.Errorf("dray %s printed %s: %v", strings.Join(args, " "), out, err)
			return map[string]any{}
		}
		if name != "" {
			check(name, first)
		}
		return first
	}
	of := func(value any, key string) any {
		object, _ := value.(map[string]any)
		return object[key]
	}

	run("submit", 0, "submit", newer, "--key", "1")
	run("submit --wait", 0, "submit", newer, "--key", "1", "--wait")
	run("jobs", 0, "jobs", "--pipeline", "newer")
	shown := run("show", 0, "show", "newer-1")
	for _, part := range []string{"submission", "plan", "totals", "progress", "proof"} {
		check(part, of(shown, part))
	}
	run("", 0, "show", "unread-1")
	run("workers", 0, "workers")
	run("watch", 0, "watch", "newer-1")
	run("dead list", 0, "dead", "list", "unread-1")
	run("dead show", 0, "dead", "show", "unread-1", "1")
	run("verify", 0, "verify", "newer-1")
	run("validate", 0, "validate", newer)
	run("plan FILE", 0, "plan", file)
	run("preview", 0, "preview", file)
	run("test", 0, "test", newer)
	run("watermarks", 0, "watermarks")
	run("watermarks forget", 0, "watermarks", "forget", "newer")
	run("schedules add", 0, "schedules", "add", newer)
	run("schedules", 0, "schedules")
	run("schedules remove", 0, "schedules", "remove", "newer")
	run("dead drop", 0, "dead", "drop", "unread-1", "--chunk", "1", "--yes")
	run("retry", 0, "retry", "unread-1")
	run("undo", 0, "undo", "newer-1", "--yes")
	run("version", 0, "version")
	run("doctor", 0, "doctor")
	_, stderr, _ := dray(t, s.env, "show", "nope", "--json")
	var problem any
	if err := json.Unmarshal([]byte(stderr), &problem); err != nil {
		t.Errorf("an error is %s (%v)", stderr, err)
	}
	check("error", problem)
	for name := range documented {
		if !met[name] {
			t.Errorf("docs/cli.md has the keys of %q, and nothing printed them", name)
		}
	}
}
