package metrics_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"drayage/pkg/job"
	"drayage/pkg/telemetry/metrics"
)

// scrape reads what a registry exposes, as Prometheus does.
func scrape(t *testing.T, r *metrics.Registry) map[string]*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	parser := expfmt.NewTextParser(model.LegacyValidation)
	all, err := parser.TextToMetricFamilies(w.Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("status %d: %v", w.Code, err)
	}
	return all
}

func value(all map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	sum := 0.0
	for _, m := range all[name].GetMetric() {
		found := 0
		for _, l := range m.Label {
			for i := 0; i < len(labels); i += 2 {
				if l.GetName() == labels[i] && l.GetValue() == labels[i+1] {
					found++
				}
			}
		}
		if found == len(labels)/2 {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// A coordinator and a worker may be one process. Whatever is told to them, the
// values of labels are of closed sets.
func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	r := metrics.New(metrics.Build{Version: "v1", Revision: "abc"})
	c, w := r.Coordinator(), r.Worker()
	r.Watch(metrics.Process{NATSConnected: func() bool { return true }, EngineRestarts: func() int { return 2 }})
	defer c.Leads()()
	for i, id := range []string{"a-1", "b-2", "c-3"} {
		j := job.Job{ID: id, Name: "pipeline-" + id, State: job.Running, StartedAt: time.Now(), Totals: job.Totals{Chunks: uint64(i)}, Plan: job.Plan{Chunks: 5}} //nolint:gosec // small
		c.Job(j)
		c.Backlog(id, 1, 1)
		j.State = job.Done
		c.Ended(j)
		w.Delivered(i + 1)(job.VerdictKind(i))
		w.Recorded(job.Result{Job: id, Worker: "worker-" + id, RowsLoaded: 3})
	}
	w.InsertFailed(252, "TOO_MANY_PARTS")
	sets := map[string][]string{
		"state": {"SUBMITTED", "PLANNING", "RUNNING", "VERIFYING", "PAUSED", "CANCELLING", "DONE", "DONE_WITH_REJECTS", "FAILED", "CANCELLED",
			"queued", "in_flight", "loaded", "dead", "retired"},
		"verdict": {"done", "retry", "slow_down", "dead", "lease_lost", "draining", "stale"},
		"outcome": {"loaded", "recovered", "cut"},
		"reason":  {"permanent", "attempts", "rejects", "too_big", "repair"},
		"result":  {"accepted", "refused", "begun", "skipped", "missed"},
		"lease":   {"seat", "lead"},
		"step": {"prepare", "extract", "stages", "quarantine", "transform", "reject", "load", "record", "ack",
			"freeze", "plan", "enqueue", "ledger", "verify", "repair", "publish"},
		"code": {"252"}, "name": {"TOO_MANY_PARTS"}, // clickhouse.ErrorLabel's
		"version": {"v1"}, "revision": {"abc"}, // one of each
	}
	for name, family := range scrape(t, r) {
		if !strings.HasPrefix(name, "dray_") {
			continue
		}
		if family.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
		for _, m := range family.Metric {
			for _, l := range m.Label {
				if l.GetName() != "goversion" && !slices.Contains(sets[l.GetName()], l.GetValue()) {
					t.Errorf("%s has %s=%q", name, l.GetName(), l.GetValue())
				}
			}
		}
	}
}

// What a result says is counted once, and nothing of one that was cut.
func TestWorker(t *testing.T) {
	t.Parallel()
	r := metrics.New(metrics.Build{})
	w := r.Worker()
	w.Slots(4)
	settled := w.Delivered(2)
	if got := value(scrape(t, r), "dray_worker_slots_busy"); got != 1 {
		t.Errorf("%v slots are busy", got)
	}
	settled(job.VerdictDone)
	w.Recorded(job.Result{RowsRead: 5, RowsLoaded: 4, RowsRejected: 1, BytesRead: 50, BytesLoaded: 40})
	w.Recorded(job.Result{RowsRead: 1, RowsLoaded: 1, Recovered: true})
	w.Recorded(job.Result{RowsRead: 9, Parts: make([]job.Part, 2)})
	all := scrape(t, r)
	for name, want := range map[string]float64{
		"dray_worker_slots_busy": 0, "dray_chunk_redeliveries_total": 1, "dray_rows_read_total": 6, "dray_rows_loaded_total": 5,
		"dray_rows_rejected_total": 1, "dray_bytes_read_total": 50, "dray_bytes_loaded_total": 40, "dray_chunk_results_total": 3, "dray_chunk_duration_seconds": 1,
	} {
		if got := value(all, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// Who leads exposes what it knows of the fleet; who does not has none of it.
func TestFleet(t *testing.T) {
	t.Parallel()
	r := metrics.New(metrics.Build{})
	c := r.Coordinator()
	fleet := []string{"dray_jobs", "dray_chunks", "dray_jobs_throttled", "dray_lag_chunks", "dray_lag_bytes", "dray_stalled_seconds", "dray_eta_seconds"}
	absent := func(when string) {
		t.Helper()
		all := scrape(t, r)
		for _, name := range fleet {
			if all[name] != nil {
				t.Errorf("%s it has %s", when, name)
			}
		}
		if value(all, "dray_coordinator_leading") != 0 {
			t.Errorf("%s it leads", when)
		}
	}
	c.Job(job.Job{ID: "early", State: job.Running})
	absent("before it leads")
	over := c.Leads()
	long := time.Now().Add(-time.Hour)
	running := job.Job{
		ID: "a", State: job.Running, StartedAt: long, InFlight: 3,
		Plan:   job.Plan{Chunks: 10, Bytes: 300, EstimatedBytes: 1000},
		Totals: job.Totals{Chunks: 3, Dead: 1, Retired: 1, BytesRead: 250},
	}
	c.Job(running)
	c.Backlog("a", 4, 1)
	c.Job(job.Job{ID: "b", State: job.Done, Plan: job.Plan{Chunks: 7, Complete: true}})
	c.Job(job.Job{ID: "c", State: job.Paused})
	c.Job(job.Job{ID: "gone", State: job.Failed})
	c.Gone("gone")
	c.Backlog("nobody", 9, 9)
	all := scrape(t, r)
	for _, want := range []struct {
		value  float64
		name   string
		labels []string
	}{
		{1, "dray_coordinator_leading", nil},
		{1, "dray_jobs", []string{"state", "RUNNING"}}, {1, "dray_jobs", []string{"state", "DONE"}}, {1, "dray_jobs", []string{"state", "PAUSED"}}, {0, "dray_jobs", []string{"state", "FAILED"}},
		{4, "dray_chunks", []string{"state", "queued"}}, {1, "dray_chunks", []string{"state", "in_flight"}}, {3, "dray_chunks", []string{"state", "loaded"}},
		{1, "dray_chunks", []string{"state", "dead"}}, {1, "dray_chunks", []string{"state", "retired"}},
		{5, "dray_lag_chunks", nil}, {750, "dray_lag_bytes", nil}, {1, "dray_jobs_throttled", nil},
	} {
		if got := value(all, want.name, want.labels...); got != want.value {
			t.Errorf("%s%q is %v, want %v", want.name, want.labels, got, want.value)
		}
	}
	// A quarter in an hour: three more.
	if got := value(all, "dray_eta_seconds"); got < 3*3600 || got > 3*3600+60 {
		t.Errorf("the rest takes %v s", got)
	}
	if got := value(all, "dray_stalled_seconds"); got > 60 {
		t.Errorf("it stands still for %v s", got)
	}
	running.State, running.Totals.Chunks = job.Done, 8
	c.Job(running)
	all = scrape(t, r)
	if value(all, "dray_lag_chunks") != 0 || value(all, "dray_chunks") != 0 || all["dray_eta_seconds"] != nil || value(all, "dray_jobs", "state", "DONE") != 2 {
		t.Errorf("after its end: lag %v, chunks %v, eta %v", value(all, "dray_lag_chunks"), value(all, "dray_chunks"), all["dray_eta_seconds"])
	}
	over()
	absent("after it led")
}
