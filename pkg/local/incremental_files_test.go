package local_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/testkit/s3test"
)

// A job reads the files that no job before it has loaded, and those that have
// changed since: of this machine, and objects.
func TestIncrementalFiles(t *testing.T) {
	dir := t.TempDir()
	server := lake(t, nil)
	for _, tt := range []struct {
		name, path string
		put        func(name, text string) error
	}{
		{"new_files", dir + "/*.csv", func(name, text string) error {
			return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)
		}},
		{"new_objects", "s3://" + s3test.Bucket + "/in/*.csv, s3: {endpoint: '${env:LAKE_URL}'}", func(name, text string) error {
			return server.Put("in/"+name, text)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(pipe(tt.name, "path: "+tt.path+", header: false", idAndDouble+"\n  chunk: 1KiB\nincremental: true"), "pipeline: test", "pipeline: "+tt.name, 1)
			put := func(name, data string) {
				t.Helper()
				if err := tt.put(name, data); err != nil {
					t.Fatal(err)
				}
			}
			step := func(full bool, loaded uint64, want string) job.Job {
				t.Helper()
				j := again(t, text, full)
				got := stack.SQL(t, fmt.Sprintf("SELECT count(), uniqExact(id) FROM %s", tt.name))
				if j.State != job.Done || j.Totals.RowsLoaded != loaded || got != want {
					t.Fatalf("the job is %s with %d rows: %s; there are %q rows, want %d and %q", j.State, j.Totals.RowsLoaded, j.Error, got, loaded, want)
				}
				return j
			}
			put("a.csv", rows(500)) // several chunks
			put("b.csv", "1000,0\n")
			step(false, 501, "501\t501")
			step(false, 0, "501\t501")
			put("0.csv", "2000,0\n2001,0\n") // before the others
			put("c.csv", "2002,0\n")
			step(false, 3, "504\t504")
			put("b.csv", "1000,0\n1001,0\n") // changed: as a whole
			last := step(false, 2, "506\t505")
			w, _, err := stack.Queue.Watermark(t.Context(), tt.name)
			if err != nil || w.MovedBy != last.ID || len(w.Seen) == 0 {
				t.Errorf("the watermark is %+v, %v", w, err)
			}
			step(true, 505, "1011\t505")
			step(false, 0, "1011\t505")
			// A file of which a chunk is dead is loaded from there, and not again.
			put("d.csv", "3000,0\n")
			put("e.csv", "no,no\n")
			text = strings.Replace(text, "load:", "reject: {max: 0}\nretry: {attempts: 1}\nload:", 1)
			j := again(t, text, false)
			if j.State != job.DoneWithRejects || j.Totals.Dead != 1 {
				t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
			}
			step(false, 0, "1012\t506")
		})
	}
}
