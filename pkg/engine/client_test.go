package engine

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"drayage/pkg/job"
)

func TestClientRunsStatements(t *testing.T) {
	c := start(t, Config{}).Client()
	run(t, c, "CREATE TABLE t (a Int32, b String DEFAULT 'none', n UInt64 DEFAULT 18446744073709551615) ENGINE = MergeTree ORDER BY a")
	if s := run(t, c, "INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'it''s')"); s.WrittenRows != 2 {
		t.Errorf("written rows of VALUES: %+v", s)
	}
	s, err := c.Exec(t.Context(), Statement{SQL: "INSERT INTO t (a) FORMAT CSV", Body: strings.NewReader("3\n4\n")})
	if err != nil || s.WrittenRows != 2 {
		t.Errorf("insert CSV: %+v, %v", s, err)
	}
	var rows []struct {
		A int32  `json:"a"`
		B string `json:"b"`
		N uint64 `json:"n"`
	}
	if err := c.Rows(t.Context(), Statement{SQL: "SELECT * FROM t WHERE a > {low:Int32} ORDER BY a", Params: map[string]string{"low": "1"}}, &rows); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(rows), "[{2 it's 18446744073709551615} {3 none 18446744073709551615} {4 none 18446744073709551615}]"; got != want {
		t.Errorf("rows %s, want %s", got, want)
	}
	columns, err := c.Describe(t.Context(), "(SELECT a, b FROM t)", nil)
	if want := []job.Column{{Name: "a", Type: "Int32"}, {Name: "b", Type: "String"}}; err != nil || fmt.Sprint(columns) != fmt.Sprint(want) {
		t.Errorf("describe: %v, %v", columns, err)
	}
	_, err = c.Exec(t.Context(), Statement{SQL: "SELECT * FROM nowhere"})
	var e *Exception
	if !errors.As(err, &e) || e.Code != 60 || e.Name != "UNKNOWN_TABLE" || job.ClassOf(err) != job.Permanent {
		t.Errorf("unknown table: %v", err)
	}
}

// procPath is the name of a file of this process for another one.
func procPath(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }

// TestWorkerTransform is the worker's hot path: from a pipe of this process
// into a file of this process. It also pins down what ReadRows counts: all the
// rows that the statement read, those of joined tables included.
func TestWorkerTransform(t *testing.T) {
	c := start(t, Config{}).Client()
	run(t, c, "CREATE TABLE lookup (k Int32, v String) ENGINE = Memory")
	run(t, c, "INSERT INTO lookup SELECT number, toString(number) FROM numbers(1000)")
	const rows = 50_000
	for _, tc := range []struct {
		name, query string
		read        uint64
	}{
		{"plain", "SELECT a, b FROM %s", rows},
		{"filter", "SELECT a FROM %s WHERE a < 10", rows},
		{"join", "SELECT a, b, v FROM %s AS f LEFT JOIN lookup ON lookup.k = f.a", rows + 1000},
		{"group", "SELECT a %% 10, count() FROM %s GROUP BY 1", rows},
		{"count", "SELECT count() FROM %s", rows},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			go func() {
				defer w.Close()
				for i := range rows {
					fmt.Fprintf(w, "%d,x%d\n", i, i)
				}
			}()
			out, err := os.CreateTemp(t.TempDir(), "out")
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			s, err := c.Exec(t.Context(), Statement{
				SQL:      fmt.Sprintf("INSERT INTO FUNCTION file('%s', Native) "+tc.query, procPath(out), fmt.Sprintf("file('%s', CSV, 'a Int32, b String')", procPath(r))),
				Settings: map[string]string{"max_threads": "1", "input_format_parallel_parsing": "0"},
			})
			if err != nil {
				t.Fatal(err)
			}
			if s.ReadRows != tc.read {
				t.Errorf("read %d rows, want %d", s.ReadRows, tc.read)
			}
			if info, err := out.Stat(); err != nil || info.Size() == 0 {
				t.Errorf("nothing written: %v", err)
			}
		})
	}
}
