package cli_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"drayage/coordinator"
	"drayage/pkg/fault"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// Each place where a process can be stopped between two steps has its own
// test: the process dies, or stops for longer than its lease, exactly there,
// and the job ends right.

// faulty is the environment of a process with faults.
func (f *fleet) faulty(faults string) []string {
	return append(append([]string{}, f.env...), fault.Env+"="+faults)
}

// job is the record of a job.
func (f *fleet) job(t *testing.T, id string) job.Job {
	t.Helper()
	j, _, err := f.queue.Job(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// died waits until a process was ended by SIGKILL.
func (p *process) died() {
	p.t.Helper()
	p.wait()
	if s, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !s.Signaled() || s.Signal() != syscall.SIGKILL {
		p.t.Fatalf("%s ended with %v and not by its fault", p.name, p.cmd.ProcessState)
	}
}

// stopped waits until a process has stopped itself.
func (p *process) stopped() {
	p.t.Helper()
	eventually(p.t, p.name+" stops", func() bool { return processState(p.cmd.Process.Pid) == 'T' })
}

// right checks that every row is there once.
func (f *fleet) right(t *testing.T, table string, lines int) {
	t.Helper()
	want := fmt.Sprintf("%d\t%d\t0", lines*9/10, lines*9/10)
	f.answers(t, "SELECT count(), uniqExact(id), countIf(square != id * id % 1000003 OR id % 10 = 3) FROM "+table, want)
}

// meets waits until a process has met its fault, kill or stop.
func (p *process) meets(action string) {
	p.t.Helper()
	if action == "kill" {
		p.died()
	} else {
		p.stopped()
	}
}

// endAll lets processes end that may be stopped: what was stopped goes on where
// it was, long after its work was somebody else's.
func endAll(processes ...*process) {
	for _, p := range processes {
		p.signal(syscall.SIGCONT)
		p.signal(syscall.SIGTERM)
		p.wait()
	}
}

// overcome submits a file to a fleet where a process of a role has faults. When it
// has met them, kill or stop, another one is started; the submission exits with
// code. What it returns ends both.
func (f *fleet) overcome(t *testing.T, role, faults, action, file string, code int) (endBoth func()) {
	t.Helper()
	faulty := start(t, f.faulty(faults), role)
	submit := start(t, f.env, "submit", file, "--wait", "--quiet", "--key", "1")
	faulty.meets(action)
	begin := time.Now()
	good := start(t, f.env, role)
	submit.exits(code)
	t.Logf("the job ended %s after the takeover began", time.Since(begin).Round(time.Millisecond))
	return func() { endAll(faulty, good) }
}

func TestWorkerFaults(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	start(t, f.env, "coordinator")
	const lines = 4000
	for n, point := range []fault.Point{fault.Pulled, fault.Transformed, fault.Loaded, fault.Recorded, fault.Settled} {
		for _, action := range []string{"kill", "stop"} {
			name := fmt.Sprintf("w%d%s", n, action)
			t.Run(string(point)+" "+action, func(t *testing.T) {
				file := numbers(t, f.dir, name, lines, "4096")
				endBoth := f.overcome(t, "worker", fmt.Sprintf("%s=%s@2", point, action), action, file, 0)
				f.right(t, name, lines)
				endBoth()
				f.right(t, name, lines)
				if got := f.sql(t, "SELECT max(attempt) FROM drayage.ledger WHERE job = '"+name+"-1'"); got == "1" && point != fault.Settled && point != fault.Recorded {
					t.Error("no chunk was redelivered: the fault was in nobody's way")
				}
			})
		}
	}
}

// Of several outputs each gets every row once, whoever dies between them; also
// the one that merges its rows away, of which nothing could be taken out again.
func TestOutputFaults(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	start(t, f.env, "coordinator")
	writeFile(t, filepath.Join(f.dir, "kinds.csv"), "kind,name\n0,zero\n1,one\n")
	const lines = 4000
	for n, point := range []fault.Point{fault.Transformed, fault.Output, fault.Loaded} {
		for _, action := range []string{"kill", "stop"} {
			name := fmt.Sprintf("o%d%s", n, action)
			t.Run(string(point)+" "+action, func(t *testing.T) {
				text := fmt.Sprintf(`pipeline: %[1]s
source: {generate: {rows: %[2]d, select: 'number AS id, number %% 4 AS kind'}, rows: 500}
lookups: {kinds: {path: kinds.csv, columns: 'kind UInt64, name String'}}
outputs:
- load: {table: %[1]s_rows, order_by: id}
- transform: SELECT kind, sum(id) AS total, count() AS n FROM chunk GROUP BY kind
  load: {table: %[1]s_sums, engine: SummingMergeTree, order_by: kind}
- transform: SELECT id, k.name AS name FROM chunk JOIN kinds AS k ON k.kind = chunk.kind
  load: {table: %[1]s_named, order_by: id}
`, name, lines)
				file := writeFile(t, filepath.Join(f.dir, name+".yaml"), text)
				endBoth := f.overcome(t, "worker", fmt.Sprintf("%s=%s@2", point, action), action, file, 0)
				check := func() {
					t.Helper()
					f.answers(t, fmt.Sprintf("SELECT count(), uniqExact(id) FROM %s_rows", name), "4000\t4000")
					f.answers(t, fmt.Sprintf("SELECT sum(total), sum(n), uniqExact(kind) FROM %s_sums", name), fmt.Sprintf("%d\t4000\t4", lines*(lines-1)/2))
					f.answers(t, fmt.Sprintf("SELECT count(), uniqExact(id), uniqExact(name) FROM %s_named", name), "2000\t2000\t2")
				}
				check()
				endBoth()
				check()
			})
		}
	}
}

// A second coordinator is started when the first has met its fault: it takes
// over, in a job that is under way.
func TestCoordinatorFaults(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.env = append(f.env, "DRAY_LEAD_TTL=1s")
	start(t, f.env, "worker")
	const lines = 4000
	for n, point := range []fault.Point{fault.Frozen, fault.Planned, fault.Ledger, fault.Verify, fault.Verified} {
		for _, action := range []string{"kill", "stop"} {
			name := fmt.Sprintf("c%d%s", n, action)
			t.Run(string(point)+" "+action, func(t *testing.T) {
				file := numbers(t, f.dir, name, lines, "4096")
				pass := 1
				if point == fault.Planned || point == fault.Ledger {
					pass = 3
				}
				endBoth := f.overcome(t, "coordinator", fmt.Sprintf("%s=%s@%d", point, action, pass), action, file, 0)
				f.right(t, name, lines)
				endBoth()
				f.right(t, name, lines)
				if j := f.job(t, name+"-1"); j.State != job.Done {
					t.Errorf("the job is %s", j.State)
				}
				if queued, _, err := f.queue.Backlog(t.Context(), name+"-1"); err == nil {
					t.Errorf("the ended job has a queue, with %d chunks", queued)
				}
			})
		}
	}
}

// What is put in the place of older rows is put there once, whole, whoever does
// it: the coordinator that began, another, or both.
func TestPublishFaults(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.env = append(f.env, "DRAY_LEAD_TTL=1s")
	start(t, f.env, "worker")
	for n, point := range []fault.Point{fault.Publish, fault.Published} {
		for _, mode := range []string{"replace", "partitions"} {
			for _, action := range []string{"kill", "stop"} {
				name := fmt.Sprintf("p%d%s%s", n, mode, action)
				t.Run(string(point)+" "+mode+" "+action, func(t *testing.T) {
					file := filepath.Join(f.dir, name+".yaml")
					text := fmt.Sprintf(`pipeline: %s
source: {generate: {rows: 1000, select: 'number AS id, toUInt8(number %% 4) AS p'}, rows: 100}
load: {table: %s, order_by: id, partition_by: p, mode: %s}
`, name, name, mode)
					writeFile(t, file, text)
					f.sql(t, fmt.Sprintf("CREATE TABLE %s (id UInt64, p UInt8, _job String, _chunk UInt32) ENGINE = MergeTree PARTITION BY p ORDER BY id SETTINGS non_replicated_deduplication_window = 10000", name))
					f.sql(t, fmt.Sprintf("INSERT INTO %s SELECT number, number %% 5, 'older', 0 FROM numbers(500)", name))
					endBoth := f.overcome(t, "coordinator", fmt.Sprintf("%s=%s", point, action), action, file, 0)
					older := map[string]string{"replace": "0", "partitions": "100"}[mode]
					check := func() {
						t.Helper()
						f.answers(t, "SELECT countIf(_job != 'older'), uniqExactIf(id, _job != 'older'), countIf(_job = 'older'), countIf(_job = 'older' AND p < 4) FROM "+name, "1000\t1000\t"+older+"\t0")
						f.answers(t, "SELECT groupArray(name) FROM system.tables WHERE startsWith(name, '"+name+"_')", "[]")
					}
					check()
					endBoth()
					check()
					start(t, f.env, "verify", name+"-1").exits(0)
				})
			}
		}
	}
}

// A watermark moves once, whoever moves it, and the next job reads on from there.
func TestWatermarkFaults(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.env = append(f.env, "DRAY_LEAD_TTL=1s", "ORIGIN_URL="+f.server.URL())
	start(t, f.env, "worker")
	for n, point := range []fault.Point{fault.Moving, fault.Moved} {
		for _, action := range []string{"kill", "stop"} {
			name := fmt.Sprintf("i%d%s", n, action)
			t.Run(string(point)+" "+action, func(t *testing.T) {
				f.sql(t, "CREATE TABLE "+name+"_source ENGINE = MergeTree ORDER BY id AS SELECT number AS id FROM numbers(1000)")
				file := filepath.Join(f.dir, name+".yaml")
				text := fmt.Sprintf("pipeline: %[1]s\nsource: {clickhouse: {url: '${env:ORIGIN_URL}', table: %[1]s_source}}\nincremental: {column: id}\nload: {table: %[1]s, order_by: id}\n", name)
				writeFile(t, file, text)
				submitted := func(key string) *process {
					return start(t, f.env, "submit", file, "--wait", "--quiet", "--key", key)
				}
				faulty := start(t, f.faulty(fmt.Sprintf("%s=%s", point, action)), "coordinator")
				first := submitted("1")
				faulty.meets(action)
				good := start(t, f.env, "coordinator")
				first.exits(0)
				f.sql(t, "INSERT INTO "+name+"_source SELECT number FROM numbers(1000, 500)")
				submitted("2").exits(0)
				endAll(faulty, good)
				f.answers(t, "SELECT count(), uniqExact(id) FROM "+name, "1500\t1500")
				if j := f.job(t, name+"-2"); j.Totals.RowsLoaded != 500 {
					t.Errorf("the second job has loaded %d rows", j.Totals.RowsLoaded)
				}
			})
		}
	}
}

// Rows of a loaded chunk disappear, and others come twice, before the job is
// verified: it is repaired, also when the coordinator dies in the middle.
func TestRepairFaults(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.env = append(f.env, "DRAY_LEAD_TTL=1s")
	start(t, f.env, "worker")
	const lines = 4000
	for n, point := range []fault.Point{"", fault.Retired, fault.Deleted} {
		name := fmt.Sprintf("r%d", n)
		t.Run("at "+string(point), func(t *testing.T) {
			file := numbers(t, f.dir, name, lines, "4096")
			faults := string(fault.Verify) + "=stop"
			if point != "" {
				faults += fmt.Sprintf(";%s=kill", point)
			}
			faulty := start(t, f.faulty(faults), "coordinator")
			submit := start(t, f.env, "submit", file, "--wait", "--quiet", "--key", "1")
			faulty.stopped()
			f.sql(t, "ALTER TABLE "+name+" DELETE WHERE _chunk = 2 AND id % 3 = 1 SETTINGS mutations_sync = 2")
			f.sql(t, "INSERT INTO "+name+" SELECT * FROM "+name+" WHERE _chunk = 5 LIMIT 7")
			faulty.signal(syscall.SIGCONT)
			good := start(t, f.env, "coordinator")
			if point != "" {
				faulty.died()
			}
			submit.exits(0)
			f.right(t, name, lines)
			j := f.job(t, name+"-1")
			if j.State != job.Done || j.Repairs == 0 || len(j.Plan.Replaced) != 2 || j.Totals.Retired != 2 {
				t.Errorf("the job is %s with %d repairs, %d replaced, totals %+v", j.State, j.Repairs, len(j.Plan.Replaced), j.Totals)
			}
			f.answers(t, "SELECT count() FROM "+name+" WHERE _chunk IN (2, 5)", "0")
			endAll(faulty, good)
		})
	}
}

// A job is cancelled in the middle, and the coordinator dies while it does.
func TestCancelFaults(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.env = append(f.env, "DRAY_LEAD_TTL=1s")
	const lines = 40_000
	file := numbers(t, f.dir, "c", lines, "4096")
	faulty := start(t, f.faulty(string(fault.Closing)+"=kill"), "coordinator")
	worker := start(t, f.env, "worker")
	submit := start(t, f.env, "submit", file, "--wait", "--quiet", "--key", "1")
	f.results(t, "c-1", 5)
	if _, err := coordinator.Cancel(t.Context(), f.queue, "c-1"); err != nil {
		t.Fatal(err)
	}
	faulty.died()
	start(t, f.env, "coordinator")
	submit.exits(1)
	if j := f.job(t, "c-1"); j.State != job.Cancelled {
		t.Errorf("the job is %s", j.State)
	}
	before := f.sql(t, "SELECT count() FROM c")
	worker.signal(syscall.SIGTERM)
	worker.wait()
	if after := f.sql(t, "SELECT count() FROM c"); after != before {
		t.Errorf("there were %s rows when the job was CANCELLED, and are %s now", before, after)
	}
}

// Two coordinators both believe that they lead, all the time.
func TestTwoLeaders(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	const lines = 4000
	for range 2 {
		start(t, f.faulty(string(fault.Lead)+"=skip"), "coordinator")
	}
	start(t, f.env, "worker")
	var waits []*process
	for n := range 4 {
		file := numbers(t, f.dir, fmt.Sprintf("l%d", n), lines, "4096")
		waits = append(waits, start(t, f.env, "submit", file, "--wait", "--quiet", "--key", "1"))
	}
	for n, w := range waits {
		w.exits(0)
		f.right(t, fmt.Sprintf("l%d", n), lines)
		f.answers(t, fmt.Sprintf("SELECT sum(rows_loaded) FROM drayage.jobs WHERE job = 'l%d-1'", n), fmt.Sprint(lines*9/10))
	}
}

// While nothing happens two leaders write nothing: each write of one sends the
// other back to the beginning, and for ever if it says nothing new.
func TestTwoLeadersRest(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	const lines = 4000
	file := numbers(t, f.dir, "rest", lines, "4096")
	for range 2 {
		start(t, f.faulty(string(fault.Lead)+"=skip"), "coordinator")
	}
	worker := start(t, f.faulty(string(fault.Pulled)+"=stop@5"), "worker")
	submit := start(t, f.env, "submit", file, "--wait", "--quiet", "--key", "1")
	worker.stopped()
	f.results(t, "rest-1", 1)
	var seen queue.Revision
	var since time.Time
	eventually(t, "the record comes to rest", func() bool {
		_, rev, err := f.queue.Job(t.Context(), "rest-1")
		if err != nil || rev != seen {
			seen, since = rev, time.Now()
		}
		return time.Since(since) > 3*time.Second
	})
	worker.signal(syscall.SIGCONT)
	submit.exits(0)
	f.right(t, "rest", lines)
}

// A table with views is not repaired by loading chunks again, because the views
// would be fed twice: the job fails and says so.
func TestRepairLeavesViewsAlone(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	start(t, f.env, "worker")
	file := numbers(t, f.dir, "v", 4000, "4096")
	for _, sql := range []string{
		"CREATE TABLE v (id UInt64, square UInt64, _job LowCardinality(String), _chunk UInt32) ENGINE = MergeTree PARTITION BY id % 2 ORDER BY id SETTINGS non_replicated_deduplication_window = 10000",
		"CREATE TABLE v_sums (k UInt64, n UInt64) ENGINE = SummingMergeTree ORDER BY k SETTINGS non_replicated_deduplication_window = 10000",
		"CREATE MATERIALIZED VIEW v_feed TO v_sums AS SELECT id % 7 AS k, count() AS n FROM v GROUP BY k",
	} {
		f.sql(t, sql)
	}
	coordinator := start(t, f.faulty(string(fault.Verify)+"=stop"), "coordinator")
	submit := start(t, f.env, "submit", file, "--wait", "--quiet", "--key", "1")
	coordinator.stopped()
	f.sql(t, "ALTER TABLE v DELETE WHERE _chunk = 1 SETTINGS mutations_sync = 2")
	coordinator.signal(syscall.SIGCONT)
	submit.exits(1)
	if j := f.job(t, "v-1"); j.State != job.Failed || !strings.Contains(j.Error, "fed twice") {
		t.Errorf("the job is %s: %s", j.State, j.Error)
	}
	f.answers(t, "SELECT sum(n) FROM v_sums", "3600")
}
