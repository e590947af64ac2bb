package clickhouse_test

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/job"
)

// crash kills an engine and waits until it runs again, on the same data.
func crash(t *testing.T, p *engine.Process, c *clickhouse.Client) {
	t.Helper()
	before := p.Restarts()
	if err := syscall.Kill(p.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the engine answers again", func() bool { return p.Restarts() > before && c.Ping(t.Context()) == nil })
}

// A block that spans partitions is committed part by part. What a crash left of
// it is completed by the next attempt, and nothing of it comes twice.
func TestLoadIntoPartitionsOfAServerThatDies(t *testing.T) {
	t.Parallel()
	p := ownEngine(t, t.TempDir())
	defer closeEngine(t, p)
	c := open(t, p.URL())
	const partitions = 1000 // ten times of what servers refuse by default
	table := clickhouse.Table{Database: c.Database(), Name: "p"}
	if err := c.Create(t.Context(), clickhouse.CreateSpec{Table: table, Columns: columns, Engine: fmt.Sprintf("ENGINE = MergeTree PARTITION BY id %% %d ORDER BY id", partitions)}); err != nil {
		t.Fatal(err)
	}
	body := block(t, c, 0, 0, 2*partitions)
	out := make(chan error, 1)
	go func() { out <- c.Load(t.Context(), load(table, body, "a")) }()
	count := func() int {
		n, err := strconv.Atoi(query(t, c, "SELECT count() FROM p"))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	eventually(t, "the first parts", func() bool { return count() > 0 })
	crash(t, p, c)
	wantClass(t, <-out, job.Unknown)
	if n := count(); n == 0 || n == 2*partitions {
		t.Fatalf("%d rows survived: the crash was not in the middle", n)
	}
	mustLoad(t, c, load(table, body, "a"))
	if got := query(t, c, "SELECT count(), uniqExact(id) FROM p"); got != "2000\t2000" {
		t.Errorf("got %s rows and different ones", got)
	}
}

// withViews makes a target with views of engines that merge, one of them on
// the table that another fills. Each is slower than the target.
func withViews(t *testing.T, c *clickhouse.Client) clickhouse.Table {
	t.Helper()
	table := target(t, c, "t")
	const window = " SETTINGS non_replicated_deduplication_window = 10000"
	for _, sql := range []string{
		"CREATE TABLE sums (k UInt64, n UInt64) ENGINE = SummingMergeTree ORDER BY k" + window,
		"CREATE TABLE states (k UInt64, s AggregateFunction(sum, UInt64), u AggregateFunction(uniqExact, UInt64)) ENGINE = AggregatingMergeTree ORDER BY k" + window,
		"CREATE TABLE chained (h UInt64, n UInt64) ENGINE = SummingMergeTree ORDER BY h" + window,
		"CREATE MATERIALIZED VIEW to_sums TO sums AS SELECT id % 10 AS k, count() AS n FROM t GROUP BY k",
		"CREATE MATERIALIZED VIEW to_states TO states AS SELECT id % 10 AS k, sumState(id) AS s, uniqExactState(id) AS u FROM t GROUP BY k",
		"CREATE MATERIALIZED VIEW to_chained TO chained AS SELECT k % 2 AS h, sum(n) AS n FROM sums GROUP BY h",
	} {
		exec1(t, c, sql)
	}
	if _, err := c.CheckTarget(t.Context(), table, columns); err != nil {
		t.Fatal(err)
	}
	return table
}

// wantViews checks that target and views agree on the first rows ids, each of
// which has come so many times (under different tokens).
func wantViews(t *testing.T, c *clickhouse.Client, rows, times int) {
	t.Helper()
	for sql, want := range map[string]string{
		"SELECT count(), sum(id) FROM t":                    fmt.Sprintf("%d\t%d", rows*times, rows*(rows-1)/2*times),
		"SELECT sum(n) FROM sums":                           fmt.Sprint(rows * times),
		"SELECT sumMerge(s), uniqExactMerge(u) FROM states": fmt.Sprintf("%d\t%d", rows*(rows-1)/2*times, rows),
		"SELECT sum(n) FROM chained":                        fmt.Sprint(rows * times),
	} {
		if got := query(t, c, sql); got != want {
			t.Errorf("%s: got %s, want %s", sql, got, want)
		}
	}
}

func TestViewsStayRight(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	table := withViews(t, c)
	body := block(t, c, 0, 0, 10000)
	for range 5 {
		mustLoad(t, c, load(table, body, "a"))
	}
	wantViews(t, c, 10000, 1)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { errs[i] = c.Load(t.Context(), load(table, body, "b")) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	wantViews(t, c, 10000, 2)
	exec1(t, c, "OPTIMIZE TABLE sums FINAL")
	mustLoad(t, c, load(table, body, "b"))
	wantViews(t, c, 10000, 2)
}

// The server dies when the target has its rows and a view has not.
func TestViewsOfAServerThatDies(t *testing.T) {
	t.Parallel()
	p := ownEngine(t, t.TempDir())
	defer closeEngine(t, p)
	c := open(t, p.URL())
	table := withViews(t, c)
	exec1(t, c, "DROP VIEW to_states")
	exec1(t, c, "CREATE MATERIALIZED VIEW to_states TO states AS SELECT id % 10 AS k, sumState(id) AS s, uniqExactState(id) AS u FROM t WHERE sleep(2) = 0 GROUP BY k")
	body := block(t, c, 0, 0, 1000)
	out := make(chan error, 1)
	go func() { out <- c.Load(t.Context(), load(table, body, "a")) }()
	eventually(t, "the target's rows", func() bool { return query(t, c, "SELECT count() FROM t") == "1000" })
	crash(t, p, c)
	wantClass(t, <-out, job.Unknown)
	if got := query(t, c, "SELECT count() FROM t") + " " + query(t, c, "SELECT count() FROM states"); got != "1000 0" {
		t.Fatalf("%s rows survived: the crash was not in the middle", got)
	}
	for range 2 {
		mustLoad(t, c, load(table, body, "a"))
		wantViews(t, c, 1000, 1)
	}
}
