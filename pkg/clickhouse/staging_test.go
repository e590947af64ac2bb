package clickhouse_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

func TestCreateLike(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	like, staging := clickhouse.Table{Name: "t"}, clickhouse.Table{Name: "t staging"}
	err := c.Create(t.Context(), clickhouse.CreateSpec{Table: like, Columns: columns, Engine: "ENGINE = MergeTree PARTITION BY id % 3 ORDER BY id TTL toDate(id) + INTERVAL 99 YEAR RECOMPRESS CODEC(ZSTD(3)) SETTINGS index_granularity = 1024", DedupWindow: 12345})
	if err != nil {
		t.Fatal(err)
	}
	exec1(t, c, "CREATE MATERIALIZED VIEW v ENGINE = MergeTree ORDER BY id AS SELECT id FROM t")
	for _, alter := range []string{"ADD COLUMN d UInt8 DEFAULT 7 COMMENT 'seven)' CODEC(ZSTD(3))", "ADD INDEX i s TYPE minmax", "ADD PROJECTION p (SELECT s, count() GROUP BY s)", "ADD CONSTRAINT c CHECK id < 100", "MODIFY COMMENT 'a table (of mine'"} {
		exec1(t, c, "ALTER TABLE t "+alter)
	}
	var uuid string
	for range 2 {
		info, err := c.CreateLike(t.Context(), staging, like)
		if err != nil {
			t.Fatal(err)
		}
		if !info.HasProvenance() || info.DedupWindow != 12345 || info.PartitionKey != "id % 3" || info.SortingKey != "id" || len(info.Views) != 0 || len(info.Columns) != 5 || uuid != "" && info.UUID != uuid {
			t.Errorf("got %+v", info)
		}
		uuid = info.UUID
		exec1(t, c, "INSERT INTO `t staging` (id) VALUES (1)")
	}
	if got := query(t, c, "SELECT (SELECT count() FROM v), (SELECT count() FROM `t staging`)"); got != "0\t1" {
		t.Errorf("got %s", got)
	}
	for _, change := range []string{"ALTER TABLE t ADD INDEX j d TYPE set(9)", "ALTER TABLE t ADD COLUMN e String", "ALTER TABLE `t staging` ADD COLUMN e UInt8", "ALTER TABLE `t staging` MODIFY SETTING merge_max_block_size = 99"} {
		exec1(t, c, change)
		_, err := c.CreateLike(t.Context(), staging, like)
		var e *clickhouse.StructureError
		if !errors.As(err, &e) || len(e.Differ) == 0 {
			t.Errorf("%s: got %v", change, err)
		}
		wantClass(t, err, job.Permanent)
	}
	if _, err := c.CreateLike(t.Context(), staging, clickhouse.Table{Name: "none"}); !errors.Is(err, clickhouse.ErrNoTable) {
		t.Errorf("got %v", err)
	}
	exec1(t, c, "CREATE TABLE m (a UInt8) ENGINE = Memory")
	var engine *clickhouse.EngineError
	if _, err := c.CreateLike(t.Context(), clickhouse.Table{Name: "m2"}, clickhouse.Table{Name: "m"}); !errors.As(err, &engine) {
		t.Errorf("got %v", err)
	}
}

func TestDropStaging(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	killed := errors.New("killed")
	for n := range 3 {
		table := target(t, c, fmt.Sprintf("t%d", n))
		uuid, ran := uuidOf(t, c, table), 0
		err := c.DropStagingHooked(t.Context(), table, uuid, func(_ string, done bool) error {
			if !done {
				return nil
			}
			if ran++; ran == n {
				return killed
			}
			return nil
		})
		if (n == 0) != (err == nil) || err != nil && !errors.Is(err, killed) {
			t.Fatalf("%d: %v", n, err)
		}
		next := target(t, c, table.Name) // of another job
		for range 2 {
			if err := c.DropStaging(t.Context(), table, uuid); err != nil {
				t.Fatal(err)
			}
		}
		if uuidOf(t, c, next) == uuid {
			t.Error("it is still there")
		}
	}
	if got := tables(t, c); got != "t0, t1, t2" {
		t.Errorf("left: %s", got)
	}

	// Another table comes under the name between the look and the RENAME.
	table := clickhouse.Table{Database: c.Database(), Name: "t0"}
	uuid, other := uuidOf(t, c, table), uuidOf(t, c, clickhouse.Table{Name: "t1"})
	met := false
	err := c.DropStagingHooked(t.Context(), table, uuid, func(sql string, done bool) error {
		if strings.HasPrefix(sql, "RENAME") && !done && !met {
			met = true
			exec1(t, c, "EXCHANGE TABLES t0 AND t1")
		}
		return nil
	})
	if err != nil || !met {
		t.Fatal(met, err)
	}
	if uuidOf(t, c, table) != other || uuidOf(t, c, clickhouse.Table{Name: "t1"}) != uuid || tables(t, c) != "t0, t1, t2" {
		t.Errorf("left: %s", tables(t, c))
	}

	// A swap that was given up had moved it.
	exec1(t, c, "RENAME TABLE t1 TO t_dray_new_01234567_abcdefghijklmnopqrstuvwxyz")
	if err := c.DropStaging(t.Context(), table, uuid); err != nil || tables(t, c) != "t0, t2" {
		t.Errorf("got %v, left: %s", err, tables(t, c))
	}
	for _, none := range []string{"", "00000000-0000-0000-0000-000000000000", "' OR 1"} {
		wantClass(t, c.DropStaging(t.Context(), table, none), job.Permanent)
	}
}

// A server refuses to drop what is larger than 50 GB, unless the query says
// otherwise.
func TestLimitsOnDropsAreLifted(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	table := target(t, c, "t")
	exec1(t, c, "INSERT INTO t (id) VALUES (1)")
	var x *clickhouse.Exception
	err := c.Exec(t.Context(), "DROP TABLE t SETTINGS max_table_size_to_drop = 1")
	if !errors.As(err, &x) || x.Code != 359 {
		t.Errorf("got %v", err)
	}
	wantClass(t, err, job.Permanent)
	const both = "SELECT throwIf(count() != 2) FROM system.settings WHERE name IN ('max_table_size_to_drop', 'max_partition_size_to_drop') AND changed AND value = '0'"
	if err := c.ExecSized(t.Context(), both); err != nil {
		t.Error(err)
	}
	if err := c.Exec(t.Context(), both); err == nil {
		t.Error("they are lifted for others")
	}
	if err := c.DropStaging(t.Context(), table, uuidOf(t, c, table)); err != nil || tables(t, c) != "" {
		t.Errorf("got %v", err)
	}
}
