package clickhouse

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestSplitFormat(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string][2]string{
		"SELECT 1":                             {"SELECT 1", ""},
		"SELECT 1;":                            {"SELECT 1", ""},
		"SELECT 1 FORMAT JSON":                 {"SELECT 1", "JSON"},
		"SELECT 1 format CSV ; ;":              {"SELECT 1", "CSV"},
		"SELECT 1 FORMAT JSON -- that's it":    {"SELECT 1", "JSON"},
		"SELECT ' FORMAT JSON'":                {"SELECT ' FORMAT JSON'", ""},
		"SELECT format FROM t ORDER BY format": {"SELECT format FROM t ORDER BY format", ""},
		"SELECT 1 ORDER BY format DESC":        {"SELECT 1 ORDER BY format DESC", ""},
		"SELECT (SELECT 1 FORMAT JSON)":        {"SELECT (SELECT 1 FORMAT JSON)", ""},
		"SELECT 1 FORMAT JSON SETTINGS a = 1;": {"SELECT 1             SETTINGS a = 1", "JSON"},
		"SELECT 1 SETTINGS a = 1 FORMAT JSON":  {"SELECT 1 SETTINGS a = 1", "JSON"},
		"SELECT format FROM t SETTINGS a = 1":  {"SELECT format FROM t SETTINGS a = 1", ""},
		"SELECT 1 -- FORMAT JSON":              {"SELECT 1 -- FORMAT JSON", ""},
		"":                                     {"", ""},
		"FORMAT":                               {"FORMAT", ""},
		"SELECT 'it''s' /* ; FORMAT X":         {"SELECT 'it''s' /* ; FORMAT X", ""},
	} {
		if query, format := splitFormat(sql); query != want[0] || format != want[1] {
			t.Errorf("%q: got %q, %q", sql, query, format)
		}
	}
}

func TestFormatSettings(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"SELECT 1": "map[]",
		"SELECT 1 SETTINGS max_threads = 1, output_format_json_quote_64bit_integers = 0, format_csv_delimiter = ';', date_time_output_format='iso'": "map[date_time_output_format:iso format_csv_delimiter:; output_format_json_quote_64bit_integers:0]",
		"SELECT (SELECT 1 SETTINGS format_csv_delimiter = ';')": "map[]",
		"SELECT 'SETTINGS format_csv_delimiter = 1'":            "map[]",
	} {
		if got := fmt.Sprint(formatSettings(sql)); got != want {
			t.Errorf("%s: got %s", sql, got)
		}
	}
}

func TestTableText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Table{
		"t": {"d", "t"}, "a.t": {"a", "t"}, " a.t ": {"a", "t"}, "`a.b`.`c d`": {"a.b", "c d"}, `a."c""d"`: {"a", `c"d`},
		"a-b": {"d", "a-b"}, "1": {"d", "1"}, "a.b c": {"a", "b c"},
	} {
		if got, err := ParseTable(text, "d"); err != nil || got != want {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", ".", "a.", ".b", "a.b.c", "`a", "`a`b", "``", "t; DROP TABLE t", "f(x)", "it's"} {
		if got, err := ParseTable(text, "d"); err == nil {
			t.Errorf("%q: got %q", text, got)
		}
	}
}

func TestTableTextComesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringN(1, 20, -1)
		want := Table{name.Draw(t, "database"), name.Draw(t, "name")}
		got, err := ParseTable(want.String(), "d")
		if err != nil || got != want {
			t.Fatalf("%q: got %q, %v", want.String(), got, err)
		}
		if got, err := ParseTable(want.SQL(), "d"); err != nil || got != want {
			t.Fatalf("%q: got %q, %v", want.SQL(), got, err)
		}
	})
}

func TestTokensCoverAnyText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		sql := rapid.StringOf(rapid.SampledFrom([]rune("ab 1'\"`\\-/*#!\n(){};=é"))).Draw(t, "sql")
		last := 0
		for _, tok := range tokens(sql) {
			if tok.offset < last || sql[tok.offset:tok.offset+len(tok.text)] != tok.text {
				t.Fatalf("token %+v after %d", tok, last)
			}
			last = tok.offset + len(tok.text)
		}
		splitFormat(sql)
	})
}

func TestSettingOf(t *testing.T) {
	t.Parallel()
	const name = "non_replicated_deduplication_window"
	for sql, want := range map[string]uint64{
		"MergeTree ORDER BY x SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 7":         7,
		"MergeTree ORDER BY x SETTINGS Non_Replicated_Deduplication_Window='8'":                                   8,
		"MergeTree ORDER BY 'non_replicated_deduplication_window = 9' -- non_replicated_deduplication_window = 9": 0,
	} {
		if n, _ := settingOf(sql, name); n != want {
			t.Errorf("%s: %d", sql, n)
		}
	}
	for sql, want := range map[string]string{
		"ENGINE = MergeTree ORDER BY x": "MergeTree", "engine ReplacingMergeTree(v) ORDER BY x": "ReplacingMergeTree",
		"ORDER BY (engine)": "", "ENGINE": "", "/* ENGINE = Log */ ENGINE=MergeTree": "MergeTree",
	} {
		if got := engineOf(sql); got != want {
			t.Errorf("%s: %s", sql, got)
		}
	}
	for name, want := range map[string]string{
		"LowCardinality(String)": "String", "SimpleAggregateFunction(sum, UInt64)": "UInt64",
		"LowCardinality(Nullable(String))": "Nullable(String)", "Array(LowCardinality(String))": "Array(LowCardinality(String))",
	} {
		if got := bareType(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestRecent(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"24.8.1.1": true, "24.8": true, "24.10.2": true, "26.7.3.1": true, "25.1": true,
		"24.7.9": false, "23.12.1": false, "18.16.1": false, "": false, "x.y": false,
	} {
		if recent(version) != want {
			t.Errorf("%q: %v", version, !want)
		}
	}
}

func TestFilledBy(t *testing.T) {
	t.Parallel()
	view, uuid := Table{"d", "v"}, "e6a04803-c690-4cfb-9cf4-48f2aefdb689"
	for create, want := range map[string]Table{
		"CREATE MATERIALIZED VIEW d.v TO e.`a b` (`x` UInt8) AS SELECT 1 AS x":                                  {"e", "a b"},
		"CREATE MATERIALIZED VIEW d.`TO` TO d.t (`to` UInt8) AS SELECT 1":                                       {"d", "t"},
		"CREATE MATERIALIZED VIEW d.v (`x` UInt8) ENGINE = MergeTree ORDER BY x AS SELECT x FROM a JOIN TO . b": {"d", ".inner_id." + uuid},
	} {
		if got := filledBy(view, uuid, create); got != want {
			t.Errorf("%s: %v", create, got)
		}
	}
}
