package web_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"drayage/pkg/job"
)

// A job is found in the list, watched, paused, resumed and cancelled.
func TestSteer(t *testing.T) {
	t.Parallel()
	id := create(t, "steered-1", "", slow("steered", 200, 200*time.Millisecond))
	tb := openTab(t, site.URL, "/?find=steered")
	tb.see("#job-steered-1", "Running")
	tb.click(`#job-steered-1 a.name`)
	tb.see("h1", id)
	tb.see("#live-status", "Live")
	// Nothing is loaded again by hand.
	before := value[string](tb, `document.querySelector("#job-figures .sub").textContent`)
	tb.until(`document.querySelector("#job-figures .sub").textContent !== ` + "`" + before + "`")
	tb.see("#map-legend", "Loaded")
	tb.see("#map-legend", "Queued")

	tb.button("Pause")
	tb.see("#notice", "Paused")
	tb.see("#job-head .state", "Paused")
	stack.Reach(t, id, in(job.Paused))
	tb.button("Resume")
	tb.see("#job-head .state", "Running")
	stack.Reach(t, id, in(job.Running))

	// A question that is answered with no, with the keyboard, and then with yes.
	tb.button("Cancel…")
	tb.see("dialog h1", "Cancel steered-1?")
	tb.run(chromedp.KeyEvent(kb.Escape))
	tb.until(`!document.getElementById("dialog").open`)
	tb.button("Cancel…")
	tb.see("dialog h1", "Cancel steered-1?")
	tb.button("Cancel the job")
	tb.see("#job-head .state", "Cancelled")
	stack.Reach(t, id, in(job.Cancelled))
	if rows := stack.SQL(t, "SELECT count() FROM steered"); rows == "0" || rows == "200" {
		t.Errorf("%s rows are loaded", rows)
	}
}

// The page of a job that ended long ago says that nothing more will come.
func TestOldJob(t *testing.T) {
	t.Parallel()
	then := time.Now().Add(-time.Hour).UTC()
	_, err := stack.Queue.CreateJob(t.Context(), job.Job{ID: "old-1", Name: "old", State: job.Failed, Error: "the <i>source</i> is not there\nat all", CreatedAt: then, FinishedAt: then})
	if err != nil {
		t.Fatal(err)
	}
	tb := openTab(t, site.URL, "/jobs/old-1")
	tb.see(".notice pre", "the <i>source</i> is not there")
	tb.see("#map-legend", "No chunk is planned yet")
	tb.see("#live-status", "Complete")
}

// The chunk map is drawn, and its cells can be reached with keyboard and mouse.
func TestChunkMap(t *testing.T) {
	t.Parallel()
	dir, text := meters(t, "mapped", 24, 0)
	id := create(t, "mapped-1", dir, text)
	if j := stack.Ended(t, id); j.State != job.DoneWithRejects {
		t.Fatalf("the job is %s: %s", j.State, j.Error)
	}
	tb := openTab(t, site.URL, "/jobs/"+id)
	for _, state := range []string{"Dead 1", "Loaded with rejects 3", "Loaded 20"} {
		tb.see("#map-legend li", state)
	}
	// Every cell is drawn, and not all alike.
	drawn := value[int](tb, `(() => {
		const c = document.querySelector("canvas[data-cells]"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data, seen = new Set();
		for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 200) seen.add(d[i] << 16 | d[i + 1] << 8 | d[i + 2]);
		return seen.size;
	})()`)
	if drawn < 3 {
		t.Errorf("the map has %d colours", drawn)
	}
	tb.run(chromedp.Focus(chromedp.CSS("canvas[data-cells]")), chromedp.KeyEvent(kb.End))
	tb.see("#map-line", "Chunk 23: loaded")
	tb.run(chromedp.KeyEvent("n"))
	tb.see("#map-line", "Chunk 11: dead")
	if said := value[string](tb, `document.activeElement.getAttribute("aria-valuetext")`); said != "Chunk 11: dead" {
		t.Errorf("a screen reader says %q", said)
	}
	tb.run(chromedp.KeyEvent(kb.Enter))
	tb.see("#chunk h2", "Chunk 11")
	tb.see("#chunk pre", "reject.max allows 10")
	tb.see("#chunk", "readings-011.csv")
	tb.until(`document.activeElement.id === "chunk"`)
	tb.run(chromedp.MouseClickNode(tb.node("canvas[data-cells]")))

	// Errors, rejects and the slowest are there, and what is in them is text.
	tb.see("#job-errors", "rows were rejected")
	tb.see("#job-rejects", "kilowatts")
	tb.see("#job-slowest", "vm")
	tb.until(`document.querySelector(".chart canvas")`)
	tb.click("#job-rejects td a")
	tb.see("h1", "Rejects")
	tb.see("pre.raw", "<b>n/a</b>")
	if n := value[int](tb, `document.querySelectorAll("pre.raw").length`); n != 3 {
		t.Errorf("%d rows are shown of 3", n)
	}
	tb.run(chromedp.SendKeys(chromedp.CSS("#chunk-number"), "13"))
	tb.button("Filter")
	tb.until(`document.querySelectorAll("pre.raw").length === 1`)
	tb.button("Show all")
	tb.until(`document.querySelectorAll("pre.raw").length === 3`)
}

// Everything can be read, and done, without scripts.
func TestWithoutScripts(t *testing.T) {
	t.Parallel()
	id := create(t, "plain-1", "", slow("plain", 300, 200*time.Millisecond))
	stack.Reach(t, id, func(j job.Job) bool { return j.Totals.Chunks > 0 })
	tb := openTab(t, site.URL, "/", withoutScripts)
	tb.see("#job-plain-1", "chunks")
	tb.run(chromedp.SendKeys(chromedp.CSS("#find"), "plain"))
	tb.button("Filter")
	tb.until(`document.querySelectorAll("tbody tr").length === 1`)
	tb.click(`#job-plain-1 a.name`)
	tb.see("#job-figures", "chunks")
	tb.run(chromedp.SendKeys(chromedp.CSS("#number"), "0"))
	tb.button("Show chunk")
	tb.see("#chunk h2", "Chunk 0")
	tb.button(id)
	tb.click("#map-legend a")
	tb.see("h1", "Chunks: ")
	tb.button(id)
	tb.button("Pause")
	tb.see("#job-head .state", "Paused")
	tb.button("Cancel…")
	tb.see("h1", "Cancel plain-1?")
	tb.button("Let it go on")
	tb.see("#job-head .state", "Paused")
	tb.button("Cancel…")
	tb.see("h1", "Cancel plain-1?")
	tb.button("Cancel the job")
	tb.see("#notice", "being cancelled")
	stack.Reach(t, id, in(job.Cancelled))
	if html := value[string](tb, `document.documentElement.innerHTML`); strings.Contains(html, "style=") {
		t.Error("the page has styles in its HTML, which its policy forbids")
	}
}

// What is not there is said so.
func TestNotThere(t *testing.T) {
	t.Parallel()
	for path, text := range map[string]string{
		"/jobs/nothing": "There is no such thing", "/jobs/nothing/chunks/x": "There is no such chunk", "/nowhere": "There is no such page",
		"/?state=odd": "The request has a value that can not be",
	} {
		tb := openTab(t, site.URL, path, expecting("Failed to load resource"))
		tb.see("h1", text)
	}
}
