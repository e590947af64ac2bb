package messages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// MaxSample bounds the bytes of values that columns are inferred from: the
// engine takes them in the text of a query.
const MaxSample = 64 << 10

// Columns returns the columns of messages: those declared, or those that the engine
// infers from values; and Fields behind them, where they are not among them.
// Without a value and a declaration it returns ErrNoSample, marked job.Permanent.
func (r Reading) Columns(ctx context.Context, eng source.Engine, declared []job.Column, values [][]byte) ([]job.Column, error) {
	columns := slices.Clone(declared)
	if len(columns) == 0 {
		var err error
		if columns, err = infer(ctx, eng, r.Format, values); err != nil {
			return nil, err
		}
	}
	for _, field := range r.Fields {
		if !slices.ContainsFunc(columns, func(c job.Column) bool { return c.Name == field.Name }) {
			columns = append(columns, job.Column{Name: field.Name, Type: field.Type})
		}
	}
	return columns, nil
}

// ErrNoSample says that there is no message to infer columns from.
var ErrNoSample = errors.New("there is no message that the columns could be inferred from: declare columns")

func infer(ctx context.Context, eng source.Engine, f Format, values [][]byte) ([]job.Column, error) {
	switch f {
	case Raw:
		return []job.Column{{Name: valueColumn, Type: "String"}}, nil
	case LineAsString:
		return []job.Column{{Name: "line", Type: "String"}}, nil
	case JSONEachRow, CSV, TSV:
	}
	var sample []byte
	e := newEncoder(f, nil, nil)
	for _, v := range values {
		row := e.Append(nil, v, nil)
		if f == JSONEachRow && row[0] != '{' || f.unclosed(v) != "" {
			continue // it will be rejected
		}
		if len(sample)+len(row) > MaxSample && len(sample) > 0 {
			break
		}
		sample = append(sample, row...)
	}
	if len(sample) == 0 {
		return nil, job.WithClass(ErrNoSample, job.Permanent)
	}
	if len(sample) > MaxSample {
		return nil, job.Permanentf("the first message has more than %d bytes, too many to infer columns from: declare columns", MaxSample)
	}
	set := f.Settings()
	delete(set, "input_format_csv_empty_as_default")
	set["print_pretty_type_names"] = "0"
	text := strings.NewReplacer(`\`, `\\`, "'", `\'`, "\x00", `\0`).Replace(string(sample))
	columns, err := eng.Describe(ctx, fmt.Sprintf("format(%s, '%s')", f.Input(), text), set)
	if err != nil {
		return nil, fmt.Errorf("asking the engine for the columns of the first messages: %w", err)
	}
	if len(columns) == 0 {
		return nil, job.WithClass(ErrNoSample, job.Permanent)
	}
	return columns, nil
}
