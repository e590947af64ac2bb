package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"drayage/pkg/job"
)

// The example pipelines load what their files hold, exactly.
func TestRunExamples(t *testing.T) {
	t.Parallel()
	env := []string{"DRAY_DATA_DIR=" + t.TempDir()}
	for _, tt := range []struct{ name, query, want string }{
		{"flights", "SELECT count(), sum(delay), uniqExact(origin), countIf(city = ''), min(departed), max(departed) FROM flights",
			"20000\t154078\t220\t0\t2001-01-01 00:47:00\t2001-03-31 22:27:00"},
		{"birdstrikes", "SELECT count(), sum(cost_usd), min(flown), max(flown), countIf(speed_knots IS NULL) FROM birdstrikes",
			"10000\t40545276\t1990-01-08\t2002-07-25\t2836"},
	} {
		out, stderr, code := dray(t, env, "run", "../../pipelines/"+tt.name+".yaml", "--json")
		if code != 0 {
			t.Fatalf("%s: exit %d: %s", tt.name, code, stderr)
		}
		var j struct {
			job.Job
			Seconds   float64 `json:"seconds"`
			Resources map[string]struct {
				CPU    float64 `json:"cpu_seconds"`
				MaxRSS int64   `json:"max_rss_bytes"`
			} `json:"resources"`
		}
		if err := json.Unmarshal([]byte(out), &j); err != nil {
			t.Fatal(err)
		}
		if j.State != job.Done || j.Totals.RowsLoaded != j.Totals.RowsRead || j.Resources["destination_engine"].CPU <= 0 {
			t.Errorf("%s: %s, %+v, %+v", tt.name, j.State, j.Totals, j.Resources)
		}
		if got, _, _ := dray(t, env, "sql", "--format", "TabSeparated", tt.query); strings.TrimSpace(got) != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, strings.TrimSpace(got), tt.want)
		}
	}
	out, _, code := dray(t, env, "jobs")
	if code != 0 || strings.Count(out, "DONE") != 2 {
		t.Errorf("jobs printed\n%s", out)
	}
	// A parameter changes what is loaded.
	if _, stderr, code := dray(t, env, "run", "../../pipelines/birdstrikes.yaml", "--set", "since=2002-01-01"); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
}

// A run that is killed goes on when it is run again, and no row is twice.
func TestKilledRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	env := []string{"DRAY_DATA_DIR=" + data, "DRAY_LEASE=1s", "DRAY_ACCOUNT_EVERY=50ms"}
	file := numbers(t, dir, "rerun", 40_000, "2048")
	for i := range 3 {
		p := start(t, env, "run", file)
		eventually(t, "the run has loaded something", func() bool {
			return strings.Contains(p.log.String(), "running") || strings.Contains(p.log.String(), "going on")
		})
		// Long enough to be among its chunks, at another place each time.
		time.Sleep(time.Duration(300+i*200) * time.Millisecond)
		p.signal(syscall.SIGKILL)
		<-p.done
		eventually(t, "its children are gone", func() bool { return len(withVariable(t, data)) == 0 })
	}
	_, stderr, code := dray(t, env, "run", file)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	if !strings.Contains(stderr, "going on with job rerun-") {
		t.Errorf("the run did not go on with the killed one: %s", stderr)
	}
	if out, _, _ := dray(t, env, "sql", "-f", "TabSeparated", "SELECT count(), uniqExact(id), uniqExact(_job) FROM rerun"); strings.TrimSpace(out) != "36000\t36000\t1" {
		t.Errorf("table has %q", out)
	}
}

// An interrupted run says how to go on, and leaves no process behind.
func TestInterruptedRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	env := []string{"DRAY_DATA_DIR=" + data}
	file := numbers(t, dir, "interrupted", 100_000, "1024")
	p := start(t, env, "run", file)
	eventually(t, "the job runs", func() bool { return strings.Contains(p.log.String(), "running") })
	p.signal(syscall.SIGINT)
	if code := p.wait(); code != 130 || !strings.Contains(p.log.String(), "the same run again goes on") {
		t.Errorf("exit %d: %s", code, p.log.String())
	}
	if left := withVariable(t, data); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
}

