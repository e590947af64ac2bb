package local_test

import (
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/testkit/pgtest"
)

// postgres starts a PostgreSQL in which the statements were run.
func postgres(t *testing.T, sql string) *pgtest.Server {
	t.Helper()
	db, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := db.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
	return db
}

// The pipeline of the page runs as it stands there, and again for what came
// since: a row that is new, one that has changed, and one that came late.
func TestDocumentedPostgres(t *testing.T) {
	db := postgres(t, `CREATE SCHEMA shop;
CREATE TABLE shop.orders (id int8 PRIMARY KEY, status text NOT NULL, total numeric(12, 2), updated_at timestamptz NOT NULL);
INSERT INTO shop.orders SELECT i, CASE WHEN i % 5 = 0 THEN 'draft' ELSE 'paid' END, i / 100.0, timestamptz '2026-01-01' + i * interval '1 second'
	FROM generate_series(1, 10000) i`)
	t.Setenv("ORDERS_URL", db.URL("postgres", ""))
	text := documented(t, "source-postgres.md", "orders")
	check := func(j job.Job, rows uint64, want string) {
		t.Helper()
		if j.State != job.Done || j.Totals.RowsLoaded != rows {
			t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
		}
		if got := stack.SQL(t, "SELECT count(), sum(total), countIf(status = 'refunded') FROM orders FINAL"); got != want {
			t.Errorf("the table has %q, want %q", got, want)
		}
	}
	check(again(t, text, false), 8000, "8000\t400000\t0")
	_, err := db.Exec(t.Context(), `INSERT INTO shop.orders VALUES (10001, 'paid', 1, '2026-01-02'), (10002, 'paid', 1, timestamptz '2026-01-01' + interval '9950 seconds');
UPDATE shop.orders SET status = 'refunded', total = 0, updated_at = '2026-01-02 00:00:01' WHERE id = 1`)
	if err != nil {
		t.Fatal(err)
	}
	// 480 of the 600 seconds before the last row are no drafts.
	check(again(t, text, false), 480+3, "8002\t400001.99\t1")
}
