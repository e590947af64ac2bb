package clickhouse_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

func TestUpsert(t *testing.T) {
	t.Parallel()
	c := openIn(t, shared.URL())
	for i, tc := range []struct {
		engine, version string
		missing         string // in the error; "": fits
	}{
		{"ReplacingMergeTree(v) ORDER BY id", "v", ""},
		{"ReplacingMergeTree(v, d) PARTITION BY (id % 3, d) ORDER BY id", "v", ""},
		{"ReplacingMergeTree(`odd (v`) ORDER BY id", "odd (v", "no column `odd (v`"},
		{"ReplacingMergeTree ORDER BY (v, id)", "", "without a version"},
		{"ReplacingMergeTree() PARTITION BY toString(v) ORDER BY (v, id)", "", "without a version"},
		{"MergeTree ORDER BY (v, id)", "", "keeps every row"},
		{"SummingMergeTree(v) ORDER BY id", "", "keeps every row"},
	} {
		name := fmt.Sprintf("t%d", i)
		exec1(t, c, "CREATE TABLE "+name+" (id UInt64, v UInt64, d UInt8, `odd (v` UInt64) ENGINE = "+tc.engine)
		info, err := c.Describe(t.Context(), clickhouse.Table{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := info.Version(); got != tc.version || ok != (tc.version != "") {
			t.Errorf("%s: got %q, %v", info.EngineFull, got, ok)
		}
		err = info.CheckUpsert([]job.Column{{Name: "id", Type: "UInt64"}, {Name: "v", Type: "UInt64"}})
		var e *clickhouse.UpsertError
		switch {
		case tc.missing == "" && err != nil:
			t.Errorf("%s: %v", tc.engine, err)
		case tc.missing != "":
			if !errors.As(err, &e) || e.Version != tc.version || !strings.Contains(err.Error(), tc.missing) {
				t.Errorf("%s: got %v", tc.engine, err)
			}
			wantClass(t, err, job.Permanent)
		}
	}
	// The engine of the tests has no Keeper.
	info := clickhouse.TableInfo{Engine: "ReplicatedReplacingMergeTree", EngineFull: `ReplicatedReplacingMergeTree('/t/{uuid}', '{replica}', v, d) ORDER BY id`}
	if got, ok := info.Version(); got != "v" || !ok {
		t.Errorf("got %q, %v", got, ok)
	}
	info.EngineFull = `ReplicatedReplacingMergeTree('/t/{uuid}', '{replica}') ORDER BY (id)`
	if got, ok := info.Version(); ok {
		t.Errorf("got %q", got)
	}
}
