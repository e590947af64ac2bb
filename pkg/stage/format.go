package stage

// Format is the ClickHouse format of the rows that a Runner reads and writes.
const Format = "JSONEachRow"

// WriteSettings are those under which ClickHouse writes rows in Format as a
// Runner reads them, see Record.
func WriteSettings() map[string]string {
	return map[string]string{
		"output_format_json_quote_64bit_integers":            "1",
		"output_format_json_quote_decimals":                  "1",
		"output_format_json_quote_64bit_floats":              "0",
		"output_format_json_quote_denormals":                 "1",
		"output_format_json_escape_forward_slashes":          "0",
		"output_format_json_validate_utf8":                   "0", // the bytes of a String stay what they are
		"output_format_json_named_tuples_as_objects":         "1",
		"output_format_json_map_as_array_of_tuples":          "0",
		"output_format_json_skip_null_value_in_named_tuples": "0",
		"output_format_json_array_of_rows":                   "0",
		"output_format_parallel_formatting":                  "0",
		"date_time_output_format":                            "iso",
		"session_timezone":                                   "UTC",
	}
}

// ReadSettings are those under which ClickHouse reads the rows that a Runner
// has written: every key must be a column and there once, and nothing is
// defaulted.
func ReadSettings() map[string]string {
	return map[string]string{
		"input_format_parallel_parsing":                                  "0",
		"input_format_allow_errors_num":                                  "0",
		"input_format_allow_errors_ratio":                                "0",
		"input_format_null_as_default":                                   "0",
		"input_format_skip_unknown_fields":                               "0",
		"input_format_force_null_for_omitted_fields":                     "1",
		"input_format_json_ignore_unnecessary_fields":                    "0",
		"input_format_json_ignore_unknown_keys_in_named_tuple":           "0",
		"input_format_json_defaults_for_missing_elements_in_named_tuple": "0",
		"date_time_overflow_behavior":                                    "throw",
		"date_time_input_format":                                         "best_effort",
	}
}
