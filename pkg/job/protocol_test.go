package job

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// What was written for a newer program is known for it, by its number or by a
// field among those that decide what is loaded.
func TestUnderstood(t *testing.T) {
	t.Parallel()
	read := func(text string) Job {
		var j Job
		if err := json.Unmarshal([]byte(text), &j); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return j
	}
	for name, c := range map[string]struct {
		err  error
		says string // empty: it is understood
	}{
		"a job without a number":    {read(`{"job":"j"}`).Understood(), ""},
		"a job of this number":      {Job{ID: "j", Protocol: Protocol}.Understood(), ""},
		"a job of a later one":      {read(`{"job":"j","protocol":1000}`).Understood(), "job j needs a dray of protocol 1000"},
		"a record with more to say": {read(`{"job":"j","colour":"red","frozen":{"table":"t"}}`).Understood(), ""},
		"more frozen":               {read(`{"job":"j","frozen":{"table":"t","shape":"round"}}`).Understood(), `unknown field "shape"`},
		"more of a target":          {read(`{"job":"j","frozen":{"table":"t","others":[{"table":"u","shape":"round"}]}}`).Understood(), `unknown field "shape"`},
		"a submission":              {Submission{Job: "j", Protocol: Protocol + 1}.Understood(), "the submission of job j"},
		"a schedule":                {Schedule{Name: "s", Submission: Submission{Protocol: Protocol + 1}}.Understood(), "schedule s"},
		"a chunk":                   {Chunk{Job: "j", Ordinal: 7, Protocol: Protocol + 1}.Understood(), "chunk 7 of job j"},
		"a result":                  {Result{Job: "j", Chunk: 7, Protocol: Protocol + 1}.Understood(), "the result of chunk 7 of job j"},
		"those of today":            {errors.Join(Submission{}.Understood(), Schedule{}.Understood(), Chunk{}.Understood(), Result{}.Understood()), ""},
	} {
		var newer *NewerError
		switch {
		case c.says == "" && c.err != nil:
			t.Errorf("%s: %v", name, c.err)
		case c.says != "" && (!errors.As(c.err, &newer) || !strings.Contains(c.err.Error(), c.says) || ClassOf(c.err) != Retry):
			t.Errorf("%s: %v, want %q", name, c.err, c.says)
		}
	}
	// What is known of it is there all the same, for those who only look.
	if j := read(`{"job":"j","frozen":{"table":"t","shape":"round"}}`); j.Frozen.Table != "t" {
		t.Errorf("it was read as %+v", j.Frozen)
	}
	if err := json.Unmarshal([]byte(`{"frozen":{"table":7}}`), &Job{}); err == nil {
		t.Error("a table that is a number was read")
	}
}
