package source

// RowSettings are the engine settings for an Input whose rows a source has
// written as TSV itself, from a database: a value that does not fit its type is
// an error, and nothing is guessed. The map is the caller's.
func RowSettings() map[string]string {
	return map[string]string{
		"input_format_parallel_parsing":     "0",
		"input_format_allow_errors_num":     "0",
		"input_format_allow_errors_ratio":   "0",
		"input_format_null_as_default":      "0",
		"date_time_overflow_behavior":       "throw",
		"input_format_tsv_detect_header":    "0",
		"input_format_tsv_crlf_end_of_line": "0",
		"input_format_tsv_empty_as_default": "0",
	}
}
