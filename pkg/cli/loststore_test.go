package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// NATS loses its store in the middle of a job. What was loaded is in ClickHouse
// and in the ledger; the same job is not begun again over it, but refused with
// what to do, and that gets every row there once.
func TestNATSLosesItsStore(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	file := numbers(t, f.dir, "wiped", 8000, "2048")
	members := []*process{start(t, f.env, "coordinator"), start(t, f.env, "worker")}
	if _, stderr, code := dray(t, f.env, "submit", file, "--key", "1"); code != 0 {
		t.Fatalf("submit exits with %d: %s", code, stderr)
	}
	eventually(t, "the ledger has some chunks", func() bool {
		return f.sql(t, "SELECT count() FROM system.tables WHERE database = 'drayage' AND name = 'ledger'") == "1" &&
			f.sql(t, "SELECT count() > 3 FROM drayage.ledger WHERE job = 'wiped-1'") == "1"
	})
	for _, m := range members {
		m.signal(syscall.SIGKILL)
		<-m.done
	}
	f.nats.Stop()
	if err := os.RemoveAll(filepath.Join(f.dir, "nats", "jetstream")); err != nil {
		t.Fatal(err)
	}
	if err := f.nats.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	start(t, f.env, "coordinator")
	start(t, f.env, "worker")

	before := f.sql(t, "SELECT count(), uniqExact(id) FROM wiped")
	out, stderr, code := dray(t, f.env, "submit", file, "--key", "1", "--wait")
	if code != 1 || !strings.Contains(stderr, "an earlier job of this name") || !strings.Contains(stderr, "dray undo wiped-1") {
		t.Fatalf("the same job again exits with %d: %s%s", code, out, stderr)
	}
	if after := f.sql(t, "SELECT count(), uniqExact(id) FROM wiped"); after != before {
		t.Errorf("the table had %q and has %q", before, after)
	}
	if out, stderr, code := dray(t, f.env, "undo", "wiped-1", "--yes"); code != 0 {
		t.Fatalf("undo exits with %d: %s%s", code, out, stderr)
	}
	f.answers(t, "SELECT count() FROM wiped", "0")
	if _, stderr, code := dray(t, f.env, "submit", file, "--key", "2", "--wait"); code != 0 {
		t.Fatalf("submit under another key exits with %d: %s", code, stderr)
	}
	f.answers(t, "SELECT count(), uniqExact(id) FROM wiped", "7200\t7200")
}
