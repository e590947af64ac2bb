package cli_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"drayage/pkg/testkit/pgtest"
	"drayage/pkg/testkit/server"
)

// skewed are the rows of the table that TestSkewedTable reads, unless
// TEST_ROWS says how many.
const skewed = 400_000

// A table of PostgreSQL whose key is skewed, most of it one customer's and the
// rest sparse, goes through four workers in even chunks, while another job
// reads the same database: together they never have more connections than the
// lease that they share has seats.
func TestSkewedTable(t *testing.T) {
	t.Parallel()
	n := skewed
	if text := os.Getenv("TEST_ROWS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	db := server.Run(t, pgtest.Start, fmt.Sprintf(`
CREATE TABLE orders (customer int8, id int8, at timestamptz, amount numeric(12, 2), note text, PRIMARY KEY (customer, id));
INSERT INTO orders SELECT CASE WHEN i %% 10 < 7 THEN 42 WHEN i %% 10 < 9 THEN i %% 100 ELSE i::int8 * i * 7919 END, i::int8 * i,
	timestamptz '2026-01-01' + i * interval '1 second', i / 100.0, repeat(md5(i::text), i %% 4)
	FROM generate_series(1, %d) i;
CREATE TABLE items (id int4 PRIMARY KEY, note text);
INSERT INTO items SELECT i, md5(i::text) FROM generate_series(1, %d) i;
ANALYZE`, n, n/4))

	f := newFleet(t)
	const seats = 3
	pipeline := func(table, order string, rows int) string {
		path := filepath.Join(f.dir, table+".yaml")
		text := fmt.Sprintf("pipeline: %[1]s\nsource: {postgres: {url: '${env:PG_URL}', table: %[1]s}, rows: %[2]d}\nlimits: {lease: 'shop:%[3]d'}\nload: {table: %[1]s, order_by: [%[4]s]}\n",
			table, rows, seats, order)
		writeFile(t, path, text)
		return path
	}
	orders, items := pipeline("orders", "customer, id", n/40), pipeline("items", "id", n/40)

	most := make(chan int, 1)
	over, stop := context.WithCancel(t.Context())
	defer stop()
	var watching sync.WaitGroup
	watching.Go(func() {
		m := 0
		for over.Err() == nil {
			text, err := db.Exec(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'drayage'")
			if err != nil {
				t.Error(err)
				break
			}
			got, _ := strconv.Atoi(text)
			m = max(m, got)
		}
		most <- m
	})

	env := append(f.env, "PG_URL="+db.URL("postgres", ""), "DRAY_SLOTS=1")
	begun := time.Now()
	start(t, env, "coordinator")
	for range 4 {
		start(t, env, "worker")
	}
	first := start(t, env, "submit", orders, "--wait", "--quiet", "--key", "1")
	second := start(t, env, "submit", items, "--wait", "--quiet", "--key", "1")
	for _, p := range []*process{first, second} {
		select {
		case <-p.done:
		case <-time.After(time.Minute + time.Duration(n)*time.Millisecond/10):
			t.Fatal("the job does not end")
		}
		if code := p.wait(); code != 0 {
			t.Fatalf("submit exited with %d:\n%s\n%s", code, p.log.String(), f.sql(t, "SELECT chunk, attempt, outcome, error FROM drayage.ledger FINAL WHERE outcome != 'loaded'"))
		}
	}
	took := time.Since(begun)
	stop()
	watching.Wait()
	if m := <-most; m > seats || m == 0 {
		t.Errorf("the jobs had up to %d connections at once; the lease has %d seats", m, seats)
	}

	want := fmt.Sprintf("%d\t%d", n, n)
	f.answers(t, "SELECT count(), uniqExact(customer, id) FROM orders", want)
	f.answers(t, "SELECT count(), uniqExact(id) FROM items", fmt.Sprintf("%[1]d\t%[1]d", n/4))
	const of = "FROM drayage.ledger FINAL WHERE job = 'orders-1' AND outcome = 'loaded'"
	if got := f.sql(t, "SELECT count() >= 30, max(rows_loaded) <= 3 * median(rows_loaded) "+of); got != "1\t1" {
		t.Errorf("chunks are uneven: number, median, longest: %s", f.sql(t, "SELECT count(), median(rows_loaded), max(rows_loaded) "+of))
	}
	t.Logf("%d and %d rows in %s; chunks, rows (median, longest), ms (median, longest): %s", n, n/4, took.Round(time.Millisecond),
		f.sql(t, "SELECT count(), median(rows_loaded), max(rows_loaded), median(transform_ms + load_ms), max(transform_ms + load_ms) "+of))
}
