package engine

import "testing"

// TestParse also cuts each text at every byte: what is told of a part must be
// what is told of the whole, as a body may arrive in any pieces.
func TestParse(t *testing.T) {
	for _, tc := range []struct {
		text   string
		kind   kind
		format string
		data   string
	}{
		{"SELECT 1", kindSelect, "", ""},
		{"/* x */ -- y\n( SELECT 'FORMAT CSV' ) FORMAT TSV", kindSelect, "TSV", ""},
		{"WITH 1 AS x INSERT INTO t SELECT x", kindOther, "", ""},
		{"INSERT INTO t FORMAT CSV\n1,2\n", kindInsert, "CSV", "1,2\n"},
		{"INSERT INTO t FORMAT CSV  \r\n\n1", kindInsert, "CSV", "\n1"},
		{"insert into table format format Values (1)", kindInsert, "Values", "(1)"},
		{"INSERT INTO db.values (a, `format`) VALUES (1, ';')", kindInsert, "Values", "(1, ';')"},
		{"INSERT INTO `a.b`.\"c\" SETTINGS x = 'FORMAT Y' FORMAT Native\n\x09\x0a", kindInsert, "Native", "\x09\x0a"},
		{"INSERT INTO FUNCTION file('x', CSV, 'a Int32') FORMAT TSV\n1", kindInsert, "TSV", "1"},
		{"INSERT INTO t (SELECT 1)", kindOther, "", ""},
		{"INSERT INTO t SELECT 'a' AS format", kindOther, "", ""},
		{"INSERT INTO t SELECT a FROM input('a Int32') WHERE a > 1 FORMAT CSV\n5", kindInput, "CSV", "5"},
		{"INSERT INTO t SELECT $x$ FORMAT CSV $x$", kindOther, "", ""},
	} {
		whole, _, err := parse([]byte(tc.text), true)
		if err != nil {
			t.Errorf("%q: %v", tc.text, err)
			continue
		}
		data := ""
		if whole.kind == kindInsert || whole.kind == kindInput {
			data = tc.text[whole.data:]
		}
		if whole.kind != tc.kind || whole.format != tc.format || data != tc.data {
			t.Errorf("%q: kind %d, format %q, data %q", tc.text, whole.kind, whole.format, data)
		}
		for n := range len(tc.text) {
			part, more, err := parse([]byte(tc.text[:n]), false)
			if err != nil || !more && part != whole {
				t.Errorf("%q: told as %+v (%v), the whole is %+v", tc.text[:n], part, err, whole)
			}
		}
	}
}
