package clickhouse_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// staged makes a target with a row in each of the partitions 0, 1 and 2, and a
// staging table with three parts in partition 1 and one in 3.
func staged(t *testing.T, c *clickhouse.Client, name string) clickhouse.PartitionsSpec {
	t.Helper()
	spec := clickhouse.PartitionsSpec{Target: clickhouse.Table{Database: c.Database(), Name: name}, Staging: clickhouse.Table{Database: c.Database(), Name: name + " staging"}}
	err := c.Create(t.Context(), clickhouse.CreateSpec{Table: spec.Target, Columns: columns, Engine: "ENGINE = MergeTree PARTITION BY id % 10 ORDER BY id"})
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.CreateLike(t.Context(), spec.Staging, spec.Target)
	if err != nil {
		t.Fatal(err)
	}
	spec.TargetUUID, spec.StagingUUID = uuidOf(t, c, spec.Target), made.UUID
	exec1(t, c, "INSERT INTO "+spec.Target.SQL()+" (id, s) SELECT number, 'old' FROM numbers(3)")
	return spec
}

func stage(t *testing.T, c *clickhouse.Client, spec clickhouse.PartitionsSpec) {
	t.Helper()
	exec1(t, c, "SYSTEM STOP MERGES "+spec.Staging.SQL())
	for _, id := range []int{1, 11, 21, 3} {
		exec1(t, c, fmt.Sprintf("INSERT INTO %s (id, s) VALUES (%d, 'new')", spec.Staging.SQL(), id))
	}
	exec1(t, c, "SYSTEM START MERGES "+spec.Staging.SQL())
}

func rowsOf(t *testing.T, c *clickhouse.Client, table clickhouse.Table) string {
	t.Helper()
	return strings.ReplaceAll(query(t, c, "SELECT concat(toString(id), s) FROM "+table.SQL()+" ORDER BY id"), "\n", " ")
}

const replaced = "0old 1new 2old 3new 11new 21new"

func TestReplacePartitions(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	spec := staged(t, c, "t")
	if got, err := c.ReplacePartitions(t.Context(), spec); err != nil || len(got) != 0 || rowsOf(t, c, spec.Target) != "0old 1old 2old" {
		t.Errorf("by nothing: got %v, %v, %s", got, err, rowsOf(t, c, spec.Target))
	}
	stage(t, c, spec)
	// All rows of a partition deleted again: as if they never came.
	exec1(t, c, "INSERT INTO "+spec.Staging.SQL()+" (id, s) VALUES (2, 'gone')")
	exec1(t, c, "DELETE FROM "+spec.Staging.SQL()+" WHERE id = 2")
	for range 3 {
		got, err := c.ReplacePartitions(t.Context(), spec)
		if err != nil || !reflect.DeepEqual(got, []clickhouse.PartitionRows{{Partition: "1", ID: "1", Rows: 3}, {Partition: "3", ID: "3", Rows: 1}}) {
			t.Fatalf("got %v, %v", got, err)
		}
		if got := rowsOf(t, c, spec.Target); got != replaced {
			t.Errorf("the target holds %s", got)
		}
	}
	if got := query(t, c, "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = 't' AND active AND partition_id = '1'"); got != "1" {
		t.Errorf("%s parts", got)
	}
	if err := c.DropStaging(t.Context(), spec.Staging, spec.StagingUUID); err != nil {
		t.Fatal(err)
	}
	_, err := c.ReplacePartitions(t.Context(), spec)
	if !errors.Is(err, clickhouse.ErrNoTable) {
		t.Errorf("got %v", err)
	}
	wantClass(t, err, job.Permanent)
}

func TestReplacePartitionsKilledAnywhere(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	for n := 1; ; n++ {
		spec := staged(t, c, fmt.Sprintf("t%d", n))
		stage(t, c, spec)
		ran := 0
		_, err := c.ReplacePartitionsHooked(t.Context(), spec, killAfter(n, &ran))
		if err != nil && !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		if _, again := c.ReplacePartitions(t.Context(), spec); again != nil || rowsOf(t, c, spec.Target) != replaced {
			t.Errorf("after %d statements: %v, %s", n, again, rowsOf(t, c, spec.Target))
		}
		if err == nil {
			if ran < 2 || ran > 3 { // a merge may have come first by itself
				t.Errorf("%d statements", ran)
			}
			return
		}
	}
}

func TestReplacePartitionsRefuses(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	spec := staged(t, c, "t")
	for create, code := range map[string]int32{
		"(id UInt64, s String, _job LowCardinality(String), _chunk UInt32) ENGINE = MergeTree PARTITION BY id % 7 ORDER BY id":       36,
		"(id UInt64, s String, _job LowCardinality(String), _chunk UInt32) ENGINE = MergeTree PARTITION BY id % 10 ORDER BY (s, id)": 36,
		"(id UInt64, s String) ENGINE = MergeTree PARTITION BY id % 10 ORDER BY id":                                                  122,
	} {
		exec1(t, c, "DROP TABLE IF EXISTS "+quoted(c.Database())+".other")
		exec1(t, c, "CREATE TABLE other "+create)
		exec1(t, c, "INSERT INTO other (id, s) VALUES (1, 'new')")
		bad := spec
		bad.Staging = clickhouse.Table{Name: "other"}
		bad.StagingUUID = uuidOf(t, c, bad.Staging)
		_, err := c.ReplacePartitions(t.Context(), bad)
		var x *clickhouse.Exception
		if !errors.As(err, &x) || x.Code != code {
			t.Errorf("%s: got %v", create, err)
		}
		wantClass(t, err, job.Permanent)
	}
	stage(t, c, spec)
	for _, change := range []func(*clickhouse.PartitionsSpec){
		func(s *clickhouse.PartitionsSpec) { s.StagingUUID = s.TargetUUID },
		func(s *clickhouse.PartitionsSpec) { s.StagingUUID = "" },
		func(s *clickhouse.PartitionsSpec) { s.TargetUUID = s.StagingUUID },
	} {
		bad := spec
		change(&bad)
		_, err := c.ReplacePartitions(t.Context(), bad)
		var e *clickhouse.TakenError
		if !errors.As(err, &e) {
			t.Errorf("got %v", err)
		}
		wantClass(t, err, job.Permanent)
	}
	if got := rowsOf(t, c, spec.Target); got != "0old 1old 2old" {
		t.Errorf("the target holds %s", got)
	}
}
