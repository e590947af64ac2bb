package stage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/stage"
	"drayage/pkg/stage/stagetest"
)

var columns = []job.Column{{Name: "id", Type: "UInt64"}, {Name: "s", Type: "String"}, {Name: "items", Type: "Array(Int64)"}}

func made(s stage.Stage) func() (stage.Stage, error) {
	return func() (stage.Stage, error) { return s, nil }
}

func row(id int, s string, items string) string {
	return fmt.Sprintf(`{"id":"%d","s":%q,"items":[%s]}`, id, s, items)
}

var explode = stage.FlatMap(stage.Shapes(stage.Drop("items"), stage.Add("item", "Int64"), stage.Add("note", "Nullable(String)")),
	func(r *stage.Record, emit stage.Emit) error {
		items, err := r.Elements("items")
		if err != nil {
			return err
		}
		for _, item := range items {
			if err := r.Set("item", item); err != nil {
				return err
			}
			if err := emit(r); err != nil {
				return err
			}
		}
		return nil
	})

var odd = stage.Filter(func(r *stage.Record) (bool, error) {
	id, err := r.Uint("id")
	return id%2 == 1, err
})

var shout = stage.Map(stage.Need("s"), func(r *stage.Record) error {
	s, err := r.Text("s")
	if err != nil {
		return err
	}
	if s == "bad" {
		return errors.New("bad is no text")
	}
	if s == "panic" {
		panic("no panic here")
	}
	return r.Set("s", strings.ToUpper(s))
})

func TestStages(t *testing.T) {
	rows := []string{row(1, "a", `"1","2"`), row(2, "b", `"3"`), row(3, "bad", `"4","5"`), row(5, "c", ""), row(7, "panic", `"6"`)}
	for name, c := range map[string]struct {
		stage   stage.Stage
		want    []string
		rejects map[int]string
	}{
		"nothing": {stage.Stage{}, rows, nil},
		"map": {shout, []string{row(1, "A", `"1","2"`), row(2, "B", `"3"`), row(5, "C", "")},
			map[int]string{2: "bad is no text", 4: "the stage panicked: no panic here"}},
		"filter": {odd, []string{rows[0], rows[2], rows[3], rows[4]}, nil},
		"flat map": {explode, []string{
			`{"id":"1","s":"a","item":"1","note":null}`, `{"id":"1","s":"a","item":"2","note":null}`, `{"id":"2","s":"b","item":"3","note":null}`,
			`{"id":"3","s":"bad","item":"4","note":null}`, `{"id":"3","s":"bad","item":"5","note":null}`, `{"id":"7","s":"panic","item":"6","note":null}`,
		}, nil},
		// A record that fails in a later stage leaves nothing of what an
		// earlier one made of it.
		"composed": {stage.Compose(odd, explode, stage.Map(stage.Keep, func(r *stage.Record) error {
			if n, _ := r.Int("item"); n == 5 {
				return errors.New("five")
			}
			return nil
		})), []string{
			`{"id":"1","s":"a","item":"1","note":null}`, `{"id":"1","s":"a","item":"2","note":null}`, `{"id":"7","s":"panic","item":"6","note":null}`,
		}, map[int]string{2: "five"}},
		"an emit's error that is not returned": {stage.FlatMap(stage.Add("x", "String"), func(r *stage.Record, emit stage.Emit) error {
			_ = emit(r)
			return nil
		}), nil, map[int]string{0: "the stage gave the column x no value", 1: "the stage gave the column x no value", 2: "the stage gave the column x no value", 3: "the stage gave the column x no value", 4: "the stage gave the column x no value"}},
		"a column that no stage has": {stage.Compose(odd, stage.Map(stage.Keep, func(r *stage.Record) error { return r.Set("y", 1) })), nil,
			map[int]string{0: "column y: no stage declares it", 2: "column y: no stage declares it", 3: "column y: no stage declares it", 4: "column y: no stage declares it"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := stagetest.Run(t, made(c.stage), columns, rows...)
			if !slices.Equal(got.Rows, c.want) {
				t.Errorf("the rows are\n%s\nnot\n%s", strings.Join(got.Rows, "\n"), strings.Join(c.want, "\n"))
			}
			if fmt.Sprint(got.Rejects) != fmt.Sprint(c.rejects) {
				t.Errorf("the rejects are %v, not %v", got.Rejects, c.rejects)
			}
		})
	}
}

