package sourcetest

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"drayage/pkg/source"
)

// split: the parts of a chunk have its rows, in its order.
func (s *suite) split(t *testing.T) {
	splitter, ok := s.fresh(t).(source.Splitter)
	if !ok {
		t.Skip("the source is no source.Splitter")
	}
	src := s.fresh(t)
	cut := 0
	for _, at := range s.sample() {
		input := s.chunks[at].Input
		for range 2 { // a part is cut once more
			parts, err := splitter.Split(t.Context(), input, s.columns)
			if errors.Is(err, source.ErrWhole) {
				break
			}
			if err != nil {
				t.Fatalf("cutting chunk %d: %v", at, err)
			}
			if len(parts) < 2 {
				t.Fatalf("chunk %d was cut into %d parts", at, len(parts))
			}
			again, err := s.fresh(t).(source.Splitter).Split(t.Context(), input, s.columns)
			if err != nil || len(again) != len(parts) {
				t.Fatalf("chunk %d was cut into %d parts, and again into %d: %v", at, len(parts), len(again), err)
			}
			want, unordered, err := s.read(t.Context(), src, input)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i, p := range parts {
				if string(p.Input) != string(again[i].Input) {
					t.Fatalf("part %d of chunk %d is %s, and again %s", i, at, p.Input, again[i].Input)
				}
				if len(p.Input) >= MaxDescriptor || !json.Valid(p.Input) {
					t.Fatalf("part %d of chunk %d has %d bytes: %s", i, at, len(p.Input), p.Input)
				}
				s.leaks(t, "a part", string(p.Input))
				rows, _, err := s.read(t.Context(), src, p.Input)
				if err != nil {
					t.Fatalf("reading part %d of chunk %d: %v", i, at, err)
				}
				got = append(got, rows...)
			}
			if unordered {
				slices.Sort(got)
				slices.Sort(want)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("chunk %d has %d rows, its parts %d:\n%.1000s\nand\n%.1000s", at, len(want), len(got), strings.Join(want, "\n"), strings.Join(got, "\n"))
			}
			cut++
			input = parts[0].Input
		}
	}
	if (cut == 0) != s.Uncut {
		t.Errorf("%d chunks were cut", cut)
	}
}

// count: what a source counts is what it gives.
func (s *suite) count(t *testing.T) {
	counter, ok := s.fresh(t).(source.Counter)
	if !ok {
		t.Skip("the source is no source.Counter")
	}
	for _, at := range s.sample() {
		rows, _, err := s.read(t.Context(), s.fresh(t), s.chunks[at].Input)
		if err != nil {
			t.Fatal(err)
		}
		n, err := counter.Count(t.Context(), s.Engine, s.chunks[at].Input, s.columns)
		if err != nil {
			t.Fatalf("counting chunk %d: %v", at, err)
		}
		if n != uint64(len(rows)) {
			t.Fatalf("chunk %d counts %d rows and has %d", at, n, len(rows))
		}
	}
}
