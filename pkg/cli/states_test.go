package cli_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"drayage/pkg/fault"
	"drayage/pkg/job"
)

// history is how ClickHouse tells that a job came to its state.
func (f *fleet) history(t *testing.T, id string) string {
	t.Helper()
	return f.sql(t, "SELECT arrayStringConcat(groupArray(state), ' ') FROM (SELECT state FROM drayage.job_states FINAL WHERE job = '"+id+"' ORDER BY at, revision)")
}

// recorded waits until ClickHouse tells a job's history.
func (f *fleet) recorded(t *testing.T, id, history string) {
	t.Helper()
	got := ""
	defer func() {
		if got != history {
			t.Errorf("job %s: ClickHouse tells %q, want %q", id, got, history)
		}
	}()
	eventually(t, "ClickHouse tells the states of job "+id, func() bool { got = f.history(t, id); return got == history })
}

// broken writes a pipeline that fails while it is planned.
func broken(t *testing.T, dir, name string) (file string) {
	t.Helper()
	file = filepath.Join(dir, name+".yaml")
	text := "pipeline: " + name + "\nsource: {generate: {rows: 10, select: 'number AS id'}, rows: 5}\ntransform: SELECT nothing_of_that_name FROM chunk\nload: {table: " + name + ", order_by: tuple()}\n"
	writeFile(t, file, text)
	return file
}

// ClickHouse alone tells of every job, however it ended: which there are, in what
// state, since when, what became of its rows, who failed and why.
func TestJobStates(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	start(t, f.env, "coordinator")
	submit := func(file string, code int) {
		t.Helper()
		expect(t, f.env, []string{"submit", file, "--key", "1", "--wait"}, code)
	}
	submit(broken(t, f.dir, "broken"), 1)

	// Without a worker nothing of it is loaded.
	file := numbers(t, f.dir, "stopped", 1000, "4096")
	expect(t, f.env, []string{"submit", file, "--key", "1"}, 0)
	eventually(t, "the job runs", func() bool {
		j, _, err := f.queue.Job(t.Context(), "stopped-1")
		return err == nil && j.State == job.Running
	})
	f.recorded(t, "stopped-1", "SUBMITTED PLANNING RUNNING")
	f.answers(t, "SELECT state, table, chunks_loaded, ended_at, since > submitted_at FROM drayage.jobs WHERE job = 'stopped-1'", "RUNNING\tstopped\t0\t\\N\t1")
	for _, verb := range []string{"pause", "resume", "cancel"} { // by the command line itself
		expect(t, f.env, []string{verb, "stopped-1"}, 0)
	}
	f.recorded(t, "stopped-1", "SUBMITTED PLANNING RUNNING PAUSED RUNNING CANCELLING CANCELLED")

	start(t, f.env, "worker")
	submit(numbers(t, f.dir, "good", 1000, "4096"), 0)
	f.recorded(t, "good-1", "SUBMITTED PLANNING RUNNING VERIFYING DONE")
	f.recorded(t, "broken-1", "SUBMITTED PLANNING FAILED")

	const view = "SELECT job, table, target, state, chunks_loaded > 0, rows_loaded, position(error, 'nothing_of_that_name') > 0, submitted_at <= started_at, started_at <= ended_at, ended_at = since FROM drayage.jobs ORDER BY job"
	want := "broken-1\t\t\tFAILED\t0\t0\t1\t1\t1\t1\n" +
		"good-1\tgood\tdefault.good\tDONE\t1\t900\t0\t1\t1\t1\n" +
		"stopped-1\tstopped\tdefault.stopped\tCANCELLED\t0\t0\t0\t1\t1\t1"
	f.answers(t, view, want)
	f.answers(t, "SELECT chunks_planned = chunks_loaded, rows_read, rows_loaded, revision > 0 FROM drayage.job_states FINAL WHERE job = 'good-1' AND state = 'DONE'", "1\t1000\t900\t1")

	// What went through a staging table is one row, which names the target.
	staged := filepath.Join(f.dir, "staged.yaml")
	text := "pipeline: staged\nsource: {generate: {rows: 10, select: 'number AS id'}, rows: 5}\nload: {table: staged, order_by: id, mode: replace}\n"
	writeFile(t, staged, text)
	submit(staged, 0)
	f.recorded(t, "staged-1", "SUBMITTED PLANNING RUNNING VERIFYING DONE")
	f.answers(t, "SELECT table != 'staged', target, state, rows_loaded FROM drayage.jobs WHERE job = 'staged-1'", "1\tdefault.staged\tDONE\t10")

	expect(t, f.env, []string{"undo", "good-1", "--yes"}, 0)
	f.answers(t, "SELECT state, chunks_loaded, chunks_undone > 0, rows_loaded FROM drayage.jobs WHERE job = 'good-1'", "DONE\t0\t1\t0")
}

