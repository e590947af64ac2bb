package files

import (
	"maps"
	"strings"

	"drayage/pkg/job"
)

// ownSettings are those that a key of the configuration stands for, or that
// would change where records end or which are dropped.
var ownSettings = map[string]string{
	"format_csv_delimiter":                                  "write delimiter",
	"format_csv_allow_single_quotes":                        "write quote",
	"format_csv_allow_double_quotes":                        "write quote",
	"format_regexp":                                         "write regexp",
	"format_regexp_skip_unmatched":                          "it would drop lines in silence; match everything, and filter in the transformation",
	"input_format_csv_skip_first_lines":                     "write skip_lines",
	"input_format_tsv_skip_first_lines":                     "write skip_lines",
	"input_format_csv_empty_as_default":                     "the types of the columns decide; parsing empty text crashes ClickHouse 26.7",
	"input_format_csv_detect_header":                        "write header",
	"input_format_tsv_detect_header":                        "write header",
	"input_format_with_names_use_header":                    "headers are always used",
	"input_format_csv_trim_whitespaces":                     "it moves the borders of records",
	"input_format_csv_allow_cr_end_of_line":                 "it moves the borders of records; end lines with LF or CRLF",
	"input_format_csv_allow_whitespace_or_tab_as_delimiter": "write delimiter",
	"input_format_tsv_crlf_end_of_line":                     "LF and CRLF are both read as the end of a line",
	"input_format_parallel_parsing":                         "chunks are parsed in parallel, not in themselves",
	"input_format_allow_errors_num":                         "it would drop rows in silence",
	"input_format_allow_errors_ratio":                       "it would drop rows in silence",
	"input_format_record_errors_file_path":                  "rejected rows are kept by Drayage",
	"input_format_column_names_for_schema_inference":        "declare columns",
	"column_names_for_schema_inference":                     "declare columns",
	"schema_inference_use_cache_for_file":                   "a file is always looked at",
}

// formatPrefixes begin the names of settings that concern formats.
var formatPrefixes = []string{"input_format_", "format_", "date_time_", "schema_inference_", "allow_", "enable_", "precise_", "zstd_"}

// refusedSetting reports whether a user may not set name, and what to do.
func refusedSetting(name string) (hint string, refused bool) {
	if hint, own := ownSettings[name]; own {
		return hint, true
	}
	for _, p := range formatPrefixes {
		if strings.HasPrefix(name, p) {
			return "", false
		}
	}
	return "only settings of input formats belong to a source", true
}

// settings are those that the engine is to read the format f with. Header is
// how many lines of header the engine is to skip by itself.
func (s *Source) settings(f format, columns []job.Column) map[string]string {
	set := map[string]string{
		"input_format_parallel_parsing":   "0",
		"input_format_allow_errors_num":   "0",
		"input_format_allow_errors_ratio": "0",
		"input_format_null_as_default":    "0",
		"date_time_overflow_behavior":     "throw",
	}
	switch f.family {
	case csv:
		maps.Copy(set, map[string]string{
			"format_csv_delimiter":              s.cfg.Delimiter,
			"format_csv_allow_double_quotes":    bit(s.cfg.Quote == `"`),
			"format_csv_allow_single_quotes":    bit(s.cfg.Quote == "'"),
			"input_format_csv_detect_header":    "0",
			"input_format_csv_trim_whitespaces": "1",
			"input_format_csv_empty_as_default": bit(emptyAsDefault(columns)),
		})
		if s.spaceDelimits() {
			set["input_format_csv_allow_whitespace_or_tab_as_delimiter"] = "1"
		}
	case tsv:
		maps.Copy(set, map[string]string{
			"input_format_tsv_detect_header":    "0",
			"input_format_tsv_crlf_end_of_line": "1",
			"input_format_tsv_empty_as_default": bit(anyNullableNumber(columns)),
		})
		if f.name == "TSKV" {
			set["input_format_skip_unknown_fields"] = "0"
			set["input_format_force_null_for_omitted_fields"] = "1"
		}
	case objects:
		maps.Copy(set, map[string]string{
			"input_format_skip_unknown_fields":                               "0",
			"input_format_force_null_for_omitted_fields":                     "1", // an error where a column is not Nullable
			"input_format_json_ignore_unnecessary_fields":                    "0", // else duplicate keys pass
			"input_format_json_ignore_unknown_keys_in_named_tuple":           "0",
			"input_format_json_defaults_for_missing_elements_in_named_tuple": "0",
		})
	case arrays:
		maps.Copy(set, map[string]string{
			"input_format_json_ignore_unnecessary_fields":                    "0",
			"input_format_json_ignore_unknown_keys_in_named_tuple":           "0",
			"input_format_json_defaults_for_missing_elements_in_named_tuple": "0",
		})
	default:
		maps.Copy(set, map[string]string{
			"input_format_parquet_allow_missing_columns": "0",
			"input_format_parquet_preserve_order":        "1", // every attempt gives the same block
			"input_format_arrow_allow_missing_columns":   "0",
			"input_format_orc_allow_missing_columns":     "0",
			"input_format_avro_allow_missing_fields":     "0",
			"input_format_skip_unknown_fields":           bit(f.columns), // columns may be left out, keys may not
			"input_format_force_null_for_omitted_fields": "1",
		})
	}
	if f.name == "TSVRaw" {
		// Else the engine looks at the first line alone, which in a chunk is
		// another one; the planner looks at the file's.
		set["input_format_tsv_crlf_end_of_line"] = "1"
		set["input_format_tsv_detect_header"] = "0"
		set["input_format_tsv_empty_as_default"] = bit(anyNullableNumber(columns))
	}
	if f.name == "Regexp" && f.log == nil {
		set["format_regexp"] = s.cfg.Regexp
	}
	maps.Copy(set, s.cfg.Settings)
	return set
}

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

func nullable(c job.Column) bool {
	return strings.HasPrefix(c.Type, "Nullable(") || strings.HasPrefix(c.Type, "LowCardinality(Nullable(")
}

// emptyAsDefault reports whether an empty CSV field is to be the default of its
// type without being parsed. It must be where a column is Nullable: parsed, the
// empty field of a Nullable number is 0 and not NULL. It must be where a column
// is text: ClickHouse 26.7 trims what it parsed, and of an empty last field it
// trims the value of the row before, whose blanks at the end are lost, or the
// engine with them. Elsewhere it must not be, so that an empty date is an error.
func emptyAsDefault(columns []job.Column) bool {
	for _, c := range columns {
		if nullable(c) || strings.Contains(c.Type, "String") {
			return true
		}
	}
	return false
}

// anyNullableNumber reports whether a column is Nullable and not a String,
// for which an empty field is a value.
func anyNullableNumber(columns []job.Column) bool {
	for _, c := range columns {
		if nullable(c) && !strings.Contains(c.Type, "Nullable(String)") && !strings.Contains(c.Type, "Nullable(FixedString") {
			return true
		}
	}
	return false
}
