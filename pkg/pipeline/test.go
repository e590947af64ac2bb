package pipeline

import (
	"fmt"
	"maps"
	"slices"
)

// Test is a case that the pipeline's transformation must stand: rows in, rows
// out.
type Test struct {
	Name   string            `yaml:"name"`
	Params map[string]string `yaml:"params"` // values for the pipeline's params
	// Rows are what the source gives, by column; a column that is left out is
	// NULL, or a reject where it can not be. Exactly one of Rows and Input is set.
	Rows []map[string]any `yaml:"rows"`
	// Input is the content of a file, in the format of a source of files.
	Input string `yaml:"input"`
	// Want are the rows that come out, in any order. Only the columns that
	// they name are compared.
	Want []map[string]any `yaml:"want"`
	// Outputs, in the place of Want, are the rows that come out for each table
	// of a pipeline with outputs. Tables that are left out are not compared.
	Outputs map[string][]map[string]any `yaml:"outputs"`
	// Rejects is how many rows go to quarantine.
	Rejects uint64 `yaml:"rejects"`
}

// With are the values that the test gives to parameters, and given for the rest.
func (t Test) With(given map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, given)
	maps.Copy(all, t.Params)
	return all
}

// checkTests finds what is wrong with the tests, beyond their types.
func (d *Document) checkTests(bad func(key, problem, hint string)) {
	names := map[string]bool{}
	for _, t := range d.Pipeline.Tests {
		switch {
		case t.Name == "":
			bad("tests", "a test has no name", "begin it with - name: what it shows")
		case names[t.Name]:
			bad("tests", "two tests have the name "+t.Name, "")
		case (t.Rows == nil) == (t.Input == ""):
			bad("tests", "the test "+t.Name+" needs either rows or input", `write rows: [{column: value}], or input: with the text of a file`)
		case t.Input != "" && d.Pipeline.Source.Files == nil:
			bad("tests", "the test "+t.Name+" has an input, and the source is not one of files", "write rows: [{column: value}]")
		case t.Want != nil && len(d.Pipeline.Outputs) > 0:
			bad("tests", "the test "+t.Name+" has want, and the pipeline several outputs", "write outputs: {table: [{column: value}]}")
		case t.Outputs != nil && len(d.Pipeline.Outputs) == 0:
			bad("tests", "the test "+t.Name+" has outputs, and the pipeline none", "write want: [{column: value}]")
		case t.Want == nil && t.Outputs == nil && t.Rejects == 0:
			bad("tests", "the test "+t.Name+" wants nothing", "write want: [{column: value}], or want: [] for no rows")
		}
		names[t.Name] = true
		for table := range t.Outputs {
			if !slices.ContainsFunc(d.Pipeline.Outputs, func(o Output) bool { return o.Load.Table == table }) {
				bad("tests", fmt.Sprintf("the test %s wants rows in %s, to which no output goes", t.Name, table), "write the table as the output's load.table does")
			}
		}
	}
}
