package transform_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/transform"
)

// Groups of a pattern: the times of access logs are read, exactly or not at all,
// and an empty group is NULL where the type has that and no empty text.
func TestPatternValues(t *testing.T) {
	const clf, utc = "10/Oct/2000:13:55:36 -0700", "2000-10-10 20:55:36"
	for _, tt := range []struct{ typ, text, want string }{ // want empty: it is refused
		{"DateTime('UTC')", clf, utc},
		{"DateTime('Europe/Berlin')", clf, "2000-10-10 22:55:36"},
		{"DateTime64(3, 'UTC')", clf, utc + ".000"},
		{"Nullable(DateTime('UTC'))", clf, utc},
		{"Nullable(DateTime('UTC'))", "", `\N`},
		{"DateTime('UTC')", "", ""},
		{"DateTime('UTC')", "29/Feb/2024:23:59:59 +0530", "2024-02-29 18:29:59"},
		{"DateTime('UTC')", "01/Jan/1970:00:00:00 +0000", "1970-01-01 00:00:00"},
		{"DateTime('UTC')", "01/Jan/1970:00:00:00 +0100", ""},
		{"DateTime('UTC')", "07/Feb/2106:06:28:15 +0000", "2106-02-07 06:28:15"},
		{"DateTime('UTC')", "10/Oct/2106:00:00:00 +0000", ""},
		{"DateTime('UTC')", "29/Feb/2023:00:00:00 +0000", ""},
		{"DateTime('UTC')", "31/Apr/2024:00:00:00 +0000", ""},
		{"DateTime('UTC')", "10/Foo/2000:00:00:00 +0000", ""},
		{"DateTime('UTC')", "10/Oct/2000:24:00:00 +0000", ""},
		{"DateTime('UTC')", "10/Oct/2000:00:00:60 +0000", ""},
		{"DateTime('UTC')", "10/Oct/2000:00:00:00 +0060", ""},
		{"DateTime('UTC')", "10/Oct/2000:00:00:00", ""},
		{"DateTime('UTC')", "2000-10-10T13:55:36-07:00", utc},
		{"DateTime64(9, 'UTC')", "2016-10-06T00:17:09.669794202Z", "2016-10-06 00:17:09.669794202"},
		{"Nullable(UInt64)", "", `\N`},
		{"Nullable(UInt64)", "18446744073709551616", ""},
		{"UInt64", "", ""},
		{"Nullable(String)", "", "<empty>"},
		{"Nullable(String)", `\N`, `\N`},
		{"LowCardinality(Nullable(String))", "GET", "GET"},
		{"LowCardinality(String)", "", "<empty>"},
		{"String", `a\tb`, `a\\tb`},
		{"Array(UInt8)", "[1,2]", "[1,2]"},
		{"Array(UInt8)", "[1,300]", ""},
	} {
		t.Run(fmt.Sprintf("%s %q", tt.typ, tt.text), func(t *testing.T) {
			t.Parallel()
			cols := []job.Column{{Name: "v", Type: tt.typ}}
			settings := map[string]string{"format_regexp": `<(?P<v>.*)>`}
			got, err := read(t, "pattern", "<"+tt.text+">\r\n", cols, settings)
			if tt.want == "" {
				if err == nil {
					t.Errorf("it is read as %q", got)
				}
			} else if want := strings.ReplaceAll(tt.want, "<empty>", ""); err != nil || got != want {
				t.Errorf("got %q, want %q: %v", got, want, err)
			}
			found, err := judge(t, "pattern", "<"+tt.text+">\n", cols, settings)
			if err != nil || found.N != 1 || (found.Bad == 1) != (tt.want == "") {
				t.Errorf("judged %+v: %v", found, err)
			}
		})
	}
}

// A record that does not match is an error of the statement and of the judge.
func TestPatternDoesNotMatch(t *testing.T) {
	cols := []job.Column{{Name: "v", Type: "String"}}
	settings := map[string]string{"format_regexp": `<(.*)>`}
	for _, data := range []string{"<a>\nb\n", "<a>\n\n", "<a>\n<b>c\n"} {
		if got, err := read(t, "pattern", data, cols, settings); err == nil {
			t.Errorf("%q is read as %q", data, got)
		}
		if got, err := judge(t, "pattern", data, cols, settings); err == nil {
			t.Errorf("%q is judged %+v", data, got)
		}
	}
	if got, err := read(t, "pattern", "<a>\r\n<>\r\n", cols, settings); err != nil || got != "a\n" {
		t.Errorf("lines that end with CRLF are %q: %v", got, err)
	}
}

// Unchecked reads the same columns, by the engine's own conversions.
func TestPatternUnchecked(t *testing.T) {
	cols := []job.Column{{Name: "at", Type: "DateTime('UTC')"}, {Name: "n", Type: "Nullable(UInt8)"}, {Name: "s", Type: "LowCardinality(String)"}}
	b := bytesOf(t, "pattern", "10/Oct/2000:13:55:36 -0700|7|a\r\n2000-10-10 20:55:36||b\n", cols, map[string]string{"format_regexp": `([^|]*)\|([^|]*)\|(.*)`})
	settings := b.StrictSettings()
	maps.Copy(settings, transform.OneBlock())
	got, err := query(transform.Select("SELECT * FROM chunk", transform.Unchecked(b), transform.Output{Columns: cols, From: cols})+" FORMAT TSV", settings)
	if want := "2000-10-10 20:55:36\t7\ta\n2000-10-10 20:55:36\t\\N\tb"; err != nil || got != want {
		t.Errorf("got %q, want %q: %v", got, want, err)
	}
}
