package chaos

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"testing"

	"drayage/pkg/job"
)

func testSpec(t *testing.T, n int) spec {
	t.Helper()
	cfg := Short()
	cfg.Dir = t.TempDir()
	s := newSpec(cfg, n, true)
	s.rows, s.files = 300, 2
	if err := s.write(); err != nil {
		t.Fatal(err)
	}
	return s
}

// What a dead letter takes with it is read from the very bytes that it names.
func TestIDsOfADeadChunk(t *testing.T) {
	t.Parallel()
	for n := range 4 {
		s := testSpec(t, n)
		var all []uint64
		for file := range s.files {
			info, err := os.Stat(s.path(file))
			if err != nil {
				t.Fatal(err)
			}
			ids, err := s.idsIn(json.RawMessage(fmt.Sprintf(`{"p":%q,"s":%d}`, s.path(file), info.Size())))
			if err != nil {
				t.Fatalf("%s: %v", s.format, err)
			}
			all = append(all, ids...)
		}
		want := make([]uint64, s.rows)
		for i := range want {
			want[i] = s.first() + uint64(i)
		}
		if !slices.Equal(all, want) {
			t.Errorf("%s: %d ids, want %d: %v", s.format, len(all), len(want), all)
		}
	}
	s := testSpec(t, 0)
	text, err := os.ReadFile(s.path(0))
	if err != nil {
		t.Fatal(err)
	}
	first := slices.Index(text, '\n') + 1
	ids, err := s.idsIn(json.RawMessage(fmt.Sprintf(`{"p":%q,"s":%d,"a":%d,"z":%d}`, s.path(0), len(text), first, first+slices.Index(text[first:], '\n')+1)))
	if err != nil || !slices.Equal(ids, []uint64{1}) {
		t.Errorf("the second line holds %v (%v)", ids, err)
	}
}

// The oracle sees each way in which a row can be wrong.
func TestOracleComplains(t *testing.T) {
	t.Parallel()
	s := testSpec(t, 0)
	const at = 42 // a row like any other
	for name, c := range map[string]struct {
		spoil    func(*tally)
		dead     bool // the chunk of the first file
		rejected map[uint64]int
		broken   bool
	}{
		"all is well":               {spoil: func(*tally) {}},
		"a row is missing":          {spoil: func(t *tally) { t.seen[at] = 0 }, broken: true},
		"a row is there twice":      {spoil: func(t *tally) { t.seen[at] = 2 }, broken: true},
		"in a dead letter":          {spoil: func(t *tally) { clear(t.seen[:150]) }, dead: true},
		"and in the target":         {spoil: func(t *tally) { clear(t.seen[:149]) }, dead: true, broken: true},
		"in quarantine for nothing": {spoil: func(t *tally) { t.seen[at] = 0 }, rejected: map[uint64]int{at: 1}, broken: true},
		"a row that was changed": {spoil: func(t *tally) {
			r := rowOf(at)
			t.add(s, r) // not doubled
			t.seen[at]--
		}, broken: true},
		"a row that should have been left out": {spoil: func(t *tally) {
			r := rowOf(13)
			r.Amount *= 2
			t.add(s, r)
		}, broken: true},
		"a row of nobody": {spoil: func(t *tally) { t.add(s, rowOf(5000)) }, broken: true},
	} {
		found := perfect(s)
		c.spoil(found)
		check := &check{report: &Report{}}
		var dead []job.Dead
		if c.dead {
			dead = append(dead, job.Dead{Chunk: job.Chunk{Input: json.RawMessage(fmt.Sprintf(`{"p":%q,"z":%d}`, s.path(0), size(t, s.path(0))))}})
		}
		for _, wrong := range found.wrong {
			check.report.complain(Rows, "%s", wrong)
		}
		check.everyRow(watched{spec: s}, found, dead, c.rejected)
		if broken := len(check.report.Broken[Rows]) > 0; broken != c.broken {
			t.Errorf("%s: %q", name, check.report.Broken)
		}
	}
}

// A row that does not fit must be in quarantine, once, and nowhere else.
func TestOracleKnowsBadRows(t *testing.T) {
	t.Parallel()
	s := testSpec(t, 0)
	s.bad = 0.1
	quarantine := map[uint64]int{}
	for i := range s.rows {
		if id := s.first() + uint64(i); s.isBad(id) && !filtered(id) {
			quarantine[id] = 1
		}
	}
	if len(quarantine) < 10 || len(quarantine) > 60 {
		t.Fatalf("%d bad rows of %d", len(quarantine), s.rows)
	}
	one := slices.Min(slices.Collect(maps.Keys(quarantine)))
	for n, ok := range map[int]bool{0: false, 1: true, 2: false} {
		quarantine[one] = n
		check := &check{report: &Report{}}
		check.everyRow(watched{spec: s}, perfect(s), nil, quarantine)
		if check.report.OK() != ok {
			t.Errorf("%d times in quarantine: %q", n, check.report.Broken)
		}
	}
}

