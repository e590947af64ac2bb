package keyedtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
	"drayage/pkg/source/sourcetest"
)

// number is the column n of the tables of this package, and all that is read.
var number = []job.Column{{Name: "n", Type: "Int32"}}

// Type is a type of columns to cut by, with values in SQL that are equal to each
// other, leave gaps and are hard to write.
type Type struct {
	SQL    string
	Values []string
}

// Keys are what EveryRowOnce draws its tables from.
type Keys struct {
	Types   []Type
	Orders  []string // of an index, such as " DESC"
	NoIndex bool     // a table may be cut by a key without an index, and a query's table have one
	Begin   string   // statements before those that make a table, with what ends them
}

// table makes a table of columns n and names, which must be cut by the names.
func (d Database) table(r *rapid.T, keys Keys, name string) (cfg keyed.Config, rows int, sql string) {
	var columns, list []string
	var of [][]string
	for i := range rapid.IntRange(1, 3).Draw(r, "columns") {
		k := rapid.SampledFrom(keys.Types).Draw(r, "type")
		null := " NOT NULL"
		values := k.Values
		if rapid.Bool().Draw(r, "null") {
			null = " NULL"
			values = append([]string{"NULL", "NULL"}, values...)
		}
		cfg.Key = append(cfg.Key, fmt.Sprintf("K `%d\"", i))
		list = append(list, d.Quote(cfg.Key[i]))
		columns = append(columns, list[i]+" "+k.SQL+null)
		of = append(of, values)
	}
	sql = fmt.Sprintf("%sCREATE TABLE %s (n int, %s)", keys.Begin, name, strings.Join(columns, ", "))
	rows = rapid.IntRange(0, 40).Draw(r, "rows")
	for i := range rows {
		values := []string{strconv.Itoa(i)}
		for _, all := range of {
			values = append(values, rapid.SampledFrom(all).Draw(r, "value"))
		}
		sql += fmt.Sprintf("; INSERT INTO %s VALUES (%s)", name, strings.Join(values, ", "))
	}
	order := rapid.SampledFrom(keys.Orders).Draw(r, "order")
	cfg.Table, cfg.Columns, cfg.Rows = name, number, rapid.Uint64Range(3, 20).Draw(r, "per chunk")
	if rapid.IntRange(0, 3).Draw(r, "query") == 0 {
		cfg.Table, cfg.Query = "", "SELECT * FROM "+name
	}
	index := cfg.Table != ""
	if keys.NoIndex {
		index = rapid.Bool().Draw(r, "index")
	}
	if index {
		sql += fmt.Sprintf("; CREATE INDEX %s_k ON %[1]s (%s)", name, strings.Join(list, order+", ")+order)
	}
	return cfg, rows, sql
}

// EveryRowOnce tests that over any table and any key chunks have every row once,
// and that each cursor leads to the same chunks that came after it.
func EveryRowOnce(t *testing.T, d Database, keys Keys) {
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		table := fmt.Sprintf("once_%d", n)
		cfg, rows, sql := d.table(r, keys, table)
		d.Exec(t, sql)
		s := d.New(t, cfg)
		all, chunks := sourcetest.Lines(t, s)
		var got []int
		for _, rows := range all {
			for _, row := range rows {
				i, err := strconv.Atoi(row)
				if err != nil {
					r.Fatal(err)
				}
				got = append(got, i)
			}
		}
		slices.Sort(got)
		for i := range rows {
			if i >= len(got) || got[i] != i {
				r.Fatalf("of %d rows there are %v: %s", rows, got, sql)
			}
		}
		if len(got) != rows {
			r.Fatalf("there are %d rows, not %d: %s", len(got), rows, sql)
		}
		if len(chunks) > 0 {
			at := rapid.IntRange(0, len(chunks)-1).Draw(r, "cursor")
			rest, err := sourcetest.Plan(t, s, chunks[at].Cursor, cfg.Columns)
			if err != nil || !slices.EqualFunc(rest, chunks[at+1:], equal) {
				r.Fatalf("after chunk %d come %v, %v", at, rest, err)
			}
		}
		d.Exec(t, "DROP TABLE "+table)
	})
}

func equal(a, b source.Planned) bool {
	return string(a.Input) == string(b.Input) && string(a.Cursor) == string(b.Cursor) && a.Bytes == b.Bytes
}

