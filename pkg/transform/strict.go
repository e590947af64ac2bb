package transform

import (
	"fmt"
	"maps"
	"regexp"
	"strings"

	"drayage/pkg/job"
)

// The engine's own parsers change values in silence: 300 becomes 44 in a UInt8,
// decimals are cut, 30 February becomes 2 March, an empty field becomes 0. So a
// strict input has the values read as text, and converts them with functions
// that refuse what does not fit, and with checks of what those let pass.

// reading is how the values of a format are read as text.
type reading uint8

const (
	asDeclared reading = iota // not at all: the types are the engine's own
	asText                    // each value whole, what is in an Array included
	asCSV                     // as text, but a Tuple is several fields
	asJSON                    // scalars as text, Array, Tuple and Map as they are
	asQuoted                  // numbers as numbers, what stands in quotes as text
)

// readings are those of the formats whose values are text.
var readings = map[string]reading{
	"CSV": asCSV, "TSV": asText, "TSVRaw": asText, "TSKV": asText, "Regexp": asText,
	"JSONEachRow": asJSON, "JSONCompactEachRow": asJSON,
	"JSONStringsEachRow": asText, "JSONCompactStringsEachRow": asText,
}

// regexpReadings are those of Regexp by its escaping rule.
var regexpReadings = map[string]reading{"Quoted": asQuoted, "JSON": asJSON, "XML": asDeclared}

func (b Bytes) reading() reading {
	if b.Pattern != "" {
		return asText
	}
	return readingOf(b.Format, b.Settings)
}

func readingOf(format string, settings map[string]string) reading {
	format = strings.TrimSuffix(strings.TrimSuffix(format, "AndTypes"), "WithNames")
	if r, ok := regexpReadings[settings["format_regexp_escaping_rule"]]; ok && format == "Regexp" {
		return r
	}
	if format == "CSV" && settings["input_format_csv_deserialize_separate_columns_into_tuple"] == "0" {
		return asText
	}
	return readings[format]
}

// strictSettings are those without which text would not come as it stands in
// the input. They outrank the pipeline's.
var strictSettings = map[string]string{
	"input_format_csv_empty_as_default": "1", // 26.7 crashes on an empty last field of text otherwise
	// The rare forms of a value are looked for only where the usual one does
	// not match; else the engine computes the cheap parts of it for all rows.
	"short_circuit_function_evaluation":                   "force_enable",
	"input_format_json_read_numbers_as_strings":           "1",
	"input_format_json_read_bools_as_strings":             "1",
	"input_format_json_read_bools_as_numbers":             "1",
	"input_format_json_read_objects_as_strings":           "1",
	"input_format_json_read_arrays_as_strings":            "1",
	"input_format_json_infer_incomplete_types_as_strings": "1",
}

// Bytes are the bytes of a chunk, for Strict.
type Bytes struct {
	Path        string // under which the engine finds them
	Format      string
	Compression string       // "" and "none": none
	Structure   []job.Column // in the order of the bytes
	Columns     []job.Column // in the job's order
	Settings    map[string]string
	Pattern     string // as source.Input has it
	Framed      bool   // as source.Input has it
	// Unscanned says that nobody has seen yet that all quotes are closed, as
	// of a whole file that was not cut at the borders of records. A CSV whose
	// texts look as if one had swallowed records is then an error, which
	// package quarantine looks into.
	Unscanned bool
	// Judged says that package quarantine has found nothing wrong with these
	// records. Nothing is suspected of them, so that what is rare and right,
	// such as a literal inf, goes through. It costs more.
	Judged bool
}

// Strict is the input that File is, with every value checked against the type
// of its column: a value that would be wrapped, cut, clamped or defaulted is an
// error of the statement, for which quarantine.Suspicious is true. All columns
// of all rows are checked, also those that the SELECT does not read. Types are
// to be canonical, as Workspace.Canonical gives them. Binary formats, and types
// that no check is known for, are read as File reads them. The statement needs
// the settings of the result beside those of b, which they outrank.
func Strict(b Bytes) Input {
	r := b.reading()
	if r == asDeclared {
		in := Unchecked(b)
		in.whole = b.Settings["input_format_skip_unknown_fields"] == "0"
		return in
	}
	c := carry(b, r, false)
	return Input{
		Relation: b.relation(c.structure()), Columns: b.Columns, Settings: strictSettings,
		strict: c, dates: b.Settings["date_time_input_format"],
	}
}

// carried are the columns of a strict input.
type carried struct {
	columns []job.Column // as declared
	carried []carrier
}

func carry(b Bytes, r reading, judging bool) *carried {
	c := &carried{columns: b.Structure}
	w := writer{judging: judging, suspects: !judging && !b.Judged, nestedCSV: b.Settings["input_format_csv_arrays_as_nested_csv"] == "1", logTimes: b.Pattern != ""}
	for _, col := range b.Structure {
		v := w.column(rawAlias+"."+Identifier(col.Name), col.Type, r)
		if w.suspects && b.Unscanned && r == asCSV && strings.Contains(v.typ, "String") && !nested[parseKind(v.typ).name] && len(b.Structure) <= maxSwallowed {
			v.ok = both(v.ok, notSwallowed(v.raw, len(b.Structure), b.Settings))
		}
		c.carried = append(c.carried, v)
	}
	return c
}