// A column that was dropped and made again does not come back with its value.
func TestDroppedAndAdded(t *testing.T) {
	s := stage.Compose(stage.Map(stage.Drop("s"), func(*stage.Record) error { return nil }),
		stage.Map(stage.Add("s", "Nullable(String)"), func(*stage.Record) error { return nil }))
	got := stagetest.Run(t, made(s), columns, row(1, "a", ""))
	if want := []string{`{"id":"1","items":[],"s":null}`}; !slices.Equal(got.Rows, want) {
		t.Errorf("the rows are %v", got.Rows)
	}
}

func TestShapes(t *testing.T) {
	for name, c := range map[string]struct {
		shape stage.Shape
		want  string // of the columns, or of the error
	}{
		"keep":            {stage.Keep, "[{id UInt64} {s String} {items Array(Int64)}]"},
		"add":             {stage.Add("x", "Date"), "[{id UInt64} {s String} {items Array(Int64)} {x Date}]"},
		"add what is":     {stage.Add("s", "Date"), "there is a column s already"},
		"drop":            {stage.Drop("id", "items"), "[{s String}]"},
		"drop what isn't": {stage.Drop("x"), "there is no column x; there are id, s, items"},
		"retype":          {stage.Retype("id", "String"), "[{id String} {s String} {items Array(Int64)}]"},
		"retype nothing":  {stage.Retype("x", "String"), "there is no column x; there are id, s, items"},
		"need":            {stage.Need("id", "nothing"), "there is no column nothing; there are id, s, items"},
		"one by one":      {stage.Shapes(stage.Drop("s"), stage.Add("s", "UUID")), "[{id UInt64} {items Array(Int64)} {s UUID}]"},
		"none left":       {stage.Drop("id", "s", "items"), "the stage leaves no columns"},
	} {
		t.Run(name, func(t *testing.T) {
			cols, err := stage.Map(c.shape, func(*stage.Record) error { return nil }).Columns(columns)
			got := fmt.Sprint(cols)
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("it is %s, not %s", got, c.want)
			}
			if len(columns) != 3 || columns[0].Type != "UInt64" {
				t.Fatal("the columns were changed")
			}
		})
	}
}

