package local_test

import (
	"fmt"
	"strings"
	"testing"

	"drayage/pkg/job"
)

// generated writes a pipeline of synthetic rows.
func generated(table, sel string, rows int, load string) string {
	return fmt.Sprintf("pipeline: %s\nsource:\n  generate: {rows: %d, select: '%s'}\n  rows: 400\nretry: {attempts: 1}\nload:\n  table: %s\n  %s\n", table, rows, sel, table, strings.ReplaceAll(load, "\n", "\n  "))
}

// done runs a job that ends well.
func done(t *testing.T, text string) job.Job {
	t.Helper()
	j := wait(t, submit(t, t.TempDir(), text))
	if j.State != job.Done {
		t.Fatalf("the job is %s: %s", j.State, j.Error)
	}
	return j
}

func leftovers(t *testing.T, table string) string {
	t.Helper()
	return sql(t, "SELECT groupArray(name) FROM system.tables WHERE database = 'default' AND startsWith(name, '"+table+"_')")
}

func TestReplace(t *testing.T) {
	t.Parallel()
	const load = "create: ENGINE = MergeTree ORDER BY id\nmode: replace"
	done(t, generated("rep", "number AS id, 1 AS v", 1000, load))
	j := done(t, generated("rep", "number AS id, 2 AS v", 900, load))
	if got := sql(t, "SELECT count(), min(v), max(v), uniqExact(_job) FROM rep"); got != "900\t2\t2\t1" {
		t.Errorf("the table has %q", got)
	}
	if j.Proof == nil || j.Proof.Kind != "provenance" || j.Proof.Rows != 900 || j.PublishedAt.IsZero() {
		t.Errorf("the proof is %+v", j.Proof)
	}
	// A job that fails leaves the table as it was.
	failed := wait(t, submit(t, t.TempDir(), generated("rep", "throwIf(number = 500) AS id, 3 AS v", 900, load)))
	if failed.State != job.Failed || !strings.Contains(failed.Error, "dead letters") {
		t.Errorf("the job is %s: %s", failed.State, failed.Error)
	}
	// One over nothing empties it.
	if got := sql(t, "SELECT count(), max(v) FROM rep"); got != "900\t2" {
		t.Errorf("the table has %q", got)
	}
	done(t, generated("rep", "number AS id, 4 AS v", 1, load)+"transform: SELECT * FROM chunk WHERE id > 5\n")
	if got := sql(t, "SELECT count() FROM rep"); got != "0" {
		t.Errorf("the table has %q", got)
	}
	if left := leftovers(t, "rep"); left != "[]" {
		t.Errorf("tables are left: %s", left)
	}
}

func TestPartitions(t *testing.T) {
	t.Parallel()
	const load = "order_by: id\npartition_by: p\nmode: partitions"
	done(t, generated("parts", "number AS id, number % 3 AS p, 1 AS v", 999, load))
	done(t, generated("parts", "number AS id, toUInt8(1 + number % 3) AS p, 2 AS v", 300, load))
	if got, want := sql(t, "SELECT p, count(), min(v), max(v) FROM parts GROUP BY p ORDER BY p"), "0\t333\t1\t1\n1\t100\t2\t2\n2\t100\t2\t2\n3\t100\t2\t2"; got != want {
		t.Errorf("the table has %q", got)
	}
	if left := leftovers(t, "parts"); left != "[]" {
		t.Errorf("tables are left: %s", left)
	}
	j := wait(t, submit(t, t.TempDir(), generated("whole", "number AS id", 1, "order_by: id\nmode: partitions")))
	if j.State != job.Failed || !strings.Contains(j.Error, "no partitions") {
		t.Errorf("the job is %s: %s", j.State, j.Error)
	}
}

func TestUpsert(t *testing.T) {
	t.Parallel()
	const load = "engine: ReplacingMergeTree(version)\norder_by: id\nmode: upsert"
	done(t, generated("ups", "number AS id, 1 AS version", 1000, load))
	done(t, generated("ups", "number * 2 AS id, 2 AS version", 1000, load))
	done(t, generated("ups", "number AS id, 0 AS version", 1000, load)) // late, and older
	if got := sql(t, "SELECT count(), countIf(version = 2), countIf(version = 0) FROM ups FINAL"); got != "1500\t1000\t0" {
		t.Errorf("the table has %q", got)
	}
	for name, tt := range map[string]struct{ sel, load, want string }{
		"plain":   {"number AS id", "order_by: id\nmode: upsert", "MergeTree"},
		"without": {"number AS id", "engine: ReplacingMergeTree\norder_by: id\nmode: upsert", "version"},
	} {
		j := wait(t, submit(t, t.TempDir(), generated("ups_"+name, tt.sel, 1, tt.load)))
		if j.State != job.Failed || !strings.Contains(j.Error, tt.want) || !strings.Contains(j.Error, "load.mode") {
			t.Errorf("%s: the job is %s: %s", name, j.State, j.Error)
		}
	}
}

func TestEvolve(t *testing.T) {
	t.Parallel()
	const load = "order_by: id\npartition_by: id % 2\nttl: toDateTime(d) + INTERVAL 70 YEAR\nsettings: {index_granularity: 1024}\ncodecs: {d: 'Delta, ZSTD(3)'}\n"
	done(t, generated("evo", "number AS id, toDate(0) + 20000 + number AS d", 10, load+"evolve: refuse"))
	if got := sql(t, "SELECT partition_key, engine_full LIKE '%index_granularity = 1024%', create_table_query LIKE '%CODEC(Delta%ZSTD(3))%' FROM system.tables WHERE name = 'evo'"); got != "id % 2\t1\t1" {
		t.Errorf("the table is %q", got)
	}
	const more = "number + 10 AS id, toDate(0) + 20000 AS d, toString(number) AS note"
	refused := wait(t, submit(t, t.TempDir(), generated("evo", more, 10, load+"evolve: refuse")))
	if refused.State != job.Failed || !strings.Contains(refused.Error, "note") {
		t.Errorf("the job is %s: %s", refused.State, refused.Error)
	}
	done(t, generated("evo", more, 10, load+"evolve: add"))
	if got := sql(t, "SELECT count(), countIf(note = ''), any(toTypeName(note)) FROM evo"); got != "20\t10\tString" {
		t.Errorf("the table has %q", got)
	}
	for name, sel := range map[string]string{"a key": "toString(number) AS id, toDate(0) AS d", "a type": "number AS id, toString(number) AS d"} {
		j := wait(t, submit(t, t.TempDir(), generated("evo", sel, 10, load+"evolve: add")))
		if j.State != job.Failed || !strings.Contains(j.Error, "load.evolve") {
			t.Errorf("%s: the job is %s: %s", name, j.State, j.Error)
		}
	}
}
