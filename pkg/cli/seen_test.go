package cli_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"drayage/coordinator"
	"drayage/pkg/job"
)

// exposed are the metrics of a process, by name.
type exposed map[string]*dto.MetricFamily

var listens = regexp.MustCompile(`"addr":"(127\.0\.0\.1:[0-9]+)"`)

// scrape reads the metrics of a process that logs where it listens.
func scrape(t *testing.T, p *process) exposed {
	t.Helper()
	var at []string
	eventually(t, p.name+" listens", func() bool { at = listens.FindStringSubmatch(p.log.String()); return at != nil })
	res, err := http.Get("http://" + at[1] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	all, err := parser.TextToMetricFamilies(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// value is that of a counter or gauge, or the number of observations of a
// histogram, summed over the series with the labels given; false: there is none.
func (e exposed) value(name string, labels ...string) (sum float64, there bool) {
	family := e[name]
	if family == nil {
		return 0, false
	}
next:
	for _, m := range family.Metric {
		for i := 0; i < len(labels); i += 2 {
			if !slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == labels[i] && l.GetValue() == labels[i+1] }) {
				continue next
			}
		}
		there = true
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return sum, there
}

func (e exposed) want(t *testing.T, value float64, name string, labels ...string) {
	t.Helper()
	if got, there := e.value(name, labels...); !there || got != value {
		t.Errorf("%s%q is %v (there: %v), want %v", name, labels, got, there, value)
	}
}

func (e exposed) some(t *testing.T, name string, labels ...string) {
	t.Helper()
	if got, _ := e.value(name, labels...); got == 0 {
		t.Errorf("%s%q is 0", name, labels)
	}
}

// collector is an OpenTelemetry collector in the test's process.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*tracepb.Span
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var data tracepb.TracesData
		if err == nil {
			err = proto.Unmarshal(body, &data)
		}
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, resource := range data.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func text(s *tracepb.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.GetStringValue() + strings.TrimPrefix(fmt.Sprint(a.Value.GetIntValue()), "0")
		}
	}
	return ""
}

// seenPipeline loads 400 rows, one of which does not fit, in several chunks.
func seenPipeline(t *testing.T, dir string) string {
	t.Helper()
	var rows strings.Builder
	for i := range 400 {
		fmt.Fprintf(&rows, "%d,%d\n", i, i)
	}
	rows.WriteString("oops,1\n")
	write := func(name, text string) string { return writeFile(t, filepath.Join(dir, name), text) }
	write("seen.csv", rows.String())
	return write("seen.yaml", `pipeline: seen
source:
  files: {path: seen.csv, header: false}
  columns: id UInt64, square UInt64
  chunk: 1024
transform: SELECT id, square FROM chunk
load: {table: seen, create: ENGINE = MergeTree ORDER BY id}
reject: {max: 10}
retry: {backoff: 10ms..1s}
`)
}

