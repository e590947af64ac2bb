package borders

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// ranges collects all ranges of a cutter, with the position after each.
func ranges(c Cutter, from Position, want int64) (all []Range, after []Position, err error) {
	for at := from; ; {
		r, next, err := c.Next(context.Background(), at, want)
		if errors.Is(err, io.EOF) {
			return all, after, nil
		}
		if err != nil {
			return all, after, err
		}
		all, after, at = append(all, r), append(after, next), next
	}
}

// checkTail checks that planning from any position gives the same tail.
func checkTail(t interface{ Fatalf(string, ...any) }, c func() Cutter, all []Range, after []Position, want int64) {
	for i, p := range after {
		tail, _, err := ranges(c(), p, want)
		if err != nil {
			t.Fatalf("going on at %+v: %v", p, err)
		}
		if !slices.Equal(tail, all[i+1:]) {
			t.Fatalf("going on at %+v gives %v, not %v", p, tail, all[i+1:])
		}
	}
}

// checkCover checks that the ranges cover text from start without a gap and
// end where records end, no earlier than asked and no later than needed.
func checkCover(t interface{ Fatalf(string, ...any) }, text string, ends []int, all []Range, want int64) {
	at := int64(0)
	for _, r := range all {
		if r.Start != at {
			t.Fatalf("a range begins at %d, the one before ended at %d: %q", r.Start, at, text)
		}
		i := slices.IndexFunc(ends, func(e int) bool { return int64(e) >= r.Start+want })
		expect := int64(len(text))
		if i >= 0 {
			expect = int64(ends[i])
		}
		if r.End != expect {
			t.Fatalf("the range from %d ends at %d, not %d: %q", r.Start, r.End, expect, text)
		}
		at = r.End
	}
	if at != int64(len(text)) {
		t.Fatalf("the ranges end at %d of %d: %q", at, len(text), text)
	}
}

// text draws hostile text made of the given pieces.
func text(pieces ...string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 60).Draw(t, "pieces"), "")
	})
}