// What a stage reads and does not touch is as it was, to the byte; what it sets
// is the JSON that the engine reads.
func TestValues(t *testing.T) {
	in := []job.Column{{Name: "v", Type: "String"}, {Name: "w", Type: "Nullable(String)"}}
	big := `"18446744073709551615"`
	for name, c := range map[string]struct {
		given string
		do    func(*stage.Record) error
		want  string
	}{
		"bytes that are no text": {"\"\xff\\u0000\\\\\\\"\xfe\"", func(r *stage.Record) error {
			s, err := r.Text("v")
			if s != "\xff\x00\\\"\xfe" {
				return fmt.Errorf("it is %q", s)
			}
			return errors.Join(err, r.Set("v", s))
		}, "\"\xff\\u0000\\\\\\\"\xfe\""},
		"escapes": {`"\b\f\n\r\t\/\u00e4\ud83d\ude00"`, func(r *stage.Record) error {
			s, err := r.Text("v")
			return errors.Join(err, r.Set("v", s))
		}, `"\u0008\u000c\n\r\t/ä😀"`},
		"a wide integer": {big, func(r *stage.Record) error {
			n, err := r.Uint("v")
			return errors.Join(err, r.Set("v", n))
		}, "18446744073709551615"},
		"a decimal": {`"-0.10"`, func(r *stage.Record) error {
			s, err := r.Text("v")
			return errors.Join(err, r.Set("v", json.Number(s)))
		}, "-0.10"},
		"an integer":    {`-5`, func(r *stage.Record) error { n, err := r.Int("v"); return errors.Join(err, r.Set("v", n)) }, "-5"},
		"a float":       {`1e300`, func(r *stage.Record) error { f, err := r.Float("v"); return errors.Join(err, r.Set("v", f)) }, "1e+300"},
		"infinite":      {`"-inf"`, func(r *stage.Record) error { f, err := r.Float("v"); return errors.Join(err, r.Set("v", f)) }, `"-inf"`},
		"plus infinite": {`1`, func(r *stage.Record) error { return r.Set("v", math.Inf(1)) }, `"inf"`},
		"no number":     {`1`, func(r *stage.Record) error { return r.Set("v", math.NaN()) }, `"nan"`},
		"a bool":        {`true`, func(r *stage.Record) error { b, err := r.Bool("v"); return errors.Join(err, r.Set("v", !b)) }, `false`},
		"a time": {`"2026-01-31T12:00:00.250Z"`, func(r *stage.Record) error {
			at, err := r.Time("v")
			return errors.Join(err, r.Set("v", at.Add(time.Hour)))
		}, `"2026-01-31T13:00:00.25Z"`},
		"a date": {`"2026-01-31"`, func(r *stage.Record) error { at, err := r.Time("v"); return errors.Join(err, r.Set("v", at)) }, `"2026-01-31T00:00:00Z"`},
		"a struct": {`{"a":"5"}`, func(r *stage.Record) error {
			var v struct{ A json.Number }
			err := r.Into("v", &v)
			return errors.Join(err, r.Set("v", map[string]any{"b": v.A, "c": "<"}))
		}, `{"b":5,"c":"<"}`},
		"lines":            {`1`, func(r *stage.Record) error { return r.Set("v", json.RawMessage("{\n\"a\": [1,\n2]}")) }, `{"a":[1,2]}`},
		"null":             {`1`, func(r *stage.Record) error { return r.Set("v", nil) }, `null`},
		"bytes":            {`1`, func(r *stage.Record) error { return r.Set("v", []byte("\xff")) }, "\"\xff\""},
		"untouched":        {`{ "a" : [1, {"b":"}]"}] }`, func(*stage.Record) error { return nil }, `{ "a" : [1, {"b":"}]"}] }`},
		"err: not JSON":    {`1`, func(r *stage.Record) error { return r.Set("v", json.RawMessage(`{"a":`)) }, "it is not set to JSON"},
		"err: no JSON":     {`1`, func(r *stage.Record) error { return r.Set("v", make(chan int)) }, "unsupported type"},
		"err: no integer":  {`"x"`, func(r *stage.Record) error { _, err := r.Int("v"); return err }, `column v: strconv.ParseInt: parsing "x": invalid syntax`},
		"err: NULL":        {`null`, func(r *stage.Record) error { _, err := r.Text("v"); return err }, "column v: it is NULL"},
		"err: no column":   {`1`, func(r *stage.Record) error { _, err := r.Float("x"); return err }, "column x: it is NULL"},
		"err: no array":    {`{}`, func(r *stage.Record) error { _, err := r.Elements("v"); return err }, "column v: json: cannot unmarshal object"},
		"err: broken text": {`"\x"`, func(r *stage.Record) error { _, err := r.Text("v"); return err }, "column v: it is not a JSON string"},
		"err: no time":     {`"yesterday"`, func(r *stage.Record) error { _, err := r.Time("v"); return err }, "column v: parsing time"},
		"err: no bool":     {`"perhaps"`, func(r *stage.Record) error { _, err := r.Bool("v"); return err }, "column v: strconv.ParseBool"},
	} {
		t.Run(name, func(t *testing.T) {
			got := stagetest.Run(t, made(stage.Map(stage.Keep, c.do)), in, `{"v":`+c.given+`,"w":null}`)
			if strings.HasPrefix(name, "err") {
				if !strings.Contains(got.Rejects[0], c.want) {
					t.Errorf("the reason is %q", got.Rejects[0])
				}
				return
			}
			if want := []string{`{"v":` + c.want + `,"w":null}`}; !slices.Equal(got.Rows, want) {
				t.Errorf("the row is %q, not %q (%v)", got.Rows, want, got.Rejects)
			}
		})
	}
}

