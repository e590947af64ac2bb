package web_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"drayage/pkg/job"
)

// Lists that are longer than a page are in pages: what one leaves out, the next
// has.
func TestPages(t *testing.T) {
	t.Parallel()
	then := time.Now().Add(-time.Hour).UTC()
	for n := range 102 {
		j := job.Job{ID: fmt.Sprintf("paged-%03d", n), Name: "paged", State: job.Failed, CreatedAt: then.Add(time.Duration(n) * time.Second), FinishedAt: then.Add(time.Hour)}
		if n == 0 {
			j.State = job.Cancelled
			j.Plan = job.Plan{Chunks: 450, Complete: true}
		}
		if _, err := stack.Queue.CreateJob(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		if err := stack.Queue.PublishDead(t.Context(), job.Dead{Chunk: job.Chunk{Job: "paged-000", Ordinal: uint64(n)}, Reason: job.ReasonAttempts, Error: "paged", At: then}); err != nil { //nolint:gosec // not negative
			t.Fatal(err)
		}
	}
	ledger(t, "paged-000", 450, "loaded", "1")
	dir := t.TempDir()
	write(t, dir, "paged.csv", strings.Repeat("none\n", 60)+strings.Repeat("1\n", 60))
	id := create(t, "sheets-1", dir, `pipeline: sheets
source: {files: {path: paged.csv, format: CSV, header: false}, columns: "n Int32"}
reject: {max: 60%}
load: {table: sheets, create: ENGINE = MergeTree ORDER BY n}
`)
	if j := stack.Ended(t, id); j.Totals.RowsRejected != 60 {
		t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
	tb := openTab(t, site.URL, "/?find=paged")
	rows := func(n int) {
		t.Helper()
		tb.until(fmt.Sprintf(`document.querySelectorAll("tbody tr").length === %d`, n))
	}
	rows(100)
	tb.button("Older jobs")
	rows(2)
	tb.see("#job-paged-000", "Cancelled")
	tb.button("Show all")
	tb.until(`location.search === ""`)

	// A state is chosen without a button.
	tb.goTo("/?find=paged")
	value[bool](tb, `(() => { const s = document.getElementById("state"); s.value = "cancelled"; return s.dispatchEvent(new Event("change", { bubbles: true })); })()`)
	rows(1)
	tb.see("#job-paged-000", "Cancelled")

	tb.goTo("/jobs/paged-000/chunks?state=loaded")
	rows(200)
	tb.button("More")
	tb.see("tbody tr:first-child", "204") // four before it have rejects
	rows(200)
	tb.button("More")
	rows(41)

	tb.goTo("/dead?job=paged-000")
	rows(100)
	tb.button("More")
	rows(2)

	tb.goTo("/jobs/" + id + "/rejects")
	rows(50)
	tb.button("Next")
	rows(10)
	tb.button("Previous")
	rows(50)
}
