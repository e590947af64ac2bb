package clickhouse_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

func TestCompare(t *testing.T) {
	t.Parallel()
	c := openIn(t, shared.URL())
	exec1(t, c, `CREATE TABLE t (id UInt32, day Date, part UInt8, wide Int64, s LowCardinality(String), d UInt8 DEFAULT 7, m UInt8 MATERIALIZED 1,
_job LowCardinality(String), _chunk UInt32) ENGINE = MergeTree PARTITION BY part PRIMARY KEY id ORDER BY (id, day)`)
	info, err := c.Describe(t.Context(), clickhouse.Table{Name: "t"})
	if err != nil {
		t.Fatal(err)
	}
	same := []job.Column{{Name: "id", Type: "UInt32"}, {Name: "day", Type: "Date"}, {Name: "part", Type: "UInt8"}, {Name: "wide", Type: "Int32"}, {Name: "s", Type: "String"}, {Name: "d", Type: "UInt8"}}
	// with is same with one column of another type.
	with := func(name, typ string) []job.Column {
		out := append([]job.Column{}, same...)
		for i := range out {
			if out[i].Name == name {
				out[i].Type = typ
			}
		}
		return out
	}
	for name, tc := range map[string]struct {
		out  []job.Column
		text string
		key  string // of the error; "-": none
	}{
		"same":         {same, "", "-"},
		"added":        {append([]job.Column{{Name: "a b", Type: "Array(String)"}, {Name: "n", Type: "Nullable(UInt8)"}}, same...), "+ `a b` Array(String)\n+ n Nullable(UInt8)", "-"},
		"missing":      {same[:4], "- s LowCardinality(String)\n- d UInt8", "-"},
		"wider":        {with("wide", "String"), "~ wide Int64 → String", ""},
		"nullable":     {with("s", "Nullable(String)"), "~ s LowCardinality(String) → Nullable(String)", ""},
		"primary key":  {with("id", "UInt64"), "~ id UInt32 → UInt64", "primary"},
		"sorting key":  {with("day", "DateTime"), "~ day Date → DateTime", "sorting"},
		"partition":    {with("part", "UInt16"), "~ part UInt8 → UInt16", "partition"},
		"all together": {append(with("part", "UInt16")[1:4], job.Column{Name: "x", Type: "UInt8"}, job.Column{Name: "s", Type: "UInt8"}), "+ x UInt8\n- id UInt32\n- d UInt8\n~ part UInt8 → UInt16\n~ s LowCardinality(String) → UInt8", "partition"},
		"key first":    {append([]job.Column{{Name: "s", Type: "UInt8"}}, with("id", "String")[:1]...), "- day Date\n- part UInt8\n- wide Int64\n- d UInt8\n~ s LowCardinality(String) → UInt8\n~ id UInt32 → String", "primary"},
	} {
		d, err := c.Compare(t.Context(), info, tc.out)
		if err != nil || d.String() != tc.text || d.None() != (tc.text == "") {
			t.Errorf("%s: got %s, %v", name, d, err)
		}
		err = d.Refused()
		var e *clickhouse.TypeChangeError
		switch {
		case tc.key == "-" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tc.key != "-":
			if !errors.As(err, &e) || e.Key != tc.key || tc.key != "" && !strings.Contains(err.Error(), "the "+tc.key+" key") || tc.key == "" && !strings.Contains(err.Error(), "MODIFY COLUMN") {
				t.Errorf("%s: got %v", name, err)
			}
			wantClass(t, err, job.Permanent)
		}
	}
}

func TestAddColumns(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	table := target(t, c, "t")
	exec1(t, c, "INSERT INTO t (id, s) VALUES (1, 'x')")
	more := []job.Column{{Name: "a `b", Type: "Nullable(UInt8)"}, {Name: "n", Type: "LowCardinality(String)"}}
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			var info clickhouse.TableInfo
			info, errs[i] = c.AddColumns(t.Context(), table, more, "")
			if errs[i] == nil && (len(info.Columns) != 6 || info.Column("a `b") == nil) {
				errs[i] = errors.New("the columns are not there")
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if got := query(t, c, "SELECT s, `a \\`b`, n FROM t"); got != "x\t\\N\t" {
		t.Errorf("got %q", got)
	}
	if info, err := c.AddColumns(t.Context(), table, nil, ""); err != nil || len(info.Columns) != 6 {
		t.Errorf("got %+v, %v", info, err)
	}

	for name, tc := range map[string]struct {
		table clickhouse.Table
		add   job.Column
		want  func(error) bool
	}{
		"another type": {table, job.Column{Name: "n", Type: "UInt8"}, func(err error) bool {
			var e *clickhouse.TypeChangeError
			return errors.As(err, &e) && e.Change.Column == "n"
		}},
		"no such type": {table, job.Column{Name: "z", Type: "Nope"}, func(err error) bool {
			var x *clickhouse.Exception
			return errors.As(err, &x) && x.Code == 50
		}},
		"no such table": {clickhouse.Table{Name: "none"}, job.Column{Name: "z", Type: "UInt8"}, func(err error) bool {
			var x *clickhouse.Exception
			return errors.As(err, &x) && x.Code == 60
		}},
	} {
		_, err := c.AddColumns(t.Context(), tc.table, []job.Column{tc.add}, "")
		if !tc.want(err) {
			t.Errorf("%s: got %v", name, err)
		}
		wantClass(t, err, job.Permanent)
	}

	got := clickhouse.AddColumnsSQL(clickhouse.Table{Database: "d", Name: "t"}, more, "main")
	if want := "ALTER TABLE `d`.`t` ON CLUSTER 'main' ADD COLUMN IF NOT EXISTS `a \\`b` Nullable(UInt8), ADD COLUMN IF NOT EXISTS `n` LowCardinality(String) SETTINGS alter_sync = 1"; got != want {
		t.Errorf("got %s", got)
	}
}
