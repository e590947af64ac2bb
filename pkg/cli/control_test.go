package cli_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"drayage/pkg/job"
)

// A job is cancelled while a worker holds the block of a chunk in its hands.
// Once it is CANCELLED that worker goes on, and its rows do not land.
func TestCancel(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	file := numbers(t, f.dir, "cancelled", 10_000, "2048")
	start(t, f.env, "coordinator")
	held := start(t, append(f.env, "DRAY_SLOTS=1", "DRAY_FAULT=worker.transformed=stop@5"), "worker")
	submit := start(t, f.env, "submit", file, "--wait", "--quiet", "--key", "1")
	eventually(t, "the worker stands still with a block", func() bool { return stopped(t, held) })

	out, stderr, code := dray(t, f.env, "cancel", "last", "--wait", "--json")
	var j job.Job
	if err := json.Unmarshal([]byte(out), &j); err != nil || code != 0 || j.State != job.Cancelled {
		t.Fatalf("cancel printed %s%s, exit %d (%v)", out, stderr, code, err)
	}
	submit.exits(1)
	landed := f.sql(t, "SELECT count() FROM cancelled")
	held.signal(syscall.SIGCONT)
	// Another job through the same worker: it has let go of the chunk.
	if _, stderr, code := dray(t, f.env, "submit", numbers(t, f.dir, "next", 10, "4096"), "--wait"); code != 0 {
		t.Fatalf("the next job: exit %d: %s", code, stderr)
	}
	if got := f.sql(t, "SELECT count() FROM cancelled"); got != landed || got == "0" {
		t.Errorf("%s rows when it was cancelled, %s afterwards", landed, got)
	}
	if queued, flying, err := f.queue.Backlog(t.Context(), j.ID); err == nil && queued+flying > 0 {
		t.Errorf("%d chunks are queued and %d in flight", queued, flying)
	}

	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		expect []string
	}{
		{"again", []string{"cancel", "cancelled-1"}, 0, []string{"cancelled-1 CANCELLED", "dray undo cancelled-1"}},
		{"one that is done, and one that is cancelled", []string{"cancel", "next-", "cancelled-1"}, 1, []string{"cancelled-1 CANCELLED", "is DONE and can not be cancelled", "dray undo next-"}},
		{"one that is not there", []string{"cancel", "nope"}, 2, []string{"there is no job nope"}},
		{"resume", []string{"resume", "cancelled-1"}, 1, []string{"is CANCELLED and can not be resumed"}},
		{"verify", []string{"verify", "cancelled-1"}, 0, []string{"agrees"}},
		{"undo", []string{"undo", "cancelled-1", "--yes"}, 0, []string{"rows removed"}},
	} {
		t.Run(tt.name, func(t *testing.T) { expect(t, f.env, tt.args, tt.code, tt.expect...) })
	}
	f.answers(t, "SELECT count() FROM cancelled", "0")
}

// expect runs a command and checks its exit code and parts of what it prints.
func expect(t *testing.T, env, args []string, code int, parts ...string) string {
	t.Helper()
	out, stderr, got := dray(t, env, args...)
	var wrong []string
	if got != code {
		wrong = append(wrong, fmt.Sprintf("exit code %d, want %d", got, code))
	}
	for _, part := range parts {
		if !strings.Contains(out+stderr, part) {
			wrong = append(wrong, fmt.Sprintf("it does not say %q", part))
		}
	}
	if len(wrong) > 0 {
		t.Errorf("dray %s: %s; it printed\n%s%s", strings.Join(args, " "), strings.Join(wrong, "; "), out, stderr)
	}
	return out
}

// stopped reports whether a process was stopped by a signal.
func stopped(t *testing.T, p *process) bool {
	t.Helper()
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "stat"))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "T")
}

