package borders

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func FuzzCSVBorders(f *testing.F) {
	for _, s := range []string{
		"a,b\n1,2\n", "\"x\ny\",1\n", "a\"b,\"\"\"\"\n", "a\r\n\r\nb", "a\n\rb\n", "a\r\n\r\"b\"", "\"a", " \t\"x\ny\" ,2\n", "\xef\xbb\xbfa\n", "a\rb\r",
	} {
		f.Add(s, byte(','), byte('"'), uint8(3), uint8(5))
	}
	f.Fuzz(func(t *testing.T, s string, delimiter, quote byte, want, step uint8) {
		if strings.IndexByte("\r\n\x00", delimiter) >= 0 || delimiter == quote || delimiter == ' ' || strings.IndexByte("\r\n \t", quote) >= 0 {
			t.Skip()
		}
		cutter := func() Cutter {
			c := NewCSV(CSV{Delimiter: delimiter, Quote: quote, SpaceIsText: delimiter == '\t'}, strings.NewReader(s), int64(len(s)))
			c.w.step = max(5, int(step))
			return c
		}
		ends, refErr := csvRecords(s, delimiter, quote)
		all, after, err := ranges(cutter(), Position{}, max(1, int64(want)))
		if (err != nil) != (refErr != nil) {
			t.Fatalf("%q: error %v, reference %v", s, err, refErr)
		}
		if err == nil {
			checkCover(t, s, ends, all, max(1, int64(want)))
			checkTail(t, cutter, all, after, max(1, int64(want)))
		}
	})
}

func FuzzLinesBorders(f *testing.F) {
	for _, s := range []string{"a\tb\n", "a\\\nb\n", "a\\\\\nb\n", "\\x\n1\n", "\\N\n\\N\n", "\\x\\\n\n", "a\r\n\n"} {
		f.Add(s, true, uint8(3), uint8(5))
	}
	f.Fuzz(func(t *testing.T, s string, escapes bool, want, step uint8) {
		cutter := func() Cutter {
			l := NewLines(Lines{Escapes: escapes}, strings.NewReader(s), int64(len(s)))
			l.w.step = max(4, int(step))
			return l
		}
		all, after, err := ranges(cutter(), Position{}, max(1, int64(want)))
		if err != nil {
			t.Fatal(err)
		}
		checkCover(t, s, tsvRecords(s, escapes), all, max(1, int64(want)))
		checkTail(t, cutter, all, after, max(1, int64(want)))
	})
}

func FuzzMultilineBorders(f *testing.F) {
	for _, s := range []string{"2026 a\n at b\n2026 c\n", " at b\n2026\n", "2026\r\n\r\n2026", "\n\n", "2026"} {
		f.Add(s, uint8(3))
	}
	begin := regexp.MustCompile(`^2026`)
	f.Fuzz(func(t *testing.T, s string, want uint8) {
		cutter := func() Cutter { return NewMultiline(Multiline{Begin: begin}, strings.NewReader(s), int64(len(s))) }
		all, after, err := ranges(cutter(), Position{}, max(1, int64(want)))
		if err != nil {
			t.Fatal(err)
		}
		checkCover(t, s, multilineRecords(s, func(line string) bool { return strings.HasPrefix(line, "2026") }), all, max(1, int64(want)))
		checkTail(t, cutter, all, after, max(1, int64(want)))
	})
}

func FuzzJSONBorders(f *testing.F) {
	for _, s := range []string{`{"a":1}{"a":2}`, `[{"a":1},{"a":"}"}]`, `[]`, "{\"a\":\"x\ny\"}\n", `{"a":"\""},`, `[1,[2]]`, `{};`, `[{},]`, `{"a":{\}}`, `,{}`} {
		f.Add(s, true, uint8(3), uint8(5))
	}
	f.Fuzz(func(t *testing.T, s string, object bool, want, step uint8) {
		open := byte('[')
		if object {
			open = '{'
		}
		cutter := func() Cutter {
			j := NewJSON(JSON{Open: open}, strings.NewReader(s), int64(len(s)))
			j.w.step = max(1, int(step))
			return j
		}
		rows, refErr := jsonRecords(s, open)
		all, after, err := ranges(cutter(), Position{}, max(1, int64(want)))
		if (err != nil) != (refErr != nil) {
			t.Fatalf("%q: error %v, reference %v", s, err, refErr)
		}
		if err != nil {
			return
		}
		var got []string
		for _, r := range all {
			part, err := jsonRecords(s[r.Start:r.End], open)
			if err != nil {
				t.Fatalf("range %v is no text of its own: %q", r, s[r.Start:r.End])
			}
			got = append(got, part...)
		}
		if !slices.Equal(got, rows) {
			t.Fatalf("rows %q, not %q", got, rows)
		}
		checkTail(t, cutter, all, after, max(1, int64(want)))
	})
}
