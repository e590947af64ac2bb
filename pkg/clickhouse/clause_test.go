package clickhouse_test

import (
	"errors"
	"strings"
	"testing"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

func TestCreateFromParts(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	cols := []job.Column{{Name: "id", Type: "UInt64"}, {Name: "a `b", Type: "String"}, {Name: "at", Type: "DateTime"}}
	for name, tc := range map[string]struct {
		spec   clickhouse.CreateSpec
		window uint64
		full   []string // pieces of what the server made of it
	}{
		"order":  {clickhouse.CreateSpec{OrderBy: "(id, at)"}, 77, []string{"MergeTree ORDER BY (id, at)"}},
		"list":   {clickhouse.CreateSpec{OrderBy: "id, at", PartitionBy: "id % 3, toYear(at)"}, 77, []string{"PARTITION BY (id % 3, toYear(at))", "ORDER BY (id, at)"}},
		"engine": {clickhouse.CreateSpec{Engine: "ReplacingMergeTree(at)", OrderBy: "id -- so"}, 77, []string{"ReplacingMergeTree(at) ORDER BY id"}},
		"all": {clickhouse.CreateSpec{
			Engine: "MergeTree", OrderBy: "id", PartitionBy: "toYYYYMM(at)", TTL: "at + INTERVAL 1 YEAR RECOMPRESS CODEC(ZSTD(3))",
			Settings: map[string]string{"index_granularity": "1024", "storage_policy": "default"},
			Codecs:   map[string]string{"id": "Delta, ZSTD(3)", "a `b": "LZ4HC", "_job": "ZSTD"},
		}, 77, []string{"PARTITION BY toYYYYMM(at)", "TTL at + toIntervalYear(1)", "index_granularity = 1024", "storage_policy = 'default'"}},
		"own window":   {clickhouse.CreateSpec{OrderBy: "tuple()", Settings: map[string]string{"non_replicated_deduplication_window": "5"}}, 5, nil},
		"whole clause": {clickhouse.CreateSpec{Engine: "ENGINE = MergeTree ORDER BY id", Codecs: map[string]string{"id": "Delta, ZSTD(3)", "a `b": "LZ4HC"}}, 77, nil},
	} {
		tc.spec.Table, tc.spec.Columns, tc.spec.DedupWindow = clickhouse.Table{Name: name}, cols, 77
		for range 2 {
			if err := c.Create(t.Context(), tc.spec); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		info, err := c.Describe(t.Context(), tc.spec.Table)
		if err != nil || info.DedupWindow != tc.window {
			t.Errorf("%s: got %+v, %v", name, info, err)
		}
		for _, piece := range tc.full {
			if !strings.Contains(info.EngineFull, piece) {
				t.Errorf("%s: %q is not in %s", name, piece, info.EngineFull)
			}
		}
		if tc.spec.Codecs != nil {
			got := query(t, c, "SELECT arraySort(groupArray(compression_codec)) FROM system.columns WHERE database = currentDatabase() AND table = '"+name+"' AND name IN ('id', 'a `b')")
			if got != `['CODEC(Delta(8), ZSTD(3))','CODEC(LZ4HC(0))']` {
				t.Errorf("%s: the codecs are %s", name, got)
			}
		}
	}
}

func TestCreateContradictions(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	for _, tc := range []struct {
		spec          clickhouse.CreateSpec
		field, column string
	}{
		{clickhouse.CreateSpec{Engine: "ENGINE = MergeTree ORDER BY id", OrderBy: "id"}, "Engine", ""},
		{clickhouse.CreateSpec{Engine: "MergeTree ORDER BY id", TTL: "x"}, "Engine", ""},
		{clickhouse.CreateSpec{Engine: "order by id", Settings: map[string]string{"a": "1"}}, "Engine", ""},
		{clickhouse.CreateSpec{Engine: "MergeTree"}, "OrderBy", ""},
		{clickhouse.CreateSpec{PartitionBy: "id"}, "OrderBy", ""},
		{clickhouse.CreateSpec{}, "OrderBy", ""},
		{clickhouse.CreateSpec{OrderBy: "id", Settings: map[string]string{"a = 1, b": "1"}}, "Settings", "a = 1, b"},
		{clickhouse.CreateSpec{OrderBy: "id", Codecs: map[string]string{"ID": "ZSTD"}}, "Codecs", "ID"},
		{clickhouse.CreateSpec{Engine: "ReplacingMergeTree", OrderBy: "id", Codecs: map[string]string{"_job": "ZSTD"}}, "Codecs", "_job"},
	} {
		tc.spec.Table, tc.spec.Columns = clickhouse.Table{Name: "t"}, columns
		err := c.Create(t.Context(), tc.spec)
		var e *clickhouse.ClauseError
		if !errors.As(err, &e) || e.Field != tc.field || e.Column != tc.column {
			t.Errorf("%+v: got %v", tc.spec, err)
		}
		wantClass(t, err, job.Permanent)
	}
	var engine *clickhouse.EngineError
	if err := c.Create(t.Context(), clickhouse.CreateSpec{Table: clickhouse.Table{Name: "t"}, Columns: columns, Engine: "Memory", OrderBy: "id"}); !errors.As(err, &engine) {
		t.Errorf("got %v", err)
	}
	var syntax *clickhouse.SyntaxError
	if err := c.Create(t.Context(), clickhouse.CreateSpec{Table: clickhouse.Table{Name: "t"}, Columns: columns, OrderBy: "(id"}); !errors.As(err, &syntax) || syntax.Line != 0 {
		t.Errorf("got %v", err)
	}
}

// The engine of the tests has no cluster: the text must do.
func TestCreateOnCluster(t *testing.T) {
	t.Parallel()
	spec := clickhouse.CreateSpec{Table: clickhouse.Table{Database: "d", Name: "t"}, Columns: columns, OnCluster: "{cluster}'", DedupWindow: 7,
		Engine: "ENGINE = ReplicatedMergeTree ORDER BY id SETTINGS index_granularity = 1"}
	create, widen, err := spec.Statements()
	if err != nil || !strings.HasPrefix(create, "CREATE TABLE IF NOT EXISTS `d`.`t` ON CLUSTER '{cluster}\\'' (`id` UInt64, ") {
		t.Errorf("got %s, %v", create, err)
	}
	if widen != "ALTER TABLE `d`.`t` ON CLUSTER '{cluster}\\'' MODIFY SETTING replicated_deduplication_window = 7" {
		t.Errorf("got %s", widen)
	}
	spec.Engine, spec.OrderBy, spec.OnCluster = "ReplicatedMergeTree('/{uuid}', '{replica}')", "id", ""
	if create, widen, err = spec.Statements(); err != nil || widen != "" || strings.Contains(create, "CLUSTER") || !strings.HasSuffix(create, "\nSETTINGS replicated_deduplication_window = 7") {
		t.Errorf("got %s, %s, %v", create, widen, err)
	}
}