// A paused job holds no slot; resumed, it ends with every row.
func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	const id = "paused-1"
	file := numbers(t, f.dir, "paused", 8000, "2048")
	start(t, f.env, "coordinator")
	start(t, f.env, "worker", "--slots", "1")
	submit := start(t, f.env, "submit", file, "--wait", "--quiet", "--key", "1")
	done := func() uint64 {
		n, err := f.queue.CountResults(t.Context(), id)
		if err != nil {
			return 0
		}
		return n
	}
	eventually(t, "some chunks are done", func() bool { return done() >= 3 })
	expect(t, f.env, []string{"pause", id}, 0, id+" PAUSED")
	// The one slot is free for other jobs, and nothing of this one is done
	// meanwhile, once the pause has reached the worker.
	other := numbers(t, f.dir, "other", 10, "4096")
	eventually(t, "it stands still while another job runs", func() bool {
		before := done()
		if _, stderr, code := dray(t, f.env, "submit", other, "--wait"); code != 0 {
			t.Fatalf("another job: exit %d: %s", code, stderr)
		}
		return done() == before
	})
	j, _, err := f.queue.Job(t.Context(), id)
	if err != nil || j.State != job.Paused || done() >= j.Plan.Chunks {
		t.Fatalf("it is %s with %d of %d chunks done (%v)", j.State, done(), j.Plan.Chunks, err)
	}
	eventually(t, "the worker says that it is free", func() bool {
		list, err := f.queue.Workers(t.Context())
		return err == nil && len(list) == 1 && list[0].Busy == 0
	})
	var workers []job.Worker
	out := expect(t, f.env, []string{"workers", "--json"}, 0)
	if err := json.Unmarshal([]byte(out), &workers); err != nil || len(workers) != 1 || workers[0].Slots != 1 || workers[0].Busy != 0 {
		t.Errorf("workers printed %s (%v)", out, err)
	}
	expect(t, f.env, []string{"workers"}, 0, "WORKER", "0/1", workers[0].ID)
	expect(t, f.env, []string{"pause", id}, 0, id+" PAUSED")
	expect(t, f.env, []string{"retry", id}, 1, "before it has ended", "dray cancel")
	expect(t, f.env, []string{"undo", id, "--yes"}, 1, "before it has ended", "dray cancel")
	expect(t, f.env, []string{"dead", "drop", id, "--all-chunks", "--yes"}, 1, "before it has ended")
	expect(t, f.env, []string{"verify", id}, 0, "still running")
	expect(t, f.env, []string{"__complete", "resume", ""}, 0, id+"\tPAUSED")
	expect(t, f.env, []string{"resume", id, id}, 0, id+" RUNNING")
	expect(t, f.env, []string{"resume", id}, 0, id+" ")
	submit.exits(0)
	f.answers(t, "SELECT count(), uniqExact(id) FROM paused", "7200\t7200")
	expect(t, f.env, []string{"pause", id}, 1, "is DONE and can not be paused")
}

// The first signal drains a worker, the second ends it at once.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	file := numbers(t, f.dir, "twice", 2000, "4096")
	start(t, f.env, "coordinator")
	env := append(f.env, "DRAY_SLOTS=1", "DRAY_GRACE=1m", "DRAY_FAULT=worker.transformed=1m", "DRAY_HTTP_ADDR=127.0.0.1:0", "DRAY_LEASE=2s")
	w := start(t, env, "worker")
	submit := start(t, f.env, "submit", file, "--wait", "--quiet", "--key", "1")
	eventually(t, "the worker has a chunk", func() bool { return pullsOpen(t, f, "twice-1") })
	addr := regexp.MustCompile(`"addr":"([^"]+)"`).FindStringSubmatch(w.log.String())
	if addr == nil {
		t.Fatal("the worker names no address")
	}
	w.signal(syscall.SIGTERM)
	eventually(t, "the first signal was heard", func() bool {
		c, err := net.DialTimeout("tcp", addr[1], time.Second)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case <-w.done:
		t.Fatal("one signal ended it, with a chunk in its hands")
	default:
	}
	begin := time.Now()
	eventually(t, "the second signal ends it", func() bool {
		w.signal(syscall.SIGTERM)
		select {
		case <-w.done:
			return true
		default:
			return false
		}
	})
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	if s, ok := w.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !s.Signaled() {
		t.Errorf("it ended with %s", w.cmd.ProcessState)
	}
	start(t, f.env, "worker")
	submit.exits(0)
	f.answers(t, "SELECT count(), uniqExact(id) FROM twice", "1800\t1800")
}

// In the data folder of dray run the verbs do what a fleet would.
func TestControlHere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := []string{"DRAY_DATA_DIR=" + filepath.Join(dir, "data"), "DRAY_ACCOUNT_EVERY=50ms"}
	file := numbers(t, dir, "here", 5000, "1024")
	interrupt := func() {
		t.Helper()
		p := start(t, env, "run", file)
		eventually(t, "the job runs", func() bool {
			return strings.Contains(p.log.String(), "running") || strings.Contains(p.log.String(), "going on")
		})
		p.signal(syscall.SIGINT)
		p.exits(130)
	}
	interrupt()
	expect(t, env, []string{"cancel", "last"}, 0, "CANCELLED")
	interrupt()
	out := expect(t, env, []string{"jobs", "--json", "--state", "running"}, 0)
	var list []job.Job
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 {
		t.Fatalf("a run after a cancelled one is not a new job: %s (%v)", out, err)
	}
	id := list[0].ID
	expect(t, env, []string{"pause", id}, 0, id+" PAUSED")
	expect(t, env, []string{"resume", id, "-q"}, 0, id+": done", "4,500 rows")
	expect(t, env, []string{"workers"}, 2, "DRAY_NATS_URL")
}
