package cli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// Workers are killed with SIGKILL while each is in the middle of a chunk; the
// others finish those chunks and the table has every row once.
func TestKilledWorkers(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	const lines = 60_000
	file := numbers(t, f.dir, "killed", lines, "3500") // 200 chunks and some
	start(t, f.env, "coordinator")
	workers := map[int]*process{}
	begin := func() {
		w := start(t, f.env, "worker")
		workers[w.cmd.Process.Pid] = w
	}
	for range 3 {
		begin()
	}
	submit := start(t, f.env, "submit", file, "--wait", "--json", "--key", "kill")
	const id = "killed-kill"

	for killed := range 3 {
		// A worker is stopped before it is killed, so that it can be seen
		// that the chunk it holds has no result: it dies in its middle.
		eventually(t, "a worker is killed in the middle of a chunk", func() bool {
			if n, err := f.queue.CountResults(t.Context(), id); err != nil || n < uint64(40*killed) {
				return false
			}
			list, err := f.queue.Workers(t.Context())
			if err != nil {
				return false
			}
			for _, w := range list {
				p := workers[w.PID]
				if p == nil || len(w.Current) == 0 {
					continue
				}
				p.signal(syscall.SIGSTOP)
				if pullsOpen(t, f, id) {
					p.signal(syscall.SIGKILL)
					<-p.done
					delete(workers, w.PID)
					return true
				}
				p.signal(syscall.SIGCONT)
			}
			return false
		})
		begin()
	}
	submit.exits(0)
	var j job.Job
	if err := json.Unmarshal([]byte(submit.log.String()), &j); err != nil {
		t.Fatal(err)
	}
	if j.State != job.Done || j.Plan.Chunks < 200 || j.Totals.Chunks != j.Plan.Chunks || j.Totals.RowsRead != lines {
		t.Errorf("job is %s: %d chunks planned, %+v", j.State, j.Plan.Chunks, j.Totals)
	}
	if j.Totals.Redelivered == 0 {
		t.Error("no chunk was redelivered: nothing was killed in the middle of one")
	}
	want := fmt.Sprintf("%d\t%d", lines*9/10, lines*9/10)
	f.answers(t, "SELECT count(), uniqExact(id) FROM killed", want)
	f.answers(t, "SELECT countIf(square != id * id % 1000003 OR id % 10 = 3) FROM killed", "0")
	t.Logf("%d chunks, %d redelivered", j.Plan.Chunks, j.Totals.Redelivered)
}

// pullsOpen reports whether chunks of the job are in somebody's hands.
func pullsOpen(t *testing.T, f *fleet, id string) bool {
	t.Helper()
	_, inFlight, err := f.queue.Backlog(t.Context(), id)
	return err == nil && inFlight > 0
}

// A worker that is asked to stop finishes what it has and exits with 0.
func TestDrain(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	file := numbers(t, f.dir, "drained", 20_000, "4096")
	start(t, f.env, "coordinator")
	first := start(t, f.env, "worker")
	submit := start(t, f.env, "submit", file, "--wait", "--quiet", "--key", "1")
	f.results(t, "drained-1", 5)
	first.signal(syscall.SIGTERM)
	first.exits(0)
	start(t, f.env, "worker")
	submit.exits(0)
	f.answers(t, "SELECT count(), uniqExact(id) FROM drained", "18000\t18000")
	f.answers(t, "SELECT max(attempt) FROM drayage.ledger FINAL WHERE job = 'drained-1'", "1")
}

