package chaos

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func testProcess(t *testing.T, argv ...string) *process {
	t.Helper()
	l := newLauncher()
	t.Cleanup(l.close)
	p := newProcess(l, t.TempDir(), argv[0], argv, os.Environ())
	t.Cleanup(p.close)
	return p
}

// A process that is held down stays down, and one that is not comes back.
func TestProcessIsKilledAndComesBack(t *testing.T) {
	t.Parallel()
	p := testProcess(t, "sleep", "1000")
	until(t, "it runs", func() bool { return p.pid() != 0 })
	first := p.pid()

	p.end(syscall.SIGKILL, 0)
	if p.pid() != 0 {
		t.Fatal("it was killed and runs")
	}
	for range 3 { // whatever wakes the supervisor, it does not start it
		p.change(func() {})
		if p.pid() != 0 {
			t.Fatal("it came back although it is held down")
		}
	}
	p.up()
	until(t, "it runs again", func() bool { return p.pid() != 0 })
	if p.pid() == first {
		t.Error("it is the same process")
	}
	if p.mu.Lock(); p.starts != 2 {
		t.Errorf("it was started %d times", p.starts)
	}
	p.mu.Unlock()
	if n := p.unasked(); n != 0 {
		t.Errorf("%d ends are said to be its own", n)
	}

	second := p.pid()
	if err := syscall.Kill(second, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "it is started again", func() bool { pid := p.pid(); return pid != 0 && pid != second })
	if n := p.unasked(); n != 1 {
		t.Errorf("it ended once by itself, and %d are counted", n)
	}
	log, err := os.ReadFile(p.log)
	if err != nil || strings.Count(string(log), "ended: signal: killed") != 2 {
		t.Errorf("its log says %q (%v)", log, err)
	}
}

// A process that does not heed SIGTERM is killed when patience ends.
func TestProcessThatDoesNotDrain(t *testing.T) {
	t.Parallel()
	p := testProcess(t, "sh", "-c", "trap '' TERM; while true; do sleep 1; done")
	until(t, "it runs and ignores SIGTERM", func() bool { return len(children(p.pid())) > 0 })
	p.end(syscall.SIGTERM, 50*time.Millisecond)
	if p.pid() != 0 {
		t.Error("it still runs")
	}
}

// The children of a process are found, and only those.
func TestChildren(t *testing.T) {
	t.Parallel()
	p := testProcess(t, "sh", "-c", "sleep 1000 & sleep 1000 & wait")
	until(t, "it has two children", func() bool { return len(children(p.pid())) == 2 })
	for _, pid := range children(p.pid()) {
		if len(children(pid)) != 0 {
			t.Errorf("process %d has children", pid)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	if children(0) != nil {
		t.Error("process 0 has children")
	}
}
