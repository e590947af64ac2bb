package clickhouse_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// stateRow is a row of a state that a job was in since the given second.
func stateRow(id string, state job.State, second int, revision uint64, loads ...clickhouse.Table) clickhouse.StateRow {
	submitted := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	return clickhouse.StateRow{
		Job: id, Pipeline: "p", State: state, At: submitted.Add(time.Duration(second) * time.Second), Revision: revision,
		Loads: loads, Targets: loads, CreatedAt: submitted, RecordedAt: time.Now(),
	}
}

func appendStates(t *testing.T, c *clickhouse.Client, rows ...clickhouse.StateRow) {
	t.Helper()
	if err := c.AppendStates(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
}

// Of one state what the newest record says counts, whoever writes in whatever
// order, and what is only known of afterwards does not hide it.
func TestStates(t *testing.T) {
	t.Parallel()
	_, id := jobs(t)
	c := openIn(t, shared.URL())
	a := clickhouse.Table{Database: c.Database(), Name: "a"}
	running := stateRow(id, job.Running, 2, 7, a)
	running.Before, running.Waiting, running.Planned = job.Planning, "no answer", 9
	running.Totals = job.Totals{Chunks: 3, Dead: 1, RowsRead: 40, RowsLoaded: 30, RowsRejected: 10, BytesRead: 400, BytesLoaded: 300}
	stale := running
	stale.Revision, stale.Waiting = 5, "another"
	left := stateRow(id, job.Running, 2, 0, a)
	for range 2 {
		appendStates(t, c, running)
		appendStates(t, c, stale, left, stateRow(id, job.Submitted, 0, 0))
	}
	appendStates(t, c)
	const all = "state, state_before, revision, pipeline, databases, tables, targets, error, waiting, chunks_planned, chunks_loaded, chunks_dead, rows_read, rows_loaded, rows_rejected, bytes_read, bytes_loaded, at - submitted_at"
	want := "SUBMITTED\t\t0\tp\t[]\t[]\t[]\t\t\t0\t0\t0\t0\t0\t0\t0\t0\t0\n" +
		"RUNNING\tPLANNING\t7\tp\t['" + a.Database + "']\t['a']\t['" + a.String() + "']\t\tno answer\t9\t3\t1\t40\t30\t10\t400\t300\t2"
	if got := query(t, c, "SELECT "+all+" FROM drayage.job_states FINAL WHERE job = '"+id+"' ORDER BY at"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The view of jobs has each job with its last state, also those of which the
// ledger knows nothing, and what the ledger alone knows.
func TestJobsWithTheirStates(t *testing.T) {
	t.Parallel()
	_, id := jobs(t)
	c := openIn(t, shared.URL())
	a, b := clickhouse.Table{Database: c.Database(), Name: "a"}, clickhouse.Table{Database: c.Database(), Name: "b"}
	const columns = "table, pipeline, state, error, waiting, target, chunks_loaded, rows_loaded, toUnixTimestamp(since) - 1767322800, toUnixTimestamp(submitted_at) - 1767322800, ended_at, started_at"
	check := func(what, want string) {
		t.Helper()
		if got := query(t, c, "SELECT "+columns+" FROM drayage.jobs WHERE job = '"+id+"' ORDER BY table"); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", what, got, want)
		}
	}
	appendStates(t, c, stateRow(id, job.Submitted, 0, 1))
	check("submitted", "\tp\tSUBMITTED\t\t\t\t0\t0\t0\t0\t\\N\t1970-01-01 00:00:00.000")
	failed := stateRow(id, job.Failed, 1, 2)
	failed.Error, failed.StartedAt = "no such column", failed.At
	appendStates(t, c, failed)
	check("failed while it was planned", "\tp\tFAILED\tno such column\t\t\t0\t0\t1\t0\t2026-01-02 03:00:01.000\t2026-01-02 03:00:01.000")

	// NATS has lost its store, and a job of that name is made again: its revisions
	// begin anew.
	again := stateRow(id, job.Running, 12, 1, a, b)
	again.CreatedAt = again.CreatedAt.Add(10 * time.Second)
	again.Targets = []clickhouse.Table{a, {Database: "shop", Name: "b"}}
	appendStates(t, c, again)
	target := a.String()
	check("running, no chunk is loaded", "a\tp\tRUNNING\t\t\t"+target+"\t0\t0\t12\t10\t\\N\t1970-01-01 00:00:00.000\n"+
		"b\tp\tRUNNING\t\t\tshop.b\t0\t0\t12\t10\t\\N\t1970-01-01 00:00:00.000")
	append1(t, c, loaded(a, id, 0, 10, 0), loaded(a, id, 1, 10, 0), loaded(b, id, 0, 5, 0))
	done := again
	done.State, done.At, done.Revision, done.Before = job.Done, again.At.Add(time.Second), 9, job.Running
	appendStates(t, c, done)
	check("done", "a\tp\tDONE\t\t\t"+target+"\t2\t20\t13\t10\t2026-01-02 03:00:13.000\t2026-01-02 03:04:05.006\n"+
		"b\tp\tDONE\t\t\tshop.b\t1\t5\t13\t10\t2026-01-02 03:00:13.000\t2026-01-02 03:04:05.006")

	older := id + "-older"
	append1(t, c, loaded(a, older, 0, 10, 0))
	if got := query(t, c, "SELECT state, chunks_loaded, pipeline, ended_at FROM drayage.jobs WHERE job = '"+older+"'"); got != "\t1\tp\t\\N" {
		t.Errorf("a job that only the ledger knows: %q", got)
	}
	// A condition on the job reads of both tables what belongs to it.
	plan := query(t, c, "EXPLAIN indexes = 1 SELECT * FROM drayage.jobs WHERE job = '"+id+"'")
	if n := strings.Count(plan, "job in ["); n != 2 {
		t.Errorf("the condition reaches %d of 2 primary keys:\n%s", n, plan)
	}
}

// Who may not make the table goes on without it and without the view over it, and
// keeps an older view.
func TestStatesWithoutTheRight(t *testing.T) {
	t.Parallel()
	p := ownEngine(t, "")
	defer closeEngine(t, p)
	c := open(t, p.URL(), func(cfg *clickhouse.Config) { cfg.Database = "default" })
	exec1(t, c, "CREATE DATABASE drayage ENGINE = Atomic")
	poor, err := clickhouse.Open(t.Context(), clickhouse.Config{URL: denyingAt(t, p.URL(), "CREATE TABLE IF NOT EXISTS `drayage`.`job_states`")})
	if err != nil {
		t.Fatal(err)
	}
	defer poor.Close()
	missing := func(want ...clickhouse.Table) {
		t.Helper()
		if err := poor.EnsureLedger(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := poor.Missing(t.Context()); err != nil || !slices.Equal(got, want) {
			t.Errorf("missing are %v, %v", got, err)
		}
	}
	missing(clickhouse.StatesTable, clickhouse.SummaryView)
	exec1(t, c, oldSummary)
	missing(clickhouse.StatesTable, clickhouse.SummaryView)
	if got := query(t, c, "SELECT count() FROM system.columns WHERE database = 'drayage' AND table = 'jobs'"); got != "4" {
		t.Errorf("the older view has %s columns", got)
	}
	if err := poor.AppendStates(t.Context(), []clickhouse.StateRow{stateRow("j", job.Done, 1, 1)}); job.ClassOf(err) != job.Permanent {
		t.Errorf("a row was written: %v", err)
	}
	if err := c.EnsureLedger(t.Context()); err != nil {
		t.Fatal(err)
	}
	missing()
	appendStates(t, poor, stateRow("j", job.Done, 1, 1))
	if got := query(t, c, "SELECT job, state FROM drayage.jobs"); got != "j\tDONE" {
		t.Errorf("got %q", got)
	}
}