// EvenRows and EvenPer are the rows of a table of EvenChunks, and those that are
// asked for of a chunk.
const (
	EvenRows = 20_000
	EvenPer  = 2000
)

// Even is how the keys of a table are distributed.
type Even struct {
	Column, Value string // the type of k, and its value for i
	Most          int    // rows of a chunk; 0: EvenPer
	Unlike        int    // chunks more or fewer than EvenRows / EvenPer
}

// EvenChunks tests that chunks have the rows that they should, however keys are
// distributed. fill writes what makes a table of k, with an index, n and padding,
// for i from 1 to EvenRows.
func EvenChunks(t *testing.T, d Database, fill func(table string, e Even) string, cases map[string]Even) {
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.Most == 0 {
				tt.Most = EvenPer
			}
			table := "even_" + strings.ReplaceAll(name, " ", "_")
			d.Exec(t, fill(table, tt))
			all, chunks := sourcetest.Lines(t, d.New(t, keyed.Config{Table: table, Key: []string{"k"}, Rows: EvenPer, Columns: number}))
			if n := len(chunks); n > EvenRows/EvenPer+tt.Unlike || n < EvenRows/EvenPer-tt.Unlike {
				t.Errorf("there are %d chunks", n)
			}
			total := 0
			for i, rows := range all {
				total += len(rows)
				if len(rows) > tt.Most || len(rows) < EvenPer && i < len(all)-1 && tt.Most == EvenPer {
					t.Errorf("chunk %d has %d rows", i, len(rows))
				}
			}
			if total != EvenRows {
				t.Errorf("there are %d rows", total)
			}
		})
	}
}

// Long is what DescriptionsFit makes its table of.
type Long struct {
	Letter string // what grows most when a name of it is written
	Type   string // of columns of text
	Value  string // 25 letters for each row of From
	From   string // 50 rows
}

// DescriptionsFit tests that a description of long names and values fits, or that
// the key is refused.
func DescriptionsFit(t *testing.T, d Database, long Long) {
	var names, columns []string
	for i := range keyed.MaxKey {
		names = append(names, fmt.Sprintf("%s%d", strings.Repeat(long.Letter, 62), i))
		columns = append(columns, d.Quote(names[i])+" "+long.Type+" NOT NULL")
	}
	d.Exec(t, fmt.Sprintf("CREATE TABLE long_names (%s); INSERT INTO long_names SELECT %s FROM %s; CREATE INDEX long_names_k ON long_names (%s)",
		strings.Join(columns, ", "), strings.Repeat(", "+long.Value, keyed.MaxKey)[2:], long.From, d.Quote(names[0])))
	_, chunks := sourcetest.Lines(t, d.New(t, keyed.Config{Table: "long_names", Key: names[:1], Rows: 5}))
	if len(chunks) < 10 {
		t.Errorf("there are %d chunks", len(chunks))
	}
	s := d.New(t, keyed.Config{Query: "SELECT * FROM long_names", Key: names, Rows: 5})
	_, err := sourcetest.Plan(t, s, nil, sourcetest.Columns(t, s))
	sourcetest.WantError(t, err, job.Permanent, "too long")
}

// SplitToTheEnd tests that what is too big for an attempt is cut until it is one
// key. fill selects the rows of a table of k and n: three of each k, and n from 0
// to 29.
func SplitToTheEnd(t *testing.T, d Database, fill string) {
	d.Exec(t, "CREATE TABLE cut (k int, n int); CREATE INDEX cut_k ON cut (k); INSERT INTO cut "+fill)
	s := d.New(t, keyed.Config{Table: "cut", Key: []string{"k"}, Columns: number})
	_, chunks := sourcetest.Lines(t, s)
	if len(chunks) != 1 {
		t.Fatalf("there are %d chunks", len(chunks))
	}
	var leaves []string
	var cut func(input json.RawMessage)
	cut = func(input json.RawMessage) {
		parts, err := s.Split(t.Context(), input, number)
		if err != nil {
			text, err := sourcetest.Chunk(t, s, input, number)
			if err != nil {
				t.Fatal(err)
			}
			leaves = append(leaves, text)
			return
		}
		for _, p := range parts {
			cut(p.Input)
		}
	}
	cut(chunks[0].Input)
	want := ""
	for i := range 30 {
		want += fmt.Sprintln(i)
	}
	if len(leaves) != 10 || strings.Join(leaves, "") != want {
		t.Errorf("it was cut into %q", leaves)
	}
}
