package messages

import (
	"strings"

	"drayage/pkg/job"
)

// Format is what the values of messages are.
type Format string

// The formats. A message of the formats of lines may hold several lines, each a
// row of its own.
const (
	JSONEachRow  Format = "JSONEachRow"  // one JSON object a message
	LineAsString Format = "LineAsString" // lines of text
	CSV          Format = "CSV"
	TSV          Format = "TSV"
	Raw          Format = "raw" // whatever: the bytes become the column value
)

// valueColumn is the column of Raw.
const valueColumn = "value"

var formats = []Format{JSONEachRow, LineAsString, CSV, TSV, Raw}

// formatNamed finds a format by its name, in any case; empty is JSONEachRow.
func formatNamed(name string) (Format, bool) {
	if name == "" {
		return JSONEachRow, true
	}
	for _, f := range formats {
		if strings.EqualFold(name, string(f)) {
			return f, true
		}
	}
	return "", false
}

// Names lists the formats for people.
func Names() string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = string(f)
	}
	return strings.Join(names, ", ")
}

// Metadata reports whether columns can stand beside those of the value.
func (f Format) Metadata() bool { return f == JSONEachRow || f == Raw }

// Input is the engine's name of the format that encoder writes.
func (f Format) Input() string {
	if f == Raw {
		return string(TSV)
	}
	return string(f)
}

// Settings are those that the engine is to read what encoder writes with: what
// does not fit is an error, as for files.
func (f Format) Settings() map[string]string {
	set := map[string]string{
		"input_format_parallel_parsing":   "0",
		"input_format_allow_errors_num":   "0",
		"input_format_allow_errors_ratio": "0",
		"input_format_null_as_default":    "0",
		"date_time_overflow_behavior":     "throw",
	}
	switch f {
	case JSONEachRow:
		set["input_format_skip_unknown_fields"] = "0"
		set["input_format_force_null_for_omitted_fields"] = "1"
		set["input_format_json_ignore_unnecessary_fields"] = "0"
		set["input_format_json_ignore_unknown_keys_in_named_tuple"] = "0"
		set["input_format_json_defaults_for_missing_elements_in_named_tuple"] = "0"
	case CSV:
		set["input_format_csv_detect_header"] = "0"
		set["input_format_csv_trim_whitespaces"] = "1"
		// Of a Nullable number the empty field is NULL, and parsing an empty
		// text at the end of a line spoils the row before (see files).
		set["input_format_csv_empty_as_default"] = "1"
	case TSV, Raw:
		set["input_format_tsv_detect_header"] = "0"
		set["input_format_tsv_crlf_end_of_line"] = "1"
		set["input_format_tsv_empty_as_default"] = "0"
	case LineAsString:
	}
	return set
}

// nullable reports whether c takes NULL.
func nullable(c job.Column) bool {
	return strings.HasPrefix(c.Type, "Nullable(") || strings.HasPrefix(c.Type, "LowCardinality(Nullable(")
}
