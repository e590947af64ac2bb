package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"drayage/pkg/job"
)

// A pipeline that is scheduled for every second runs, each time for the time it
// was planned for.
func TestScheduleRuns(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	file := f.scheduled(t, "ticks", `"@every 1s"`)
	if err := f.queue.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	updates, err := f.queue.WatchJobs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	start(t, f.env, "coordinator")
	start(t, f.env, "worker")
	if _, stderr, code := dray(t, f.env, "schedules", "add", file); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	done := map[string]job.Job{}
	for u := range updates {
		if u.Job.State.Terminal() {
			done[u.Job.ID] = u.Job
		}
		if len(done) == 3 {
			break
		}
	}
	if len(done) < 3 {
		t.Fatalf("%d runs have ended", len(done))
	}
	for id, j := range done {
		at := j.Submission.JobTime
		if j.State != job.Done || j.Totals.RowsLoaded != 10 || id != "ticks-"+at.Format("20060102t150405z") {
			t.Errorf("job %s for %s is %s with %+v: %s", id, at, j.State, j.Totals, j.Error)
		}
		f.answers(t, fmt.Sprintf("SELECT count() FROM ticks WHERE for = '%s'", at.Format(time.DateTime)), "10")
	}
}

// scheduled writes a pipeline of ten rows with a schedule.
func (f *fleet) scheduled(t *testing.T, name, schedule string) (file string) {
	t.Helper()
	file = filepath.Join(f.dir, name+".yaml")
	text := fmt.Sprintf(`pipeline: %[1]s
params: {step: 1}
source:
  query: {sql: "SELECT number * ${step} AS id FROM numbers(10)"}
transform: SELECT id, '${job_time}' AS for FROM chunk
load: {table: %[1]s, order_by: id}
schedule: %[2]s
`, name, schedule)
	writeFile(t, file, text)
	return file
}

