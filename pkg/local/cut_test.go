package local_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"drayage/pkg/job"
)

// A chunk whose rows are too big for one block is cut, or loaded in several.
func TestTooBig(t *testing.T) {
	t.Parallel()
	const n = 100_000
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(rows(n))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "plain.csv", rows(n))
	write(t, dir, "small.csv", rows(1000))
	if err := os.WriteFile(filepath.Join(dir, "packed.csv.gz"), packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		files, transform string
		cut              bool
		want             string
	}{
		"halves":        {"path: plain.csv, header: false", "SELECT id, double FROM chunk", true, fmt.Sprintf("%d\t%d\t%d", n, n, n*(n-1))},
		"compressed":    {"path: packed.csv.gz, header: false", "SELECT id, double FROM chunk", false, fmt.Sprintf("%d\t%d\t%d", n, n, n*(n-1))},
		"at the floor":  {"path: small.csv, header: false", "SELECT id * 200 + arrayJoin(range(200)) AS id, double FROM chunk", false, fmt.Sprintf("200000\t200000\t%d", 200*1000*999)},
		"nothing is in": {"path: small.csv, header: false", "SELECT id, double FROM chunk WHERE double = 1", false, "0\t0\t0"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table := "toobig_" + string([]byte{name[0], name[3]})
			id := submit(t, dir, pipe(table, c.files, idAndDouble+"\n  chunk: 16MiB")+"transform: "+c.transform+"\n")
			j := stack.Ended(t, id)
			if j.State != job.Done {
				t.Fatalf("the job is %s: %s", j.State, j.Error)
			}
			if got := stack.SQL(t, "SELECT count(), uniqExact(id), sum(double) FROM "+table); got != c.want {
				t.Errorf("rows, ids and sum are %q, want %q", got, c.want)
			}
			if cut := j.Totals.Retired > 0; cut != c.cut {
				t.Errorf("%d chunks were cut", j.Totals.Retired)
			}
			if j.Plan.Total() != j.Totals.Outcomes() || j.Totals.Chunks != 1+j.Plan.Replacements()-j.Totals.Retired {
				t.Errorf("plan %+v, totals %+v", j.Plan, j.Totals)
			}
			if got := stack.SQL(t, "SELECT sum(rows_loaded), sum(chunks_loaded) FROM drayage.jobs WHERE job = '"+id+"'"); got != fmt.Sprintf("%d\t%d", j.Totals.RowsLoaded, j.Totals.Chunks) {
				t.Errorf("the ledger has %q", got)
			}
		})
	}
}
