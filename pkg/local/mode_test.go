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
	j := stack.Ended(t, submit(t, t.TempDir(), text))
	if j.State != job.Done {
		t.Fatalf("the job is %s: %s", j.State, j.Error)
	}
	return j
}

func leftovers(t *testing.T, table string) string {
	t.Helper()
	return stack.SQL(t, "SELECT groupArray(name) FROM system.tables WHERE database = 'default' AND startsWith(name, '"+table+"_')")
}

func TestReplace(t *testing.T) {
	t.Parallel()
	const load = "create: ENGINE = MergeTree ORDER BY id\nmode: replace"
	done(t, generated("rep", "number AS id, 1 AS v", 1000, load))
	j := done(t, generated("rep", "number AS id, 2 AS v", 900, load))
	if got := stack.SQL(t, "SELECT count(), min(v), max(v), uniqExact(_job) FROM rep"); got != "900\t2\t2\t1" {
		t.Errorf("the table has %q", got)
	}
	if j.Proof == nil || j.Proof.Kind != "provenance" || j.Proof.Rows != 900 || j.PublishedAt.IsZero() {
		t.Errorf("the proof is %+v", j.Proof)
	}
	// A job that fails leaves the table as it was.
	failed := stack.Ended(t, submit(t, t.TempDir(), generated("rep", "throwIf(number = 500) AS id, 3 AS v", 900, load)))
	if failed.State != job.Failed || !strings.Contains(failed.Error, "dead letters") {
		t.Errorf("the job is %s: %s", failed.State, failed.Error)
	}
	// One over nothing empties it.
	if got := stack.SQL(t, "SELECT count(), max(v) FROM rep"); got != "900\t2" {
		t.Errorf("the table has %q", got)
	}
	done(t, generated("rep", "number AS id, 4 AS v", 1, load)+"transform: SELECT * FROM chunk WHERE id > 5\n")
	if got := stack.SQL(t, "SELECT count() FROM rep"); got != "0" {
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
	if got, want := stack.SQL(t, "SELECT p, count(), min(v), max(v) FROM parts GROUP BY p ORDER BY p"), "0\t333\t1\t1\n1\t100\t2\t2\n2\t100\t2\t2\n3\t100\t2\t2"; got != want {
		t.Errorf("the table has %q", got)
	}
	if left := leftovers(t, "parts"); left != "[]" {
		t.Errorf("tables are left: %s", left)
	}
	j := stack.Ended(t, submit(t, t.TempDir(), generated("whole", "number AS id", 1, "order_by: id\nmode: partitions")))
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
	if got := stack.SQL(t, "SELECT count(), countIf(version = 2), countIf(version = 0) FROM ups FINAL"); got != "1500\t1000\t0" {
		t.Errorf("the table has %q", got)
	}
	for name, tt := range map[string]struct{ sel, load, want string }{
		"plain":   {"number AS id", "order_by: id\nmode: upsert", "MergeTree"},
		"without": {"number AS id", "engine: ReplacingMergeTree\norder_by: id\nmode: upsert", "version"},
	} {
		j := stack.Ended(t, submit(t, t.TempDir(), generated("ups_"+name, tt.sel, 1, tt.load)))
		if j.State != job.Failed || !strings.Contains(j.Error, tt.want) || !strings.Contains(j.Error, "load.mode") {
			t.Errorf("%s: the job is %s: %s", name, j.State, j.Error)
		}
	}
}

func TestEvolve(t *testing.T) {
	t.Parallel()
	const load = "order_by: id\npartition_by: id % 2\nttl: toDateTime(d) + INTERVAL 70 YEAR\nsettings: {index_granularity: 1024}\ncodecs: {d: 'Delta, ZSTD(3)'}\n"
	done(t, generated("evo", "number AS id, toDate(0) + 20000 + number AS d", 10, load+"evolve: refuse"))
	if got := stack.SQL(t, "SELECT partition_key, engine_full LIKE '%index_granularity = 1024%', create_table_query LIKE '%CODEC(Delta%ZSTD(3))%' FROM system.tables WHERE name = 'evo'"); got != "id % 2\t1\t1" {
		t.Errorf("the table is %q", got)
	}
	const more = "number + 10 AS id, toDate(0) + 20000 AS d, toString(number) AS note"
	refused := stack.Ended(t, submit(t, t.TempDir(), generated("evo", more, 10, load+"evolve: refuse")))
	if refused.State != job.Failed || !strings.Contains(refused.Error, "note") {
		t.Errorf("the job is %s: %s", refused.State, refused.Error)
	}
	done(t, generated("evo", more, 10, load+"evolve: add"))
	if got := stack.SQL(t, "SELECT count(), countIf(note = ''), any(toTypeName(note)) FROM evo"); got != "20\t10\tString" {
		t.Errorf("the table has %q", got)
	}
	for name, sel := range map[string]string{"a key": "toString(number) AS id, toDate(0) AS d", "a type": "number AS id, toString(number) AS d"} {
		j := stack.Ended(t, submit(t, t.TempDir(), generated("evo", sel, 10, load+"evolve: add")))
		if j.State != job.Failed || !strings.Contains(j.Error, "load.evolve") {
			t.Errorf("%s: the job is %s: %s", name, j.State, j.Error)
		}
	}
}

// Jobs that need the same new columns, at once: each gets them, and no row is
// lost.
func TestEvolveByManyJobs(t *testing.T) {
	t.Parallel()
	const load = "order_by: id\nevolve: add"
	done(t, generated("many", "number AS id", 100, load))
	dir := t.TempDir()
	var ids []string
	for i := range 3 {
		text := generated("many", fmt.Sprintf("%d + number AS id, toString(number) AS left, 1 AS right", 1000*(i+1)), 400, load)
		ids = append(ids, submit(t, dir, strings.Replace(text, "pipeline: many", fmt.Sprintf("pipeline: many_%d", i), 1)))
	}
	for _, id := range ids {
		if j := stack.Ended(t, id); j.State != job.Done || j.Proof == nil || j.Proof.Rows != 400 {
			t.Errorf("the job is %s: %s, %+v", j.State, j.Error, j.Proof)
		}
	}
	if got := stack.SQL(t, "SELECT count(), uniqExact(id), countIf(left != ''), sum(right) FROM many"); got != "1300\t1300\t1200\t1200" {
		t.Errorf("the table has %q", got)
	}
	// One that knows nothing of them would leave them empty: that is for its
	// author to say.
	j := stack.Ended(t, submit(t, t.TempDir(), generated("many", "5000 + number AS id", 10, load)))
	if j.State != job.Failed || !strings.Contains(j.Error, "left") || !strings.Contains(j.Error, "right") {
		t.Errorf("the job is %s: %s", j.State, j.Error)
	}
}

// A table is made of what the SELECT gives, and of the clauses.
func TestCreatedFromTheSelect(t *testing.T) {
	t.Parallel()
	text := generated("made_of_select", "number AS n", 1000, `order_by: [day, city]
partition_by: toYYYYMM(day)
ttl: day + INTERVAL 60 YEAR
codecs: {price: 'Delta, ZSTD(3)', note: LZ4HC(9)}
settings: {index_granularity: 512}`) + `transform: |
  SELECT toDate('2026-01-01') + n % 60 AS day, toLowCardinality(concat('c', toString(n % 7))) AS city, toDecimal64(n, 2) AS price,
      if(n % 2 = 0, NULL, toString(n)) AS note, toDateTime64(n, 3, 'Europe/Berlin') AS at, [n] AS list
  FROM chunk
`
	j := done(t, text)
	// The TTL may take rows out, so that nothing can be counted afterwards.
	if j.Proof == nil || j.Proof.Kind != "ledger" {
		t.Errorf("the proof is %+v", j.Proof)
	}
	if got, want := stack.SQL(t, "SELECT groupArray(concat(name, ' ', type, if(compression_codec = '', '', ' '), compression_codec)) FROM (SELECT * FROM system.columns WHERE database = 'default' AND table = 'made_of_select' ORDER BY position)"),
		`['day Date','city LowCardinality(String)','price Decimal(18, 2) CODEC(Delta(8), ZSTD(3))','note Nullable(String) CODEC(LZ4HC(9))','at DateTime64(3, \'Europe/Berlin\')','list Array(UInt64)']`; got != want {
		t.Errorf("the columns are %s", got)
	}
	if got, want := stack.SQL(t, "SELECT partition_key, sorting_key, engine_full LIKE '%TTL day + toIntervalYear(60)%', engine_full LIKE '%index_granularity = 512%' FROM system.tables WHERE database = 'default' AND name = 'made_of_select'"), "toYYYYMM(day)\tday, city\t1\t1"; got != want {
		t.Errorf("the table is %q", got)
	}
	if got := stack.SQL(t, "SELECT count(), uniqExact(_partition_id), countIf(note IS NULL), sum(price) FROM made_of_select"); got != "1000\t3\t500\t499500" {
		t.Errorf("the table has %q", got)
	}
}

// Who reads while a job replaces the table sees its rows or those before, all
// of them.
func TestReadersDuringReplace(t *testing.T) {
	t.Parallel()
	const load = "create: ENGINE = MergeTree ORDER BY id\nmode: replace"
	done(t, generated("watched", "number AS id, 1 AS v", 1500, load))
	ended := make(chan struct{})
	type reading struct {
		seen  map[string]int
		wrong string
	}
	out := make(chan reading, 1)
	go func() {
		r := reading{seen: map[string]int{}}
		for {
			var b strings.Builder
			err := stack.ClickHouse.Query(t.Context(), "SELECT count(), uniqExact(v), any(v) FROM watched", "", &b)
			answer := strings.TrimSpace(b.String())
			switch {
			case err != nil:
				r.wrong = err.Error()
			case answer != "1500\t1\t1" && answer != "1200\t1\t2":
				r.wrong = answer
			}
			r.seen[answer]++
			select {
			case <-ended:
				out <- r
				return
			default:
			}
		}
	}()
	done(t, generated("watched", "number AS id, 2 AS v", 1200, load))
	close(ended)
	if r := <-out; r.wrong != "" || len(r.seen) != 2 {
		t.Errorf("it saw %v, and %q", r.seen, r.wrong)
	}
}
