package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"drayage/pkg/job"
)

// TestKilledEngineKeepsEveryAcknowledgedInsert kills the child again and again,
// while rows are inserted, and looks for each row whose insert was answered.
func TestKilledEngineKeepsEveryAcknowledgedInsert(t *testing.T) {
	p := start(t, Config{Path: t.TempDir()})
	c := p.Client()
	url := p.URL()
	createLoadTable(t, c, "t")
	data := block(t, c, "SELECT number AS n, toString(number) AS s FROM numbers(1000)")
	inserts := 0
	for round := range 3 {
		stop := make(chan struct{})
		acknowledged := make(chan int, 1)
		go func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					acknowledged <- n
					return
				default:
				}
				// The same token until it is answered: exactly once.
				for {
					_, err := load(t.Context(), c, "t", fmt.Sprintf("%d/%d", round, n), bytes.NewReader(data))
					if err == nil {
						break
					}
					if t.Context().Err() != nil || job.ClassOf(err) == job.Permanent {
						t.Errorf("insert: %v", err)
						acknowledged <- n
						return
					}
				}
			}
		}()
		before := p.Restarts()
		if err := syscall.Kill(p.Pid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the restart", func() bool { return p.Restarts() > before && p.Pid() != 0 })
		close(stop)
		inserts += <-acknowledged
		if got, want := text(t, c, "SELECT count(), countIf(k != "+strconv.Itoa(inserts)+") FROM (SELECT n, count() AS k FROM t GROUP BY n)"), "1000\t0"; inserts > 0 && got != want {
			t.Fatalf("round %d: numbers, numbers that are not there once for each of %d inserts: %s", round, inserts, got)
		}
	}
	if inserts == 0 {
		t.Error("nothing was inserted")
	}
	if p.URL() != url || p.Restarts() != 3 {
		t.Errorf("URL %s, was %s; %d restarts", p.URL(), url, p.Restarts())
	}
	if u := p.Usage(); u.CPU <= 0 || u.MaxRSS < 50<<20 {
		t.Errorf("usage %+v", u)
	}
}

func TestDataOutliveTheEngine(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 {
		p, err := Start(t.Context(), Config{Path: dir, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		c := p.Client()
		if round == 0 {
			createLoadTable(t, c, "t")
			run(t, c, "CREATE DATABASE other")
			run(t, c, "CREATE TABLE other.u (a Int32) ENGINE = MergeTree ORDER BY a")
			run(t, c, "INSERT INTO other.u VALUES (1)")
		}
		if _, err := load(t.Context(), c, "t", "token", bytes.NewReader(block(t, c, "SELECT number AS n, 'x' AS s FROM numbers(10)"))); err != nil {
			t.Fatal(err)
		}
		if got := text(t, c, "SELECT (SELECT count() FROM t), (SELECT count() FROM other.u), (SELECT engine FROM system.databases WHERE name = 'default')"); got != "10\t1\tAtomic" {
			t.Errorf("round %d: %s", round, got)
		}
		u, err := p.Close()
		if err != nil || u.CPU <= 0 || u.MaxRSS < 50<<20 {
			t.Errorf("close: %+v, %v", u, err)
		}
	}
}

// TestForeignDirectory opens what libchdb alone has made: its default database
// has tables, and no file that says it is Atomic.
func TestForeignDirectory(t *testing.T) {
	dir := t.TempDir()
	lib, err := FindLibrary("")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "chdb", lib, dir, "CREATE TABLE t (a Int32) ENGINE = MergeTree ORDER BY a", "INSERT INTO t SELECT number FROM numbers(7)")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c := start(t, Config{Path: dir}).Client()
	if got := text(t, c, "SELECT count(), (SELECT engine FROM system.databases WHERE name = 'default') FROM t"); got != "7\tAtomic" {
		t.Errorf("rows and engine: %s", got)
	}
}

func TestDefaultDatabaseNamesNoFiles(t *testing.T) {
	c := start(t, Config{}).Client()
	_, err := c.Exec(t.Context(), Statement{SQL: "SELECT * FROM `/etc/hostname`"})
	var e *Exception
	if !errors.As(err, &e) || e.Code != 60 {
		t.Errorf("a file as a table: %v", err)
	}
}

func TestLockedDirectory(t *testing.T) {
	p := start(t, Config{Path: t.TempDir()})
	_, err := Start(t.Context(), Config{Path: p.cfg.Path, Log: zerolog.Nop()})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), p.cfg.Path) {
		t.Errorf("error %v", err)
	}
	if got := text(t, p.Client(), "SELECT 1"); got != "1" {
		t.Errorf("the first engine: %s", got)
	}
}

