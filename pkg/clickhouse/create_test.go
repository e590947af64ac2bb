package clickhouse_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

func TestCreateByManyAtOnce(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	table := clickhouse.Table{Name: "t"}
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			errs[i] = c.Create(t.Context(), clickhouse.CreateSpec{Table: table, Columns: columns, Engine: "ENGINE = MergeTree ORDER BY id SETTINGS index_granularity = 1024"})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	info, err := c.CheckTarget(t.Context(), table, columns)
	if err != nil {
		t.Fatal(err)
	}
	if !info.HasProvenance() || !info.Countable() || info.Replicated || info.UUID == "" || info.SortingKey != "id" || info.DedupWindow != 10000 || len(info.Columns) != 4 {
		t.Errorf("got %+v", info)
	}
}

func TestCreateSetsTheWindow(t *testing.T) {
	t.Parallel()
	c := openIn(t, shared.URL())
	for engine, want := range map[string]uint64{
		"ENGINE = MergeTree ORDER BY id":                                                          77,
		"ENGINE MergeTree() PARTITION BY id % 2 PRIMARY KEY id ORDER BY id;":                      77,
		"ENGINE = MergeTree ORDER BY id -- that is it":                                            77,
		"ENGINE = MergeTree ORDER BY id SETTINGS index_granularity = 1024":                        77,
		"ENGINE = MergeTree ORDER BY id COMMENT 'SETTINGS non_replicated_deduplication_window=1'": 77,
		"ENGINE = ReplacingMergeTree ORDER BY id TTL toDate(id) + INTERVAL 99 YEAR":               77,
		"ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 5":         5,
		"ORDER BY id": 77,
	} {
		exec1(t, c, "DROP TABLE IF EXISTS "+quoted(c.Database())+".t")
		err := c.Create(t.Context(), clickhouse.CreateSpec{Table: clickhouse.Table{Name: "t"}, Columns: columns, Engine: engine, DedupWindow: 77})
		if err != nil {
			t.Errorf("%s: %v", engine, err)
			continue
		}
		info, err := c.Describe(t.Context(), clickhouse.Table{Name: "t"})
		if err != nil || info.DedupWindow != want {
			t.Errorf("%s: the window is %d, %v", engine, info.DedupWindow, err)
		}
	}
}

func TestCreateMistakes(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	create := func(engine string, cols ...job.Column) error {
		return c.Create(t.Context(), clickhouse.CreateSpec{Table: clickhouse.Table{Name: "t"}, Columns: cols, Engine: engine})
	}
	err := create("ENGINE = MergeTree\n  ORDER BY (id,\n  PARTITION id", columns...)
	var syntax *clickhouse.SyntaxError
	if !errors.As(err, &syntax) || syntax.Line != 2 || syntax.Column != 12 || syntax.Err.Code != 62 {
		t.Errorf("got %+v, %v", syntax, err)
	}
	wantClass(t, err, job.Permanent)
	err = create("ENGINE = MergeTree ORDER BY id", job.Column{Name: "id", Type: "UInt64 ((("})
	if !errors.As(err, &syntax) || syntax.Line != 0 {
		t.Errorf("got %+v, %v", syntax, err)
	}
	for _, text := range []string{"ENGINE = Memory", "ENGINE=Log", "ENGINE = Distributed(c, d, t)", "ENGINE Null", "/* x */ engine = Buffer(d, t)"} {
		var engine *clickhouse.EngineError
		if err := create(text, columns...); !errors.As(err, &engine) || job.ClassOf(err) != job.Permanent {
			t.Errorf("%s: got %v", text, err)
		}
	}
	for _, text := range []string{"ENGINE = NoSuchMergeTree ORDER BY id", "ENGINE = MergeTree ORDER BY nope", "ENGINE = MergeTree ORDER BY id SETTINGS nope = 1"} {
		if err := create(text, columns...); err == nil || job.ClassOf(err) != job.Permanent {
			t.Errorf("%s: got %v", text, err)
		}
	}
	if _, err := c.Describe(t.Context(), clickhouse.Table{Name: "t"}); !errors.Is(err, clickhouse.ErrNoTable) {
		t.Errorf("got %v", err)
	}
}