// A fleet is looked at from outside while it does a job in which an attempt fails
// after its INSERT: its metrics, its traces, its log, the views, and all that
// deploy/ and docs/ say of them.
func TestSeenFromOutside(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	traces := newCollector(t)
	env := append(slices.Clone(f.env), "DRAY_HTTP_ADDR=127.0.0.1:0", "DRAY_LOG_FORMAT=json",
		"OTEL_EXPORTER_OTLP_ENDPOINT="+traces.URL, "OTEL_BSP_SCHEDULE_DELAY=50")
	coordinators := []*process{start(t, env, "coordinator"), start(t, env, "coordinator")}
	worker := start(t, append(slices.Clone(env), "DRAY_FAULT=worker.loaded=fail@2"), "worker")
	if out, stderr, code := dray(t, env, "submit", seenPipeline(t, f.dir), "--wait", "--quiet", "--key", "1"); code != 4 {
		t.Fatalf("submit exited with %d:\n%s%s", code, out, stderr)
	}
	j := f.job(t, "seen-1")
	w := scrape(t, worker)

	// What only the leader knows is of the leader alone.
	var leader, standby exposed
	eventually(t, "the leader knows that the job has ended", func() bool {
		for _, c := range coordinators {
			e := scrape(t, c)
			if leads, _ := e.value("dray_coordinator_leading"); leads == 1 {
				leader = e
			} else {
				standby = e
			}
		}
		ended, _ := leader.value("dray_jobs", "state", "DONE_WITH_REJECTS")
		return ended == 1 && standby != nil
	})
	for _, name := range []string{"dray_jobs", "dray_chunks", "dray_lag_chunks", "dray_lag_bytes", "dray_stalled_seconds", "dray_jobs_throttled"} {
		if standby[name] != nil || leader[name] == nil {
			t.Errorf("%s: of the standby %v, of the leader %v", name, standby[name] != nil, leader[name] != nil)
		}
	}
	chunks := float64(j.Plan.Chunks)
	leader.want(t, 1, "dray_coordinator_leaderships_total")
	leader.want(t, 0, "dray_lag_chunks")
	leader.want(t, 1, "dray_jobs_ended_total", "state", "DONE_WITH_REJECTS")
	leader.want(t, 1, "dray_job_duration_seconds")
	leader.want(t, chunks, "dray_chunks_planned_total")
	leader.want(t, 1, "dray_verifications_total")
	leader.want(t, 0, "dray_verification_differences_total")
	leader.want(t, 1, "dray_lease_wait_seconds", "lease", "lead")
	for _, step := range []string{"freeze", "plan", "enqueue", "ledger", "verify"} {
		leader.some(t, "dray_step_duration_seconds", "step", step)
	}
	accepted, _ := leader.value("dray_submissions_total", "result", "accepted")
	others, _ := standby.value("dray_submissions_total", "result", "accepted")
	if accepted+others != 1 {
		t.Errorf("%v submissions were taken in", accepted+others)
	}

	w.want(t, 2, "dray_worker_slots")
	w.want(t, 0, "dray_worker_slots_busy")
	w.want(t, 1, "dray_nats_connected")
	w.want(t, 401, "dray_rows_read_total")
	w.want(t, 400, "dray_rows_loaded_total")
	w.want(t, 1, "dray_rows_rejected_total")
	w.want(t, float64(j.Totals.BytesRead), "dray_bytes_read_total")
	w.want(t, float64(j.Totals.BytesLoaded), "dray_bytes_loaded_total")
	w.want(t, chunks-1, "dray_chunk_results_total", "outcome", "loaded")
	w.want(t, 1, "dray_chunk_results_total", "outcome", "recovered")
	w.want(t, chunks, "dray_chunk_attempts_total", "verdict", "done")
	w.want(t, 1, "dray_chunk_attempts_total", "verdict", "retry")
	w.want(t, 1, "dray_chunk_redeliveries_total")
	w.want(t, chunks+1, "dray_chunk_duration_seconds")
	w.want(t, chunks, "dray_step_duration_seconds", "step", "load")
	for _, step := range []string{"prepare", "extract", "quarantine", "transform", "reject", "record", "ack"} {
		w.some(t, "dray_step_duration_seconds", "step", step)
	}

	all := exposed{}
	for _, e := range []exposed{w, leader} {
		for name, family := range e {
			if there := all[name]; there != nil {
				there.Metric = append(there.Metric, family.Metric...)
			} else {
				all[name] = family
			}
		}
	}
	t.Run("documented", func(t *testing.T) { documented(t, all) })
	t.Run("dashboard", func(t *testing.T) { dashboard(t, all) })
	t.Run("alerts", func(t *testing.T) { alerts(t, all) })

	// A job that is made without a submission, as the API and schedules do it, and
	// one that fails.
	second, err := os.ReadFile(filepath.Join(f.dir, "seen.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	third := strings.ReplaceAll(string(second), "FROM chunk", "FROM nowhere")
	for id, text := range map[string]string{"seen-2": string(second), "seen-3": third} {
		if err := coordinator.Create(t.Context(), f.queue, job.Submission{Job: id, Pipeline: text, Dir: f.dir}); err != nil {
			t.Fatal(err)
		}
		eventually(t, id+" ends", func() bool { return f.job(t, id).State.Terminal() })
	}
	eventually(t, "ClickHouse knows who failed", func() bool {
		return f.sql(t, "SELECT job FROM drayage.jobs WHERE state = 'FAILED'") == "seen-3"
	})
	t.Run("queries", func(t *testing.T) { queries(t, f, "seen-1") })

	for _, p := range append(coordinators, worker) {
		p.signal(syscall.SIGTERM)
		p.wait()
	}
	for _, c := range coordinators { // the streams are made while the API starts
		if strings.Contains(c.log.String(), "could not watch") {
			t.Error("a coordinator warns of an empty NATS")
		}
	}
	t.Run("traces", func(t *testing.T) {
		of := map[string][]*tracepb.Span{} // by the job
		for _, s := range traces.spans {
			if id := text(s, "drayage.job"); id != "" {
				of[id] = append(of[id], s)
			}
		}
		first, second, third := tree(t, traces.spans, of["seen-1"]), tree(t, traces.spans, of["seen-2"]), tree(t, traces.spans, of["seen-3"])
		if len(first)+len(second)+len(third) != len(traces.spans) {
			t.Errorf("%d, %d and %d spans of %d are of the jobs' traces", len(first), len(second), len(third), len(traces.spans))
		}
		oneTrace(t, first, int(chunks), worker.log.String())
		if root := second[0]; root.Name != "create" {
			t.Errorf("the root of the second job is %q", root.Name)
		}
	})
	http.DefaultClient.CloseIdleConnections()
}

// tree are all spans of the trace of some, the root first, over all processes. It
// checks that they are one tree.
func tree(t *testing.T, all, some []*tracepb.Span) []*tracepb.Span {
	t.Helper()
	if len(some) == 0 {
		t.Fatal("nothing of the job was traced")
	}
	parents := map[string]bool{}
	var spans []*tracepb.Span
	for _, s := range all {
		if string(s.TraceId) != string(some[0].TraceId) {
			continue
		}
		parents[string(s.SpanId)] = true
		if len(s.ParentSpanId) > 0 {
			spans = append(spans, s)
			continue
		}
		if len(spans) > 0 && len(spans[0].ParentSpanId) == 0 {
			t.Errorf("%q and %q have no parent", spans[0].Name, s.Name)
		}
		spans = append([]*tracepb.Span{s}, spans...)
	}
	for _, s := range some {
		if string(s.TraceId) != string(some[0].TraceId) {
			t.Errorf("%q is of another trace", s.Name)
		}
	}
	for _, s := range spans {
		if len(s.ParentSpanId) > 0 && !parents[string(s.ParentSpanId)] {
			t.Errorf("nobody has seen the parent of %q", s.Name)
		}
	}
	return spans
}

// oneTrace checks the trace of the first job: what was done how often, and the
// chunk that was delivered twice.
func oneTrace(t *testing.T, spans []*tracepb.Span, chunks int, log string) {
	names := map[string]int{}
	root := spans[0]
	attempts := map[string][]*tracepb.Span{} // by chunk
	for _, s := range spans {
		names[s.Name]++
		if s.Name == "process dray.work" {
			attempts[text(s, "drayage.chunk")] = append(attempts[text(s, "drayage.chunk")], s)
		}
	}
	if root.Name != "publish dray.jobs.submit" {
		t.Fatalf("the root is %v of %v", root, names)
	}
	for name, want := range map[string]int{
		"process dray.jobs.submit": 1, "freeze": 1, "plan": chunks, "publish dray.work": chunks, "process dray.work": chunks + 1,
		"INSERT default.seen": chunks, "INSERT drayage.rejects": 1, "record": chunks, "ack": chunks + 1, "verify": 1, "job": 1,
	} {
		if names[name] != want {
			t.Errorf("%d spans %q, want %d, of %v", names[name], name, want, names)
		}
	}
	again := 0
	for chunk, list := range attempts {
		if len(list) < 2 {
			continue
		}
		again++
		if string(list[0].ParentSpanId) != string(list[1].ParentSpanId) || text(list[0], "drayage.attempt") == text(list[1], "drayage.attempt") {
			t.Errorf("the attempts of chunk %s: %v", chunk, list)
		}
		failed := slices.ContainsFunc(list, func(s *tracepb.Span) bool {
			return s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR && text(s, "drayage.verdict") == "retry" && text(s, "error.type") == "retry"
		})
		if !failed {
			t.Errorf("no attempt of chunk %s has failed: %v", chunk, list)
		}
	}
	if again != 1 {
		t.Errorf("%d chunks have several attempts", again)
	}
	if want := fmt.Sprintf(`"trace_id":"%x"`, root.TraceId); !strings.Contains(log, want) {
		t.Errorf("the worker's log does not have %s:\n%s", want, log)
	}
}

// queries runs the examples of the docs.
func queries(t *testing.T, f *fleet, id string) {
	blocks := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(read(t, "docs/metrics.md"), -1)
	if len(blocks) < 4 {
		t.Errorf("the page has %d queries", len(blocks))
	}
	for _, b := range blocks {
		got := f.sql(t, strings.ReplaceAll(b[1], "{job:String}", "'"+id+"'"))
		if got == "" {
			t.Errorf("nothing came of %s", b[1])
		}
	}
}

// read reads a file of the project.
func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(errors.Join(errors.New(name), err))
	}
	return string(data)
}