// Rows that come or go after the job has ended are complained of.
func TestOracleRemembersTheEnd(t *testing.T) {
	t.Parallel()
	s := testSpec(t, 0)
	for _, c := range []struct {
		state  job.State
		then   *tally
		broken Invariant
	}{
		{job.Done, perfect(s), ""},
		{job.Cancelled, perfect(s), ""},
		{job.Done, newTally(s), NotEarly},
		{job.Done, nil, NotEarly},
		{job.Cancelled, newTally(s), NoneLater},
	} {
		check := &check{report: &Report{}}
		check.then(watched{spec: s, atEnd: c.then, record: job.Job{State: c.state}}, perfect(s))
		if len(check.report.Broken[c.broken]) == 0 == (c.broken != "") || c.broken == "" && !check.report.OK() {
			t.Errorf("%s: %q, want %q", c.state, check.report.Broken, c.broken)
		}
	}
}

// perfect is what a target should be.
func perfect(s spec) *tally {
	t := newTally(s)
	for i := range s.rows {
		r := rowOf(s.first() + uint64(i))
		if r.Amount *= 2; !filtered(r.ID) && !s.isBad(r.ID) {
			t.add(s, r)
		}
	}
	return t
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// A view is compared group by group, but not of a job that says that its view
// can not be mended.
func TestOracleComparesViews(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		view string
		ok   bool
	}{
		"agrees":               {"1\t7\t2\t-30\n1\t8\t1\t5\n", true},
		"a row is not there":   {"1\t7\t1\t-10\n1\t8\t1\t5\n", false},
		"fed twice":            {"1\t7\t4\t-60\n1\t8\t1\t5\n", false},
		"a group is missing":   {"1\t7\t2\t-30\n", false},
		"a group of nobody":    {"1\t7\t2\t-30\n1\t8\t1\t5\n1\t9\t1\t1\n", false},
		"of a job that FAILED": {"1\t7\t2\t-30\n1\t8\t1\t5\n6\t9\t1\t1\n", true},
	} {
		check := &check{report: &Report{}, failed: map[int]bool{6: true}, source: map[viewKey][2]int64{{1, 7}: {2, -30}, {1, 8}: {1, 5}}}
		if err := check.compare(c.view); err != nil {
			t.Fatal(err)
		}
		if check.report.OK() != c.ok {
			t.Errorf("%s: %q", name, check.report.Broken)
		}
	}
}

// What a second output adds up is what the rows of the first come to.
func TestOracleComparesOutputs(t *testing.T) {
	t.Parallel()
	s := testSpec(t, 0)
	if !s.fan {
		t.Fatal("the job has one output")
	}
	for name, c := range map[string]struct {
		spoil func(*tally)
		ok    bool
	}{
		"agrees":             {func(*tally) {}, true},
		"a chunk is missing": {func(t *tally) { t.added[3] = [2]int64{} }, false},
		"a chunk twice":      {func(t *tally) { t.added[3] = [2]int64{2 * t.added[3][0], 2 * t.added[3][1]} }, false},
		"nothing at all":     {func(t *tally) { clear(t.added) }, false},
	} {
		found := perfect(s)
		found.added = maps.Clone(found.sums)
		c.spoil(found)
		check := &check{report: &Report{}}
		check.outputs(watched{spec: s}, found)
		if check.report.OK() != c.ok {
			t.Errorf("%s: %q", name, check.report.Broken)
		}
	}
}

// A job may only fail for its view's sake, and only when ClickHouse was killed.
func TestOracleAcceptsOneFailure(t *testing.T) {
	t.Parallel()
	good := func() (watched, *Report) {
		return watched{
			spec:   spec{view: true},
			record: job.Job{State: job.Failed, Frozen: &job.Frozen{Target: job.Target{Views: true}}, Proof: &job.Proof{Differ: []job.Difference{{Chunk: 3}}}},
		}, &Report{Faults: map[Kind]int{KillClickHouse: 1}}
	}
	for name, c := range map[string]struct {
		change func(*watched, *Report)
		ok     bool
	}{
		"as it should be":       {func(*watched, *Report) {}, true},
		"all was killed":        {func(_ *watched, r *Report) { r.Faults = map[Kind]int{RestartAll: 1} }, true},
		"nothing was killed":    {func(_ *watched, r *Report) { r.Faults = nil }, false},
		"no view":               {func(w *watched, _ *Report) { w.view = false }, false},
		"no view in its record": {func(w *watched, _ *Report) { w.record.Frozen.Views = false }, false},
		"no chunk is named":     {func(w *watched, _ *Report) { w.record.Proof.Differ = nil }, false},
		"DONE":                  {func(w *watched, _ *Report) { w.record.State = job.Done }, false},
	} {
		w, r := good()
		c.change(&w, r)
		if got := (&check{report: r}).unrepairable(w); got != c.ok {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A server that dies before it answers has not said that there is no row.
func TestABrokenConnectionIsNotTheEnd(t *testing.T) {
	t.Parallel()
	if !atEnd(io.EOF) || atEnd(fmt.Errorf("querying: %w", io.EOF)) || atEnd(nil) {
		t.Error("the end of the rows is mistaken")
	}
}
