package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// reading runs a query again and again until the test is done with it, on
// connections of its own, and checks every answer. The function it returns ends
// that, and returns how many answers there were.
func reading(t *testing.T, c *clickhouse.Client, sql string, check func(answer string) error) (end func() int) {
	t.Helper()
	const readers = 2
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	answers := make([]int, readers)
	started := make(chan struct{}, readers)
	for i := range readers {
		wg.Go(func() {
			for {
				var b strings.Builder
				err := c.Query(ctx, sql, "", &b)
				if ctx.Err() != nil {
					return
				}
				if err == nil {
					err = check(strings.TrimSpace(b.String()))
				}
				if err != nil {
					t.Errorf("a reader: %v", err)
					cancel()
				}
				if answers[i]++; answers[i] == 1 {
					started <- struct{}{}
				}
			}
		})
	}
	for range readers {
		select {
		case <-started:
		case <-ctx.Done():
		}
	}
	return func() int {
		cancel()
		wg.Wait()
		return answers[0] + answers[1]
	}
}

// Who reads while a table is replaced, again and again, sees all rows of one
// generation, and the table at any time.
func TestReadersDuringSwapIn(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	const rows = 5000
	table := target(t, c, "t")
	fill := func(to clickhouse.Table, generation int) {
		for i := range 5 { // several parts
			exec1(t, c, fmt.Sprintf("INSERT INTO %s (id, s) SELECT number, '%d' FROM numbers(%d, %d)", to.SQL(), generation, i*rows/5, rows/5))
		}
	}
	fill(table, 0)
	seen := sync.Map{}
	end := reading(t, c, "SELECT count(), uniqExact(id), uniqExact(s), any(s) FROM "+table.SQL(), func(answer string) error {
		generation, ok := strings.CutPrefix(answer, fmt.Sprintf("%d\t%d\t1\t", rows, rows))
		if !ok {
			return fmt.Errorf("it saw %q", answer)
		}
		seen.Store(generation, true)
		return nil
	})
	uuid := uuidOf(t, c, table)
	const swaps = 5
	for n := 1; n <= swaps; n++ {
		staging := clickhouse.Table{Database: c.Database(), Name: fmt.Sprint("staging ", n)}
		made, err := c.CreateLike(t.Context(), staging, table)
		if err != nil {
			t.Fatal(err)
		}
		fill(staging, n)
		if err := c.SwapIn(t.Context(), clickhouse.SwapSpec{Target: table, Staging: staging, TargetUUID: uuid, StagingUUID: made.UUID}); err != nil {
			t.Fatal(err)
		}
		uuid = made.UUID
	}
	answers := end()
	generations := 0
	seen.Range(func(any, any) bool { generations++; return true })
	if answers < swaps || generations < 2 {
		t.Errorf("%d answers of %d generations prove nothing", answers, generations)
	}
}

