package sourcetest

import (
	"encoding/json"
	"testing"

	"drayage/pkg/source"
)

// planTwice: the order and the cuts depend on the inputs alone.
func (s *suite) planTwice(t *testing.T) {
	for _, how := range []string{"again", "again by another process"} {
		again, err := plan(t.Context(), s.fresh(t), nil, s.columns)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, "planned "+how, again, s.chunks)
	}
}

// planResumed: from any cursor another coordinator plans the rest.
func (s *suite) planResumed(t *testing.T) {
	for _, at := range s.sample() {
		rest, err := plan(t.Context(), s.fresh(t), s.chunks[at].Cursor, s.columns)
		if err != nil {
			t.Fatalf("resuming after chunk %d: %v", at, err)
		}
		for i := range rest {
			if i+at+1 < len(s.chunks) && rest[i].Inputs != s.chunks[i+at+1].Inputs {
				t.Fatalf("resumed after chunk %d: chunk %d says %d inputs, not %d", at, i+at+1, rest[i].Inputs, s.chunks[i+at+1].Inputs)
			}
		}
		compare(t, "resumed after a chunk", rest, s.chunks[at+1:])
	}
}

// planStopped: the planner may stop at any chunk and go on later with the same
// source.
func (s *suite) planStopped(t *testing.T) {
	src := s.fresh(t)
	var all []source.Planned
	var cursor json.RawMessage
	for len(all) < min(len(s.chunks), maxResumed) {
		got := false
		for p, err := range src.Plan(t.Context(), cursor, s.columns) {
			if err != nil {
				t.Fatal(err)
			}
			all, cursor, got = append(all, p), p.Cursor, true
			break
		}
		if !got {
			break
		}
	}
	compare(t, "planned one by one", all, s.chunks[:min(len(s.chunks), maxResumed)])
}

// descriptions: what travels is small, is JSON, names no secret, and can be
// named for people.
func (s *suite) descriptions(t *testing.T) {
	src := s.fresh(t)
	inputs := uint64(0)
	seen := map[string]int{}
	for i, c := range s.chunks {
		switch {
		case !json.Valid(c.Input):
			t.Errorf("the input of chunk %d is no JSON: %s", i, c.Input)
		case !json.Valid(c.Cursor):
			t.Errorf("the cursor after chunk %d is no JSON: %s", i, c.Cursor)
		case len(c.Input)+len(c.Cursor) >= MaxDescriptor:
			t.Errorf("input and cursor of chunk %d have %d bytes, %d are too many", i, len(c.Input)+len(c.Cursor), MaxDescriptor)
		case c.Bytes < 0:
			t.Errorf("chunk %d has %d bytes", i, c.Bytes)
		case c.Inputs < inputs:
			t.Errorf("after chunk %d there are %d inputs, before it %d", i, c.Inputs, inputs)
		}
		inputs = c.Inputs
		if before, twice := seen[string(c.Input)]; twice {
			t.Errorf("chunks %d and %d have the same input %s", before, i, c.Input)
		}
		seen[string(c.Input)] = i
		s.leaks(t, "an input", string(c.Input))
		s.leaks(t, "a cursor", string(c.Cursor))
		if l, ok := src.(source.Locator); ok {
			at, err := l.Locate(c.Input)
			switch {
			case err != nil:
				t.Errorf("the place of chunk %d: %v", i, err)
			case at.Name == "":
				t.Errorf("the place of chunk %d has no name", i)
			case at.Offset < -1 || at.Start > at.End:
				t.Errorf("the place of chunk %d is %+v", i, at)
			}
			s.leaks(t, "a place", at.String())
		}
		if t.Failed() {
			return
		}
	}
}
