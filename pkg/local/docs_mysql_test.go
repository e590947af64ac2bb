package local_test

import (
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/testkit/mysqltest"
	"drayage/pkg/testkit/server"
)

// The pipeline of the page runs as it stands there, and again for what came
// since: a row that is new, one that has changed, and one that came late.
func TestDocumentedMySQL(t *testing.T) {
	db := server.Run(t, mysqltest.Start, `CREATE DATABASE shop;
CREATE TABLE shop.invoices (id bigint unsigned PRIMARY KEY, status enum('draft', 'paid', 'refunded') NOT NULL, total decimal(12, 2), updated_at timestamp(6) NOT NULL, KEY (updated_at));
SET time_zone = '+00:00'; INSERT INTO shop.invoices SELECT seq, IF(seq % 5 = 0, 'draft', 'paid'), seq / 100, timestamp '2026-01-01 00:00:00' + interval seq second FROM seq_1_to_10000`)
	t.Setenv("INVOICES_URL", db.URL("root", ""))
	text := documented(t, "source-mysql.md", "invoices")
	const table = "SELECT count(), sum(total), countIf(status = 'refunded'), max(updated_at) FROM invoices FINAL"
	loads(t, text, table, 8000, "8000\t400000\t0\t2026-01-01 02:46:39.000000")
	_, err := db.Exec(t.Context(), `SET time_zone = '+00:00'; INSERT INTO shop.invoices VALUES (18446744073709551615, 'paid', 1, '2026-01-02'), (10002, 'paid', 1, timestamp '2026-01-01 00:00:00' + interval 9950 second);
UPDATE shop.invoices SET status = 'refunded', total = 0, updated_at = '2026-01-02 00:00:01' WHERE id = 1`)
	if err != nil {
		t.Fatal(err)
	}
	// 480 of the 600 seconds before the last row are no drafts.
	loads(t, text, table, 480+3, "8002\t400001.99\t1\t2026-01-02 00:00:01.000000")
}

// A lookup reads MySQL as a source does. A row whose day is none is rejected by
// the source that reads it.
func TestMySQLLookup(t *testing.T) {
	db := server.Run(t, mysqltest.Start, `SET sql_mode = ''; CREATE TABLE products (id int unsigned PRIMARY KEY, title varchar(20) CHARACTER SET latin1 NOT NULL, price decimal(10, 2) NOT NULL);
INSERT INTO products SELECT seq, concat('é', seq), seq + 0.5 FROM seq_0_to_99;
CREATE TABLE sales (id int PRIMARY KEY, product int NOT NULL, day date NOT NULL);
INSERT INTO sales SELECT seq, seq % 100, IF(seq = 7, '0000-00-00', '2026-01-01') FROM seq_1_to_1000`)
	t.Setenv("SHOP_URL", db.URL("root", ""))
	j := stack.Ended(t, submit(t, t.TempDir(), `pipeline: sold
source:
  mysql: {url: '${env:SHOP_URL}', table: sales}
  rows: 300
transform: SELECT s.id AS id, p.title AS title, p.price AS price, day FROM chunk AS s INNER JOIN products AS p ON p.id = s.product
lookups:
  products: {source: {mysql: {url: '${env:SHOP_URL}', query: 'SELECT id, title, price FROM products WHERE id < 50'}}}
load: {table: sold, order_by: id}
`))

	if j.State != job.DoneWithRejects || j.Totals.Chunks != 4 || j.Totals.RowsLoaded != 499 || j.Totals.RowsRejected != 1 {
		t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
	if got := stack.SQL(t, "SELECT countIf(title = 'é' || toString(id % 100) AND price = id % 100 + 0.5 AND day = '2026-01-01') FROM sold"); got != "499" {
		t.Errorf("%s rows are right", got)
	}
	if got := rejected(t, j.ID); len(got) != 1 || !strings.Contains(got[0].Input, "table sales, id up to 300") || !strings.Contains(got[0].Raw, "0000-00-00") {
		t.Errorf("the rejects are %+v", got)
	}
}

// A table whose key is skewed, most of it one customer's and the rest sparse,
// comes in even chunks, over one connection where the lease has one seat.
func TestSkewedMySQL(t *testing.T) {
	const n = 40_000
	db := server.Run(t, mysqltest.Start, `CREATE USER dray WITH MAX_USER_CONNECTIONS 1; GRANT SELECT ON test.* TO dray;
CREATE TABLE skewed (customer bigint unsigned, id bigint, amount decimal(12, 2), note text, PRIMARY KEY (customer, id));
INSERT INTO skewed SELECT IF(seq % 10 < 7, 42, seq * seq * 7919), seq, seq / 100, repeat('x', seq % 50) FROM seq_1_to_40000`)
	t.Setenv("SKEWED_URL", db.URL("dray", ""))
	j := stack.Ended(t, submit(t, t.TempDir(), `pipeline: skewed
source: {mysql: {url: '${env:SKEWED_URL}', table: skewed}, rows: 2000}
limits: {lease: 'skewed:1'}
load: {table: skewed, order_by: [customer, id]}
`))

	if j.State != job.Done || j.Totals.RowsLoaded != n || j.Totals.Chunks != n/2000 {
		t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
	if got := stack.SQL(t, "SELECT count(), uniqExact(customer, id), sum(amount), any(toTypeName(customer)) FROM skewed"); got != "40000\t40000\t8000200\tUInt64" {
		t.Errorf("the table has %s", got)
	}
	got := stack.SQL(t, "SELECT min(rows_loaded), max(rows_loaded), countIf(attempt > 1) FROM drayage.ledger FINAL WHERE job = '"+j.ID+"'")
	if got != "2000\t2000\t0" {
		t.Errorf("rows of the chunks, and those that were tried again: %s", got)
	}
}