// A job that has rows for three partitions of five, and is killed between any
// two of them: each partition is as it was or as it is to be, whenever it is
// looked at, and the others are as they were.
func TestReplaceThreePartitionsOfFive(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	const rows = 200 // of a partition
	for n := 1; ; n++ {
		spec := clickhouse.PartitionsSpec{Target: clickhouse.Table{Database: c.Database(), Name: fmt.Sprint("t", n)}, Staging: clickhouse.Table{Database: c.Database(), Name: fmt.Sprint("staging ", n)}}
		if err := c.Create(t.Context(), clickhouse.CreateSpec{Table: spec.Target, Columns: columns, OrderBy: "id", PartitionBy: "id % 5"}); err != nil {
			t.Fatal(err)
		}
		made, err := c.CreateLike(t.Context(), spec.Staging, spec.Target)
		if err != nil {
			t.Fatal(err)
		}
		spec.TargetUUID, spec.StagingUUID = uuidOf(t, c, spec.Target), made.UUID
		exec1(t, c, fmt.Sprintf("INSERT INTO %s (id, s) SELECT number, 'old' FROM numbers(%d)", spec.Target.SQL(), 5*rows))
		for i := range 3 { // chunks, each with rows of all three
			exec1(t, c, fmt.Sprintf("INSERT INTO %s (id, s) SELECT number, 'new' FROM numbers(%d) WHERE number %% 5 BETWEEN 1 AND 3 AND intDiv(number, 5) %% 3 = %d", spec.Staging.SQL(), 5*rows, i))
		}
		state := "SELECT groupArray(concat(toString(p), s, toString(n))) FROM (SELECT id % 5 AS p, s, count() AS n FROM " + spec.Target.SQL() + " GROUP BY p, s ORDER BY p)"
		whole := func(answer string) error {
			want := "['0old200','1%s200','2%s200','3%s200','4old200']"
			for i := range 8 {
				var each [3]any
				for p := range each {
					each[p] = []string{"old", "new"}[i>>p&1]
				}
				if answer == fmt.Sprintf(want, each[:]...) {
					return nil
				}
			}
			return fmt.Errorf("it saw %s", answer)
		}
		end := reading(t, c, state, whole)
		ran := 0
		_, err = c.ReplacePartitionsHooked(t.Context(), spec, killAfter(n, &ran))
		if err != nil && !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		if err := whole(query(t, c, state)); err != nil {
			t.Errorf("killed after %d statements: %v", n, err)
		}
		got, again := c.ReplacePartitions(t.Context(), spec)
		end()
		if again != nil || len(got) != 3 || got[0].Rows+got[1].Rows+got[2].Rows != 3*rows {
			t.Fatalf("after %d statements: %v, %v", n, got, again)
		}
		if got := query(t, c, state); got != "['0old200','1new200','2new200','3new200','4old200']" {
			t.Errorf("after %d statements the target has %s", n, got)
		}
		if err == nil {
			if ran < 3 {
				t.Errorf("%d statements", ran)
			}
			return
		}
	}
}

// Statements for a cluster, which the engine of the tests does not have, are
// such as its parser understands, and fail for want of the cluster.
func TestStatementsForACluster(t *testing.T) {
	t.Parallel()
	c := openIn(t, shared.URL())
	table := clickhouse.Table{Database: c.Database(), Name: "t"}
	spec := clickhouse.CreateSpec{
		Table: table, Columns: columns, OnCluster: "{cluster}", DedupWindow: 7,
		Engine: "ReplicatedReplacingMergeTree(id)", OrderBy: "id", PartitionBy: "id % 3", TTL: "toDateTime(id) + INTERVAL 70 YEAR",
		Settings: map[string]string{"index_granularity": "1024"}, Codecs: map[string]string{"s": "ZSTD(3)"},
	}
	create, _, err := spec.Statements()
	if err != nil {
		t.Fatal(err)
	}
	spec.Engine, spec.OrderBy, spec.PartitionBy, spec.TTL, spec.Settings = "ENGINE = ReplicatedMergeTree ORDER BY id COMMENT 'x'", "", "", "", nil
	clause, widen, err := spec.Statements()
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{create, clause, widen, clickhouse.AddColumnsSQL(table, columns, "{cluster}")} {
		formatted := query(t, c, "SELECT formatQuerySingleLine("+"'"+strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(sql)+"')")
		if !strings.Contains(formatted, " ON CLUSTER `{cluster}`") {
			t.Errorf("%s is understood as %s", sql, formatted)
		}
	}
	spec.OnCluster = "none"
	exec1(t, c, "CREATE TABLE t (id UInt64) ENGINE = MergeTree ORDER BY id")
	_, added := c.AddColumns(t.Context(), table, []job.Column{{Name: "x", Type: "UInt8"}}, "none")
	for what, err := range map[string]error{"create": c.Create(t.Context(), spec), "add": added} {
		var x *clickhouse.Exception
		if !errors.As(err, &x) || x.Code == 62 {
			t.Errorf("%s: got %v", what, err)
		}
	}
}
