package sourcetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/source"
)

// read are the rows of a chunk, as the engine reads them, and whether their
// order is promised.
func (s *suite) read(ctx context.Context, src source.Source, input json.RawMessage) (rows []string, unordered bool, err error) {
	in, err := open(ctx, src, input, s.columns)
	if err != nil {
		return nil, false, err
	}
	rows, err = s.readRows(ctx, in)
	return rows, in.Unordered, errors.Join(err, finish(in))
}

// Relation is what the engine reads the bytes of in as, which it finds under
// path: as a worker does, but that values are not checked.
func Relation(path string, in *source.Input) string {
	compression := in.Compression
	if compression == "" {
		compression = "none"
	}
	file := func(format, structure string) string {
		return fmt.Sprintf("file(%s, %s, %s, %s)", literal(path), literal(format), literal(structure), literal(compression))
	}
	format, end := in.Format, `(endsWith(_r, '\r'))`
	if in.Framed {
		format, end = "RowBinary", `multiIf(endsWith(_r, '\r\n'), 2, endsWith(_r, '\n'), 1, 0)`
	}
	text := "substring(_r, 1, length(_r) - " + end + ")"
	switch {
	case in.Pattern != "":
		var columns []string
		for i, c := range in.Structure {
			columns = append(columns, fmt.Sprintf("CAST(_g[%d], %s) AS %s", i+1, literal(c.Type), names(in.Structure[i:i+1], false)))
		}
		return fmt.Sprintf("(SELECT %s FROM (SELECT extractGroups(%s, %s) AS _g FROM %s) WHERE NOT throwIf(empty(_g), 'a record doesn\\'t match'))",
			strings.Join(columns, ", "), text, literal("^(?-s:"+in.Pattern+")$"), file(format, "_r String"))
	case in.Framed:
		return fmt.Sprintf("(SELECT %s AS %s FROM %s)", text, names(in.Structure, false), file(format, "_r String"))
	}
	return file(format, names(in.Structure, true))
}

// readRows lets the engine read an open input.
func (s *suite) readRows(ctx context.Context, in *source.Input) ([]string, error) {
	from := in.Relation
	if from == "" {
		f := in.File
		if f == nil {
			var err error
			if f, err = os.CreateTemp("", "sourcetest-*"); err != nil {
				return nil, err
			}
			defer os.Remove(f.Name())
			defer f.Close()
			if _, err := io.Copy(f, in.Reader); err != nil {
				return nil, err
			}
		}
		from = Relation(engine.FilePath(f), in)
	}
	settings := map[string]string{
		"max_threads": "1", "input_format_parallel_parsing": "0", "session_timezone": "UTC",
		"output_format_json_quote_64bit_integers": "0", "output_format_json_quote_denormals": "1",
		"use_cache_for_count_from_files": "0",
	}
	maps.Copy(settings, in.Settings)
	out, err := s.Engine.Query(ctx, engine.Statement{
		SQL: fmt.Sprintf("SELECT %s FROM %s FORMAT JSONCompactEachRow", names(s.columns, false), from), Settings: settings,
	})
	if err != nil {
		return nil, fmt.Errorf("reading the rows: %w", err)
	}
	defer out.Close()
	text, err := io.ReadAll(out)
	if err != nil {
		return nil, fmt.Errorf("reading the rows: %w", err)
	}
	var rows []string
	for line := range strings.Lines(string(text)) {
		rows = append(rows, strings.TrimSuffix(line, "\n"))
	}
	return rows, nil
}

func names(columns []job.Column, types bool) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(c.Name) + "`"
		if types {
			parts[i] += " " + c.Type
		}
	}
	return strings.Join(parts, ", ")
}

func literal(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
