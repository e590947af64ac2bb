package api_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"drayage/coordinator"
	"drayage/coordinator/api"
	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// Every view of a job that has loaded, rejected and given up something says so.
func TestViews(t *testing.T) {
	t.Parallel()
	j := ran(t, "views")
	if j.State != job.DoneWithRejects || j.Totals.Dead != 1 || j.Totals.RowsRejected != 2 {
		t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
	ctx := t.Context()

	v, err := service.Job(ctx, j.ID)
	if err != nil {
		t.Fatal(err)
	}
	if v.State != j.State || v.Name != "api" || v.Progress.Fraction == nil || *v.Progress.Fraction != 1 || len(v.Waits) > 0 || v.Proof == nil {
		t.Errorf("the job is %+v", v)
	}
	if len(v.Outputs) != 1 || v.Outputs[0].SQL != "SELECT n, s FROM chunk" || v.Outputs[0].Mode != "append" || !v.Outputs[0].Provenance ||
		!strings.HasSuffix(v.Outputs[0].Table, ".views") || len(v.Columns) != 2 || !strings.Contains(v.Text, "part-*.csv") {
		t.Errorf("its outputs are %+v of the columns %v", v.Outputs, v.Columns)
	}
	if v.Steps.Running <= 0 || v.Steps.Planning <= 0 || v.Progress.Seconds <= 0 {
		t.Errorf("its steps are %+v", v.Steps)
	}

	m, err := service.Chunks(ctx, j.ID)
	if err != nil || m.Cells != "lljdll" || m.Width != 1 || m.Chunks != 6 || !m.Complete {
		t.Errorf("the map is %+v (%v)", m, err)
	}
	for _, l := range m.Letters {
		if want := map[string]uint64{"l": 4, "j": 1, "d": 1}[l.Letter]; l.Chunks != want {
			t.Errorf("%d chunks are %s, not %d", l.Chunks, l.State, want)
		}
	}
	c, err := service.Chunk(ctx, j.ID, 3)
	if err != nil || c.DeadLetter == nil || c.DeadLetter.Reason != job.ReasonRejects || !strings.Contains(c.Place, "part-03.csv") {
		t.Errorf("the fourth chunk is %+v (%v)", c, err)
	}
	c, err = service.Chunk(ctx, j.ID, 2)
	if err != nil || c.DeadLetter != nil || len(c.Attempts) != 1 || c.Attempts[0].Outcome != clickhouse.OutcomeLoaded ||
		c.Attempts[0].RowsLoaded != 98 || c.Attempts[0].RowsRejected != 2 || !strings.Contains(c.Place, "part-02.csv") {
		t.Errorf("the third chunk is %+v (%v)", c, err)
	}
	if _, err := service.Chunk(ctx, j.ID, 6); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("a chunk that never was: %v", err)
	}

	through, err := service.Throughput(ctx, j.ID)
	var sum clickhouse.Bucket
	for _, b := range through.Buckets {
		sum.Chunks, sum.RowsLoaded, sum.RowsRejected, sum.RowsRead = sum.Chunks+b.Chunks, sum.RowsLoaded+b.RowsLoaded, sum.RowsRejected+b.RowsRejected, sum.RowsRead+b.RowsRead
	}
	if err != nil || sum.Chunks != 5 || sum.RowsLoaded != 498 || sum.RowsRejected != 2 || sum.RowsRead != 500 || through.EverySeconds < 1 {
		t.Errorf("throughput sums up to %+v of %+v (%v)", sum, through, err)
	}
	slow, err := service.Slowest(ctx, j.ID, 2)
	if err != nil || len(slow.Chunks) != 2 || slow.Chunks[0].TransformMS+slow.Chunks[0].LoadMS < slow.Chunks[1].TransformMS+slow.Chunks[1].LoadMS {
		t.Errorf("the slowest are %+v (%v)", slow.Chunks, err)
	}
	groups, err := service.Errors(ctx, j.ID, 0)
	if err != nil || len(groups.Groups) > 1 { // word of an attempt may be lost
		t.Errorf("the errors are %+v (%v)", groups.Groups, err)
	}
	for _, g := range groups.Groups {
		if g.Outcome != clickhouse.OutcomeDead || g.Attempts != 1 || g.Chunks != 1 || g.Chunk != 3 || strings.Contains(g.Error, "100") || !strings.Contains(g.Example, "100") {
			t.Errorf("an error is %+v", g)
		}
	}

	rejects, err := service.Rejects(ctx, api.RejectQuery{Job: j.ID, Limit: 1})
	if err != nil || len(rejects.Rejects) != 1 || rejects.Rejects[0].Raw != "none0,x" || rejects.Next == nil {
		t.Fatalf("the first reject is %+v (%v)", rejects, err)
	}
	rejects, err = service.Rejects(ctx, api.RejectQuery{Job: j.ID, Limit: 1, Offset: *rejects.Next})
	if err != nil || len(rejects.Rejects) != 1 || rejects.Rejects[0].Raw != "none1,x" || rejects.Next != nil {
		t.Errorf("the second reject is %+v (%v)", rejects, err)
	}
	reasons, err := service.RejectGroups(ctx, j.ID, 0)
	if err != nil || len(reasons.Groups) != 1 || reasons.Groups[0].Rows != 2 || reasons.Groups[0].Column != "n" {
		t.Errorf("the reasons are %+v (%v)", reasons, err)
	}

	letters, err := service.DeadLetters(ctx, api.LetterQuery{Job: j.ID})
	if err != nil || len(letters.Letters) != 1 || letters.Letters[0].Chunk.Ordinal != 3 || letters.Next != "" {
		t.Errorf("the dead letters are %+v (%v)", letters, err)
	}
	letters, err = service.DeadLetters(ctx, api.LetterQuery{Job: j.ID, Choice: coordinator.Choice{Error: "nothing like it"}})
	if err != nil || len(letters.Letters) != 0 {
		t.Errorf("the dead letters of another error are %+v (%v)", letters, err)
	}
}