// maxSwallowed is up to how many columns notSwallowed looks.
const maxSwallowed = 500

// notSwallowed writes whether a text of CSV looks as if it were one value: the
// engine takes a quote that is never closed for one that the end of the input
// closes, and all records between for one text. Such a text has lines like
// records, or ends with a newline. Others may too; they are cut into records
// with care then, and loaded.
func notSwallowed(e string, columns int, settings map[string]string) string {
	delimiter := settings["format_csv_delimiter"]
	if delimiter == "" {
		delimiter = ","
	}
	fields := fmt.Sprintf("\n([^\n]*%s){%d}", regexp.QuoteMeta(delimiter), columns-1)
	return fmt.Sprintf("ifNull(position(%[1]s, '\n') = 0 OR NOT (endsWith(%[1]s, '\n') OR match(%[1]s, %[2]s)), 1)", e, Literal(fields))
}

// rawAlias qualifies the columns as read: a bare name would mean the converted
// column of the same name.
const rawAlias = "_raw"

func (c *carried) structure() []job.Column {
	cols := make([]job.Column, len(c.columns))
	for i, col := range c.columns {
		cols[i] = job.Column{Name: col.Name, Type: c.carried[i].typ}
	}
	return cols
}

// everything passes all rows. The engine does not move a filter below a LIMIT,
// so the checks see the rows that the pipeline's own filter drops.
const everything = "LIMIT 18446744073709551615"

// query is the SELECT of the named columns, converted and checked. Values are
// converted below the checks, so that both use one conversion.
func (c *carried) query(names []string, relation, dates string) string {
	var below, all []string
	for i, col := range c.columns {
		v := c.carried[i]
		name := Identifier(col.Name)
		below = append(below, v.value+" AS "+name)
		// Those that need no conversion too: a format that names its fields
		// would take a column that nobody reads for one that it does not know.
		all = append(all, name)
		if v.ok == "" {
			continue
		}
		ok := strings.ReplaceAll(v.ok, v.value, name)
		if text := Identifier(rawAlias + "." + col.Name); v.value != v.raw {
			below = append(below, v.raw+" AS "+text)
			ok = strings.ReplaceAll(ok, v.raw, text)
		}
		all = append(all, fmt.Sprintf("throwIf(NOT (%s), %s)", ok, Literal("a value does not fit the column "+col.Name)))
	}
	q := fmt.Sprintf("SELECT %s FROM %s AS %s%s", strings.Join(below, ", "), relation, rawAlias, castMode(dates))
	return fmt.Sprintf("SELECT %s FROM (%s) WHERE NOT ignore(%s) %s", strings.Join(names, ", "), q, strings.Join(all, ", "), everything)
}

// castMode makes conversions read dates as the format would.
func castMode(dates string) string {
	if dates == "" {
		return ""
	}
	return " SETTINGS cast_string_to_date_time_mode = " + Literal(dates)
}

// Judge is the statement that finds the values of an input that do not fit. It
// gives one row: n, the rows that the engine read; bad, those of them with such
// a value; and found, the first of those, at most limit: arrays of the row's
// number from 1, the column's number in structure from 1, and the value as text.
// What does not even parse is an error of the statement.
func Judge(b Bytes, limit uint64) string {
	c := carry(b, b.reading(), true)
	var bad, values []string
	for i := range c.columns {
		v := c.carried[i]
		if v.ok == "" {
			continue
		}
		bad = append(bad, fmt.Sprintf("NOT (%s), %d", v.ok, i+1))
		values = append(values, fmt.Sprintf("_number = %d, ifNull(toString(%s), 'NULL')", i+1, v.raw))
	}
	number, value := "0", "''"
	if len(bad) > 0 {
		number = "multiIf(" + strings.Join(bad, ", ") + ", 0)"
		value = "multiIf(" + strings.Join(values, ", ") + ", '')"
	}
	return fmt.Sprintf("SELECT count() AS n, countIf(_number > 0) AS bad, groupArrayIf(%d)((_record, _number, _value), _number > 0) AS found"+
		" FROM (SELECT rowNumberInAllBlocks() + 1 AS _record, toUInt32(%s) AS _number, substring(%s, 1, %d) AS _value, ignore(*) AS _all FROM %s AS %s%s) WHERE NOT _all",
		limit, number, value, maxShown, b.relation(c.structure()), rawAlias, castMode(b.Settings["date_time_input_format"]))
}

// maxShown bounds a value in the answer of Judge, in bytes.
const maxShown = 256

// StrictSettings are those of a strict statement over b: the source's, with what
// reading text needs.
func (b Bytes) StrictSettings() map[string]string {
	all := maps.Clone(b.Settings)
	if all == nil {
		all = map[string]string{}
	}
	if b.reading() != asDeclared {
		maps.Copy(all, strictSettings)
	}
	return all
}