// Records and outputs that are too large are rejected, without being held; the
// others go through.
func TestLimits(t *testing.T) {
	in := []job.Column{{Name: "v", Type: "String"}}
	pad := strings.Repeat("x", stage.MaxRecord-8) // with the rest of the row, the limit
	big := strings.Repeat("x", 3<<20)
	twice := stage.FlatMap(stage.Keep, func(r *stage.Record, emit stage.Emit) error {
		v, err := r.Text("v")
		if err != nil {
			return err
		}
		for range 1 + len(v)/(1<<20)*10 {
			if len(v) == len(pad) {
				return r.Set("v", "short")
			}
			if err := emit(r); err != nil {
				return err
			}
		}
		return nil
	})
	lines := []string{`{"v":"a"}`, `{"v":"` + pad + `"}`, `{"v":"` + pad + `x"}`, `{"v":"` + big + `"}`, `{"v":"b"}`}
	r, err := stage.NewRunner(twice, in)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	rejects := map[uint64]string{}
	n, err := r.Run(t.Context(), strings.NewReader(strings.Join(lines, "\n")+"\n"), &out, stage.Events{
		Reject: func(record uint64, reason string) error { rejects[record] = reason; return nil },
	})
	if err != nil || n != uint64(len(lines)) {
		t.Fatal(n, err)
	}
	if out.String() != "{\"v\":\"a\"}\n{\"v\":\"b\"}\n" {
		t.Errorf("%d bytes came out", out.Len())
	}
	want := map[uint64]string{3: "the record has more than 16777216 bytes as JSON", 4: "the rows of the record have more than 67108864 bytes as JSON"}
	if fmt.Sprint(rejects) != fmt.Sprint(want) {
		t.Errorf("the rejects are %v", rejects)
	}
}

