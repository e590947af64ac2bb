package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files"
)

var columns = []job.Column{{Name: "id", Type: "Int64"}, {Name: "name", Type: "String"}}

// inputs is a files source of a CSV file of so many lines, and its chunks, one a line.
func inputs(t *testing.T, lines int) (*files.Source, []source.Planned) {
	t.Helper()
	dir := t.TempDir()
	var b strings.Builder
	for i := range lines {
		fmt.Fprintf(&b, "%d,x\n", i)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.csv"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	header := false
	s, err := files.New(files.Config{Paths: []string{"a.csv"}, Dir: dir, Header: &header, Columns: columns, ChunkBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	chunks, err := plan(t.Context(), s, nil)
	if err != nil || len(chunks) != lines {
		t.Fatalf("%d chunks: %v", len(chunks), err)
	}
	return s, chunks
}

func plan(ctx context.Context, s source.Source, from json.RawMessage) ([]source.Planned, error) {
	var all []source.Planned
	for p, err := range s.Plan(ctx, from, columns) {
		if err != nil {
			return all, err
		}
		all = append(all, p)
	}
	return all, nil
}

func read(t *testing.T, s source.Source, p source.Planned) (string, error) {
	t.Helper()
	in, err := s.Open(t.Context(), p.Input, columns)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(in.Reader)
	return string(data), errors.Join(err, in.Check(), in.Close())
}

// entry is a chunk of a list.
type entry struct {
	ordinal uint64
	source.Planned
}

func listOf(all []entry) List {
	return func(_ context.Context, from uint64, fn func(uint64, json.RawMessage, int64) error) error {
		for _, e := range all {
			if e.ordinal >= from {
				if err := fn(e.ordinal, e.Input, e.Bytes); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// TestChunks: the chunks of a list are planned in its order, from any cursor
// on, and opened as what they are.
func TestChunks(t *testing.T) {
	inner, chunks := inputs(t, 10)
	var all []entry
	for _, o := range []uint64{0, 3, 9, job.FirstReplacement + 2} {
		all = append(all, entry{o, chunks[o%10]})
	}
	s := New(inner, listOf(all))
	got, err := plan(t.Context(), s, nil)
	if err != nil || len(got) != len(all) {
		t.Fatalf("%d chunks: %v", len(got), err)
	}
	for i, p := range got {
		if string(p.Input) != string(all[i].Input) || p.Bytes != all[i].Bytes || p.Inputs != uint64(i+1) {
			t.Errorf("chunk %d is %+v", i, p)
		}
		if data, err := read(t, s, p); err != nil || data != fmt.Sprintf("%d,x\n", all[i].ordinal%10) {
			t.Errorf("chunk %d has %q: %v", i, data, err)
		}
		tail, err := plan(t.Context(), s, p.Cursor)
		if err != nil || len(tail) != len(got)-i-1 {
			t.Fatalf("%d chunks after chunk %d: %v", len(tail), i, err)
		}
		for j := range tail {
			if string(tail[j].Input) != string(got[i+1+j].Input) || string(tail[j].Cursor) != string(got[i+1+j].Cursor) || tail[j].Inputs != got[i+1+j].Inputs {
				t.Errorf("chunk %d after chunk %d is %+v", j, i, tail[j])
			}
		}
	}
	if size := s.Size(t.Context()); size != 16 {
		t.Errorf("size %d", size)
	}
	if at := source.Place(s, got[1].Input); at != "a.csv bytes 12-16" {
		t.Error(at)
	}
	if _, err := s.Split(t.Context(), got[0].Input, columns); !errors.Is(err, source.ErrWhole) {
		t.Error(err)
	}
	if n, err := s.Count(t.Context(), silent{}, got[0].Input, columns); !errors.Is(err, errSilent) || n != 0 {
		t.Errorf("counted by the inner source: %d, %v", n, err)
	}
}

// silent is an engine that gives no answer.
type silent struct{}

var errSilent = errors.New("no answer")

func (silent) CountRows(context.Context, string, map[string]string) (uint64, error) {
	return 0, errSilent
}

// plain hides all but the methods of source.Source.
type plain struct{ source.Source }

func TestChunksErrors(t *testing.T) {
	inner, chunks := inputs(t, 3)
	failed := errors.New("the list failed")
	for _, c := range []struct {
		name string
		list List
		from string
		n    int
		is   error
		text string
	}{
		{"an empty list", listOf(nil), "", 0, nil, ""},
		{"a list that fails", func(_ context.Context, _ uint64, fn func(uint64, json.RawMessage, int64) error) error {
			return errors.Join(fn(1, chunks[0].Input, 1), failed)
		}, "", 1, failed, "listing"},
		{"a list in no order", listOf([]entry{{2, chunks[0]}, {2, chunks[1]}}), "", 1, nil, "ascending"},
		{"no cursor", listOf(nil), "{", 0, nil, "cursor"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, err := plan(t.Context(), New(inner, c.list), json.RawMessage(c.from))
			if len(all) != c.n || c.is != nil && !errors.Is(err, c.is) || (err != nil) != (c.text != "") || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("%d chunks: %v", len(all), err)
			}
		})
	}
	// A reader that has enough ends the listing.
	listed := 0
	for range New(inner, func(_ context.Context, _ uint64, fn func(uint64, json.RawMessage, int64) error) error {
		for {
			if err := fn(uint64(listed), chunks[0].Input, 1); err != nil {
				return err
			}
			listed++
		}
	}).Plan(t.Context(), nil, nil) {
		if listed == 5 {
			break
		}
	}
	if listed != 5 {
		t.Errorf("%d chunks were listed", listed)
	}
	// What the inner source can not do.
	s := New(plain{inner}, listOf(nil))
	if _, err := s.Split(t.Context(), chunks[0].Input, columns); !errors.Is(err, source.ErrWhole) || job.ClassOf(err) != job.Permanent {
		t.Error(err)
	}
	if _, err := s.Count(t.Context(), silent{}, chunks[0].Input, columns); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if got := source.Place(s, chunks[0].Input); got != string(chunks[0].Input) {
		t.Error(got)
	}
}
