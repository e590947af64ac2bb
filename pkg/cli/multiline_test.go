package cli_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// Records of several lines are cut in ranges of a file, rejected whole with their
// place, and loaded once more when the pipeline is mended.
func TestMultilineRecords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var log strings.Builder
	log.WriteString("\tat the end of a trace whose begin is in another file\n")
	for i := range 1000 {
		if i%100 == 99 {
			fmt.Fprintf(&log, "2026-01-01 00:00:00 bad %d\n\tat nowhere\n", i)
			continue
		}
		fmt.Fprintf(&log, "2026-01-01 00:00:00 ERROR %d\n%s", i, strings.Repeat("\tat com.example.Shop.buy(Shop.java:7)\n", i%7))
	}
	pipeline := func(level string) string {
		return `pipeline: traces
source:
  files:
    path: app.log
    format: Regexp
    regexp: '(?P<time>\S+ \S+) (?P<level>` + level + `) (?P<id>\d+)(?:\n(?P<trace>(?s:.*)))?'
    multiline: {begin: '^\d{4}-\d\d-\d\d '}
  columns: "time DateTime('UTC'), id UInt64"
  chunk: 16KiB
outputs:
  - transform: SELECT time, level, id, countSubstrings(trace, 'at ') AS lines FROM chunk
    load: {table: traces, order_by: id}
  - transform: SELECT level, count() AS n FROM chunk AS a JOIN (SELECT max(id) AS most FROM chunk) AS b ON a.id <= b.most GROUP BY level
    load: {table: levels, engine: SummingMergeTree, order_by: level}
reject: {max: 50%}
`
	}
	write := func(name, text string) string { return writeFile(t, filepath.Join(dir, name), text) }
	write("app.log", log.String())
	env := []string{"DRAY_DATA_DIR=" + filepath.Join(dir, "data")}
	query := func(sql string) string {
		return strings.TrimSpace(expect(t, env, []string{"sql", "-f", "TabSeparated", sql}, 0))
	}
	expect(t, env, []string{"run", write("traces.yaml", pipeline("[A-Z]+")), "-q"}, 4, "done with rejects")
	lines := 0
	for i := range 1000 {
		if i%100 != 99 {
			lines += i % 7
		}
	}
	if got, want := query("SELECT count(), uniqExact(id), sum(lines), uniqExact(_chunk) > 4, (SELECT sum(n) FROM levels) FROM traces"), fmt.Sprintf("990\t990\t%d\t1\t990", lines); got != want {
		t.Errorf("the tables have %q, want %q", got, want)
	}
	all := rejects(t, env, "last")
	if len(all) != 11 {
		t.Errorf("%d records are rejected", len(all))
	}
	for _, r := range all {
		if !strings.HasPrefix(log.String()[r.Offset:], r.Raw+"\n") || !strings.Contains(r.Raw, "\tat ") || !strings.Contains(r.Reason, "does not match") {
			t.Errorf("a reject is %+v", r)
		}
	}
	expect(t, env, []string{"retry", "last", "--rejects", "--pipeline", write("mended.yaml", pipeline("[A-Za-z]+")), "-q"}, 4, "10 rows")
	if got, want := query("SELECT count(), uniqExact(id), sum(lines), countIf(level = 'bad') FROM traces"), fmt.Sprintf("1000\t1000\t%d\t10", lines+10); got != want {
		t.Errorf("with the mended ones the table has %q, want %q", got, want)
	}
	if left := rejects(t, env, "last"); len(left) != 1 || !strings.HasPrefix(left[0].Raw, "\tat the end") {
		t.Errorf("left in quarantine is %+v", left)
	}
}
