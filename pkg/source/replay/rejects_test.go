package replay

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files"
)

// quarantine is rejects in memory: the raw records of each chunk.
type quarantine struct {
	job     string
	chunks  map[uint64][]string
	inputs  map[uint64]json.RawMessage
	planned map[uint64][]string // what Rejected counts, when it is not nil
	opened  int
	err     error
}

func (q *quarantine) Rejected(_ context.Context, id string, from uint64, fn func(Rejected) error) error {
	if id != q.job {
		return nil
	}
	if q.err != nil {
		return q.err
	}
	chunks := q.chunks
	if q.planned != nil {
		chunks = q.planned
	}
	for _, c := range slices.Sorted(maps.Keys(chunks)) {
		if c < from {
			continue
		}
		r := Rejected{Chunk: c, Input: q.inputs[c], Rows: uint64(len(chunks[c]))}
		for _, raw := range chunks[c] {
			r.Bytes += int64(len(raw)) + 1
		}
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

type counted struct {
	io.Reader
	q *quarantine
}

func (c counted) Close() error { c.q.opened--; return nil }

func (q *quarantine) RawRejects(_ context.Context, _ string, chunk uint64) (io.ReadCloser, error) {
	if q.err != nil {
		return nil, q.err
	}
	var b strings.Builder
	for _, raw := range q.chunks[chunk] {
		b.WriteString(raw + "\n")
	}
	q.opened++
	return counted{strings.NewReader(b.String()), q}, nil
}

// TestRejects: the raw rejects of each chunk, read in the format of the files.
func TestRejects(t *testing.T) {
	dir := t.TempDir()
	// The header is in another order than the declared columns.
	if err := os.WriteFile(filepath.Join(dir, "a.csv"), []byte("name;id\nx;1\ny;2\nz;3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	inner, err := files.New(files.Config{Paths: []string{"a.csv"}, Dir: dir, Delimiter: ";", Columns: columns, ChunkBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	chunks, err := plan(t.Context(), inner, nil)
	if err != nil || len(chunks) != 3 {
		t.Fatalf("%d chunks: %v", len(chunks), err)
	}
	q := &quarantine{
		job:    "j1",
		chunks: map[uint64][]string{0: {"x;one", "\"a\nb\";two"}, 2: {"z;", ""}, job.FirstReplacement: {"w;3"}},
		inputs: map[uint64]json.RawMessage{0: chunks[0].Input, 2: chunks[2].Input, job.FirstReplacement: chunks[1].Input},
	}
	s := NewRejects(inner, q, "j1")
	got, err := plan(t.Context(), s, nil)
	if err != nil || len(got) != 3 {
		t.Fatalf("%d chunks: %v", len(got), err)
	}
	for i, want := range []string{"x;one\n\"a\nb\";two\n", "z;\n\n", "w;3\n"} {
		data, err := read(t, s, got[i])
		if err != nil || data != want || got[i].Bytes != int64(len(want)) || got[i].Inputs != uint64(i+1) {
			t.Errorf("chunk %d has %q, %+v: %v", i, data, got[i], err)
		}
		if tail, err := plan(t.Context(), s, got[i].Cursor); err != nil || len(tail) != 2-i || len(tail) > 0 && string(tail[0].Input) != string(got[i+1].Input) {
			t.Errorf("%d chunks after chunk %d: %v", len(tail), i, err)
		}
	}
	in, err := s.Open(t.Context(), got[0].Input, columns)
	if err != nil {
		t.Fatal(err)
	}
	if in.Format != "CSV" || in.Compression != "none" || in.Settings["format_csv_delimiter"] != ";" || in.Structure[0].Name != "name" || in.Structure[1] != columns[0] || in.File != nil {
		t.Errorf("opened as %+v", in)
	}
	if err := in.Close(); err != nil || q.opened != 0 {
		t.Errorf("%d are open: %v", q.opened, err)
	}
	if size := s.Size(t.Context()); size != 16+4+4 {
		t.Errorf("size %d", size)
	}
	if at := source.Place(s, got[0].Input); at != "the 2 rejects of job j1, chunk 0 (a.csv bytes 8-12)" {
		t.Error(at)
	}
	// Its own dead chunks can be taken over in turn.
	again := New(s, listOf([]entry{{1, got[1]}}))
	if all, err := plan(t.Context(), again, nil); err != nil || len(all) != 1 {
		t.Fatalf("%v: %v", all, err)
	} else if data, err := read(t, again, all[0]); err != nil || data != "z;\n\n" {
		t.Errorf("%q: %v", data, err)
	}
}

// TestRejectsErrors: rows in quarantine that are not those that were planned.
func TestRejectsErrors(t *testing.T) {
	inner, chunks := inputs(t, 1)
	failed := errors.New("no answer")
	planned := map[uint64][]string{4: {"1,x", "2,y"}}
	for _, c := range []struct {
		name string
		now  []string
		err  error // of the quarantine
		is   error
		want job.Class
	}{
		{"one is gone", planned[4][:1], nil, source.ErrChanged, job.Permanent},
		{"one more", []string{"1,x", "2,y", "3,z"}, nil, source.ErrChanged, job.Permanent},
		{"all are gone", nil, nil, source.ErrGone, job.Permanent},
		{"the quarantine fails", nil, failed, failed, job.Retry},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := &quarantine{job: "j", planned: planned, chunks: map[uint64][]string{4: c.now}, inputs: map[uint64]json.RawMessage{4: chunks[0].Input}}
			s := NewRejects(inner, q, "j")
			all, err := plan(t.Context(), s, nil)
			if err != nil || len(all) != 1 {
				t.Fatalf("%v: %v", all, err)
			}
			q.err = c.err
			data, err := read(t, s, all[0])
			if !errors.Is(err, c.is) || job.ClassOf(err) != c.want || !strings.Contains(err.Error(), "job j, chunk 4") || q.opened != 0 {
				t.Errorf("%q, %d open: class %v, %v", data, q.opened, job.ClassOf(err), err)
			}
			if c.err != nil {
				if _, err := plan(t.Context(), s, nil); !errors.Is(err, c.err) {
					t.Error(err)
				}
			}
		})
	}
	s := NewRejects(inner, &quarantine{job: "j"}, "j")
	for _, input := range []string{"{", "{}"} {
		if _, err := s.Open(t.Context(), json.RawMessage(input), columns); job.ClassOf(err) != job.Permanent || err == nil {
			t.Errorf("%s: %v", input, err)
		}
	}
	// The longest description of a chunk has room in that of its rejects.
	long, err := json.Marshal(rejected{strings.Repeat("j", 128), job.MaxOrdinal, 1 << 62, 1 << 62, json.RawMessage(`"` + strings.Repeat("p", files.MaxPiece-2) + `"`)})
	if err != nil {
		t.Fatal(err)
	}
	whole, err := json.Marshal(job.Chunk{Job: strings.Repeat("j", 128), Ordinal: job.MaxOrdinal, Generation: 1 << 31, Bytes: 1 << 62, Input: long})
	if err != nil || len(whole) > job.MaxDescriptor {
		t.Errorf("%d bytes: %v", len(whole), err)
	}
}
