package web_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"drayage/pkg/job"
)

// ledger writes attempts of chunks of a job, as the coordinator would account
// them: those of the numbers that the condition is true for.
func ledger(t *testing.T, id string, chunks int, outcome, where string) {
	t.Helper()
	stack.SQL(t, fmt.Sprintf(`INSERT INTO drayage.ledger (job, database, table, chunk, generation, attempt, outcome, pipeline, worker, rows_read, rows_loaded, rows_rejected,
	bytes_read, bytes_loaded, hash, started_at, transform_ms, load_ms, recovered, error, recorded_at)
SELECT '%s', 'default', 'large', number, 0, 1, '%s', 'large', 'worker-1', 1000, 1000, number %% 50 = 7, 100000, 90000, '', now64(3) - toIntervalSecond(number %% 600), number %% 900 + 20, 10, 0,
	if('%[2]s' = 'dead', 'reading byte ' || toString(number) || ': the file has changed', ''), now64(3) FROM numbers(%[3]d) WHERE %[4]s`, id, outcome, chunks, where))
}

// A job of 10,000 chunks: what its page takes, and what a second of changes does.
// -v prints how smooth it is, which depends on the machine.
func TestLargeJob(t *testing.T) {
	t.Parallel()
	const id, chunks = "large-1", 10_000
	now := time.Now().UTC()
	record := job.Job{
		ID: id, Name: "large", State: job.Cancelled, CreatedAt: now.Add(-time.Hour), StartedAt: now.Add(-time.Hour),
		FinishedAt: now.Add(time.Hour), // so that its page stays live
		Plan:       job.Plan{Chunks: chunks, Complete: true, Bytes: 1 << 30}, Totals: job.Totals{Chunks: 5_000, RowsLoaded: 5_000_000},
	}
	revision, err := stack.Queue.CreateJob(t.Context(), record)
	if err != nil {
		t.Fatal(err)
	}
	ledger(t, id, chunks, "loaded", "number % 2 = 0")
	ledger(t, id, chunks, "dead", "number % 97 = 3")

	begin := time.Now()
	tb := openTab(t, site.URL, "/jobs/"+id)
	tb.until(`document.querySelector("canvas[data-cells]").getAttribute("aria-valuemax") === "9999"`)
	t.Logf("until the map was drawn: %s; %s", time.Since(begin).Round(time.Millisecond),
		value[string](tb, `(() => { const n = performance.getEntriesByType("navigation")[0]; return "HTML " + n.encodedBodySize + " bytes, answered in " + Math.round(n.responseEnd) + " ms, complete in " + Math.round(n.domComplete) + " ms"; })()`))
	if n := value[int](tb, `document.querySelectorAll("*").length`); n > 1_200 {
		t.Errorf("the page has %d elements", n)
	}
	if n := value[int](tb, `performance.getEntriesByType("navigation")[0].encodedBodySize`); n > 100_000 {
		t.Errorf("the page has %d bytes", n)
	}

	// Some hundred chunks a second change, all over the map.
	tb.run(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := chromedp.Evaluate[bool](`(() => {
			const s = window.smooth = { frames: [], tasks: [] };
			let last = performance.now();
			const frame = (now) => { s.frames.push(now - last); last = now; requestAnimationFrame(frame); };
			requestAnimationFrame(frame);
			new PerformanceObserver((l) => { for (const e of l.getEntries()) s.tasks.push(e.duration); }).observe({ type: "longtask" });
			return true;
		})()`)(ctx, target)
		return err
	}))
	sizes := live(t, "/jobs/"+id+"/live", 4, func(n int) {
		ledger(t, id, chunks, "loaded", fmt.Sprintf("number %% 2 = 1 AND cityHash64(number) %% 16 = %d", n))
		record.Totals.Chunks += 300
		record.Totals.RowsLoaded += 300_000
		if revision, err = stack.Queue.UpdateJob(t.Context(), record, revision); err != nil {
			t.Fatal(err)
		}
	})
	for i, n := range sizes {
		t.Logf("change %d: %d bytes in all events of it", i, n)
		if n > 24_000 {
			t.Errorf("a change of some 300 chunks takes %d bytes", n)
		}
	}
	tb.see("#map-legend", "Left undone")
	t.Log(value[string](tb, `(() => {
		const f = window.smooth.frames.sort((a, b) => a - b), at = (q) => f[Math.floor((f.length - 1) * q)].toFixed(0);
		return f.length + " frames, of " + at(0.5) + " ms in the middle, " + at(0.95) + " ms at 95 %, " + at(1) + " ms at most; long tasks: " + (window.smooth.tasks.map((d) => d.toFixed(0) + " ms").join(", ") || "none");
	})()`))
}

// live reads a stream while changes are made: the first event of cells is the
// whole map, and each that follows is the answer to a change. It returns the bytes
// that came for each change.
func live(t *testing.T, path string, changes int, change func(int)) (sizes []int) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, site.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewReader(answer.Body)
	size, cells := 0, false
	for len(sizes) <= changes {
		line, err := lines.ReadString('\n')
		if err == io.EOF || err != nil {
			t.Fatalf("the stream ended after %d changes: %v", len(sizes), err)
		}
		size += len(line)
		switch {
		case strings.HasPrefix(line, "event: cells"):
			cells = true
		case line == "\n" && cells:
			cells = false
			sizes = append(sizes, size)
			if size = 0; len(sizes) <= changes {
				change(len(sizes))
			}
		}
	}
	return sizes
}
