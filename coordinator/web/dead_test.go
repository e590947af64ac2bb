package web_test

import (
	"fmt"
	"strings"
	"testing"

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
	id, mend := letters(t, "lost", 2, 3, 5, 7, 8, 9)
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
	shown(6)
	tb.see("#letter-lost-1-2", "present")

	// One of a row.
	tb.button("Replay chunk 2 of " + id)
	tb.see("#notice", "loads the dead letters again")
	tb.see("#job-head .state", "Done")
	loaded("0 1 2 4 6")
	back()
	shown(5)

	// One is dropped, after a question that is answered with no first.
	tb.button("Drop chunk 3 of " + id)
	tb.see("h1", "Drop this dead letter?")
	tb.button("Keep")
	shown(5)
	tb.button("Drop chunk 3 of " + id)
	tb.button("Drop")
	tb.see("#notice", "dropped")
	back()
	shown(4)

	// Those that are checked.
	tb.click(`input[value="lost-1/5"]`)
	tb.click(`input[value="lost-1/7"]`)
	tb.button("Replay checked")
	tb.see("#job-head .state", "Done")
	loaded("0 1 2 4 5 6 7")
	back()
	shown(2)

	// None is: nothing is done.
	tb.button("Replay checked")
	tb.see("#notice", "Nothing was checked")
	back()

	// All that match, and then none does.
	tb.click(`thead input[type=checkbox]`)
	tb.until(`document.querySelectorAll("tbody input:checked").length === 2`)
	tb.button("Drop checked…")
	tb.see("h1", "Drop these 2 dead letters?")
	tb.button("Keep")
	shown(2)
	tb.goTo("/dead?job=" + id + "&error=present")
	tb.button("Drop all that match…")
	tb.see("h1", "Drop all dead letters that match?")
	tb.see("p", "present")
	tb.button("Drop")
	tb.see("#notice", "dropped")
	back()
	tb.see(".empty", "No dead letter is like that")
	loaded("0 1 2 4 5 6 7")
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