func TestBroken(t *testing.T) {
	r, err := stage.NewRunner(stage.Stage{}, columns)
	if err != nil {
		t.Fatal(err)
	}
	for name, line := range map[string]string{
		"no object": "[1]\n", "a key too much": `{"id":1,"s":"","items":[],"x":1}` + "\n", "a key too few": `{"id":1,"s":""}` + "\n",
		"open text": `{"id":1,"s":"}` + "\n", "open array": `{"id":1,"s":"","items":[}` + "\n", "no end": `{"id":1,"s":"","items":[]}`,
		"no comma": `{"id":1,"s":"" "items":[]}` + "\n", "empty": "\n", "no colon": `{"id"}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			n, err := r.Run(t.Context(), strings.NewReader(row(1, "a", "")+"\n"+line), &bytes.Buffer{}, stage.Events{})
			if err == nil {
				t.Fatalf("%d records were read", n)
			}
		})
	}
}

// The end of a context, and the errors of the reader, the writer and the one who
// counts the rejects, end a run as they are.
func TestEnds(t *testing.T) {
	r, err := stage.NewRunner(stage.Compose(shout, explode), columns)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	many := strings.Repeat(row(1, "a", `"1"`)+"\n", 1000)
	for name, run := range map[string]func() error{
		"context": func() error {
			_, err := r.Run(ctx, strings.NewReader(many), &bytes.Buffer{}, stage.Events{})
			return err
		},
		"reader": func() error {
			_, err := r.Run(t.Context(), failing{broken}, &bytes.Buffer{}, stage.Events{})
			return err
		},
		"writer": func() error {
			_, err := r.Run(t.Context(), strings.NewReader(many), failing{broken}, stage.Events{})
			return err
		},
		"rejects": func() error {
			_, err := r.Run(t.Context(), strings.NewReader(row(1, "bad", "")+"\n"+many), &bytes.Buffer{}, stage.Events{
				Reject: func(uint64, string) error { return broken },
			})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(); !errors.Is(err, broken) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

// Records that are passed over give no rows, and a panic is told with its stack.
func TestEvents(t *testing.T) {
	r, err := stage.NewRunner(stage.Compose(shout, explode), columns)
	if err != nil {
		t.Fatal(err)
	}
	in := row(1, "a", `"1","2"`) + "\n" + row(2, "b", `"3"`) + "\n" + row(3, "panic", `"3"`) + "\n"
	rows := map[uint64]int{}
	var stack string
	var out bytes.Buffer
	n, err := r.Run(t.Context(), strings.NewReader(in), &out, stage.Events{
		Skip:  func(record uint64) bool { return record == 2 },
		Made:  func(record uint64, n int) { rows[record] = n },
		Panic: func(_ uint64, _ any, s []byte) { stack = string(s) },
	})
	if err != nil || n != 3 {
		t.Fatal(n, err)
	}
	if fmt.Sprint(rows) != "map[1:2 2:0]" || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("the rows are %v and %s", rows, out.String())
	}
	if !strings.Contains(stack, "stage_test.go") {
		t.Errorf("the stack is %s", stack)
	}
}

func TestRegistry(t *testing.T) {
	type config struct {
		Column string `json:"column"`
	}
	reg := stage.Registry{
		"shout": stage.New(func(c config) (stage.Stage, error) {
			if c.Column == "" {
				return stage.Stage{}, errors.New("column is missing")
			}
			return shout, nil
		}),
		"odd": stage.New(func(struct{}) (stage.Stage, error) { return odd, nil }),
	}
	for name, c := range map[string]struct {
		uses []stage.Use
		want string // of the error
	}{
		"both":         {[]stage.Use{{Name: "odd"}, {Name: "shout", Settings: json.RawMessage(`{"column":"s"}`)}}, ""},
		"none":         {nil, ""},
		"unknown":      {[]stage.Use{{Name: "odd"}, {Name: "mask"}}, "stage mask: this dray has no such stage"},
		"wrong":        {[]stage.Use{{Name: "shout"}}, "stage shout: column is missing"},
		"unknown key":  {[]stage.Use{{Name: "shout", Settings: json.RawMessage(`{"colum":"s"}`)}}, `unknown field "colum"`},
		"of no struct": {[]stage.Use{{Name: "odd", Settings: json.RawMessage(`[1]`)}}, "reading the settings"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := reg.Chain(c.uses)
			var use *stage.UseError
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (!errors.As(err, &use) || !strings.Contains(err.Error(), c.want)):
				t.Errorf("the error is %v", err)
			case use != nil && use.Problem == "this dray has no such stage" && (use.Index != 1 || !strings.Contains(use.Hint, "it has odd, shout;")):
				t.Errorf("the error is %+v", use)
			}
		})
	}
}

// The columns are found stage by stage; a mistake in one is told with its place,
// and is no panic of who asks.
func TestChainColumns(t *testing.T) {
	in := []job.Column{{Name: "a", Type: "String"}}
	made := func(shape stage.Shape) stage.Factory {
		return stage.New(func(struct{}) (stage.Stage, error) {
			return stage.Map(shape, func(*stage.Record) error { return nil }), nil
		})
	}
	reg := stage.Registry{
		"add":     made(stage.Add("b", "Int32")),
		"need":    made(stage.Need("b")),
		"twice":   made(func([]job.Column) ([]job.Column, error) { return append(in, in...), nil }),
		"untyped": made(func([]job.Column) ([]job.Column, error) { return []job.Column{{Name: "a"}}, nil }),
		"none":    made(func([]job.Column) ([]job.Column, error) { return nil, nil }),
		"panics":  made(func(in []job.Column) ([]job.Column, error) { return in[:7], nil }),
		"breaks":  func(json.RawMessage) (stage.Stage, error) { panic("no such file") },
	}
	if got := reg.Names(); len(got) != len(reg) || got[0] != "add" {
		t.Errorf("the names are %v", got)
	}
	for _, c := range []struct {
		names []string
		want  string
		index int
	}{
		{[]string{"add", "need"}, "", 0},
		{[]string{"need", "add"}, "stage need: there is no column b; there are a", 0},
		{[]string{"add", "add"}, "stage add: there is a column b already", 1},
		{[]string{"add", "twice"}, "stage twice: the stage gives the column a twice", 1},
		{[]string{"untyped"}, `stage untyped: the stage gives the column "a" the type ""`, 0},
		{[]string{"add", "none"}, "stage none: the stage leaves no columns", 1},
		{[]string{"add", "panics"}, "stage panics: the stage panicked: runtime error: slice bounds out of range", 1},
		{[]string{"add", "breaks"}, "stage breaks: the stage panicked: no such file", 1},
	} {
		var uses []stage.Use
		for _, name := range c.names {
			uses = append(uses, stage.Use{Name: name})
		}
		chain, err := reg.Chain(uses)
		var cols []job.Column
		if err == nil {
			cols, err = chain.Columns(in)
		}
		var use *stage.UseError
		switch {
		case c.want == "" && (err != nil || len(cols) != 2):
			t.Errorf("%v: the columns are %v: %v", c.names, cols, err)
		case c.want != "" && (!errors.As(err, &use) || !strings.HasPrefix(err.Error(), c.want) || use.Index != c.index || use.Unknown):
			t.Errorf("%v: the error is %v", c.names, err)
		}
	}
}

func BenchmarkRun(b *testing.B) {
	r, err := stage.NewRunner(shout, columns)
	if err != nil {
		b.Fatal(err)
	}
	in := strings.Repeat(row(123456, "some text of a usual length", `"1","2","3"`)+"\n", 10_000)
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if _, err := r.Run(b.Context(), strings.NewReader(in), io.Discard, stage.Events{}); err != nil {
			b.Fatal(err)
		}
	}
}
