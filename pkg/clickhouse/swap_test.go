package clickhouse_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// swap makes a target with a row "old" and a staging table like it with a row
// "new".
func swap(t *testing.T, c *clickhouse.Client, name string) clickhouse.SwapSpec {
	t.Helper()
	spec := clickhouse.SwapSpec{Target: target(t, c, name), Staging: clickhouse.Table{Database: c.Database(), Name: name + " staging"}}
	exec1(t, c, "INSERT INTO "+spec.Target.SQL()+" (id, s) VALUES (1, 'old')")
	spec.TargetUUID = uuidOf(t, c, spec.Target)
	made, err := c.CreateLike(t.Context(), spec.Staging, spec.Target)
	if err != nil {
		t.Fatal(err)
	}
	exec1(t, c, "INSERT INTO "+spec.Staging.SQL()+" (id, s) VALUES (1, 'new')")
	spec.StagingUUID = made.UUID
	return spec
}

func uuidOf(t *testing.T, c *clickhouse.Client, table clickhouse.Table) string {
	t.Helper()
	return query(t, c, "SELECT toString(uuid) FROM system.tables WHERE database = '"+strings.ReplaceAll(c.Database(), "'", "\\'")+"' AND name = '"+table.Name+"'")
}

// wantSwapped checks that of both tables only the new one is there, as Target.
func wantSwapped(t *testing.T, c *clickhouse.Client, spec clickhouse.SwapSpec) {
	t.Helper()
	got := query(t, c, fmt.Sprintf("SELECT name FROM system.tables WHERE database = currentDatabase() AND toString(uuid) IN ('%s', '%s')", spec.StagingUUID, spec.TargetUUID))
	if got != spec.Target.Name || uuidOf(t, c, spec.Target) != spec.StagingUUID {
		t.Errorf("there is %q", got)
	}
	if got := query(t, c, "SELECT s FROM "+spec.Target.SQL()); got != "new" {
		t.Errorf("the target holds %q", got)
	}
}

func tables(t *testing.T, c *clickhouse.Client) string {
	t.Helper()
	return strings.ReplaceAll(query(t, c, "SELECT name FROM system.tables WHERE database = currentDatabase() ORDER BY name"), "\n", ", ")
}

