package relation

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"drayage/pkg/source"
	"drayage/pkg/source/sourcetest"
)

func planned(t *testing.T, s *Source, cursor json.RawMessage) (inputs []string, cursors []json.RawMessage) {
	t.Helper()
	for p, err := range s.Plan(t.Context(), cursor, nil) {
		if err != nil {
			t.Fatal(err)
		}
		inputs, cursors = append(inputs, string(p.Input)), append(cursors, p.Cursor)
	}
	return inputs, cursors
}

// Any range is covered without a gap or an overlap, and a plan goes on from any
// of its cursors with the same chunks.
func FuzzRange(f *testing.F) {
	f.Add(int64(0), uint32(10), uint16(3))
	f.Add(int64(-9223372036854775808), uint32(1), uint16(1))
	f.Add(int64(9223372036854775000), uint32(700), uint16(500))
	f.Fuzz(func(t *testing.T, from int64, span uint32, step uint16) {
		to := from + int64(span)
		if to <= from || step == 0 || span/uint32(step) > 1000 {
			t.Skip()
		}
		s, err := New(Config{SQL: "SELECT {from}, {to}", Range: &Range{fmt.Sprint(from), fmt.Sprint(to), uint64(step)}})
		if err != nil {
			t.Fatal(err)
		}
		inputs, cursors := planned(t, s, nil)
		next := fmt.Sprint(from)
		for _, in := range inputs {
			p, err := parse(json.RawMessage(in))
			if err != nil || p.From != next {
				t.Fatalf("after %s comes %s (%v)", next, in, err)
			}
			next = p.To
			parts, err := s.Split(t.Context(), json.RawMessage(in), nil)
			if errors.Is(err, source.ErrWhole) {
				continue
			}
			if err != nil || len(parts) != 2 {
				t.Fatalf("%s is cut into %d parts: %v", in, len(parts), err)
			}
			a, _ := parse(parts[0].Input)
			b, _ := parse(parts[1].Input)
			if a.From != p.From || a.To != b.From || b.To != p.To || a.From == a.To || b.From == b.To {
				t.Fatalf("%s is cut into %s and %s", in, parts[0].Input, parts[1].Input)
			}
		}
		if next != fmt.Sprint(to) {
			t.Fatalf("the plan ends at %s, not %d", next, to)
		}
		for i, c := range cursors {
			rest, _ := planned(t, s, c)
			if fmt.Sprint(rest) != fmt.Sprint(inputs[i+1:]) {
				t.Fatalf("after cursor %s come %v", c, rest)
			}
		}
	})
}

func TestMistakes(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg   Config
		field string // empty: none is wrong
	}{
		"whole":              {Config{SQL: "SELECT 1"}, ""},
		"days":               {Config{SQL: "SELECT '{from}', '{to}'", Range: &Range{"2026-01-01", "2026-01-02", 1}}, ""},
		"no SELECT":          {Config{}, "sql"},
		"range unused":       {Config{SQL: "SELECT 1", Range: &Range{"1", "2", 1}}, "sql"},
		"values unused":      {Config{SQL: "SELECT 1", Values: []string{"a"}}, "sql"},
		"no range":           {Config{SQL: "SELECT {from}"}, "range"},
		"no values":          {Config{SQL: "SELECT {value}"}, "values"},
		"both":               {Config{SQL: "SELECT {from}{to}", Range: &Range{"1", "2", 1}, Values: []string{"a"}}, "values"},
		"no step":            {Config{SQL: "SELECT {from}{to}", Range: &Range{"1", "2", 0}}, "range"},
		"backwards":          {Config{SQL: "SELECT {from}{to}", Range: &Range{"2", "1", 1}}, "range"},
		"a day and a text":   {Config{SQL: "SELECT {from}{to}", Range: &Range{"2026-01-01", "x", 1}}, "range"},
		"30 February":        {Config{SQL: "SELECT {from}{to}", Range: &Range{"2026-01-01", "2026-02-30", 1}}, "range"},
		"a number and a day": {Config{SQL: "SELECT {from}{to}", Range: &Range{"1", "2026-02-03", 1}}, "range"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(tt.cfg)
			sourcetest.WantMistake(t, err, tt.field, "")
		})
	}
}
