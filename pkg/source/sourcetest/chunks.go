package sourcetest

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Columns asks a source for its columns; an error ends the test.
func Columns(t *testing.T, s source.Source) []job.Column {
	t.Helper()
	columns, err := s.Columns(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return columns
}

// Plan plans what comes after a cursor, nil for everything. Beside an error there
// is what was planned before it.
func Plan(t *testing.T, s source.Source, cursor json.RawMessage, columns []job.Column) ([]source.Planned, error) {
	t.Helper()
	var all []source.Planned
	for p, err := range s.Plan(t.Context(), cursor, columns) {
		if err != nil {
			return all, err
		}
		all = append(all, p)
	}
	return all, nil
}

// Chunk reads the bytes of a chunk to their end, and checks them.
func Chunk(t *testing.T, s source.Source, input json.RawMessage, columns []job.Column) (string, error) {
	t.Helper()
	in, err := s.Open(t.Context(), input, columns)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(in.Reader)
	if err == nil {
		err = in.Check()
	}
	return string(b), errors.Join(err, in.Close())
}

// Lines plans and reads everything: the lines of each chunk, and the chunks.
func Lines(t *testing.T, s source.Source) (lines [][]string, chunks []source.Planned) {
	t.Helper()
	columns := Columns(t, s)
	chunks, err := Plan(t, s, nil, columns)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range chunks {
		text, err := Chunk(t, s, p.Input, columns)
		if err != nil {
			t.Fatal(err)
		}
		var some []string
		if text != "" {
			some = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		}
		lines = append(lines, some)
	}
	return lines, chunks
}
