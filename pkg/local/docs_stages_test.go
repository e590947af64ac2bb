package local_test

import (
	"path/filepath"
	"strings"
	"testing"

	"drayage/pkg/job"
)

// The pipelines of the pages on what is built into one's own dray run as they
// stand there, over the data of pipelines/.
func TestDocumentedExtensions(t *testing.T) {
	t.Parallel()
	dir, err := filepath.Abs("../../pipelines")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		page, name  string
		rows        uint64
		query, want string
	}{
		{"stages.md", "strikes", 10_000, "SELECT countIf(airport = 'Dallas/Fort Worth International Airport') FROM strikes", "908"},
		{"source-custom.md", "airports", 279, "SELECT city FROM airports WHERE iata = 'HNL'", "Honolulu"},
	} {
		j := stack.Ended(t, submit(t, dir, documented(t, tt.page, tt.name)))
		if j.State != job.Done || j.Totals.RowsRead != tt.rows || j.Totals.RowsLoaded != tt.rows {
			t.Errorf("%s: the job is %s with %+v: %s", tt.name, j.State, j.Totals, j.Error)
		}
		if got := stack.SQL(t, tt.query); got != tt.want {
			t.Errorf("%s: the table has %s", tt.name, got)
		}
	}
}

// Mistakes in a custom source have their place; a lookup may have one too.
func TestCustomSource(t *testing.T) {
	t.Parallel()
	dir, err := filepath.Abs("../../pipelines")
	if err != nil {
		t.Fatal(err)
	}
	page := documented(t, "source-custom.md", "airports")
	for name, tt := range map[string]struct{ old, changed, want string }{
		"kind":    {"kind: fixedwidth", "kind: tape", "p.yaml:4:11: source.custom.kind: this dray has no source of the kind tape\n  hint: it has fixedwidth; kinds are compiled in"},
		"width":   {"width: 41", "width: -1", "p.yaml:8:9: source.custom.settings.fields: number 2 needs a name and a width above 0"},
		"setting": {"path: data", "paths: data", `p.yaml:6:7: source.custom.settings: unknown field "paths"`},
		"wrong":   {"width: 24", "width: 25", "source: data/airports-west.txt: it has 27538 bytes, which are no records of 99 bytes with a header and a trailer"},
		"gone":    {"airports-west", "airports-east", "input is gone"},
		"columns": {"iata String", "code String", "source.columns: number 1 is code, and the field iata"},
	} {
		if j := stack.Ended(t, submit(t, dir, strings.Replace(page, tt.old, tt.changed, 1))); j.State != job.Failed || !strings.Contains(j.Error, tt.want) {
			t.Errorf("%s: the job is %s: %s", name, j.State, j.Error)
		}
	}
	below := strings.Split(strings.Split(page, "source:\n")[1], "  chunk:")[0]
	text := "pipeline: looked_up\nsource: {generate: {rows: 3, select: \"['HNL', '0AK', 'XXX'][number + 1] AS code\"}}\nlookups:\n  west:\n    source:\n    " +
		strings.TrimSuffix(strings.ReplaceAll(below, "\n", "\n    "), "    ") +
		"transform: SELECT code, west.city AS city FROM chunk LEFT JOIN west ON west.iata = code\nload: {table: west_named, order_by: code}\n"
	if j := stack.Ended(t, submit(t, dir, text)); j.State != job.Done {
		t.Fatalf("the job is %s: %s", j.State, j.Error)
	}
	if got := stack.SQL(t, "SELECT groupArray((code, city)) FROM (SELECT * FROM west_named ORDER BY code)"); got != "[('0AK','Pilot Station'),('HNL','Honolulu'),('XXX','')]" {
		t.Errorf("the table has %s", got)
	}
}
