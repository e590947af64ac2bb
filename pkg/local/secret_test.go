package local_test

import (
	"fmt"
	"strings"
	"testing"

	"drayage/pkg/job"
)

// What comes from a secret file stands in no record, whoever repeats it.
func TestSecretsStayOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "key", "hunter2hunter2\n")
	n := 0
	for name, sql := range map[string]string{
		"when planned": "SELECT toUInt8('${file:%s/key}', no_such_column) AS a",
		"in a chunk":   "SELECT throwIf(number = 5, '${file:%s/key}') AS a FROM numbers(10)",
	} {
		n++
		table := fmt.Sprintf("secrets_%d", n)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := submit(t, dir, fmt.Sprintf("pipeline: p\nsource:\n  query: {sql: \""+sql+"\"}\nretry: {attempts: 1}\nload: {table: "+table+", create: ENGINE = MergeTree ORDER BY tuple()}\n", dir))
			j := stack.Ended(t, id)
			text := j.Error
			if j.State != job.Failed {
				dead, err := stack.Queue.DeadLetter(t.Context(), id, 0, 0)
				if err != nil {
					t.Fatal(err)
				}
				text = dead.Error
			}
			if !strings.Contains(text, "[hidden]") || strings.Contains(text, "hunter2") {
				t.Errorf("the job is %s: %s", j.State, text)
			}
		})
	}
}