func TestMissingLibrary(t *testing.T) {
	t.Setenv("DRAY_LIBCHDB", "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	// One that is installed for the whole system may be found.
	if path, err := FindLibrary(""); err == nil && !strings.HasPrefix(path, "/usr/") || err != nil && (!errors.Is(err, ErrNoLibrary) || !strings.Contains(err.Error(), "make engine")) {
		t.Errorf("found %q, error %v", path, err)
	}
	missing := filepath.Join(t.TempDir(), "libchdb.so")
	if _, err := Start(t.Context(), Config{Library: missing}); !errors.Is(err, ErrNoLibrary) || !strings.Contains(err.Error(), missing) {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(missing, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Config{Library: missing, Log: zerolog.Nop()}); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("a file that is no library: %v", err)
	}
}

func TestCommandThatFails(t *testing.T) {
	for _, command := range [][]string{{"/nonexistent/dray", "engine"}, {"/bin/sh", "-c", "echo gone wrong >&2; exit 3"}} {
		if _, err := Start(t.Context(), Config{Command: command, Log: zerolog.Nop()}); err == nil || !strings.Contains(err.Error(), command[0]) && !strings.Contains(err.Error(), "gone wrong") {
			t.Errorf("%v: error %v", command, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Config{Command: []string{"/bin/sleep", "60"}, Log: zerolog.Nop()}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "engine.sock")
	p := start(t, Config{Listen: "unix:" + socket})
	if got := text(t, p.Client(), "SELECT 1"); got != "1" {
		t.Errorf("answer %q", got)
	}
	before := p.Restarts()
	if err := syscall.Kill(p.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the restart", func() bool { return p.Restarts() > before })
	if got := text(t, p.Client(), "SELECT 2"); got != "2" {
		t.Errorf("answer %q", got)
	}
}

// TestEngineDiesWithItsParent kills a parent that has no time to stop it.
func TestEngineDiesWithItsParent(t *testing.T) {
	cmd := exec.Command(os.Args[0], "parent")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if !alive(pid) {
		t.Fatal("there is no engine")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, "the end of the engine", func() bool { return !alive(pid) })
}

// alive reports whether a process runs; one that nobody has waited for does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

// beParent is the process that TestEngineDiesWithItsParent kills.
func beParent() {
	p, err := Start(context.Background(), Config{Command: []string{os.Args[0], "engine"}, Log: zerolog.Nop()})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(p.Pid())
	select {}
}

// beChdb runs statements on libchdb as it is.
func beChdb(lib, dir string, statements ...string) {
	c, err := openChdb(lib)
	if err == nil {
		var conn connection
		if conn, err = c.open([]string{"chdb", "--path=" + dir}); err == nil {
			for _, sql := range statements {
				if _, _, err = c.run(conn, sql, "TSV", nil); err != nil {
					break
				}
			}
			c.closeConn(conn)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestReopenWithoutTables kills engines whose default database has no table,
// never had one, and lost its only one.
func TestReopenWithoutTables(t *testing.T) {
	p := start(t, Config{Path: t.TempDir()})
	for i, sql := range []string{"SELECT 1", "CREATE TABLE t (a Int32) ENGINE = MergeTree ORDER BY a", "DROP TABLE t SYNC"} {
		run(t, p.Client(), sql)
		if err := syscall.Kill(p.Pid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the restart", func() bool { return p.Restarts() == i+1 })
		if got := text(t, p.Client(), "SELECT engine FROM system.databases WHERE name = 'default'"); got != "Atomic" {
			t.Errorf("after %s: %s", sql, got)
		}
		if got := p.Restarts(); got != i+1 {
			t.Fatalf("after %s: %d restarts", sql, got)
		}
	}
}

// A bug of ClickHouse 26.7 ends the process: libc++'s hardening aborts it at
// an empty CSV text after a quoted one that ends in a blank. The statement
// fails as one to try again, and the engine is back for the next.
func TestEngineAborts(t *testing.T) {
	p := start(t, Config{})
	path := filepath.Join(t.TempDir(), "abort.csv")
	if err := os.WriteFile(path, []byte("1,\"x \"\n2,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		before := p.Restarts()
		_, err := p.Client().Exec(t.Context(), Statement{
			SQL:      "SELECT * FROM file('" + path + "', CSV, 'a Int32, b String')",
			Settings: map[string]string{"input_format_csv_empty_as_default": "0"},
		})
		if err == nil {
			t.Fatal("this ClickHouse does not abort any more: end it in another way here")
		}
		if job.ClassOf(err) != job.Retry {
			t.Errorf("an abort is %s: %v", job.ClassOf(err), err)
		}
		eventually(t, "the restart", func() bool { return p.Restarts() > before })
		if got := text(t, p.Client(), "SELECT 2"); got != "2" {
			t.Errorf("answer %q", got)
		}
	}
}

// Variables of the machine that happen to be called like ours without the
// prefix are not ours.
func TestServerConfigFromEnv(t *testing.T) {
	t.Setenv("PATH", "/somewhere")
	t.Setenv("USER", "root")
	t.Setenv("LISTEN", "0.0.0.0:1")
	t.Setenv("DRAY_ENGINE_MAX_THREADS", "3")
	cfg, err := ServerConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Path != "" || cfg.User != "default" || cfg.Listen != "127.0.0.1:8123" || cfg.MaxThreads != 3 {
		t.Errorf("configuration is %+v", cfg)
	}
}