func TestScheduleVerbs(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	file := f.scheduled(t, "nightly", `{cron: "30 2 * * *", zone: Europe/Berlin}`)
	other := numbers(t, f.dir, "other", 10, "4096")
	do := func(args ...string) (stdout, stderr string, code int) {
		t.Helper()
		return dray(t, f.env, args...)
	}
	if _, stderr, code := do("schedules"); code == 0 {
		t.Errorf("without a coordinator ever: exit %d: %s", code, stderr)
	}
	if err := f.queue.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := do("schedules"); code != 0 || stdout != "" || !strings.Contains(stderr, "there are no schedules") {
		t.Errorf("none: exit %d: %s%s", code, stdout, stderr)
	}
	if stdout, _, code := do("schedules", "--json"); code != 0 || stdout != "[]\n" {
		t.Errorf("none: exit %d: %s", code, stdout)
	}
	for name, tt := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no schedule":   {[]string{"add", other}, 2, "has no schedule\n  hint:"},
		"no file":       {[]string{"add", filepath.Join(f.dir, "absent.yaml")}, 2, "absent.yaml"},
		"no parameter":  {[]string{"add", file, "--set", "x=1"}, 2, "no parameter x"},
		"pause none":    {[]string{"pause", "nope"}, 2, "there is no schedule nope; dray schedules lists them"},
		"resume none":   {[]string{"resume", "nope"}, 2, "there is no schedule nope"},
		"run none":      {[]string{"run", "nope"}, 2, "there is no schedule nope"},
		"remove none":   {[]string{"remove", "No.Name"}, 2, "there is no schedule No.Name"},
		"no name":       {[]string{"remove"}, 2, "usage: dray schedules remove NAME"},
		"unknown verbs": {[]string{"stop", "x"}, 2, "unknown command"},
	} {
		if _, stderr, code := do(append([]string{"schedules"}, tt.args...)...); code != tt.code || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: exit %d: %s", name, code, stderr)
		}
	}

	next := regexp.MustCompile(`next run: \d{4}-\d\d-\d\d 02:30:00 CES?T \(.* from now\)`)
	stdout, stderr, code := do("schedules", "add", file, "--set", "step=2", "--dir", "/pipelines")
	if code != 0 || !strings.HasPrefix(stdout, "nightly: 30 2 * * *, ") || !next.MatchString(stdout) || stderr != "" {
		t.Errorf("add: exit %d: %s%s", code, stdout, stderr)
	}
	list := func() (s job.Schedule, state job.State) {
		t.Helper()
		stdout, stderr, code := do("schedules", "--json")
		var all []struct {
			job.Schedule
			LastState job.State `json:"last_state"`
		}
		if err := json.Unmarshal([]byte(stdout), &all); err != nil || len(all) != 1 {
			t.Fatalf("exit %d, %v: %s%s", code, err, stdout, stderr)
		}
		return all[0].Schedule, all[0].LastState
	}
	if s, _ := list(); s.Name != "nightly" || s.Submission.Params["step"] != "2" || s.Submission.Dir != "/pipelines" || s.Submission.File != "nightly.yaml" || s.Last != nil {
		t.Errorf("%+v", s)
	}
	if stdout, _, code := do("schedules", "pause", "nightly"); code != 0 || !strings.Contains(stdout, "next run: paused") {
		t.Errorf("pause: exit %d: %s", code, stdout)
	}
	if _, stderr, code := do("schedules", "add", file); code != 0 || !strings.Contains(stderr, "it is paused: dray schedules resume nightly") {
		t.Errorf("add again: exit %d: %s", code, stderr)
	}
	stdout, stderr, code = do("schedules", "run", "nightly")
	id := strings.TrimSpace(stdout)
	if code != 0 || !regexp.MustCompile(`^nightly-\d{8}t\d{6}z$`).MatchString(id) {
		t.Errorf("run: exit %d: %s%s", code, stdout, stderr)
	}
	if s, state := list(); s.Last == nil || s.Last.Job != id || s.Last.Pending || state != job.Submitted || !s.Paused {
		t.Errorf("%+v, its last job is %s", s, state)
	}
	eventually(t, "the second of that run is over", func() bool {
		_, stderr, code := do("schedules", "run", "nightly")
		return code == 1 && strings.Contains(stderr, "job "+id+", is SUBMITTED") && strings.Contains(stderr, "dray cancel "+id)
	})
	if stdout, _, code := do("schedules", "resume", "nightly"); code != 0 || !next.MatchString(stdout) {
		t.Errorf("resume: exit %d: %s", code, stdout)
	}
	if stdout, _, code := do("schedules"); code != 0 || strings.Count(stdout, "\n") != 2 || !strings.Contains(stdout, "Europe/Berlin") || !strings.Contains(stdout, id) {
		t.Errorf("list: exit %d: %s", code, stdout)
	}
	if stdout, _, _ := do("__complete", "schedules", "pause", ""); !strings.HasPrefix(stdout, "nightly\t30 2 * * *\n") {
		t.Errorf("completion: %s", stdout)
	}
	if stdout, _, _ := do("__complete", "schedules", "resume", ""); strings.Contains(stdout, "nightly") {
		t.Errorf("completion of what is not paused: %s", stdout)
	}
	if stdout, stderr, code := do("schedules", "remove", "nightly"); code != 0 || stdout != "nightly removed\n" || !strings.Contains(stderr, "dray cancel "+id) {
		t.Errorf("remove: exit %d: %s%s", code, stdout, stderr)
	}
	if stdout, _, _ := do("schedules", "--json"); stdout != "[]\n" {
		t.Errorf("removed: %s", stdout)
	}

	// The other verbs that read the file.
	if _, stderr, code := do("submit", file); code != 0 || !strings.Contains(stderr, "dray schedules add "+file+" repeats it (30 2 * * *)") {
		t.Errorf("submit: exit %d: %s", code, stderr)
	}
	if _, stderr, code := do("submit", other); code != 0 || stderr != "" {
		t.Errorf("submit of what has no schedule: exit %d: %s", code, stderr)
	}
	runs := regexp.MustCompile(`(?m)^  runs     \S+ 02:30:00 CES?T\n           \S+ 02:30:00 CES?T\n           \S+ 02:30:00 CES?T\n`)
	if stdout, stderr, code := do("validate", file); code != 0 || !runs.MatchString(stdout) {
		t.Errorf("validate: exit %d: %s%s", code, stdout, stderr)
	}
	if _, stderr, code := dray(t, []string{"DRAY_DATA_DIR=" + f.dir}, "schedules"); code != 2 || !strings.Contains(stderr, "DRAY_NATS_URL is not set") {
		t.Errorf("without a fleet: exit %d: %s", code, stderr)
	}
}
