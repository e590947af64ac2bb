package sourcetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/transform"
)

// Strict reads chunks of lines as a worker does: with every value checked, and
// where the engine refuses them, line by line.
type Strict struct{ Engine *engine.Client }

// Read plans and reads all of a source through a SELECT over chunk. It returns
// the rows, each as its values in JSON, numbers of 64 bits as text, and an error
// for each line that is rejected.
func (r Strict) Read(t *testing.T, s source.Source, query string) (rows [][]any, rejects []error) {
	t.Helper()
	columns := Columns(t, s)
	chunks, err := Plan(t, s, nil, columns)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range chunks {
		in, err := s.Open(t.Context(), p.Input, columns)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in.Reader)
		if err == nil {
			err = in.Check()
		}
		if err := errors.Join(err, in.Close()); err != nil {
			t.Fatal(err)
		}
		some, bad := r.chunk(t, in, string(text), columns, query)
		rows, rejects = append(rows, some...), append(rejects, bad...)
	}
	return rows, rejects
}

func (r Strict) chunk(t *testing.T, in *source.Input, text string, columns []job.Column, query string) (rows [][]any, rejects []error) {
	t.Helper()
	rows, err := r.compute(t, in, text, columns, query, false)
	if err == nil {
		return rows, nil
	}
	rows = nil
	for line := range strings.Lines(text) {
		row, err := r.compute(t, in, line, columns, query, true)
		if err != nil {
			rejects = append(rejects, fmt.Errorf("%.100q: %w", line, err))
		}
		rows = append(rows, row...)
	}
	return rows, rejects
}

func (r Strict) compute(t *testing.T, in *source.Input, text string, columns []job.Column, query string, judged bool) ([][]any, error) {
	path := filepath.Join(t.TempDir(), "chunk")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b := transform.Bytes{
		Path: path, Format: in.Format, Structure: in.Structure,
		Columns: columns, Settings: in.Settings, Unscanned: !judged, Judged: judged,
	}
	set := b.StrictSettings()
	maps.Copy(set, transform.OneBlock())
	for _, kind := range []string{"64bit_integers", "64bit_floats", "decimals", "denormals"} {
		set["output_format_json_quote_"+kind] = "1"
	}
	var got []struct {
		Row string `json:"row"`
	}
	err := r.Engine.Rows(t.Context(), engine.Statement{
		SQL: "SELECT formatRowNoNewline('JSONCompactEachRow', *) AS row FROM (" +
			strings.TrimPrefix(transform.Relation(query, transform.Strict(b)), "("),
		Settings: set,
	}, &got)
	if err != nil {
		return nil, err
	}
	rows := make([][]any, len(got))
	for i, g := range got {
		d := json.NewDecoder(strings.NewReader(g.Row))
		d.UseNumber()
		err = errors.Join(err, d.Decode(&rows[i]))
	}
	return rows, err
}