func TestCheckTarget(t *testing.T) {
	t.Parallel()
	c := openIn(t, shared.URL())
	const window = " SETTINGS non_replicated_deduplication_window = 10000"
	out := []job.Column{{Name: "a", Type: "UInt32"}, {Name: "b", Type: "String"}}
	for _, tc := range []struct {
		name, table string
		out         []job.Column
		want        *clickhouse.MismatchError // nil: fits
	}{
		{"equal", "(a UInt32, b String) ENGINE = MergeTree ORDER BY a" + window, out, nil},
		{"wider, nullable, low cardinality", "(a Int64, b LowCardinality(Nullable(String))) ENGINE = MergeTree ORDER BY a" + window, out, nil},
		{"more columns, with defaults", "(z UInt8 DEFAULT 7, a UInt32, b String, m UInt8 MATERIALIZED a % 2, l UInt8 ALIAS 3) ENGINE = MergeTree ORDER BY a" + window, out, nil},
		{"provenance", "(_job LowCardinality(String), _chunk UInt64, a UInt32, b String) ENGINE = MergeTree ORDER BY a" + window, out, nil},
		{"unknown and missing", "(a UInt32, c String) ENGINE = MergeTree ORDER BY a" + window, out,
			&clickhouse.MismatchError{Unknown: []string{"b"}, Missing: []string{"c"}}},
		{"computed", "(x UInt32, a UInt32 MATERIALIZED 1, b String ALIAS 'x') ENGINE = MergeTree ORDER BY x" + window, out,
			&clickhouse.MismatchError{Computed: []string{"a", "b"}, Missing: []string{"x"}}},
		{"narrower", "(a UInt8, b UInt8) ENGINE = MergeTree ORDER BY a" + window, out,
			&clickhouse.MismatchError{Types: []clickhouse.TypeDifference{{"a", "UInt32", "UInt8"}, {"b", "String", "UInt8"}}}},
		{"twice", "(a UInt32, b String) ENGINE = MergeTree ORDER BY a" + window, append(out, out[0]),
			&clickhouse.MismatchError{Twice: []string{"a"}}},
		{"null into not null", "(a UInt32, b String) ENGINE = MergeTree ORDER BY a" + window, []job.Column{{Name: "a", Type: "Nullable(UInt32)"}, out[1]},
			&clickhouse.MismatchError{Types: []clickhouse.TypeDifference{{"a", "Nullable(UInt32)", "UInt32"}}}},
		{"dates", "(a DateTime64(6), b Decimal(18, 4)) ENGINE = MergeTree ORDER BY a" + window, []job.Column{{Name: "a", Type: "DateTime"}, {Name: "b", Type: "Decimal(9, 2)"}}, nil},
		{"dates, cut", "(a DateTime, b Decimal(9, 2)) ENGINE = MergeTree ORDER BY a" + window, []job.Column{{Name: "a", Type: "DateTime64(3)"}, {Name: "b", Type: "Decimal(18, 4)"}},
			&clickhouse.MismatchError{Types: []clickhouse.TypeDifference{{"a", "DateTime64(3)", "DateTime"}, {"b", "Decimal(18, 4)", "Decimal(9, 2)"}}}},
		{"one that forgets", "(a UInt32, b String) ENGINE = MergeTree ORDER BY a TTL toDate(a) + INTERVAL 1 DAY" + window, out, nil},
		{"one that only recompresses", "(a UInt32, b String) ENGINE = MergeTree ORDER BY a TTL toDate(a) + INTERVAL 1 DAY RECOMPRESS CODEC(ZSTD(9))" + window, out, nil},
		{"one that does both", "(a UInt32, b String) ENGINE = MergeTree ORDER BY a TTL toDate(a) + INTERVAL 1 DAY RECOMPRESS CODEC(ZSTD(9)), toDate(a) + INTERVAL 1 YEAR DELETE WHERE a > 7" + window, out, nil},
		{"a replacing table", "(a UInt32, b String) ENGINE = ReplacingMergeTree ORDER BY a" + window, out, nil},
	} {
		exec1(t, c, "CREATE OR REPLACE TABLE x "+tc.table)
		info, err := c.CheckTarget(t.Context(), clickhouse.Table{Name: "x"}, tc.out)
		if len(info.Columns) == 0 {
			t.Errorf("%s: no information: %v", tc.name, err)
		}
		if loses := strings.Contains(tc.table, "Replacing") || strings.Contains(tc.table, "DELETE") || tc.name == "one that forgets"; loses == info.Countable() {
			t.Errorf("%s: countable is %v", tc.name, info.Countable())
		}
		if strings.Contains(tc.table, "_job") != info.HasProvenance() {
			t.Errorf("%s: provenance is %v", tc.name, info.HasProvenance())
		}
		if tc.want == nil {
			if err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			continue
		}
		tc.want.Table = clickhouse.Table{Database: c.Database(), Name: "x"}
		var got *clickhouse.MismatchError
		if !errors.As(err, &got) || got.Error() != tc.want.Error() {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
		wantClass(t, err, job.Permanent)
	}

	exec1(t, c, "CREATE OR REPLACE TABLE x (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
	info, err := c.CheckTarget(t.Context(), clickhouse.Table{Name: "x"}, append(out, job.Column{Name: "nope", Type: "UInt8"}))
	var (
		narrow   *clickhouse.WindowError
		mismatch *clickhouse.MismatchError
	)
	if !errors.As(err, &narrow) || !errors.As(err, &mismatch) || narrow.Have != info.DedupWindow || narrow.Want != 10000 {
		t.Fatalf("got %v", err)
	}
	exec1(t, c, narrow.Fix)
	if _, err := c.CheckTarget(t.Context(), clickhouse.Table{Name: "x"}, out); err != nil {
		t.Error(err)
	}

	for _, engine := range []string{"ENGINE = Memory", "ENGINE = Log", "ENGINE = Null"} {
		exec1(t, c, "CREATE OR REPLACE TABLE x (a UInt32, b String) "+engine)
		var refused *clickhouse.EngineError
		if _, err := c.CheckTarget(t.Context(), clickhouse.Table{Name: "x"}, out); !errors.As(err, &refused) || job.ClassOf(err) != job.Permanent {
			t.Errorf("%s: got %v", engine, err)
		}
	}
	for _, table := range []clickhouse.Table{{Name: "none"}, {Database: "none", Name: "none"}} {
		if _, err := c.CheckTarget(t.Context(), table, out); !errors.Is(err, clickhouse.ErrNoTable) || job.ClassOf(err) != job.Permanent {
			t.Errorf("got %v", err)
		}
	}
}

func TestCheckTargetLooksBehindViews(t *testing.T) {
	t.Parallel()
	c := openIn(t, shared.URL())
	const window = " SETTINGS non_replicated_deduplication_window = 10000"
	exec1(t, c, "CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a"+window)
	exec1(t, c, "CREATE TABLE `s u.m` (a UInt32) ENGINE = SummingMergeTree ORDER BY a")
	exec1(t, c, "CREATE MATERIALIZED VIEW `to` TO `s u.m` AS SELECT a FROM t")
	exec1(t, c, "CREATE MATERIALIZED VIEW own ENGINE = MergeTree ORDER BY a AS SELECT a + 1 AS a FROM t")
	exec1(t, c, "CREATE MATERIALIZED VIEW chained ENGINE = MergeTree ORDER BY a AS SELECT a + 2 AS a FROM `s u.m`")
	exec1(t, c, "CREATE VIEW plain AS SELECT a FROM t")
	out := []job.Column{{Name: "a", Type: "UInt32"}}
	for range 3 {
		_, err := c.CheckTarget(t.Context(), clickhouse.Table{Name: "t"}, out)
		var narrow *clickhouse.WindowError
		if !errors.As(err, &narrow) || narrow.View == (clickhouse.Table{}) {
			t.Fatalf("got %v", err)
		}
		exec1(t, c, narrow.Fix)
	}
	if _, err := c.CheckTarget(t.Context(), clickhouse.Table{Name: "t"}, out); err != nil {
		t.Error(err)
	}
	exec1(t, c, "CREATE MATERIALIZED VIEW forgetful ENGINE = Memory AS SELECT a FROM t")
	var engine *clickhouse.EngineError
	if _, err := c.CheckTarget(t.Context(), clickhouse.Table{Name: "t"}, out); !errors.As(err, &engine) || engine.Engine != "Memory" {
		t.Errorf("got %v", err)
	}
}