func TestCSVProperty(t *testing.T) {
	hostile := text(`"`, `"`, `""`, "'", ",", ";", "\n", "\n", "\r\n", "\r", " ", "\t", "a", "bc", "é", "\x00", `\`, `"a"`, "\"x\ny\"", strings.Repeat("z", 40))
	rapid.Check(t, func(t *rapid.T) {
		s := hostile.Draw(t, "text")
		format := CSV{
			Delimiter:   rapid.SampledFrom([]byte(",;\t")).Draw(t, "delimiter"),
			Quote:       rapid.SampledFrom([]byte("\"\"\"'\x00")).Draw(t, "quote"),
			SpaceIsText: false,
		}
		format.SpaceIsText = format.Delimiter == '\t'
		want := int64(rapid.IntRange(1, 50).Draw(t, "want"))
		step := rapid.SampledFrom([]int{5, 6, 7, 11, 64, blockSize}).Draw(t, "step")
		cutter := func() Cutter {
			c := NewCSV(format, strings.NewReader(s), int64(len(s)))
			c.w.step = step
			return c
		}
		ends, refErr := csvRecords(s, format.Delimiter, format.Quote)
		all, after, err := ranges(cutter(), Position{}, want)
		if (err != nil) != (refErr != nil) {
			t.Fatalf("%q: error %v, reference %v", s, err, refErr)
		}
		if err != nil {
			return
		}
		checkCover(t, s, ends, all, want)
		checkTail(t, cutter, all, after, want)
	})
}

func TestLinesProperty(t *testing.T) {
	hostile := text("\n", "\n", "\r\n", `\`, `\`, `\x`, `\N`, "\t", "a", "x", "bc", "é", strings.Repeat("z", 40), strings.Repeat(`\`, 70))
	rapid.Check(t, func(t *rapid.T) {
		s := hostile.Draw(t, "text")
		escapes := rapid.Bool().Draw(t, "escapes")
		want := int64(rapid.IntRange(1, 50).Draw(t, "want"))
		step := rapid.SampledFrom([]int{4, 5, 7, 64, blockSize}).Draw(t, "step")
		cutter := func() Cutter {
			l := NewLines(Lines{Escapes: escapes}, strings.NewReader(s), int64(len(s)))
			l.w.step = step
			return l
		}
		all, after, err := ranges(cutter(), Position{}, want)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		checkCover(t, s, tsvRecords(s, escapes), all, want)
		checkTail(t, cutter, all, after, want)
	})
}

func TestMultilineProperty(t *testing.T) {
	long := strings.Repeat("z", MaxBegin)
	hostile := text("\n", "\n", "\r\n", "\r", "2026 a", "2026", " at x\n", "\t2026\n", "é", "2026 b\n", "b\r\n2026 c\r\n", long, long[1:], "2026"+long+"E\n")
	rapid.Check(t, func(t *rapid.T) {
		s := hostile.Draw(t, "text")
		begin := rapid.SampledFrom([]string{`^2026`, `^\d{4} `, `2026`, `^$`, `x$`, `E$`, `^[^ \t\r]`, `^never`}).Draw(t, "begin")
		want := int64(rapid.IntRange(1, 50).Draw(t, "want"))
		re := regexp.MustCompile(begin)
		cutter := func() Cutter { return NewMultiline(Multiline{Begin: re}, strings.NewReader(s), int64(len(s))) }
		all, after, err := ranges(cutter(), Position{}, want)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		checkCover(t, s, multilineRecords(s, func(line string) bool { return re.MatchString(line[:min(len(line), MaxBegin)]) }), all, want)
		checkTail(t, cutter, all, after, want)
	})
}

func TestJSONProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		open := rapid.SampledFrom([]byte("{[")).Draw(t, "open")
		s := jsonText(open).Draw(t, "text")
		want := int64(rapid.IntRange(1, 60).Draw(t, "want"))
		step := rapid.SampledFrom([]int{1, 2, 5, 64, blockSize}).Draw(t, "step")
		cutter := func() Cutter {
			j := NewJSON(JSON{Open: open}, strings.NewReader(s), int64(len(s)))
			j.w.step = step
			return j
		}
		rows, refErr := jsonRecords(s, open)
		all, after, err := ranges(cutter(), Position{}, want)
		if (err != nil) != (refErr != nil) {
			t.Fatalf("%q: error %v, reference %v", s, err, refErr)
		}
		if err != nil {
			return
		}
		var got []string
		for i, r := range all {
			part, err := jsonRecords(s[r.Start:r.End], open)
			if err != nil || len(part) == 0 {
				t.Fatalf("range %v is no text of its own: %q: %v", r, s[r.Start:r.End], err)
			}
			before := strings.TrimRight(strings.TrimSuffix(s[r.Start:r.End], part[len(part)-1]), " \t\r\n,;")
			if i+1 < len(all) && (r.End-r.Start < want || int64(len(before)) >= want) {
				t.Fatalf("range %v is not as large as asked, or larger: %q", r, s)
			}
			got = append(got, part...)
		}
		if !slices.Equal(got, rows) {
			t.Fatalf("rows %q, not %q", got, rows)
		}
		checkTail(t, cutter, all, after, want)
	})
}

// jsonText draws JSON rows, mostly well separated, sometimes broken.
func jsonText(open byte) *rapid.Generator[string] {
	value := rapid.SampledFrom([]string{`1`, `"a"`, `"{"`, `"\""`, `"\\"`, `"x` + "\n" + `y"`, `[1,{"k":"]"}]`, `{"k":[]}`, `"` + strings.Repeat("long ", 20) + `"`, `null`, `"é"`})
	gap := rapid.SampledFrom([]string{"\n", "\n", " ", ",", ", \n", "\r\n", "", "\n\n"})
	bad := rapid.SampledFrom([]string{",,", ";", "]", "[", "}", "x", `"`})
	return rapid.Custom(func(t *rapid.T) string {
		var b strings.Builder
		array := rapid.Bool().Draw(t, "array")
		if array {
			b.WriteString("[")
		}
		n := rapid.IntRange(0, 12).Draw(t, "rows")
		for i := range n {
			if i > 0 {
				b.WriteString(gap.Draw(t, "gap"))
			}
			if open == '{' {
				fmt.Fprintf(&b, `{"a":%s,"b": %s}`, value.Draw(t, "a"), value.Draw(t, "b"))
			} else {
				fmt.Fprintf(&b, `[%s,%s]`, value.Draw(t, "a"), value.Draw(t, "b"))
			}
			if rapid.IntRange(0, 40).Draw(t, "bad") == 0 {
				b.WriteString(bad.Draw(t, "what"))
			}
		}
		if array && rapid.IntRange(0, 9).Draw(t, "closed") > 0 {
			b.WriteString("]")
		}
		b.WriteString(rapid.SampledFrom([]string{"", "\n", ";", ",", " ;\n"}).Draw(t, "end"))
		return b.String()
	})
}

func TestCutterErrors(t *testing.T) {
	long := strings.Repeat("x", 100)
	for _, c := range []struct {
		name   string
		cutter Cutter
		offset int64
		part   string
	}{
		{"open quote", NewCSV(CSV{Delimiter: ',', Quote: '"'}, r("a,b\n1,\"2\n3,4\n"), 13), 6, "never closed"},
		{"long field", NewCSV(CSV{Delimiter: ',', Quote: '"', MaxRecord: 20}, r("a,\""+long+"\"\n"), 105), 2, "longer than 20"},
		{"long line", NewLines(Lines{MaxRecord: 20}, r(long+"\n"), 101), 1, "longer than 20"},
		{"no begin", NewMultiline(Multiline{Begin: regexp.MustCompile("^z"), MaxRecord: 20}, r("a\n"+strings.Repeat("b\n", 30)), 62), 1, "does multiline.begin match"},
		{"long row", NewJSON(JSON{Open: '{', MaxRecord: 20}, r(`{"a":"`+long), 106), 0, "longer than 20"},
		{"CR before a quote", NewCSV(CSV{Delimiter: ',', Quote: '"'}, r("a\r\n\r\"b\"\n"), 8), 4, "two ways"},
		{"cut row", NewJSON(JSON{Open: '{'}, r(`{"a":1}{"a":`), 12), 7, "cut off"},
		{"open array", NewJSON(JSON{Open: '{'}, r(`[{"a":1},{"a":2}`), 16), 16, "no closing bracket"},
		{"two commas", NewJSON(JSON{Open: '{'}, r(`{"a":1},,{"a":2}`), 16), 8, "expected"},
		{"comma before the end", NewJSON(JSON{Open: '{'}, r(`[{"a":1},]`), 10), 9, "expected"},
		{"text", NewJSON(JSON{Open: '{'}, r("a,b\n"), 4), 0, "expected"},
		{"after the array", NewJSON(JSON{Open: '{'}, r(`[{}] [{}]`), 9), 5, "should end"},
		{"after a semicolon", NewJSON(JSON{Open: '{'}, r(`{};{}`), 5), 3, "should end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			setStep(c.cutter, 8)
			_, _, err := ranges(c.cutter, Position{}, 1)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			if e.Offset != c.offset || !strings.Contains(e.Error(), c.part) {
				t.Errorf("got %v", e)
			}
		})
	}
}

