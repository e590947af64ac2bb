package rest

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/sourcetest"
)

// Every chunk asks for its own range, and the ranges cover all.
func TestRanges(t *testing.T) {
	for name, tt := range map[string]struct {
		url  string
		r    Range
		want []string
	}{
		"whole":  {"/a", Range{}, []string{"/a"}},
		"days":   {"/a?f={from}&t={to}&l={last}", Range{Days: &Days{From: "2024-02-28", To: "2024-03-02", Step: 2}}, []string{"/a?f=2024-02-28&t=2024-03-01&l=2024-02-29", "/a?f=2024-03-01&t=2024-03-02&l=2024-03-01"}},
		"layout": {"/{from}", Range{Days: &Days{From: "2024-02-28", To: "2024-02-29", Layout: "2006-01-02T15:04:05Z"}}, []string{"/2024-02-28T00:00:00Z"}},
		"last":   {"/{from}", Range{Days: &Days{Last: 2, To: "2024-03-01 09:00:00"}}, []string{"/2024-02-28", "/2024-02-29"}},
		"unix":   {"/{from}", Range{Days: &Days{From: "1970-01-02", To: "1970-01-03", Layout: "unix"}}, []string{"/86400"}},
		"ids":    {"/a?i={from}-{to}", Range{IDs: &IDs{From: -1, To: 4, Step: 2}}, []string{"/a?i=-1-1", "/a?i=1-3", "/a?i=3-4"}},
		"values": {"/a/{value}?v={value}", Range{Values: []string{"x/y?", "a&b=c d"}}, []string{"/a/x%2Fy%3F?v=x%2Fy%3F", "/a/a&b=c%20d?v=a%26b%3Dc+d"}},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			s, _ := open(t, Config{Range: tt.r, URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.URL.RequestURI())
				sendJSON(w, `[]`)
			}) + tt.url})
			if _, err := read(t, s); err != nil || fmt.Sprint(asked) != fmt.Sprint(tt.want) {
				t.Errorf("it asked for %q, %v", asked, err)
			}
		})
	}
}

// A plan covers its range without a gap or an overlap, goes on from each of its
// cursors with the same chunks, and its chunks are halved without a loss.
func FuzzPlan(f *testing.F) {
	f.Add(int64(0), uint32(10), uint16(3))
	f.Add(int64(math.MinInt64), uint32(1), uint16(1))
	f.Add(int64(math.MaxInt64-800), uint32(700), uint16(500))
	f.Fuzz(func(t *testing.T, from int64, length uint32, step uint16) {
		to := from + int64(length)
		if to <= from || step == 0 || length/uint32(step) > 1000 {
			t.Skip()
		}
		s, err := New(Config{URL: "http://a/{from}-{to}", Range: Range{IDs: &IDs{from, to, int64(step)}}})
		if err != nil {
			t.Fatal(err)
		}
		all := planned(t, s, nil)
		next := from
		for i, c := range all {
			p, err := parsePart(c.Input)
			if err != nil || *p.A != next || *p.Z <= *p.A {
				t.Fatalf("after %d comes %s (%v)", next, c.Input, err)
			}
			next = *p.Z
			if rest := planned(t, s, c.Cursor); len(rest) != len(all)-i-1 || len(rest) > 0 && string(rest[0].Input) != string(all[i+1].Input) {
				t.Fatalf("after cursor %s come %v", c.Cursor, rest)
			}
			parts, err := s.Split(t.Context(), c.Input, nil)
			if errors.Is(err, source.ErrWhole) && *p.Z-*p.A == 1 && job.ClassOf(err) == job.Permanent {
				continue
			}
			if err != nil || len(parts) != 2 {
				t.Fatalf("%s is cut into %d parts: %v", c.Input, len(parts), err)
			}
			a, _ := parsePart(parts[0].Input)
			b, _ := parsePart(parts[1].Input)
			if *a.A != *p.A || *a.Z != *b.A || *b.Z != *p.Z || *a.A == *a.Z || *b.A == *b.Z {
				t.Fatalf("%s is cut into %s and %s", c.Input, parts[0].Input, parts[1].Input)
			}
		}
		if next != to {
			t.Fatalf("the plan ends at %d, not %d", next, to)
		}
	})
}

func TestLocate(t *testing.T) {
	s, _ := open(t, Config{URL: "https://a.example/x/{from}?token=tok-12345", Range: Range{Days: &Days{From: "2026-01-01", To: "2026-01-03", Layout: "20060102"}}})
	at, err := s.Locate(planned(t, s, nil)[1].Input)
	if err != nil || at.String() != "https://a.example/x/20260102 2026-01-02 to 2026-01-03" || at.Offset != -1 {
		t.Errorf("%v, %v", at, err)
	}
	if _, err := s.Locate([]byte("x")); job.ClassOf(err) != job.Permanent {
		t.Errorf("the error is %v", err)
	}
}

// The engine infers columns, also of a large first page; the first chunk may be
// empty.
func TestColumns(t *testing.T) {
	api := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/1" {
			sendJSON(w, `[]`)
			return
		}
		sendJSON(w, `[{"id": 1, "name": "it's a \\ %s", "at": "2026-01-02 03:04:05", "in": {"x": 1.5}}, {"id": 2, "more": true}]`, strings.Repeat("x", 600_000))
	}
	cfg := Config{URL: serve(t, api) + "/{from}", Range: Range{IDs: &IDs{From: 1, To: 4, Step: 1}}}
	s, _ := open(t, cfg)
	got, err := s.Columns(t.Context(), eng)
	if err != nil || len(got) != 5 || got[0].Name != "id" || got[0].Type != "Nullable(Int64)" || got[2].Type != "Nullable(DateTime)" {
		t.Errorf("%v, %v", got, err)
	}
	cfg.Range.IDs.To = 2
	s, _ = open(t, cfg)
	_, err = s.Columns(t.Context(), eng)
	sourcetest.WantError(t, err, job.Permanent, "declare columns")
	cfg.Columns = []job.Column{{Name: "id", Type: "Int64"}}
	s, _ = open(t, cfg)
	if got, err := s.Columns(t.Context(), nil); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}
