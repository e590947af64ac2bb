package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/local"
	"drayage/pkg/pipeline"
	"drayage/pkg/source/kinds"
	"drayage/pkg/transform"
)

// verdict is what came of one test of a pipeline.
type verdict struct {
	Name    string   `json:"name"`
	OK      bool     `json:"ok"`
	Problem string   `json:"problem,omitempty"`
	Missing []string `json:"missing,omitempty"` // rows that were wanted, as JSON
	Surplus []string `json:"surplus,omitempty"` // rows that came and were not
}

func (a *app) test() *cobra.Command {
	var only string
	cmd := &cobra.Command{
		Use:   "test FILE",
		Short: "Run the tests of a pipeline: rows in, rows out",
		Long: `Run the tests that a pipeline file lists under tests: each puts some rows, or
the text of a file, in the place of the source, runs the job with everything that
it does, and compares what comes out. Source and target are not touched; where
source.columns is missing, the source is asked for them. Exit code 1 when a test
fails.`,
		Example: "  dray test pipelines/flights.yaml\n  dray test flights.yaml --run late",
		Args:    cobra.ExactArgs(1),
	}
	set := paramFlag(cmd)
	cmd.Flags().StringVar(&only, "run", "", "only the tests whose name contains this")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		params, err := parseParams(*set)
		if err != nil {
			return err
		}
		// A test may give what has no default, so that the pipeline can be read.
		tests := slices.DeleteFunc(pipeline.ReadOutline(args[0]).Tests, func(t pipeline.Test) bool { return !strings.Contains(t.Name, only) })
		var first pipeline.Test
		if len(tests) > 0 {
			first = tests[0]
		}
		doc, err := pipeline.Read(args[0], first.With(params))
		if err != nil {
			return unreadable(err)
		}
		if len(tests) == 0 {
			return usagef("%s has no such tests; list them under tests: with name, rows and want, see docs/pipeline.md", args[0])
		}
		columns := pipeline.Columns(kinds.Declared(doc.Pipeline))
		if len(columns) == 0 {
			_, frozen, end, err := a.inspectWith(ctx, args[0], first.With(params))
			if err != nil {
				return err
			}
			end()
			columns = frozen.Columns
		}
		var verdicts []verdict
		err = local.Scratch(ctx, a.cfg, a.log, func(stack *local.Stack) error {
			for i, t := range tests {
				doc, err := pipeline.Read(args[0], t.With(params))
				if err != nil {
					return fmt.Errorf("test %s: %w", t.Name, err)
				}
				v, err := a.runTest(ctx, stack, doc, t, columns, fmt.Sprintf("test_%d", i))
				if err != nil {
					return fmt.Errorf("test %s: %w", t.Name, err)
				}
				if verdicts = append(verdicts, v); !a.json {
					a.printVerdict(v)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if a.json {
			if err := a.printJSON(verdicts); err != nil {
				return err
			}
		}
		if slices.ContainsFunc(verdicts, func(v verdict) bool { return !v.OK }) {
			return &exitError{code: ExitFailed}
		}
		return nil
	}
	return cmd
}

// runTest runs one test into a table of its own.
func (a *app) runTest(ctx context.Context, stack *local.Stack, doc *pipeline.Document, t pipeline.Test, columns pipeline.Columns, table string) (verdict, error) {
	v := verdict{Name: t.Name}
	dir, err := os.MkdirTemp("", "dray-test-*")
	if err != nil {
		return v, fmt.Errorf("making a folder for the rows: %w", err)
	}
	defer os.RemoveAll(dir)
	p := local.Scratched(*doc.Pipeline, table, local.Unsorted)
	if p.Source, err = testSource(p.Source, t, columns, dir); err != nil {
		return v, err
	}
	j, err := stack.Try(ctx, p, doc.File, doc.Dir)
	if err != nil {
		if ctx.Err() != nil {
			return v, err
		}
		v.Problem = err.Error() // of the pipeline: the other tests can run
		return v, nil
	}
	outputs := doc.Pipeline.All()
	for i, target := range j.Frozen.Targets() {
		want, label := t.Want, ""
		if len(outputs) > 1 {
			if want, label = t.Outputs[outputs[i].Load.Table], outputs[i].Load.Table+" "; want == nil {
				continue // nothing is said of it
			}
		}
		missing, surplus, err := compare(ctx, stack, local.ScratchTable(table, i), want, target.Selected)
		if err != nil {
			return v, err
		}
		for _, row := range missing {
			v.Missing = append(v.Missing, label+row)
		}
		for _, row := range surplus {
			v.Surplus = append(v.Surplus, label+row)
		}
	}
	switch {
	case j.Totals.RowsRejected != t.Rejects:
		v.Problem = fmt.Sprintf("%d rows are rejected, %d should be", j.Totals.RowsRejected, t.Rejects)
		err := stack.ClickHouse.Rejects(ctx, clickhouse.RejectFilter{Job: j.ID, Limit: maxShown}, func(r clickhouse.RejectRow) error {
			v.Problem += fmt.Sprintf("\n%s: %s", r.Reason, r.Raw)
			return nil
		})
		if err != nil {
			return v, fmt.Errorf("reading the rejects: %w", err)
		}
	case len(v.Missing)+len(v.Surplus) > 0:
		v.Problem = "the rows differ"
	}
	v.OK = v.Problem == ""
	return v, nil
}

// testSource is a source that gives a test's rows.
func testSource(src pipeline.Source, t pipeline.Test, columns pipeline.Columns, dir string) (pipeline.Source, error) {
	out := pipeline.Source{Columns: columns, Chunk: pipeline.DefaultChunk}
	text := t.Input
	name := "rows.json"
	if t.Input != "" {
		files := *src.Files
		name = filepath.Base(files.Path[0])
		name = strings.NewReplacer("*", "x", "?", "x", "{", "x", "}", "x", "[", "x", "]", "x").Replace(name)
		files.Compression = "none"
		out.Files = &files
	} else {
		var lines bytes.Buffer
		for _, row := range t.Rows {
			line, err := json.Marshal(row)
			if err != nil {
				return out, fmt.Errorf("encoding a row: %w", err)
			}
			lines.Write(append(line, '\n'))
		}
		text = lines.String()
		out.Files = &pipeline.Files{Format: "JSONEachRow"}
	}
	path := filepath.Join(dir, name)
	out.Files.Path = pipeline.Strings{path}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return out, fmt.Errorf("writing the rows: %w", err)
	}
	return out, nil
}

// compare returns the rows that were wanted and are not in the table, and those
// that are and were not wanted. Only columns that are wanted count.
func compare(ctx context.Context, stack *local.Stack, table string, want []map[string]any, selected []job.Column) (missing, surplus []string, err error) {
	named := map[string]bool{}
	left := map[string]int{}
	for _, row := range want {
		for name := range row {
			named[name] = true
		}
	}
	names := slices.Sorted(maps.Keys(named))
	if len(names) == 0 { // no row is wanted: any is a surplus
		for _, c := range selected {
			names = append(names, c.Name)
		}
	}
	for _, row := range want {
		for _, name := range names {
			if _, there := row[name]; !there {
				row[name] = nil
			}
		}
		text, err := canonical(row)
		if err != nil {
			return nil, nil, err
		}
		left[text]++
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		if !slices.ContainsFunc(selected, func(c job.Column) bool { return c.Name == name }) {
			return nil, nil, usagef("want names the column %s, which the SELECT does not give; it gives %s", name, columnNames(selected))
		}
		quoted[i] = transform.Identifier(name)
	}
	var out bytes.Buffer
	query := fmt.Sprintf("SELECT %s FROM %s SETTINGS output_format_json_quote_64bit_integers = 0, output_format_json_quote_denormals = 1", strings.Join(quoted, ", "), table)
	if err := stack.ClickHouse.Query(ctx, query, "JSONEachRow", &out); err != nil {
		return nil, nil, fmt.Errorf("reading the rows: %w", err)
	}
	for line := range bytes.Lines(out.Bytes()) {
		var row map[string]any
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.UseNumber()
		if err := dec.Decode(&row); err != nil {
			return nil, nil, fmt.Errorf("reading a row: %w", err)
		}
		text, err := canonical(row)
		if err != nil {
			return nil, nil, err
		}
		if left[text]--; left[text] < 0 {
			surplus = append(surplus, text)
		}
	}
	for _, text := range slices.Sorted(maps.Keys(left)) {
		for range max(left[text], 0) {
			missing = append(missing, text)
		}
	}
	return missing, surplus, nil
}

func columnNames(cols []job.Column) string {
	names := make([]string, len(cols))
	for i, c := range cols {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}

// canonical writes a row as JSON, the same for the same values: 1.50 is 1.5.
func canonical(row map[string]any) (string, error) {
	text, err := json.Marshal(row)
	if err != nil {
		return "", fmt.Errorf("encoding a row: %w", err)
	}
	var plain any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&plain); err != nil {
		return "", fmt.Errorf("reading a row: %w", err)
	}
	text, err = json.Marshal(numbers(plain))
	return string(text), err
}

// numbers writes every number in v in one way.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, ok := new(big.Rat).SetString(string(v)); ok {
			if n.IsInt() {
				return json.Number(n.Num().String())
			}
			return json.Number(strings.TrimSuffix(strings.TrimRight(n.FloatString(maxDigits), "0"), "."))
		}
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

// maxDigits is how many digits after the point are compared: those of the
// widest Decimal.
const maxDigits = 76

func (a *app) printVerdict(v verdict) {
	if v.OK {
		fmt.Fprintf(a.Out, "%s    %s\n", paint(a.Out, good, "ok"), v.Name)
		return
	}
	fmt.Fprintf(a.Out, "%s  %s: %s\n", paint(a.Out, bad, "FAIL"), v.Name, strings.ReplaceAll(v.Problem, "\n", "\n        "))
	for _, row := range v.Missing {
		fmt.Fprintf(a.Out, "      - %s\n", row)
	}
	for _, row := range v.Surplus {
		fmt.Fprintf(a.Out, "      + %s\n", row)
	}
}
