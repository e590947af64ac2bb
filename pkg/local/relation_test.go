package local_test

import (
	"strings"
	"testing"

	"drayage/pkg/job"
)

// Rows that the engine makes or fetches by itself come into the table once, in
// as many chunks as were asked for.
func TestRelations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "lists.csv", "a,1\nb,2\nb,3\n")
	for _, tt := range []struct {
		table, text string
		chunks      uint64
		query, want string
	}{
		{
			"made", "source:\n  generate: {rows: 2500, select: 'number AS id, number % 7 AS v'}\n  rows: 1000\n", 3,
			"SELECT count(), uniqExact(id), sum(v) FROM made", "SELECT 2500, 2500, sum(number % 7) FROM numbers(2500)",
		},
		{
			"converted", "source:\n  generate: {rows: 100, select: 'number AS id'}\n  columns: id UInt8\n", 1,
			"SELECT count(), any(toTypeName(id)) FROM converted", "SELECT 100, 'UInt8'",
		},
		{
			"ranged", "source:\n  query:\n    sql: SELECT number AS id FROM numbers(1000) WHERE number >= {from} AND number < {to}\n    range: {from: 10, to: 500, step: 100}\n", 5,
			"SELECT count(), min(id), max(id) FROM ranged", "SELECT 490, 10, 499",
		},
		{
			"days", "source:\n  query:\n    sql: SELECT toDate('{from}') AS d, toDate('{to}') - toDate('{from}') AS n\n    range: {from: 2026-02-27, to: 2026-03-02, step: 2}\n", 2,
			"SELECT sum(n), min(d) FROM days", "SELECT 3, toDate('2026-02-27')",
		},
		{
			"listed", "source:\n  query:\n    sql: SELECT c1 AS k, c2 AS n FROM file('" + dir + "/lists.csv', CSV, 'c1 String, c2 Int64') WHERE c1 = '{value}'\n    values: [a, b, c]\n", 3,
			"SELECT k, sum(n) FROM listed GROUP BY k ORDER BY k", "SELECT 'a', 1 UNION ALL SELECT 'b', 5",
		},
		{
			"twice", "source:\n  generate: {rows: 10, select: 'number AS id'}\ntransform: SELECT id FROM chunk WHERE id >= (SELECT avg(id) FROM chunk)\n", 1,
			"SELECT count(), min(id) FROM twice", "SELECT 5, 5",
		},
	} {
		t.Run(tt.table, func(t *testing.T) {
			t.Parallel()
			id := submit(t, dir, "pipeline: "+tt.table+"\n"+tt.text+"load: {table: "+tt.table+", create: ENGINE = MergeTree ORDER BY tuple()}\n")
			j := stack.Ended(t, id)
			if j.State != job.Done || j.Totals.Chunks != tt.chunks {
				t.Fatalf("the job is %s with %d chunks: %s", j.State, j.Totals.Chunks, j.Error)
			}
			if got, want := stack.SQL(t, tt.query), stack.SQL(t, tt.want); got != want {
				t.Errorf("the table has %q, want %q", got, want)
			}
		})
	}
}

// What a relation gives that does not fit fails its chunk, and no row is bent.
func TestRelationThatDoesNotFit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	id := submit(t, dir, "pipeline: bent\nsource:\n  generate: {rows: 300, select: 'number AS id'}\n  columns: id UInt8\n  rows: 200\nload: {table: bent, create: ENGINE = MergeTree ORDER BY tuple()}\n")
	j := stack.Ended(t, id)
	if j.Totals.Chunks != 1 || j.Totals.Dead != 1 || j.Totals.RowsLoaded != 200 {
		t.Errorf("the job is %s with %+v", j.State, j.Totals)
	}
}

// A mistake in a query is reported with its place.
func TestMistakeInAQuery(t *testing.T) {
	t.Parallel()
	id := submit(t, t.TempDir(), "pipeline: wrong\nsource:\n  query: {sql: SELECT 1 AS a FROM nowhere}\nload: {table: wrong, create: ENGINE = MergeTree ORDER BY a}\n")
	j := stack.Ended(t, id)
	if j.State != job.Failed || !strings.Contains(j.Error, "nowhere") {
		t.Errorf("the job is %s: %s", j.State, j.Error)
	}
}

// Rows that come in any order make the same blocks at each attempt: they are
// sorted before they are cut into blocks.
func TestBigRelation(t *testing.T) {
	t.Parallel()
	id := submit(t, t.TempDir(), "pipeline: big\nsource:\n  query: {sql: 'SELECT rand() % 1000000000 AS r, randomString(10) AS s, [number, number] AS l FROM numbers(100000)'}\nload: {table: big, create: ENGINE = MergeTree ORDER BY tuple()}\n")
	j := stack.Ended(t, id)
	if j.State != job.Done || j.Totals.RowsLoaded != 100_000 {
		t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
	if got, want := stack.SQL(t, "SELECT count(), uniqExact(l) FROM big"), "100000\t100000"; got != want {
		t.Errorf("the table has %q", got)
	}
	// Parts are in the order of the blocks.
	got := stack.SQL(t, "SELECT count(), min(ok) FROM (SELECT max(r) <= lead(min(r), 1, 4000000000) OVER (ORDER BY min(r)) AS ok FROM (SELECT _part, r FROM big) GROUP BY _part)")
	if strings.HasPrefix(got, "1\t") || !strings.HasSuffix(got, "\t1") {
		t.Errorf("blocks and whether they are apart: %q", got)
	}
}