// The list of jobs is in pages that neither repeat nor leave out, whatever the
// filter.
func TestJobs(t *testing.T) {
	t.Parallel()
	var ids []string
	for range 3 {
		id := coordinator.NewID("listed", time.Now())
		stack.Create(t, job.Submission{Job: id, Pipeline: "pipeline: listed\nsource: {files: {pth: x}}\n"})
		ids = append(ids, id)
	}
	for _, id := range ids {
		stack.Ended(t, id)
	}
	until(t, func() bool {
		p, err := service.Jobs(t.Context(), api.JobFilter{Text: "LISTED-"})
		return err == nil && len(p.Jobs) == 3
	})
	f := api.JobFilter{Text: "listed", States: []job.State{job.Failed}, Limit: 2}
	first, err := service.Jobs(t.Context(), f)
	if err != nil || len(first.Jobs) != 2 || first.Next == "" || first.Counts[job.Failed] != 3 || first.Revision == 0 {
		t.Fatalf("the first page is %+v (%v)", first, err)
	}
	f.Cursor = first.Next
	second, err := service.Jobs(t.Context(), f)
	if err != nil || len(second.Jobs) != 1 || second.Next != "" {
		t.Fatalf("the second page is %+v (%v)", second, err)
	}
	got := map[string]bool{}
	for _, r := range append(first.Jobs, second.Jobs...) {
		got[r.ID] = true
	}
	if len(got) != 3 || !second.Jobs[0].CreatedAt.Before(first.Jobs[0].CreatedAt) {
		t.Errorf("listed are %v", got)
	}
	f = api.JobFilter{Text: "listed", States: []job.State{job.Running}}
	if none, err := service.Jobs(t.Context(), f); err != nil || len(none.Jobs) != 0 || none.Counts[job.Failed] != 3 {
		t.Errorf("running are %+v (%v)", none, err)
	}
	for _, bad := range []api.JobFilter{{Cursor: "x"}, {Limit: 501}, {States: []job.State{"IDLE"}}} {
		if _, err := service.Jobs(t.Context(), bad); api.ProblemOf(err) == nil || api.ProblemOf(err).Status != 400 {
			t.Errorf("%+v gave %v", bad, err)
		}
	}
	for _, id := range ids {
		if err := stack.Queue.DeleteJob(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	until(t, func() bool {
		p, err := service.Jobs(t.Context(), api.JobFilter{Text: "listed-"})
		return err == nil && len(p.Jobs) == 0
	})
	if _, err := service.Job(t.Context(), ids[0]); api.ProblemOf(err).Status != 404 {
		t.Errorf("a job that is gone: %v", err)
	}
}

func TestWorkers(t *testing.T) {
	t.Parallel()
	until(t, func() bool {
		w, err := service.Workers(t.Context())
		return err == nil && len(w.Workers) == 1 && w.Slots > 0 && w.Workers[0].AgeSeconds < 60
	})
}

// A job that can not be planned for a reason that may pass says which.
func TestTrouble(t *testing.T) {
	t.Parallel()
	id := coordinator.NewID("stuck", time.Now())
	text := "pipeline: stuck\nsource: {postgres: {url: \"postgres://u@127.0.0.1:1/db\", table: t}}\nload: {table: stuck, order_by: id}\n"
	stack.Create(t, job.Submission{Job: id, Pipeline: text})
	until(t, func() bool {
		v, err := service.Job(t.Context(), id)
		return err == nil && len(v.Waits) == 1 && v.Waits[0].Reason == api.WaitTrouble && strings.Contains(v.Waits[0].Detail, "127.0.0.1")
	})
	if _, err := service.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if j := stack.Ended(t, id); j.State != job.Cancelled || j.Waiting != nil {
		t.Errorf("it is %s, with %+v", j.State, j.Waiting)
	}
}