// A coordinator that dies between a job's end and its row leaves the row to the
// next one.
func TestJobStateFaults(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.env = append(f.env, "DRAY_LEAD_TTL=1s")
	start(t, f.env, "worker")
	faulty := start(t, f.faulty(string(fault.Ended)+"=kill"), "coordinator")
	submit := start(t, f.env, "submit", numbers(t, f.dir, "e", 1000, "4096"), "--wait", "--quiet", "--key", "1")
	faulty.died()
	submit.exits(0)
	if got := f.sql(t, "SELECT count() FROM drayage.job_states WHERE job = 'e-1' AND state = 'DONE'"); got != "0" {
		t.Fatal("the row was written before the fault")
	}
	good := start(t, f.env, "coordinator")
	f.recorded(t, "e-1", "SUBMITTED PLANNING RUNNING VERIFYING DONE")
	endAll(good)

	// One that leads later writes the same again, and nothing changes.
	const all = "SELECT state, state_before, at, revision > 0, rows_loaded FROM drayage.job_states FINAL WHERE job = 'e-1' AND state != 'RUNNING' ORDER BY at"
	before := f.sql(t, all)
	start(t, f.env, "coordinator")
	expect(t, f.env, []string{"submit", broken(t, f.dir, "later"), "--key", "1", "--wait"}, 1)
	f.recorded(t, "later-1", "SUBMITTED PLANNING FAILED")
	if after := f.sql(t, all); after != before {
		t.Errorf("the states were\n%s\nand are\n%s", before, after)
	}
}

// Jobs end while ClickHouse does not answer: it is told when it does, by the same
// coordinator or by the next.
func TestJobStatesWithoutClickHouse(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.env = append(f.env, "DRAY_LEAD_TTL=1s")
	behind, err := url.Parse(f.server.URL())
	if err != nil {
		t.Fatal(err)
	}
	var away atomic.Bool
	proxy := httputil.NewSingleHostReverseProxy(behind)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	through := append(append([]string{}, f.env...), "DRAY_CLICKHOUSE_URL="+strings.Replace(f.server.URL(), behind.Host, strings.TrimPrefix(front.URL, "http://"), 1))
	fails := func(name string) {
		t.Helper()
		expect(t, f.env, []string{"submit", broken(t, f.dir, name), "--key", "1", "--wait"}, 1)
	}

	first := start(t, through, "coordinator")
	fails("here")
	f.recorded(t, "here-1", "SUBMITTED PLANNING FAILED")
	away.Store(true)
	fails("away")
	eventually(t, "the coordinator says so", func() bool { return strings.Contains(first.log.String(), "the states of jobs can not be written") })
	away.Store(false)
	f.recorded(t, "away-1", "SUBMITTED PLANNING FAILED")

	away.Store(true)
	fails("left")
	first.signal(syscall.SIGKILL)
	<-first.done
	away.Store(false)
	if got := f.history(t, "left-1"); got != "" {
		t.Fatalf("it was told already: %q", got)
	}
	start(t, through, "coordinator")
	f.recorded(t, "left-1", "SUBMITTED PLANNING FAILED")
}

// dray run has told the job's end when it is over, though nobody comes after it.
func TestRunTellsItsStates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := []string{"DRAY_DATA_DIR=" + filepath.Join(dir, "data")}
	expect(t, env, []string{"run", numbers(t, dir, "r", 1000, "4096"), "--quiet"}, 0)
	expect(t, env, []string{"run", broken(t, dir, "failed"), "--quiet"}, 1)
	out := expect(t, env, []string{"sql", "-f", "TabSeparated", "SELECT pipeline, state, rows_loaded, error != '' FROM drayage.jobs ORDER BY pipeline"}, 0)
	if want := "failed\tFAILED\t0\t1\nr\tDONE\t900\t0\n"; out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
	out = expect(t, env, []string{"sql", "-f", "TabSeparated", `SELECT state,
		dateDiff('ms', at, leadInFrame(at, 1, now64(3)) OVER (ORDER BY at ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)) AS ms, ms >= 0 AND ms < 60000
		FROM drayage.job_states FINAL WHERE pipeline = 'r' ORDER BY at`}, 0)
	if want := regexp.MustCompile(`^SUBMITTED\t\d+\t1\nPLANNING\t\d+\t1\nRUNNING\t\d+\t1\nVERIFYING\t\d+\t1\nDONE\t\d+\t1\n$`); !want.MatchString(out) {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

// What a dray run that was killed could not tell another in its folder tells, and
// nothing of it to a ClickHouse that has never heard of it.
func TestKilledRunLeavesItsStates(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	env := []string{"DRAY_DATA_DIR=" + filepath.Join(f.dir, "own")}
	// The pause has the states before the end be told.
	faults := fmt.Sprintf("%s=%s=kill;%s=3s", fault.Env, fault.Ended, fault.Verify)
	killed := start(t, append([]string{faults}, env...), "run", numbers(t, f.dir, "k", 1000, "4096"), "--quiet")
	killed.died()
	elsewhere := append([]string{"DRAY_CLICKHOUSE_URL=" + f.server.URL()}, env...)
	expect(t, elsewhere, []string{"run", broken(t, f.dir, "elsewhere"), "--quiet"}, 1)
	expect(t, env, []string{"run", broken(t, f.dir, "next"), "--quiet"}, 1)
	const states = "SELECT pipeline, state FROM drayage.jobs ORDER BY pipeline"
	if got, want := f.sql(t, states), "elsewhere\tFAILED"; got != want {
		t.Errorf("elsewhere there is\n%s\nwant\n%s", got, want)
	}
	if got, want := expect(t, env, []string{"sql", "-f", "TabSeparated", states}, 0), "k\tDONE\nnext\tFAILED\n"; got != want {
		t.Errorf("there is\n%swant\n%s", got, want)
	}
}
