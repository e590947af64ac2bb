package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"drayage/pkg/cli"
	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/queue"
)

// The test binary is dray too: these tests start it as real processes, which
// can be killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-test.") {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop)
		os.Exit(cli.Main(ctx, os.Args[1:], cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, builtIn()))
	}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "DRAY_") && name != "DRAY_LIBCHDB" || strings.HasPrefix(name, "CLICKHOUSE_") || name == "NATS_URL" {
			os.Unsetenv(name)
		}
	}
	goleak.VerifyTestMain(m)
}

// dray runs the command to its end.
func dray(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return drayIn(t, env, "", args...)
}

func drayIn(t *testing.T, env []string, in string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), env...)
	var out, err bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &out, &err
	if e := cmd.Run(); e != nil && cmd.ProcessState == nil {
		t.Fatal(e)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

// process is a dray that runs in the background.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	log  lockedBuffer
	done chan struct{}
}

func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: args[0], cmd: exec.Command(os.Args[0], args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	// Children of a killed process hold its output open for a moment.
	p.cmd.WaitDelay = 10 * time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.signal(syscall.SIGCONT)
		p.signal(syscall.SIGKILL)
		<-p.done
		if t.Failed() {
			t.Logf("%s printed:\n%s", p.name, p.log.String())
		}
	})
	return p
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// wait waits for the end and returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(time.Minute):
		p.t.Fatalf("%s does not end", p.name)
		return -1
	}
}

// exits waits for the end, which is to have the exit code.
func (p *process) exits(code int) {
	p.t.Helper()
	if got := p.wait(); got != code {
		p.t.Fatalf("%s exited with %d, want %d", strings.Join(p.cmd.Args[1:], " "), got, code)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// eventually polls until ok is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("did not happen: %s", what)
}

// fleet is a NATS and a ClickHouse for processes to meet at.
type fleet struct {
	dir        string
	env        []string
	nats       *queue.Embedded
	queue      *queue.Queue
	server     *engine.Process
	clickhouse *clickhouse.Client
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{dir: t.TempDir()}
	log := zerolog.New(os.Stderr).Level(zerolog.ErrorLevel)
	var err error
	f.nats, err = queue.StartEmbedded(t.Context(), queue.EmbeddedConfig{StoreDir: filepath.Join(f.dir, "nats"), Listen: "127.0.0.1:0", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.nats.Close)
	if f.queue, err = f.nats.Connect(t.Context(), queue.DefaultConfig()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.queue.Close)
	f.server, err = engine.Start(t.Context(), engine.Config{Name: "clickhouse", Path: filepath.Join(f.dir, "clickhouse"), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := f.server.Close(); err != nil {
			t.Log(err) // some tests kill it
		}
	})
	if f.clickhouse, err = clickhouse.Open(t.Context(), clickhouse.Config{URL: f.server.URL()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.clickhouse.Close() })
	f.env = []string{
		"DRAY_NATS_URL=" + f.nats.URL(), "DRAY_CLICKHOUSE_URL=" + f.server.URL(), "DRAY_DATA_DIR=" + filepath.Join(f.dir, "data"),
		"DRAY_LEASE=2s", "DRAY_HTTP_ADDR=none", "DRAY_ACCOUNT_EVERY=100ms", "DRAY_GRACE=10s", "DRAY_SLOTS=2",
		// The folders and sockets of tests, and the servers of this machine.
		"DRAY_ALLOW_PATHS=" + os.TempDir(), "DRAY_ALLOW_HOSTS=127.0.0.1,localhost", "DRAY_ALLOW_ENV=ORIGIN_*,LAKE_*,PG_URL",
	}
	return f
}

func (f *fleet) sql(t *testing.T, query string) string {
	t.Helper()
	var b strings.Builder
	if err := f.clickhouse.Query(t.Context(), query, "TabSeparated", &b); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return strings.TrimSpace(b.String())
}

// answers checks what ClickHouse answers to a query.
func (f *fleet) answers(t *testing.T, query, want string) {
	t.Helper()
	if got := f.sql(t, query); got != want {
		t.Errorf("%s\nanswers %q, want %q", query, got, want)
	}
}

// results waits until a job has the results of so many chunks.
func (f *fleet) results(t *testing.T, id string, chunks uint64) {
	t.Helper()
	eventually(t, "some chunks are done", func() bool {
		n, err := f.queue.CountResults(t.Context(), id)
		return err == nil && n >= chunks
	})
}

// writeFile writes a file, and returns its path.
func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// numbers writes a file of n lines, "i,i*i mod 1000003", and a pipeline that
// loads it into table in chunks of the given size.
func numbers(t *testing.T, dir, table string, n int, chunk string) (pipeline string) {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d,%d\n", i, i*i%1000003)
	}
	writeFile(t, filepath.Join(dir, table+".csv"), b.String())
	pipeline = filepath.Join(dir, table+".yaml")
	text := fmt.Sprintf(`pipeline: %[1]s
source:
  files: {path: %[1]s.csv, header: false}
  columns: id UInt64, square UInt64
  chunk: %[2]s
transform: SELECT id, square FROM chunk WHERE id %% 10 != 3
load:
  table: %[1]s
  create: ENGINE = MergeTree PARTITION BY id %% 2 ORDER BY id
`, table, chunk)
	writeFile(t, pipeline, text)
	return pipeline
}
