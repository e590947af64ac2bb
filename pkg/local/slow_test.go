package local_test

import (
	"fmt"
	"testing"
	"time"

	"drayage/pkg/job"
)

// ClickHouse asks to slow down for longer than a chunk has attempts: fewer
// chunks are sent, none is given up, and when it has recovered the job ends.
func TestSlowDown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.csv", rows(20_000))
	for _, s := range []string{
		"CREATE TABLE slow (id UInt64, double UInt64, _job LowCardinality(String), _chunk UInt32) ENGINE = MergeTree ORDER BY id " +
			"SETTINGS non_replicated_deduplication_window = 10000, parts_to_throw_insert = 5, parts_to_delay_insert = 5",
		"SYSTEM STOP MERGES slow",
	} {
		if err := stack.ClickHouse.Exec(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	id := submit(t, dir, pipe("slow", "path: a.csv, header: false", idAndDouble+"\n  chunk: 4KiB")+
		"retry: {attempts: 2, backoff: 20ms..50ms}\nlimits: {in_flight: 8}\n")
	updates, err := stack.Queue.WatchJobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lowest := 8
	for u := range updates {
		if u.Job.ID != id {
			continue
		}
		if n := u.Job.InFlight; n > 0 && n < lowest {
			lowest = n
		}
		if lowest <= 2 {
			break
		}
		if u.Job.State.Terminal() {
			t.Fatalf("the job is %s: %s", u.Job.State, u.Job.Error)
		}
	}
	// More often than it has attempts.
	often := fmt.Sprintf("SELECT max(attempt) > 2 FROM drayage.ledger WHERE job = '%s' AND outcome = 'slow_down'", id)
	for stack.SQL(t, often) != "1" {
		time.Sleep(50 * time.Millisecond)
	}
	for _, s := range []string{"SYSTEM START MERGES slow", "ALTER TABLE slow MODIFY SETTING parts_to_throw_insert = 3000, parts_to_delay_insert = 1000"} {
		if err := stack.ClickHouse.Exec(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	j := stack.Ended(t, id)
	if j.State != job.Done || j.Totals.Dead != 0 || j.InFlight != 0 {
		t.Errorf("the job is %s with %d dead letters, in flight %d: %s", j.State, j.Totals.Dead, j.InFlight, j.Error)
	}
	if got := stack.SQL(t, "SELECT count(), uniqExact(id) FROM slow"); got != "20000\t20000" {
		t.Errorf("the table has %q", got)
	}
}
