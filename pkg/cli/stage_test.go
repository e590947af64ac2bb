package cli_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"drayage/pkg/cli"
	"drayage/pkg/fault"
	"drayage/pkg/job"
	"drayage/pkg/stage"
)

// withStages makes a process of these tests a dray that has the stage double.
const withStages = "DRAY_TEST_STAGES=1"

// builtIn is what the dray that this process is was built with. The stage double
// makes two rows of a record, of which one has a copy of 1, and refuses some.
func builtIn() cli.Extensions {
	if os.Getenv("DRAY_TEST_STAGES") == "" {
		return cli.Extensions{}
	}
	return cli.Extensions{Stages: stage.Registry{"double": stage.New(func(struct{}) (stage.Stage, error) {
		return stage.FlatMap(stage.Add("copy", "UInt8"), func(r *stage.Record, emit stage.Emit) error {
			id, err := r.Uint("id")
			if err != nil {
				return err
			}
			if id%100 == 50 {
				return errors.New("not this one")
			}
			return errors.Join(r.Set("copy", 0), emit(r), r.Set("copy", 1), emit(r))
		}), nil
	})}}
}

// doubled is a pipeline of numbers with the stage.
func doubled(t *testing.T, dir, table string, lines int, more string) string {
	t.Helper()
	file := numbers(t, dir, table, lines, "4096")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "SELECT id, square FROM", "SELECT id, square, copy FROM", 1) + "stages: [double]\n" + more
	writeFile(t, file, changed)
	return file
}

// doubledRight checks that every row is there once, and every reject.
func (f *fleet) doubledRight(t *testing.T, table, id string, lines int) {
	t.Helper()
	want := fmt.Sprintf("%[1]d\t%[1]d\t0", 2*(lines*9/10-lines/100))
	f.answers(t, "SELECT count(), uniqExact(id, copy), countIf(square != id * id % 1000003 OR id % 100 = 50) FROM "+table, want)
	if got, want := f.sql(t, "SELECT count(), uniqExact(raw), countIf(NOT startsWith(raw, toString(toUInt64(splitByChar(',', raw)[1])) || ',')) FROM drayage.rejects WHERE job = '"+id+"'"), fmt.Sprintf("%[1]d\t%[1]d\t0", lines/100); got != want {
		t.Errorf("quarantine has %q, want %q", got, want)
	}
}

// A worker that runs stages is ended, or stopped for longer than its lease,
// between any two steps: each row that they make is there once.
func TestStageFaults(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.env = append(f.env, withStages)
	start(t, f.env, "coordinator")
	const lines = 2000
	for n, point := range []fault.Point{fault.Transformed, fault.Rejected, fault.Loaded} {
		for _, action := range []string{"kill", "stop"} {
			name := fmt.Sprintf("s%d%s", n, action)
			t.Run(string(point)+" "+action, func(t *testing.T) {
				file := doubled(t, f.dir, name, lines, "")
				endBoth := f.overcome(t, "worker", fmt.Sprintf("%s=%s@2", point, action), action, file, 4)
				endBoth()
				f.doubledRight(t, name, name+"-1", lines)
			})
		}
	}
}

// While a fleet is upgraded, workers without a stage leave the chunks to those
// that have it, and no attempt is lost by that. Where nobody has it the job ends,
// and says which worker lacks what.
func TestWorkerLacksStage(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	upgraded := append(append([]string{}, f.env...), withStages)
	start(t, upgraded, "coordinator")
	old := start(t, append(append([]string{}, f.env...), "DRAY_WORKER_ID=old"), "worker")

	file := doubled(t, f.dir, "lacking", 500, "retry: {attempts: 2, backoff: 100ms}\n")
	out, _, code := dray(t, f.env, "submit", file, "--wait", "--quiet", "--key", "none", "--json")
	if code != 1 || !strings.Contains(out, "no attempt is left: the dray of worker old (version ") || !strings.Contains(out, "can not do this job: stage double: this dray has no such stage") {
		t.Fatalf("submit exited with %d: %s", code, out)
	}
	letters, err := f.queue.DeadLetters(t.Context(), "lacking-none", 1)
	if err != nil || len(letters) != 1 || letters[0].Attempts != 2 || letters[0].Reason != job.ReasonAttempts || letters[0].Worker != "old" {
		t.Errorf("the dead letters are %+v: %v", letters, err)
	}

	start(t, append(upgraded, "DRAY_WORKER_ID=upgraded"), "worker")
	eventually(t, "both work", func() bool {
		workers, err := f.queue.Workers(t.Context())
		return err == nil && len(workers) == 2
	})
	file = doubled(t, f.dir, "upgrading", 4000, "retry: {attempts: 1}\n")
	if out, _, code := dray(t, f.env, "submit", file, "--wait", "--quiet", "--key", "1", "--json"); code != 4 {
		t.Fatalf("submit exited with %d: %s", code, out)
	}
	f.doubledRight(t, "upgrading", "upgrading-1", 4000)
	if !strings.Contains(old.log.String(), "a chunk can not be worked on here") {
		t.Error("the old worker was in nobody's way")
	}
	if j := f.job(t, "upgrading-1"); j.Totals.Dead != 0 {
		t.Errorf("the job has %+v", j.Totals)
	}
	if out, _, _ := dray(t, f.env, "workers"); !strings.Contains(out, "double") {
		t.Errorf("the workers are\n%s", out)
	}
	workers, err := f.queue.Workers(t.Context())
	if err != nil || len(workers) != 2 || len(workers[0].Stages) != 0 || len(workers[1].Stages) != 1 {
		t.Errorf("the workers are %+v: %v", workers, err)
	}
}
