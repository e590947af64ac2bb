// Package transform writes the SQL around a pipeline's SELECT and asks the
// engine about it. The engine runs all of it: this package never looks at a
// value.
package transform

import (
	"fmt"
	"strings"

	"drayage/pkg/job"
)

// Chunk is the name under which a SELECT finds its input.
const Chunk = "chunk"

// OneBlock are the engine settings under which a statement gives exactly one
// block, always the same for the same input: one thread, no parallel parsing,
// blocks squashed into one.
func OneBlock() map[string]string {
	return map[string]string{
		"max_block_size":                                        "4000000",
		"max_insert_block_size":                                 "100000000",
		"min_insert_block_size_rows":                            "100000000",
		"min_insert_block_size_bytes":                           "0",
		"input_format_parallel_parsing":                         "0",
		"max_threads":                                           "1",
		"max_insert_threads":                                    "1",
		"query_plan_join_swap_table":                            "false", // the baseline of rows read rests on the lookups being read whole, first
		"enable_join_runtime_filters":                           "0",
		"join_use_nulls":                                        "0",
		"date_time_overflow_behavior":                           "throw",
		"session_timezone":                                      "UTC",
		"use_structure_from_insertion_table_in_table_functions": "0",
	}
}

// Structure writes columns the way CREATE TABLE and table functions take them.
func Structure(cols []job.Column) string {
	parts := make([]string, len(cols))
	for i, c := range cols {
		parts[i] = Identifier(c.Name) + " " + c.Type
	}
	return strings.Join(parts, ", ")
}

// Identifier quotes a name.
func Identifier(name string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(name) + "`"
}

// Literal quotes a string.
func Literal(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

// Input is the relation that a statement reads as chunk.
type Input struct {
	Relation string       // a table function
	Columns  []job.Column // in the job's order, which may differ from that of the bytes
	// Settings are those that the statement needs beside the source's, which
	// they outrank.
	Settings map[string]string

	strict *carried // nil: the relation has the columns as they are
	whole  bool     // every column is to be read, whatever the SELECT names
	dates  string   // date_time_input_format of the source
}

// Nothing is an input of the given columns without rows.
func Nothing(cols []job.Column) Input {
	return Input{Relation: "null(" + Literal(Structure(cols)) + ")", Columns: cols}
}

// File is the input that the engine reads from path. The structure is in the
// order of the bytes, columns in that of the job.
func File(path, format, compression string, structure, columns []job.Column) Input {
	if compression == "" {
		compression = "none"
	}
	return Input{
		Relation: fmt.Sprintf("file(%s, %s, %s, %s)", Literal(path), Literal(format), Literal(Structure(structure)), Literal(compression)),
		Columns:  columns,
	}
}

// Fetched is the input that the engine fetches by itself: a table function or a
// SELECT in parentheses. With convert its columns are converted to the types of
// columns, and a value that does not fit is an error of the statement.
func Fetched(relation string, columns []job.Column, convert bool) Input {
	if convert {
		exprs := make([]string, len(columns))
		for i, c := range columns {
			exprs[i] = fmt.Sprintf("accurateCast(%s, %s) AS %s", Identifier(c.Name), Literal(c.Type), Identifier(c.Name))
		}
		relation = fmt.Sprintf("(SELECT %s FROM %s)", strings.Join(exprs, ", "), relation)
	}
	return Input{Relation: relation, Columns: columns}
}

// with names the input chunk. The columns are selected by name, so that
// SELECT * gives them in the same order for every input.
func (in Input) with() string {
	names := make([]string, len(in.Columns))
	for i, c := range in.Columns {
		names[i] = Identifier(c.Name)
	}
	if in.strict != nil {
		return fmt.Sprintf("WITH %s AS (%s)", Chunk, in.strict.query(names, in.Relation, in.dates))
	}
	all := ""
	if in.whole {
		all = " WHERE NOT ignore(" + strings.Join(names, ", ") + ")"
	}
	return fmt.Sprintf("WITH %s AS (SELECT %s FROM %s%s)", Chunk, strings.Join(names, ", "), in.Relation, all)
}

// Relation is the result of a pipeline's SELECT over in, for DESCRIBE.
func Relation(sel string, in Input) string {
	return fmt.Sprintf("(%s SELECT * FROM (\n%s\n))", in.with(), sel)
}

// Output is what a chunk's SELECT is to give.
type Output struct {
	// Columns are sent under these names and types; a value that does not
	// fit its type is an error of the engine.
	Columns []job.Column
	// From are the types the SELECT gives, by position: a column that has
	// its type already is not converted.
	From []job.Column
	// Provenance adds the columns _job and _chunk.
	Provenance bool
	Job        string
	Chunk      uint64
}

// Names are the names of the columns sent, in order.
func (o Output) Names() []string {
	var names []string
	for _, c := range o.Columns {
		names = append(names, c.Name)
	}
	if o.Provenance {
		names = append(names, job.JobColumn, job.ChunkColumn)
	}
	return names
}

// Select is the statement that computes a chunk's rows.
func Select(sel string, in Input, out Output) string {
	exprs := make([]string, 0, len(out.Columns)+2)
	for i, c := range out.Columns {
		name := Identifier(c.Name)
		if out.From[i].Type == c.Type {
			exprs = append(exprs, name)
		} else {
			exprs = append(exprs, fmt.Sprintf("accurateCast(%s, %s) AS %s", name, Literal(c.Type), name))
		}
	}
	if out.Provenance {
		exprs = append(exprs,
			fmt.Sprintf("toLowCardinality(%s) AS %s", Literal(out.Job), job.JobColumn),
			fmt.Sprintf("toUInt32(%d) AS %s", out.Chunk, job.ChunkColumn))
	}
	return fmt.Sprintf("%s SELECT %s FROM (\n%s\n)", in.with(), strings.Join(exprs, ", "), sel)
}

// Everything is the SELECT of all columns of in.
func Everything(in Input) string { return in.with() + " SELECT * FROM " + Chunk }

// Into makes the statement that writes the rows of sel to path as Native.
func Into(path, sel string) string { return IntoFormat(path, "Native", sel) }

// IntoFormat makes the statement that writes the rows of sel to path in a format.
func IntoFormat(path, format, sel string) string {
	return fmt.Sprintf("INSERT INTO FUNCTION file(%s, %s) %s", Literal(path), Literal(format), sel)
}

// Discard makes the statement that computes the rows of sel and drops them.
func Discard(sel string, cols []job.Column) string {
	return fmt.Sprintf("INSERT INTO FUNCTION null(%s) %s", Literal(Structure(cols)), sel)
}
