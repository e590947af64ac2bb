package worker_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drayage/pkg/clickhouse"
)

// A worker that loads a lookup long after the job was planned sees the rows of
// then, also when its engine was started anew since.
func TestLookupAsPlanned(t *testing.T) {
	b := newBench(t, 1000, "SELECT id, toString(n.v) AS s FROM chunk INNER JOIN n ON n.k = chunk.id % 10\nlookups: {n: {table: looked}}",
		"CREATE TABLE looked (k UInt64, v UInt64) ENGINE = MergeTree ORDER BY k", "INSERT INTO looked SELECT number, 1 FROM numbers(10)")
	recorded := func() bool { _, ok := b.result(t); return ok }
	for range 2 {
		b.sql(t, "INSERT INTO looked SELECT number, 2 FROM numbers(20)")
		b.work(t, recorded)
		if got := b.sql(t, "SELECT count(), uniqExact(id), groupUniqArray(s) FROM bench"); got != "1000\t1000\t['1']" {
			t.Fatalf("rows, ids and looked up values: %s", got)
		}
		first, _ := b.result(t)
		b.sql(t, "TRUNCATE TABLE bench")
		b.again(t, false)
		b.work(t, recorded)
		if again, _ := b.result(t); again.Hash != first.Hash {
			t.Errorf("the second attempt made another block: %+v after %+v", again, first)
		}
		b.sql(t, "TRUNCATE TABLE bench")
		b.again(t, false)
	}
}

// A lookup that is not any more what the job was planned with gives no row, and
// the dead letter says which it is.
func TestLookupChanged(t *testing.T) {
	for _, tt := range []struct {
		name, lookup string
		change       func(t *testing.T, b *bench, file string)
		want         []string
	}{
		{"content", "{path: n.csv, columns: 'k UInt64, v String'}", func(t *testing.T, _ *bench, file string) {
			if err := os.WriteFile(file, []byte("k,v\n1,b\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"the lookup n", "n.csv", "changed since the job was planned"}},
		{"gone", "{path: n.csv, columns: 'k UInt64, v String'}", func(t *testing.T, _ *bench, file string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}, []string{"the lookup n", "n.csv", "no such file"}},
		{"dropped", "{query: \"SELECT number AS k, 'a' AS v FROM numbers(10)\"}", func(t *testing.T, b *bench, _ string) {
			for _, s := range snapshots(t, b) {
				if err := b.ClickHouse.DropSnapshot(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
		}, []string{"the lookup n", "no such table"}},
		{"a row more", "{query: \"SELECT number AS k, 'a' AS v FROM numbers(10)\"}", func(t *testing.T, b *bench, _ string) {
			for _, s := range snapshots(t, b) {
				b.sql(t, "INSERT INTO "+s.Table.SQL()+" VALUES (77, 1, 'b')")
			}
		}, []string{"the lookup n", "it has 11 rows and had 10"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "n.csv")
			if err := os.WriteFile(file, []byte("k,v\n1,a\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			b := newBench(t, 10, "SELECT id, n.v AS s FROM chunk LEFT JOIN n ON n.k = chunk.id\nlookups: {n: "+strings.ReplaceAll(tt.lookup, "n.csv", file)+"}")
			tt.change(t, b, file)
			var why string
			b.work(t, func() bool {
				dead, err := b.Queue.DeadLetters(t.Context(), b.chunk.Job, 10)
				if err != nil {
					t.Fatal(err)
				}
				if len(dead) > 0 {
					why = dead[0].Error
				}
				return len(dead) > 0
			})
			for _, want := range tt.want {
				if !strings.Contains(why, want) {
					t.Errorf("the dead letter does not say %q: %s", want, why)
				}
			}
			if got := b.count(t); got != "0\t0" {
				t.Errorf("rows and ids: %s", got)
			}
		})
	}
}

func snapshots(t *testing.T, b *bench) []clickhouse.Snapshot {
	t.Helper()
	all, err := b.ClickHouse.Snapshots(t.Context(), b.chunk.Job)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d snapshots: %v", len(all), err)
	}
	return all
}