// withVariable lists the processes that have text in their environment.
func withVariable(t *testing.T, text string) []string {
	t.Helper()
	var found []string
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		environ, err := os.ReadFile(filepath.Join(p, "environ"))
		if err == nil && strings.Contains(string(environ), text) {
			line, _ := os.ReadFile(filepath.Join(p, "cmdline")) // it may have ended meanwhile
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// What is wrong is said once, with its place and the next step, by exit code.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := numbers(t, dir, "codes", 10, "4096")
	bad := writeFile(t, filepath.Join(dir, "bad.yaml"), "pipeline: bad\nsource: {files: {path: codes.csv}}\nlaod: {table: t}\n")
	sqlError := filepath.Join(dir, "sql.yaml")
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, sqlError, strings.Replace(string(text), "SELECT id,", "SELECT idd,", 1))
	letters := filepath.Join(dir, "letters.yaml")
	writeFile(t, filepath.Join(dir, "letters.csv"), "x,y\n")
	writeFile(t, letters, strings.Replace(string(text), "codes.csv", "'{codes,letters}.csv'", 1)+"reject: {max: 0}\n")
	base := []string{"DRAY_DATA_DIR=" + filepath.Join(dir, "data")}
	with := func(more ...string) []string { return append(append([]string{}, base...), more...) }
	tests := []struct {
		name   string
		env    []string
		args   []string
		code   int
		expect []string
	}{
		{"valid", base, []string{"validate", good}, 0, []string{"is valid", "will be created"}},
		{"done", base, []string{"run", good, "-q"}, 0, []string{"done", "9 rows, counted by chunk"}},
		{"fits an existing table", base, []string{"validate", good}, 0, []string{"exists and fits"}},
		{"dead letters", base, []string{"run", letters, "-q"}, 4, []string{"done with rejects", "dead letters", "1 of 2 chunks"}},
		{"no verb", base, []string{"haul"}, 2, []string{"unknown command"}},
		{"no file named", base, []string{"run"}, 2, []string{"usage: dray run FILE"}},
		{"unknown flag", base, []string{"run", good, "--fast"}, 2, []string{"--fast", "--help"}},
		{"file is absent", base, []string{"run", filepath.Join(dir, "absent.yaml")}, 2, []string{"absent.yaml"}},
		{"unknown key", base, []string{"run", bad}, 2, []string{"bad.yaml:3:1", "laod", "did you mean load"}},
		{"SQL", base, []string{"validate", sqlError}, 2, []string{"sql.yaml:6:", "idd"}},
		{"bad parameter", base, []string{"run", good, "--set", "x=1"}, 2, []string{"no parameter x"}},
		{"bad configuration", with("DRAY_SLOTS=many"), []string{"run", good}, 2, []string{"DRAY_SLOTS"}},
		{"no engine", with("DRAY_LIBCHDB=/nonexistent/libchdb.so"), []string{"run", good}, 3, []string{"libchdb", "make engine"}},
		{"no ClickHouse", with("DRAY_CLICKHOUSE_URL=http://user:hunter2@127.0.0.1:1"), []string{"run", good}, 3, []string{"127.0.0.1:1"}},
		{"no ClickHouse, native", with("DRAY_CLICKHOUSE_URL=clickhouse://user:hunter2@127.0.0.1:1"), []string{"run", good}, 3, []string{"clickhouse://127.0.0.1:1"}},
		{"another protocol", with("DRAY_CLICKHOUSE_URL=mysql://user:hunter2@127.0.0.1:9000"), []string{"run", good}, 2, []string{"DRAY_CLICKHOUSE_URL", "clickhouse://"}},
		{"no NATS", with("DRAY_NATS_URL=nats://user:hunter2@127.0.0.1:1"), []string{"jobs"}, 3, []string{"127.0.0.1:1"}},
		{"no fleet named", base, []string{"worker"}, 2, []string{"DRAY_NATS_URL"}},
		{"SQL of the person", base, []string{"sql", "SELECT nope"}, 1, []string{"nope"}},
		{"version", base, []string{"version"}, 0, []string{"dray "}},
		{"completion", base, []string{"completion", "bash"}, 0, []string{"__start_dray"}},
		{"doctor", with("DRAY_HTTP_ADDR=none"), []string{"doctor"}, 0, []string{"engine", "NATS", "ClickHouse", "data folder"}},
	}
	for _, tt := range tests { // in turn: they share the data folder
		t.Run(tt.name, func(t *testing.T) {
			out, stderr, code := dray(t, tt.env, tt.args...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for _, want := range tt.expect {
				if !strings.Contains(out+stderr, want) {
					t.Errorf("it does not say %q", want)
				}
			}
			if strings.Contains(out+stderr, "hunter2") {
				t.Error("it prints a password")
			}
			if t.Failed() {
				t.Logf("it printed\n%s%s", out, stderr)
			}
		})
	}
	if out, _, code := drayIn(t, base, "SELECT 1 + 1", "sql", "-"); code != 0 || !strings.Contains(out, "2") {
		t.Errorf("a query from standard input printed %q, exit %d", out, code)
	}
	var mistakes struct {
		Mistakes []struct {
			Line int `json:"line"`
		} `json:"mistakes"`
		ExitCode int `json:"exit_code"`
	}
	_, stderr, _ := dray(t, base, "run", bad, "--json")
	if err := json.Unmarshal([]byte(stderr), &mistakes); err != nil || len(mistakes.Mistakes) != 1 || mistakes.Mistakes[0].Line != 3 || mistakes.ExitCode != 2 {
		t.Errorf("--json printed %s (%v)", stderr, err)
	}
}

// Two runs in one data folder do not meet.
func TestDataFolderInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := []string{"DRAY_DATA_DIR=" + filepath.Join(dir, "data")}
	file := numbers(t, dir, "inuse", 200_000, "1024")
	p := start(t, env, "run", file)
	eventually(t, "the job runs", func() bool { return strings.Contains(p.log.String(), "running") })
	_, stderr, code := dray(t, env, "run", file)
	if code != 3 || !strings.Contains(stderr, "DRAY_DATA_DIR") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
