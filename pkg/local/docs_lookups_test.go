package local_test

import (
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/testkit/pgtest"
	"drayage/pkg/testkit/server"
)

// The pipeline of the page runs as it stands there: a file, a table of the
// target and a query of PostgreSQL are looked up.
func TestDocumentedLookups(t *testing.T) {
	db := server.Run(t, pgtest.Start, `CREATE TABLE products (id int8 PRIMARY KEY, title text NOT NULL, price numeric(10, 2) NOT NULL, withdrawn bool NOT NULL);
INSERT INTO products SELECT i, 'product ' || i, i + 0.5, i % 10 = 9 FROM generate_series(0, 99) i`)
	t.Setenv("SHOP_URL", db.URL("postgres", ""))
	stack.SQL(t, "CREATE TABLE vat (code String, percent UInt8) ENGINE = MergeTree ORDER BY code")
	stack.SQL(t, "INSERT INTO vat VALUES ('de', 19), ('fr', 20), ('it', 22)")
	dir := t.TempDir()
	write(t, dir, "countries.csv", "code,name\nde,Germany\nfr,France\n")

	j := ended(t, submit(t, dir, documented(t, "lookups.md", "priced_orders")))
	if j.State != job.Done || j.Totals.Chunks != 4 || j.Totals.RowsRead != 10_000 || j.Totals.RowsLoaded != 9000 {
		t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
	for name, rows := range map[string]uint64{"countries": 2, "vat": 3, "products": 90} {
		if got := j.Frozen.Lookups[name].Rows; got != rows {
			t.Errorf("%s has %d rows, want %d", name, got, rows)
		}
	}
	// What a product costs is 0.5 more than its number.
	const right = `title = 'product ' || toString(id % 50) AND country = ['Germany', 'France', ''][id % 3 + 1]
AND abs(total - (id % 7) * (id % 50 + 0.5) * [1.19, 1.2, 1.22][id % 3 + 1]) < 0.01`
	if got := stack.SQL(t, "SELECT count(), countIf("+right+") FROM priced_orders"); got != "9000\t9000" {
		t.Errorf("rows, and those that are right: %s", got)
	}
}
