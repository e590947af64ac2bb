package sourcetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/sourcetest"
	"drayage/pkg/testkit"
)

// eng is the real engine that the tests share.
var eng *engine.Client

func TestMain(m *testing.M) {
	testkit.Engine()
	p, err := engine.Start(context.Background(), engine.Config{Name: "sourcetest"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	eng = p.Client()
	code := m.Run()
	if _, err := p.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	if code == 0 && os.Getenv("MISTAKE") == "" {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

const (
	total = 40 // rows
	each  = 10 // rows of a chunk
)

// numbers is a source of the numbers below total, which makes a mistake.
type numbers struct {
	mistake string
	opened  *atomic.Int64
	version *atomic.Int64
}

type span struct {
	From, To int
	V        int64 // version of the input
}

// same says that the input is the one that was planned.
func (n numbers) same(at span) error {
	if at.V == n.version.Load() || n.is("reads what was changed") {
		return nil
	}
	if n.is("says that a change may pass") {
		return source.ErrChanged
	}
	return job.WithClass(source.ErrChanged, job.Permanent)
}

func (n numbers) is(mistake string) bool { return n.mistake == mistake }

func (n numbers) Columns(context.Context, source.Engine) ([]job.Column, error) {
	return []job.Column{{Name: "n", Type: "UInt32"}}, nil
}

func (n numbers) Size(context.Context) int64 { return 0 }

func (n numbers) Plan(ctx context.Context, cursor json.RawMessage, _ []job.Column) iter.Seq2[source.Planned, error] {
	return func(yield func(source.Planned, error) bool) {
		var at span
		if len(cursor) > 0 {
			if err := json.Unmarshal(cursor, &at); err != nil {
				if n.is("takes any cursor") {
					return
				}
				yield(source.Planned{}, job.WithClass(err, job.Permanent))
				return
			}
		}
		if n.is("resumes one row late") && at.To > 0 {
			at.To++
		}
		if n.is("plans otherwise each time") {
			at.To += int(n.opened.Add(1)) % 2
		}
		if n.is("keeps all chunks in memory") {
			held := make([]byte, 2*sourcetest.Memory)
			defer func() { held[0] = 1 }()
		}
		if n.is("leaves a goroutine") {
			go func() { <-make(chan int) }()
		}
		for from := at.To; from < total; from += each {
			if ctx.Err() != nil && !n.is("plans on when cancelled") {
				yield(source.Planned{}, context.Cause(ctx))
				return
			}
			here := span{from, min(from+each, total), n.version.Load()}
			if n.is("leaves a row out") && from == each {
				here.From++
			}
			if n.is("gives a row twice") && from == each {
				here.From--
			}
			input, _ := json.Marshal(here)
			next, _ := json.Marshal(span{To: here.To})
			if n.is("describes at length") {
				next = fmt.Appendf(nil, `{"To": %d, "pad": %q}`, here.To, strings.Repeat("x", sourcetest.MaxDescriptor))
			}
			if n.is("shows a secret") {
				next = fmt.Appendf(nil, `{"To": %d, "password": "hunter2"}`, here.To)
			}
			if !yield(source.Planned{Input: input, Cursor: next, Bytes: each, Inputs: 1}, nil) && !n.is("goes on when told to stop") {
				return
			}
		}
	}
}

func (n numbers) Open(ctx context.Context, input json.RawMessage, columns []job.Column) (*source.Input, error) {
	var at span
	if err := json.Unmarshal(input, &at); err != nil {
		if n.is("says that nonsense may pass") {
			return nil, err
		}
		return nil, job.WithClass(err, job.Permanent)
	}
	if err := n.same(at); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for i := at.From; i < at.To; i++ {
		fmt.Fprintf(&b, "%d\n", i)
	}
	if n.is("opens otherwise each time") {
		fmt.Fprint(&b, strings.Repeat("\n", int(n.opened.Add(1))%2))
	}
	if n.is("waits when cancelled") && ctx.Err() != nil {
		return nil, errors.New("the server did not answer")
	}
	in := &source.Input{
		Reader: &b, Format: "TSV", Structure: columns, Settings: map[string]string{"input_format_tsv_skip_trailing_empty_lines": "1"},
		Bytes: int64(b.Len()), Close: func() error { return nil },
		Check: func() error { return n.same(at) },
	}
	if n.is("changes unseen while it is read") {
		in.Check = nil
	}
	if n.is("has no format") {
		in.Format = ""
	}
	if n.is("can not be closed early") {
		in.Close = func() error {
			if b.Len() > 0 {
				return errors.New("there is more")
			}
			return nil
		}
	}
	if n.is("serves once") && n.opened.Add(1) > 1 {
		in.Reader = io.LimitReader(&b, 3)
	}
	return in, nil
}

func (n numbers) Split(_ context.Context, input json.RawMessage, _ []job.Column) ([]job.Part, error) {
	var at span
	if err := json.Unmarshal(input, &at); err != nil {
		return nil, err
	}
	if at.To-at.From < 2 {
		return nil, source.ErrWhole
	}
	middle := (at.From + at.To) / 2
	spans := []span{{at.From, middle, at.V}, {middle, at.To, at.V}}
	if n.is("cuts a row off") {
		spans[1].From++
	}
	if n.is("turns its parts round") {
		spans[0], spans[1] = spans[1], spans[0]
	}
	var parts []job.Part
	for _, s := range spans {
		b, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		parts = append(parts, job.Part{Input: b})
	}
	return parts, nil
}

func (n numbers) Count(_ context.Context, _ source.Querier, input json.RawMessage, _ []job.Column) (uint64, error) {
	var at span
	err := json.Unmarshal(input, &at)
	if n.is("counts wrong") {
		at.To++
	}
	return uint64(at.To - at.From), err //nolint:gosec // To is not below
}

func (n numbers) Locate(input json.RawMessage) (source.Location, error) {
	var at span
	err := json.Unmarshal(input, &at)
	if n.is("finds nonsense") {
		err = nil
	}
	return source.Location{Name: "numbers", Unit: "rows", Start: int64(at.From), End: int64(at.To), Offset: -1}, err
}

// TestSource runs the suite over a source that makes the mistake of the
// environment, if any.
func TestSource(t *testing.T) {
	mistake := os.Getenv("MISTAKE")
	var want []string
	for i := range total {
		want = append(want, fmt.Sprintf("[ %d]", i))
	}
	opened, version := new(atomic.Int64), new(atomic.Int64)
	sourcetest.Run(t, sourcetest.Case{
		New:    func() (source.Source, error) { return numbers{mistake, opened, version}, nil },
		Change: func() error { version.Add(1); return nil },
		Engine: eng, Want: want, Chunks: total / each, Secrets: []string{"hunter2"},
	})
}

// Each mistake fails the test that is there for it. The suites run in processes
// of their own, for their failures are not this test's.
func TestFindsMistakes(t *testing.T) {
	if os.Getenv("MISTAKE") != "" {
		t.Skip("this is such a process")
	}
	slots := make(chan struct{}, 2)
	for mistake, test := range map[string]string{
		"plans otherwise each time":       "PlanTwice",
		"resumes one row late":            "PlanResumed",
		"goes on when told to stop":       "PlanStopped",
		"describes at length":             "Descriptions",
		"shows a secret":                  "Descriptions",
		"leaves a row out":                "Rows",
		"gives a row twice":               "Rows",
		"has no format":                   "Rows",
		"opens otherwise each time":       "OpenTwice",
		"serves once":                     "Rows",
		"can not be closed early":         "OpenLeft",
		"cuts a row off":                  "Split",
		"turns its parts round":           "Split",
		"counts wrong":                    "Count",
		"plans on when cancelled":         "Cancelled/Plan",
		"waits when cancelled":            "Cancelled/Open",
		"takes any cursor":                "Nonsense",
		"says that nonsense may pass":     "Nonsense",
		"finds nonsense":                  "Nonsense",
		"keeps all chunks in memory":      "Memory",
		"leaves a goroutine":              "Goroutines",
		"reads what was changed":          "Changed",
		"says that a change may pass":     "Changed",
		"changes unseen while it is read": "Changed",
	} {
		t.Run(mistake, func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSource$")
			cmd.Env = append(os.Environ(), "MISTAKE="+mistake)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatal("it was not found")
			}
			if !strings.Contains(string(out), "--- FAIL: TestSource/"+test+" ") {
				t.Errorf("%s did not fail, but\n%s", test, out)
			}
		})
	}
}
