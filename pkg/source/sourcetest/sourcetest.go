// Package sourcetest is what every source has to pass: Run tests that a
// source.Source does what package source says of it, and so that jobs that read
// from it load each row once, whatever happens to coordinators and workers.
//
//	func TestSuite(t *testing.T) {
//		sourcetest.Run(t, sourcetest.Case{
//			New:    func() (source.Source, error) { return mine.New(mine.Config{…}) },
//			Engine: eng,
//			Want:   []string{`[1,"a"]`, `[2,"b"]`},
//		})
//	}
//
// The input must not change while Run runs, but by Change. It is to have several chunks: a
// source of one chunk passes much without proving it.
package sourcetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Limits of the suite.
const (
	// MaxDescriptor bounds an input and its cursor together, in bytes: they
	// travel in messages of job.MaxDescriptor beside other fields.
	MaxDescriptor = 3 << 10
	// Memory is the default of Case.Memory.
	Memory = 32 << 20
	// Prompt is the default of Case.Prompt.
	Prompt = 3 * time.Second

	maxResumed = 24 // cursors and chunks that are tried, spread over all
)

// Case is a source and what it should give.
type Case struct {
	// New makes the source; each call gives one of the same configuration, as
	// each process of a fleet makes its own.
	New func() (source.Source, error)
	// Engine is a real one: it reads the rows.
	Engine *engine.Client
	// Want are all rows of the source, each as the engine writes it in
	// JSONCompactEachRow: [1,"a",null]. Their order does not matter.
	Want []string
	// Whole, in place of Want, makes a source of the same input that is cut
	// otherwise, best not at all. Its rows are those that are wanted.
	Whole func() (source.Source, error)
	// Chunks is the number of chunks that there are at least; 0: 2.
	Chunks int
	// Uncut says that no chunk of this input can be cut, though others can.
	Uncut bool
	// Memory is how many bytes of live heap planning or reading may take, 0:
	// the constant Memory.
	Memory int64
	// Prompt is how long a call may take to end once its context has; 0: the
	// constant Prompt.
	Prompt time.Duration
	// Change, when it is set, changes the input, all of its chunks. It is called
	// once, at the end: nothing may be read then for what was planned.
	Change func() error
	// Secrets must appear in no description, cursor, place or error.
	Secrets []string
}

// Run tests a source, with a subtest for each promise.
func Run(t *testing.T, c Case) {
	t.Helper()
	if c.Chunks == 0 {
		c.Chunks = 2
	}
	if c.Memory == 0 {
		c.Memory = Memory
	}
	if c.Prompt == 0 {
		c.Prompt = Prompt
	}
	before := goleak.IgnoreCurrent()
	s := &suite{Case: c}
	if err := s.prepare(t); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"PlanTwice", s.planTwice},
		{"PlanResumed", s.planResumed},
		{"PlanStopped", s.planStopped},
		{"Descriptions", s.descriptions},
		{"Rows", s.rows},
		{"OpenTwice", s.openTwice},
		{"OpenLeft", s.openLeft},
		{"Concurrent", s.concurrent},
		{"Split", s.split},
		{"Count", s.count},
		{"Cancelled", s.cancelled},
		{"Nonsense", s.nonsense},
		{"Memory", s.memory},
		{"Changed", s.changed},
	} {
		t.Run(test.name, test.run)
	}
	t.Run("Goroutines", func(t *testing.T) {
		// The client of the engine keeps connections open, as those of a source
		// over HTTP may.
		err := goleak.Find(before,
			goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
			goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
		if err != nil {
			t.Error(err)
		}
	})
}

// suite is one Run.
type suite struct {
	Case
	columns []job.Column
	chunks  []source.Planned
}

// prepare finds out what there is.
func (s *suite) prepare(t *testing.T) error {
	src, err := s.New()
	if err != nil {
		return fmt.Errorf("making the source: %w", err)
	}
	if s.columns, err = src.Columns(t.Context(), s.Engine); err != nil {
		return fmt.Errorf("asking for the columns: %w", err)
	}
	again, err := src.Columns(t.Context(), s.Engine)
	switch {
	case err != nil:
		return fmt.Errorf("asking for the columns again: %w", err)
	case len(s.columns) == 0:
		return errors.New("the source has no columns")
	case !slices.Equal(s.columns, again):
		return fmt.Errorf("the columns are %v and then %v", s.columns, again)
	case src.Size(t.Context()) < 0:
		return fmt.Errorf("the size is %d", src.Size(t.Context()))
	}
	if s.chunks, err = plan(t.Context(), src, nil, s.columns); err != nil {
		return fmt.Errorf("planning: %w", err)
	}
	if len(s.chunks) < s.Chunks {
		return fmt.Errorf("there are %d chunks, the case wants %d; give the source more input, or smaller chunks", len(s.chunks), s.Chunks)
	}
	return nil
}

// fresh makes the source as another process would.
func (s *suite) fresh(t *testing.T) source.Source {
	t.Helper()
	src, err := s.New()
	if err != nil {
		t.Fatalf("making the source: %v", err)
	}
	return src
}

// plan collects what Plan yields.
func plan(ctx context.Context, src source.Source, cursor json.RawMessage, columns []job.Column) ([]source.Planned, error) {
	var all []source.Planned
	var failed error
	for p, err := range src.Plan(ctx, cursor, columns) {
		if failed != nil {
			return all, fmt.Errorf("more came after the error: %w", failed)
		}
		if err != nil {
			failed = err
			continue
		}
		all = append(all, p)
	}
	return all, failed
}

func same(a, b source.Planned) bool {
	return string(a.Input) == string(b.Input) && string(a.Cursor) == string(b.Cursor) && a.Bytes == b.Bytes && a.Inputs == b.Inputs
}

func show(p source.Planned) string {
	return fmt.Sprintf("{input %s, cursor %s, %d bytes, %d inputs}", p.Input, p.Cursor, p.Bytes, p.Inputs)
}

// compare reports the first difference of two plans.
func compare(t *testing.T, how string, got, want []source.Planned) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if !same(got[i], want[i]) {
			t.Fatalf("%s: chunk %d is\n%s, not\n%s", how, i, show(got[i]), show(want[i]))
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: there are %d chunks, not %d", how, len(got), len(want))
	}
}

// sample are indices of chunks, at most maxResumed, with the first and the last.
func (s *suite) sample() []int {
	n := len(s.chunks)
	var all []int
	for i := range min(n, maxResumed) {
		at := i
		if n > maxResumed {
			at = i * (n - 1) / (maxResumed - 1)
		}
		all = append(all, at)
	}
	return all
}

// leaks reports the secret that a text shows.
func (s *suite) leaks(t *testing.T, what, text string) {
	t.Helper()
	for _, secret := range s.Secrets {
		if secret != "" && strings.Contains(text, secret) {
			t.Errorf("%s shows a secret", what)
		}
	}
}
