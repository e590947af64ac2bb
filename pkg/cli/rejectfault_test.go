package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drayage/pkg/fault"
)

// spoil makes every tenth line of a table's file unreadable, from the fifth on.
func spoil(t *testing.T, dir, table string) (bad int) {
	t.Helper()
	path := filepath.Join(dir, table+".csv")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(data), "\n")
	for i := range lines {
		if i%10 == 5 {
			lines[i] = "no number " + lines[i]
			bad++
		}
	}
	writeFile(t, path, strings.Join(lines, ""))
	return bad
}

// A worker ends, or stops, when the rejects of a chunk are in quarantine and its
// rows are not in the table: both are there once in the end.
func TestRejectedFault(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	start(t, f.env, "coordinator")
	const lines = 4000
	for _, action := range []string{"kill", "stop"} {
		t.Run(action, func(t *testing.T) {
			name := "q" + action
			file := numbers(t, f.dir, name, lines, "4096")
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, file, string(text)+"reject: {max: 20%}\n")
			bad := spoil(t, f.dir, name)
			endBoth := f.overcome(t, "worker", fmt.Sprintf("%s=%s@2", fault.Rejected, action), action, file, 4)
			endBoth()
			want := fmt.Sprint(lines - lines/10 - bad)
			f.answers(t, "SELECT count() FROM "+name+" HAVING count() = uniqExact(id)", want)
			f.answers(t, "SELECT count(), uniqExact(raw) FROM drayage.rejects WHERE job = '"+name+"-1'", fmt.Sprintf("%d\t%d", bad, bad))
		})
	}
}