// ClickHouse is killed in the middle of a job and comes back.
func TestClickHouseGoesAway(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	file := numbers(t, f.dir, "away", 20_000, "4096")
	start(t, f.env, "coordinator")
	start(t, f.env, "worker")
	submit := start(t, f.env, "submit", file, "--wait", "--quiet", "--key", "1")
	for _, after := range []uint64{3, 15} {
		f.results(t, "away-1", after)
		if err := syscall.Kill(f.server.Pid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	submit.exits(0)
	f.answers(t, "SELECT count(), uniqExact(id) FROM away", "18000\t18000")
}

// NATS is stopped in the middle of a job and comes back with its store.
func TestNATSGoesAway(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	file := numbers(t, f.dir, "natsaway", 20_000, "4096")
	start(t, f.env, "coordinator")
	start(t, f.env, "worker")
	submit := start(t, f.env, "submit", file, "--wait", "--quiet", "--key", "1")
	f.results(t, "natsaway-1", 3)
	if err := f.nats.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	submit.exits(0)
	f.answers(t, "SELECT count(), uniqExact(id) FROM natsaway", "18000\t18000")
}

// A coordinator is killed while it plans and accounts; the next goes on.
func TestKilledCoordinator(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	env := append(f.env, "DRAY_PLAN_WINDOW=10", "DRAY_IN_FLIGHT=4")
	file := numbers(t, f.dir, "led", 20_000, "2048")
	leader := start(t, env, "coordinator")
	start(t, f.env, "worker")
	submit := start(t, f.env, "submit", file, "--wait", "--json", "--key", "1")
	for _, after := range []uint64{5, 40} {
		f.results(t, "led-1", after)
		leader.signal(syscall.SIGKILL)
		<-leader.done
		leader = start(t, env, "coordinator")
	}
	submit.exits(0)
	var j job.Job
	if err := json.Unmarshal([]byte(submit.log.String()), &j); err != nil {
		t.Fatal(err)
	}
	if j.Totals.Chunks != j.Plan.Chunks || j.Totals.RowsRead != 20_000 {
		t.Errorf("%d chunks planned, totals %+v", j.Plan.Chunks, j.Totals)
	}
	f.answers(t, "SELECT count(), uniqExact(id) FROM led", "18000\t18000")
}

// The tools show what the fleet did.
func TestSubmitJobsShow(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	file := numbers(t, f.dir, "shown", 1000, "4096")
	start(t, f.env, "coordinator")
	start(t, f.env, "worker", "--slots", "1")
	out, stderr, code := dray(t, f.env, "submit", file, "--key", "A b/1")
	if code != 0 || strings.TrimSpace(out) != "shown-a-b-1" {
		t.Fatalf("submit printed %q, exit %d: %s", out, code, stderr)
	}
	if _, stderr, code := dray(t, f.env, "submit", file, "--key", "A b/1", "--wait"); code != 0 {
		t.Fatalf("waiting for it: exit %d: %s", code, stderr)
	} else if !strings.Contains(stderr, "done") || !strings.Contains(stderr, "900 rows, counted by chunk in the table") {
		t.Errorf("the summary is %s", stderr)
	}
	out, _, _ = dray(t, f.env, "jobs")
	if !strings.Contains(out, "shown-a-b-1") || !strings.Contains(out, "DONE") || strings.Count(out, "\n") != 2 {
		t.Errorf("jobs printed\n%s", out)
	}
	var list []job.Job
	out, _, _ = dray(t, f.env, "jobs", "--json", "--state", "done", "-n", "0")
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 || list[0].Totals.RowsLoaded != 900 {
		t.Errorf("jobs --json printed %s (%v)", out, err)
	}
	for _, name := range []string{"last", "shown-a", "shown-a-b-1"} {
		if out, stderr, code := dray(t, f.env, "show", name); code != 0 || !strings.Contains(out, "provenance: 900 rows") {
			t.Errorf("show %s printed %s%s, exit %d", name, out, stderr, code)
		}
	}
	if _, stderr, code := dray(t, f.env, "show", "nope"); code != 2 || !strings.Contains(stderr, "dray jobs") {
		t.Errorf("show of an absent job printed %s, exit %d", stderr, code)
	}
	f.answers(t, "SELECT count() FROM shown", "900")
	if n, err := strconv.Atoi(f.sql(t, "SELECT count() FROM drayage.ledger FINAL WHERE job = 'shown-a-b-1'")); err != nil || n != int(list[0].Plan.Chunks) {
		t.Errorf("the ledger has %d rows for %d chunks (%v)", n, list[0].Plan.Chunks, err)
	}
	if _, err := f.queue.Puller(t.Context(), "shown-a-b-1"); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("the queue of a finished job is still there: %v", err)
	}
}
