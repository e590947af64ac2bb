package engine

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const canary = "canary-7f3e91"

// TestConfined: a confined engine reads what it was given and nothing else,
// whatever the statement.
func TestConfined(t *testing.T) {
	t.Parallel()
	if !ConfinementHere().Files {
		t.Fatalf("the kernel holds no engine: %s", ConfinementHere())
	}
	dir := t.TempDir()
	at := func(elem ...string) string { return filepath.Join(append([]string{dir}, elem...)...) }
	for _, d := range []string{"given", "scratch", "other"} {
		if err := os.Mkdir(at(d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(at("given", "rows.tsv"), "one\ntwo\n")
	write(at("other", "secret"), canary+"\n")
	if err := os.Symlink(at("other", "secret"), at("given", "link")); err != nil {
		t.Fatal(err)
	}
	var touched atomic.Int64
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			touched.Add(1)
			c.Close()
		}
	}()
	defer listener.Close()

	p, err := Start(t.Context(), Config{Name: "confined", Confine: &Confine{Read: []string{at("given"), at("missing")}, Write: []string{at("scratch")}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	c := p.Client()
	t.Run("refused", func(t *testing.T) {
		secret, address := at("other", "secret"), listener.Addr().String()
		for name, sql := range map[string]string{
			"file":                   fmt.Sprintf("SELECT * FROM file('%s', LineAsString)", secret),
			"file through a link":    fmt.Sprintf("SELECT * FROM file('%s', LineAsString)", at("given", "link")),
			"file by ..":             fmt.Sprintf("SELECT * FROM file('%s/../other/secret', LineAsString)", at("given")),
			"glob":                   fmt.Sprintf("SELECT * FROM file('%s/*', LineAsString)", at("other")),
			"scalar file":            fmt.Sprintf("SELECT file('%s')", secret),
			"sqlite":                 fmt.Sprintf("SELECT * FROM sqlite('%s', 't')", secret),
			"passwd":                 "SELECT * FROM file('/etc/passwd', LineAsString)",
			"its own environment":    "SELECT * FROM file('/proc/self/environ', LineAsString)",
			"its own memory":         "SELECT * FROM file('/proc/self/maps', LineAsString)",
			"the environment of 1":   "SELECT * FROM file('/proc/1/environ', LineAsString)",
			"that of its parent":     fmt.Sprintf("SELECT * FROM file('/proc/%d/environ', LineAsString)", os.Getpid()),
			"its parent's root":      fmt.Sprintf("SELECT * FROM file('/proc/%d/root%s', LineAsString)", os.Getpid(), secret),
			"its own root":           fmt.Sprintf("SELECT * FROM file('/proc/self/root%s', LineAsString)", secret),
			"written outside":        fmt.Sprintf("INSERT INTO FUNCTION file('%s', LineAsString, 'l String') SELECT 'x'", at("other", "new")),
			"outfile":                fmt.Sprintf("SELECT 1 INTO OUTFILE '%s'", at("other", "new")),
			"infile":                 fmt.Sprintf("INSERT INTO FUNCTION null('l String') FROM INFILE '%s' FORMAT LineAsString", secret),
			"a table of a file":      fmt.Sprintf("CREATE TABLE t ENGINE = File(LineAsString, '%s') AS SELECT 'x' AS l", at("other", "new")),
			"a dictionary":           fmt.Sprintf("SELECT * FROM dictionary(d) SETTINGS max_threads = 1 UNION ALL SELECT * FROM file('%s', LineAsString)", secret),
			"executable":             "SELECT * FROM executable('id', TSV, 'l String')",
			"http to loopback":       fmt.Sprintf("SELECT * FROM url('http://%s/', LineAsString)", address),
			"postgresql to loopback": fmt.Sprintf("SELECT * FROM postgresql('%s', 'd', 't', 'u', 'p')", address),
			"mysql to loopback":      fmt.Sprintf("SELECT * FROM mysql('%s', 'd', 't', 'u', 'p')", address),
			"clickhouse to loopback": fmt.Sprintf("SELECT * FROM remote('%s', 'd', 't')", address),
		} {
			t.Run(name, func(t *testing.T) {
				var out []byte
				r, err := c.Query(t.Context(), Statement{SQL: sql, Settings: map[string]string{"http_max_tries": "1", "connect_timeout": "1"}})
				if err == nil {
					out, err = io.ReadAll(r)
					r.Close()
				}
				if err == nil && len(out) > 0 {
					t.Errorf("it gave %q", out)
				}
				if text := fmt.Sprint(string(out), err); strings.Contains(text, canary) {
					t.Errorf("the canary sings: %s", text)
				}
			})
		}
		if n := touched.Load(); n > 0 {
			t.Errorf("the listener was reached %d times", n)
		}
		if _, err := os.Stat(at("other", "new")); err == nil {
			t.Error("a file was made")
		}
	})
	count := func(path string) uint64 {
		t.Helper()
		n, err := c.CountRows(t.Context(), "file('"+path+"', LineAsString)", nil)
		if err != nil {
			t.Error(err)
		}
		return n
	}
	if n := count(at("given", "rows.tsv")); n != 2 {
		t.Errorf("the given file has %d rows", n)
	}
	mem, err := unix.MemfdCreate("rows", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	memory := os.NewFile(uintptr(mem), "rows")
	defer memory.Close()
	nameless, err := os.Create(at("scratch", "rows"))
	if err != nil {
		t.Fatal(err)
	}
	defer nameless.Close()
	os.Remove(nameless.Name())
	for _, f := range []*os.File{memory, nameless} {
		if _, err := f.WriteString("1\n2\n3\n"); err != nil {
			t.Fatal(err)
		}
	}
	lent := func() {
		t.Helper()
		for _, f := range []*os.File{memory, nameless} {
			if n := count(FilePath(f)); n != 3 {
				t.Errorf("the lent file has %d rows", n)
			}
		}
	}
	lent()
	if err := unix.Kill(p.Pid(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(startTimeout); p.Restarts() == 0 || p.Pid() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the engine is not started again")
		}
	}
	if _, err := c.Exec(t.Context(), Statement{SQL: "SELECT 1"}); err != nil {
		t.Fatal(err)
	}
	lent()
	for n := range lentNow(t, p.Pid()) {
		t.Errorf("%s is still open in the engine", n)
	}
}

// lentNow are the files of at least lentFrom that a process has open.
func lentNow(t *testing.T, pid int) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]bool{}
	for _, e := range entries {
		var n int
		if _, err := fmt.Sscan(e.Name(), &n); err == nil && n >= lentFrom {
			open[e.Name()] = true
		}
	}
	return open
}