func TestSwapIn(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	spec := swap(t, c, "t`1")
	for range 3 {
		if err := c.SwapIn(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		wantSwapped(t, c, spec)
	}
	if err := c.DropStaging(t.Context(), spec.Staging, spec.StagingUUID); err != nil { // it is the target now
		t.Fatal(err)
	}
	wantSwapped(t, c, spec)
	if got := tables(t, c); got != "t`1" {
		t.Errorf("left: %s", got)
	}

	// By nothing, and where there was nothing.
	empty := clickhouse.SwapSpec{Target: spec.Target, Staging: spec.Staging, TargetUUID: spec.StagingUUID}
	made, err := c.CreateLike(t.Context(), spec.Staging, spec.Target)
	if err != nil {
		t.Fatal(err)
	}
	empty.StagingUUID = made.UUID
	if err := c.SwapIn(t.Context(), empty); err != nil || query(t, c, "SELECT count() FROM "+spec.Target.SQL()) != "0" {
		t.Errorf("got %v", err)
	}
	first := clickhouse.SwapSpec{Target: clickhouse.Table{Name: "first"}, Staging: clickhouse.Table{Name: "s"}}
	if made, err = c.CreateLike(t.Context(), first.Staging, spec.Target); err != nil {
		t.Fatal(err)
	}
	first.StagingUUID = made.UUID
	if err := c.SwapIn(t.Context(), first); err != nil || uuidOf(t, c, first.Target) != made.UUID {
		t.Errorf("got %v", err)
	}
}

func TestSwapInKilledAnywhere(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	for n := 1; ; n++ {
		spec := swap(t, c, fmt.Sprintf("t%d", n))
		ran := 0
		err := c.SwapInHooked(t.Context(), spec, killAfter(n, &ran))
		if err != nil && !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		whole := err == nil
		if err := c.SwapIn(t.Context(), spec); err != nil {
			t.Fatalf("after %d statements: %v", n, err)
		}
		wantSwapped(t, c, spec)
		if whole {
			if ran != 3 {
				t.Errorf("%d statements", ran)
			}
			return
		}
	}
}

// TestSwapInMeetsLateStatements has a zombie send statements of a swap that it
// began long ago, before and after each one of ours.
func TestSwapInMeetsLateStatements(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	for n, late := range []string{
		"EXCHANGE TABLES %[1]s AND %[2]s",
		"RENAME TABLE %[2]s TO %[3]s",
		"EXCHANGE TABLES %[1]s AND %[2]s; RENAME TABLE %[2]s TO %[3]s",
	} {
		for at := range 6 { // three statements
			spec := swap(t, c, fmt.Sprintf("t%d%d", n, at))
			drop := spec.Target
			drop.Name += "_dray_old_" + spec.TargetUUID[:8] + "_abcdefghijklmnopqrstuvwxyz"
			met := 0
			err := c.SwapInHooked(t.Context(), spec, func(string, bool) error {
				if met++; met != at+1 {
					return nil
				}
				for sql := range strings.SplitSeq(fmt.Sprintf(late, spec.Target.SQL(), spec.Staging.SQL(), drop.SQL()), ";") {
					_ = c.Exec(t.Context(), sql) // it may come too late
				}
				return nil
			})
			if err != nil {
				t.Fatalf("%s at %d: %v", late, at, err)
			}
			wantSwapped(t, c, spec)
		}
	}
	for name := range strings.SplitSeq(tables(t, c), ", ") {
		if strings.Contains(name, "_dray_") || strings.Contains(name, "staging") {
			t.Errorf("left: %s", name)
		}
	}
}

// TestSwapInDropsNothingElse puts a table of somebody else under the name that
// the old one had, just before it is moved away from there.
func TestSwapInDropsNothingElse(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	spec := swap(t, c, "t")
	other := target(t, c, "other")
	uuid := uuidOf(t, c, other)
	met := false
	err := c.SwapInHooked(t.Context(), spec, func(sql string, done bool) error {
		if strings.HasPrefix(sql, "RENAME") && !done && !met {
			met = true
			exec1(t, c, "EXCHANGE TABLES other AND "+spec.Staging.SQL())
		}
		return nil
	})
	if err != nil || !met {
		t.Fatal(met, err)
	}
	wantSwapped(t, c, spec)
	if got := uuidOf(t, c, spec.Staging); got != uuid || tables(t, c) != "t, t staging" {
		t.Errorf("left: %s, %s", got, tables(t, c))
	}
}

func TestSwapInKeepsWhatNamesTheTarget(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	spec := swap(t, c, "t")
	exec1(t, c, "CREATE TABLE src (id UInt64, s String) ENGINE = MergeTree ORDER BY id")
	exec1(t, c, "CREATE TABLE fed (s String) ENGINE = MergeTree ORDER BY s")
	exec1(t, c, "CREATE MATERIALIZED VIEW v TO fed AS SELECT s FROM t")
	exec1(t, c, "CREATE MATERIALIZED VIEW v2 TO t AS SELECT id, s FROM src")
	exec1(t, c, "CREATE DICTIONARY dict (id UInt64, s String) PRIMARY KEY id SOURCE(CLICKHOUSE(TABLE 't')) LIFETIME(0) LAYOUT(FLAT())")
	if err := c.SwapIn(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	wantSwapped(t, c, spec)
	exec1(t, c, "INSERT INTO t (id, s) VALUES (2, 'later')")
	exec1(t, c, "INSERT INTO src (id, s) VALUES (3, 'through')")
	if got := query(t, c, "SELECT (SELECT arraySort(groupArray(s)) FROM fed), (SELECT arraySort(groupArray(s)) FROM t)"); got != "['later','through']\t['later','new','through']" {
		t.Errorf("got %s", got)
	}
}

func TestSwapInByTwoAtOnce(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	rounds := 10
	if os.Getenv("DRAY_TEST_LONG") != "" { // a minute
		rounds = 200
	}
	for n := range rounds {
		spec := swap(t, c, fmt.Sprintf("t%d", n))
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = c.SwapIn(t.Context(), spec) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		wantSwapped(t, c, spec)
		exec1(t, c, "DROP TABLE "+spec.Target.SQL())
	}
	if got := tables(t, c); got != "" {
		t.Errorf("left: %s", got)
	}
}

func TestSwapInRefuses(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	spec := swap(t, c, "t")
	other := target(t, c, "other")
	for name, tc := range map[string]struct {
		change func(*clickhouse.SwapSpec)
		want   func(error) bool
	}{
		"a third table": {func(s *clickhouse.SwapSpec) { s.Target = other }, func(err error) bool {
			var e *clickhouse.TakenError
			return errors.As(err, &e) && e.Want == spec.TargetUUID && e.Found == uuidOf(t, c, other)
		}},
		"no staging": {func(s *clickhouse.SwapSpec) { s.StagingUUID = "01234567-0123-0123-0123-0123456789ab" }, func(err error) bool { return errors.Is(err, clickhouse.ErrNoTable) }},
		"no database": {func(s *clickhouse.SwapSpec) { s.Target.Database, s.Staging.Database = "nope", "nope" }, func(err error) bool {
			return errors.Is(err, clickhouse.ErrNoTable)
		}},
		"another database": {func(s *clickhouse.SwapSpec) { s.Staging.Database = "default" }, func(error) bool { return true }},
		"no uuid":          {func(s *clickhouse.SwapSpec) { s.StagingUUID = "00000000-0000-0000-0000-000000000000" }, func(error) bool { return true }},
	} {
		s := spec
		tc.change(&s)
		err := c.SwapIn(t.Context(), s)
		if err == nil || !tc.want(err) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		wantClass(t, err, job.Permanent)
	}
	memory := c.Database() + " memory"
	exec1(t, c, "CREATE DATABASE "+quoted(memory)+" ENGINE = Memory")
	spec.Target.Database, spec.Staging.Database = memory, memory
	var e *clickhouse.DatabaseEngineError
	err := c.SwapIn(t.Context(), spec)
	if !errors.As(err, &e) || e.Engine != "Memory" {
		t.Errorf("got %v", err)
	}
	wantClass(t, err, job.Permanent)
	if got := tables(t, c); got != "other, t, t staging" {
		t.Errorf("there is %s", got)
	}
}
