package local_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"drayage/pkg/job"
)

// sqlite makes a file of SQLite, and returns its path.
func sqlite(t *testing.T, statements string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	cmd := exec.CommandContext(t.Context(), "sqlite3", "-bail", path)
	cmd.Stdin = strings.NewReader(statements)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("making a file of SQLite with sqlite3 (apt-get install sqlite3): %v: %s", err, out)
	}
	return path
}

// The pipeline of the page runs as it stands there.
func TestDocumentedSQLite(t *testing.T) {
	t.Setenv("ORDERS_DB", sqlite(t, `CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, amount DECIMAL(12, 2), placed DATETIME);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO orders SELECT i * 3, 'ž ' || (i % 100), CASE WHEN i % 10 THEN i || '.25' END, datetime('2026-01-01', i || ' seconds') FROM n;`))
	j := stack.Ended(t, submit(t, t.TempDir(), documented(t, "source-query.md", "orders_of_sqlite")))
	if j.State != job.Done || j.Totals.Chunks != 4 || j.Totals.RowsLoaded != 20_000 {
		t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
	const right = `customer = 'ž ' || toString(n % 100) AND amount IS NOT DISTINCT FROM if(n % 10 = 0, NULL, n + toDecimal64('0.25', 2)) AND placed = toDateTime('2026-01-01 00:00:00', 'UTC') + n`
	got := stack.SQL(t, "SELECT count(), uniqExact(id), countIf("+right+"), any(toTypeName(id)), any(toTypeName(amount)) FROM (SELECT *, toUInt32(id / 3) AS n FROM orders_of_sqlite)")
	if got != "20000\t20000\t20000\tInt64\tNullable(Decimal(12, 2))" {
		t.Errorf("rows, ids, those that are right, and types: %s", got)
	}
}

// What the page says of types is so, value by value.
func TestTypesOfSQLite(t *testing.T) {
	t.Parallel()
	path := sqlite(t, `CREATE TABLE kinds (id INTEGER PRIMARY KEY, n BIGINT NOT NULL, small TINYINT, r REAL, d DECIMAL(20, 2), t VARCHAR(10), b BLOB, day DATE, flag BOOLEAN, bare, double INTEGER AS (n * 2) STORED);
INSERT INTO kinds VALUES (1, 9223372036854775807, 300, 0.1, 0.1, 'ž' || char(0), x'00FF5C', '2026-01-01', 1, 'x');
INSERT INTO kinds VALUES (2, -9223372036854775808, NULL, 1e300, NULL, '', x'', 1767225600, 'true', 9223372036854775807);
INSERT INTO kinds VALUES (3, 'text', '12abc', 'text', 'text', 5, 'text', NULL, NULL, 1.5);
INSERT INTO kinds VALUES (4, 1.5, 1.5, -9e999, 12345678901234567.89, x'FF', 5, NULL, NULL, NULL);
CREATE VIEW texts AS SELECT id, CAST(n AS TEXT) AS n FROM kinds;`)
	from := "FROM sqlite('" + path + "', 'kinds') "
	for query, want := range map[string]string{
		"SELECT toTypeName(id), toTypeName(n), toTypeName(small), toTypeName(r), toTypeName(d), toTypeName(t), toTypeName(b), toTypeName(day), toTypeName(flag), toTypeName(bare) " + from + "LIMIT 1": "Nullable(Int64)\tInt64\tNullable(Int64)\tNullable(Float64)" + strings.Repeat("\tNullable(String)", 6),
		"SELECT n " + from + "ORDER BY id":                                         "9223372036854775807\n-9223372036854775808\n0\n1",
		"SELECT small " + from + "ORDER BY id":                                     "300\n\\N\n12\n1",
		"SELECT r " + from + "ORDER BY id":                                         "0.1\n1e300\n0\n-inf",
		"SELECT d " + from + "ORDER BY id":                                         "0.1\n\\N\ntext\n12345678901234568",
		"SELECT hex(t) " + from + "ORDER BY id":                                    "C5BE00\n\n35\nFF",
		"SELECT hex(b) " + from + "ORDER BY id":                                    "00FF5C\n\n74657874\n35",
		"SELECT day, flag " + from + "ORDER BY id":                                 "2026-01-01\t1\n1767225600\ttrue\n\\N\t\\N\n\\N\t\\N",
		"SELECT bare " + from + "ORDER BY id":                                      "x\n9223372036854775807\n1.5\n\\N",
		"SELECT n, toTypeName(n) FROM sqlite('" + path + "', 'texts') ORDER BY id": "9223372036854775807\tNullable(String)\n-9223372036854775808\tNullable(String)\ntext\tNullable(String)\n1.5\tNullable(String)",
	} {
		if got := stack.SQL(t, query); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	// Through the view a text in a column of numbers is an error, and not 0.
	j := stack.Ended(t, submit(t, t.TempDir(), `pipeline: guarded_sqlite
source:
  query: {sql: "SELECT * FROM sqlite('`+path+`', 'texts')"}
  columns: id Int64, n Int64
load: {table: guarded_sqlite, order_by: id}
`))

	if j.Totals.Dead != 1 || j.Totals.RowsLoaded != 0 {
		t.Errorf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
}
