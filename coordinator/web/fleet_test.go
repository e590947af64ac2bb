package web_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drayage/pkg/job"
)

// write makes a file in dir.
func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// create creates a job of a pipeline whose paths start at dir, and returns its
// name.
func create(t *testing.T, id, dir, text string) string {
	t.Helper()
	return stack.Create(t, job.Submission{Job: id, Pipeline: text, File: id + ".yaml", Dir: dir})
}

func in(state job.State) func(job.Job) bool {
	return func(j job.Job) bool { return j.State == state }
}

// slow is a pipeline of so many chunks that take a time each, of one row each.
func slow(table string, chunks int, each time.Duration) string {
	return fmt.Sprintf(`pipeline: %s
source:
  query:
    sql: SELECT number AS id FROM numbers({from}, {to} - {from}) WHERE sleep(%g) = 0
    range: {from: 0, to: %d, step: 1}
  columns: id UInt64
load:
  table: %[1]s
  create: ENGINE = MergeTree ORDER BY id
`, table, each.Seconds(), chunks)
}

// meters is a pipeline of files with readings of meters, some rows of which can
// not be read; of one file most can not.
func meters(t *testing.T, table string, files int, each time.Duration) (dir, text string) {
	t.Helper()
	dir = t.TempDir()
	for n := range files {
		var b strings.Builder
		for i := range 200 {
			value := fmt.Sprintf("%d.%02d", (n*7+i)%40, i%100)
			if n%9 == 4 && i == 17 || n%23 == 11 && i%3 == 0 {
				value = "<b>n/a</b>"
			}
			fmt.Fprintf(&b, "meter-%03d,2026-11-%02d 10:%02d:00,%s\n", n, 1+n%28, i%60, value)
		}
		write(t, dir, fmt.Sprintf("readings-%03d.csv", n), b.String())
	}
	return dir, fmt.Sprintf(`pipeline: %s
# Hourly readings of the meters, as the concentrators write them.
source:
  files: {path: "readings-*.csv", format: CSV}
  columns: "meter String, read_at DateTime('UTC'), kilowatts Decimal(9, 2)"
transform: |
  SELECT meter, read_at, kilowatts
  FROM chunk
  WHERE kilowatts >= 0 AND sleep(%g) = 0
reject: {max: 5%%}
load:
  table: %[1]s
  create: ENGINE = MergeTree ORDER BY (meter, read_at)
`, table, each.Seconds())
}