func TestOtherErrors(t *testing.T) {
	// A file shorter than it was: not the end, and not a record.
	for _, c := range cuttersOf(r("a,b\n"), 100) {
		if _, _, err := ranges(c, Position{}, 50); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%T on a file that became shorter: %v", c, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range cuttersOf(r("{}\n{}\n"), 6) {
		if _, _, err := c.Next(ctx, Position{}, 2); !errors.Is(err, context.Canceled) {
			t.Errorf("%T after a cancel: %v", c, err)
		}
	}
}

func TestJoinBlank(t *testing.T) {
	s := "a\n\n\nb\nc\r\n\r\n\n"
	for _, c := range []Cutter{
		NewCSV(CSV{Delimiter: ',', Quote: '"', JoinBlank: true}, r(s), int64(len(s))),
		NewLines(Lines{Escapes: true, JoinBlank: true}, r(s), int64(len(s))),
	} {
		all, _, err := ranges(c, Position{}, 1)
		if err != nil || !slices.Equal(all, []Range{{0, 4}, {4, 6}, {6, int64(len(s))}}) {
			t.Errorf("%T: %v, %v", c, all, err)
		}
	}
}

func r(s string) io.ReaderAt { return strings.NewReader(s) }

func setStep(c Cutter, step int) {
	switch c := c.(type) {
	case *CSV:
		c.w.step = step
	case *Lines:
		c.w.step = step
	case *JSON:
		c.w.step = step
	}
}

func cuttersOf(r io.ReaderAt, size int64) []Cutter {
	return []Cutter{
		NewCSV(CSV{Delimiter: ',', Quote: '"'}, r, size),
		NewLines(Lines{Escapes: true}, r, size),
		NewJSON(JSON{Open: '{'}, r, size),
		NewMultiline(Multiline{Begin: regexp.MustCompile("a")}, r, size),
	}
}
