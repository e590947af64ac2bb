package local_test

import (
	"testing"

	"drayage/pkg/testkit/pgtest"
	"drayage/pkg/testkit/server"
)

// The pipeline of the page runs as it stands there, and again for what came
// since: a row that is new, one that has changed, and one that came late.
func TestDocumentedPostgres(t *testing.T) {
	db := server.Run(t, pgtest.Start, `CREATE SCHEMA shop;
CREATE TABLE shop.orders (id int8 PRIMARY KEY, status text NOT NULL, total numeric(12, 2), updated_at timestamptz NOT NULL);
INSERT INTO shop.orders SELECT i, CASE WHEN i % 5 = 0 THEN 'draft' ELSE 'paid' END, i / 100.0, timestamptz '2026-01-01' + i * interval '1 second'
	FROM generate_series(1, 10000) i`)
	t.Setenv("ORDERS_URL", db.URL("postgres", ""))
	text := documented(t, "source-postgres.md", "orders")
	const table = "SELECT count(), sum(total), countIf(status = 'refunded') FROM orders FINAL"
	loads(t, text, table, 8000, "8000\t400000\t0")
	_, err := db.Exec(t.Context(), `INSERT INTO shop.orders VALUES (10001, 'paid', 1, '2026-01-02'), (10002, 'paid', 1, timestamptz '2026-01-01' + interval '9950 seconds');
UPDATE shop.orders SET status = 'refunded', total = 0, updated_at = '2026-01-02 00:00:01' WHERE id = 1`)
	if err != nil {
		t.Fatal(err)
	}
	// 480 of the 600 seconds before the last row are no drafts.
	loads(t, text, table, 480+3, "8002\t400001.99\t1")
}
