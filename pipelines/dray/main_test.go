package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drayage/pkg/job"
)

// The test binary is this dray, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-test.") {
		main()
		return
	}
	os.Exit(m.Run())
}

// own is this dray, with data of its own.
type own struct {
	env []string
}

func newOwn(t *testing.T) own {
	t.Helper()
	var o own
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "DRAY_") && !strings.HasPrefix(name, "CLICKHOUSE_") && name != "NATS_URL" || name == "DRAY_LIBCHDB" {
			o.env = append(o.env, entry)
		}
	}
	o.env = append(o.env, "DRAY_DATA_DIR="+filepath.Join(t.TempDir(), "data"))
	return o
}

// run runs a command that must end with code 0, and returns its output.
func (o own) run(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = o.env
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("dray %s: %v\n%s%s", strings.Join(args, " "), err, out, errs.String())
	}
	return strings.TrimSpace(string(out))
}

// The example is a dray, and its pipelines pass their own tests and load
// the real data.
func TestPipelines(t *testing.T) {
	o := newOwn(t)
	for _, tt := range []struct {
		file       string
		read, rows uint64
		query      string
		want       string
	}{
		{"strikes.yaml", 10_000, 10_000, "SELECT count(), countIf(airport = 'Dallas/Fort Worth International Airport'), countIf(match(airport, '[A-Z]{4}')) FROM strikes", "10000\t908\t0"},
		{"movements.yaml", 20_000, 0, "SELECT count(), countIf(kind = 'arrival'), (SELECT sum(n) FROM movements_hourly), min(at) FROM movements", "40000\t20000\t40000\t2001-01-01 01:19:00"},
		{"airports.yaml", 279, 279, "SELECT count(), uniqExact(iata), anyIf((name, city, latitude), iata = 'HNL') FROM airports", "279\t279\t('Honolulu International','Honolulu',21.31869111)"},
	} {
		if out := o.run(t, "test", tt.file); strings.Contains(out, "FAIL") || !strings.Contains(out, "ok ") {
			t.Errorf("%s: %s", tt.file, out)
		}
		var j job.Job
		if err := json.Unmarshal([]byte(o.run(t, "run", tt.file, "--quiet", "--json")), &j); err != nil {
			t.Fatal(err)
		}
		if j.State != job.Done || j.Plan.Chunks < 4 || j.Totals.RowsRead != tt.read || tt.rows > 0 && j.Totals.RowsLoaded != tt.rows || j.Totals.RowsRejected != 0 {
			t.Errorf("%s: the job is %s with %+v: %s", tt.file, j.State, j.Totals, j.Error)
		}
		if got := o.run(t, "sql", tt.query+" FORMAT TabSeparated"); got != tt.want {
			t.Errorf("%s: the rows are %q, want %q", tt.file, got, tt.want)
		}
	}
	// The records of the custom source are counted once more.
	if out := o.run(t, "verify", "last", "--source"); !strings.Contains(out, "4 chunks") {
		t.Errorf("the last job is verified so: %s", out)
	}
}
