package web_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"drayage/coordinator/api"
	"drayage/pkg/job"
)

// letters makes a job of chunks 0 to 9, with a row each, of which those of the
// ids that are named are dead letters until mend is called.
func letters(t *testing.T, table string, ids ...int) (id string, mend func()) {
	t.Helper()
	first := create(t, table+"-0", "", strings.ReplaceAll(slow(table, 1, 0), "from: 0, to: 1", "from: 100, to: 101"))
	stack.Reach(t, first, in(job.Done))
	var list []string
	for _, n := range ids {
		list = append(list, fmt.Sprint(n))
	}
	stack.SQL(t, fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT present CHECK id NOT IN (%s)", table, strings.Join(list, ", ")))
	id = create(t, table+"-1", "", slow(table, 10, 0))
	if j := stack.Ended(t, id); j.Totals.Dead != uint64(len(ids)) {
		t.Fatalf("%d chunks are dead, the job is %s: %s", j.Totals.Dead, j.State, j.Error)
	}
	return id, func() { stack.SQL(t, "ALTER TABLE "+table+" DROP CONSTRAINT present") }
}

// Dead letters are replayed and dropped: one, those that are checked, all that
// match.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	id, mend := letters(t, "lost", 2, 3, 5, 6, 7, 8, 9)
	mend()
	tb := openTab(t, site.URL, "/dead?job="+id)
	shown := func(n int) {
		t.Helper()
		tb.until(fmt.Sprintf(`location.pathname === "/dead" && document.querySelectorAll("tbody tr").length === %d`, n))
	}
	back := func() {
		t.Helper()
		tb.goTo("/dead?job=" + id)
	}
	loaded := func(ids string) {
		t.Helper()
		if got := stack.SQL(t, "SELECT arrayStringConcat(groupArray(toString(id)), ' ') FROM (SELECT id FROM lost WHERE id < 100 ORDER BY id)"); got != ids {
			t.Errorf("the rows %s are loaded, not %s", got, ids)
		}
	}
	kept := func(want int) {
		t.Helper()
		page, err := service.DeadLetters(t.Context(), api.LetterQuery{Job: id})
		if err != nil || len(page.Letters) != want {
			t.Errorf("%d dead letters are kept, not %d (%v)", len(page.Letters), want, err)
		}
	}
	shown(7)
	tb.see("#letter-lost-1-2", "present")
	tb.run(chromedp.SetValue(chromedp.CSS("#error"), "no such text"))
	tb.button("Filter")
	tb.see(".empty", "No dead letter is like that")
	tb.button("Show all")
	tb.until(`location.search === ""`)
	back()
	shown(7)

	// One of a row.
	tb.button("Replay chunk 2 of " + id)
	tb.see("#notice", "loads the dead letters again")
	tb.see("#job-head .state", "Done")
	loaded("0 1 2 4")
	back()
	shown(6)

	// One is dropped, after a question that is answered with no first.
	tb.button("Drop chunk 3 of " + id)
	tb.see("h1", "Drop this dead letter?")
	tb.button("Keep")
	shown(6)
	kept(6)
	tb.button("Drop chunk 3 of " + id)
	tb.button("Drop")
	tb.see("#notice", "dropped")
	kept(5)
	back()
	shown(5)

	// Those that are checked.
	tb.click(`input[value="lost-1/5"]`)
	tb.click(`input[value="lost-1/7"]`)
	tb.button("Replay checked")
	tb.see("#job-head .state", "Done")
	loaded("0 1 2 4 5 7")
	back()
	shown(3)

	// None is: nothing is done.
	tb.button("Replay checked")
	tb.see("#notice", "Nothing was checked")
	back()

	// All that match, and then none does.
	tb.click(`thead input[type=checkbox]`)
	tb.until(`document.querySelectorAll("tbody input:checked").length === 3`)
	tb.button("Drop checked…")
	tb.see("h1", "Drop these 3 dead letters?")
	tb.button("Keep")
	shown(3)
	tb.click(`input[value="lost-1/6"]`)
	tb.button("Drop checked…")
	tb.see("h1", "Drop this dead letter?")
	tb.button("Drop")
	tb.see("#notice", "dropped")
	kept(2)
	tb.goTo("/dead?job=" + id + "&error=present")
	tb.button("Drop all that match…")
	tb.see("h1", "Drop all dead letters that match?")
	tb.see("p", "present")
	tb.button("Drop")
	tb.see("#notice", "dropped")
	kept(0)
	back()
	tb.see(".empty", "No dead letter is like that")
	loaded("0 1 2 4 5 7")
}

// All dead letters that match are replayed at once.
func TestReplayAll(t *testing.T) {
	t.Parallel()
	id, mend := letters(t, "every", 1, 4, 6)
	mend()
	tb := openTab(t, site.URL, "/dead?error=present&job="+id)
	tb.button("Replay all that match")
	tb.see("#notice", "loads the dead letters again")
	tb.see("#job-head .state", "Done")
	if rows := stack.SQL(t, "SELECT count() FROM every WHERE id < 100"); rows != "10" {
		t.Errorf("%s rows are loaded", rows)
	}
}

// A job's own button loads all its dead letters again, and rows in quarantine.
func TestRetry(t *testing.T) {
	t.Parallel()
	id, mend := letters(t, "again", 1, 4)
	mend()
	tb := openTab(t, site.URL, "/jobs/"+id)
	tb.button("Retry dead letters")
	tb.see("h1", id+"-dead1")
	tb.see("#job-head .state", "Done")
	tb.see("#job-figures", "the dead letters of 2 chunks of job "+id)
	if rows := stack.SQL(t, "SELECT count() FROM again WHERE id < 100"); rows != "10" {
		t.Errorf("%s rows are loaded", rows)
	}
	dir, text := meters(t, "quarantined", 10, 0)
	rejected := create(t, "quarantined-1", dir, text)
	stack.Reach(t, rejected, in(job.DoneWithRejects))
	tb.goTo("/jobs/" + rejected)
	tb.button("Retry rejects")
	tb.see("h1", rejected+"-rejects1")
	tb.see("#job-figures", "the rejected rows of 1 chunks")
	if j := stack.Ended(t, rejected+"-rejects1"); j.Totals.RowsRead != 1 {
		t.Errorf("the retry is %s, and read %d rows", j.State, j.Totals.RowsRead)
	}

	// The page of the rejects has the same button.
	other := create(t, "quarantined-2", dir, text)
	stack.Reach(t, other, in(job.DoneWithRejects))
	tb.goTo("/jobs/" + other + "/rejects")
	tb.button("Load them again")
	tb.see("#notice", "loads the rejected rows again")
	tb.see("h1", other+"-rejects1")
	if j := stack.Ended(t, other+"-rejects1"); j.Totals.RowsRead != 1 {
		t.Errorf("the retry is %s, and read %d rows", j.State, j.Totals.RowsRead)
	}
}

// The workers are shown with what they are at.
func TestWorkers(t *testing.T) {
	t.Parallel()
	id := create(t, "long-1", "", slow("long", 60, 1000*1000*1000))
	tb := openTab(t, site.URL, "/workers")
	tb.see("tbody", id)
	tb.see("tbody", "busy")
	tb.click("tbody ul a")
	tb.see("#chunk h2", "Chunk")
	if _, err := service.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}
