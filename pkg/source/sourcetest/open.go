package sourcetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/cespare/xxhash/v2"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// rows: the chunks together have every row once.
func (s *suite) rows(t *testing.T) {
	want := s.Want
	if s.Whole != nil {
		whole, err := s.Whole()
		if err != nil {
			t.Fatalf("making the whole source: %v", err)
		}
		chunks, err := plan(t.Context(), whole, nil, s.columns)
		if err != nil {
			t.Fatalf("planning the whole: %v", err)
		}
		want = s.all(t, whole, chunks)
		if len(chunks) >= len(s.chunks) {
			t.Errorf("the whole has %d chunks, no fewer than the source itself", len(chunks))
		}
	}
	got := s.all(t, s.fresh(t), s.chunks)
	left := map[string]int{}
	for _, row := range want {
		left[compact(row)]++
	}
	for _, row := range got {
		row = compact(row)
		if left[row]--; left[row] < 0 {
			t.Errorf("a row too many, or one too often: %s", row)
			break
		}
	}
	for row, n := range left {
		if n > 0 {
			t.Errorf("a row is missing: %s", row)
			break
		}
	}
	if len(got) != len(want) {
		t.Errorf("there are %d rows, not %d", len(got), len(want))
	}
}

// compact takes the white space out of a row.
func compact(row string) string {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(row)); err != nil {
		return row
	}
	return b.String()
}

// all are the rows of some chunks.
func (s *suite) all(t *testing.T, src source.Source, chunks []source.Planned) []string {
	t.Helper()
	var rows []string
	for i, c := range chunks {
		some, _, err := s.read(t.Context(), src, c.Input)
		if err != nil {
			t.Fatalf("reading chunk %d: %v", i, err)
		}
		rows = append(rows, some...)
	}
	return rows
}

// digest is what a chunk gives: a sum of its bytes, or its rows sorted where
// their order is not promised.
func (s *suite) digest(ctx context.Context, src source.Source, input json.RawMessage) (string, error) {
	in, err := open(ctx, src, input, s.columns)
	if err != nil {
		return "", err
	}
	if in.Relation != "" || in.Unordered {
		rows, err := s.readRows(ctx, in)
		if in.Unordered {
			slices.Sort(rows)
		}
		return fmt.Sprint(rows), errors.Join(err, finish(in))
	}
	sum := xxhash.New()
	n, err := io.Copy(sum, reader(in))
	if err = errors.Join(err, finish(in)); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d bytes, %x, %s %s %v", n, sum.Sum64(), in.Format, in.Compression, in.Structure), nil
}

// openTwice: a chunk gives the same bytes each time, in each process.
func (s *suite) openTwice(t *testing.T) {
	src := s.fresh(t)
	for _, at := range s.sample() {
		first, err := s.digest(t.Context(), src, s.chunks[at].Input)
		if err != nil {
			t.Fatalf("reading chunk %d: %v", at, err)
		}
		for how, other := range map[string]source.Source{"again": src, "by another process": s.fresh(t)} {
			second, err := s.digest(t.Context(), other, s.chunks[at].Input)
			if err != nil {
				t.Fatalf("reading chunk %d %s: %v", at, how, err)
			}
			if first != second {
				t.Fatalf("chunk %d gives\n%.2000s\nand %s\n%.2000s", at, first, how, second)
			}
		}
	}
}

// openLeft: a chunk may be closed before it was read, or in the middle, and is
// opened again as if nothing had happened.
func (s *suite) openLeft(t *testing.T) {
	src := s.fresh(t)
	input := s.chunks[len(s.chunks)/2].Input
	want, err := s.digest(t.Context(), src, input)
	if err != nil {
		t.Fatal(err)
	}
	for _, first := range []int{0, 1, 7} {
		in, err := open(t.Context(), src, input, s.columns)
		if err != nil {
			t.Fatal(err)
		}
		if in.Reader != nil && first > 0 {
			if _, err := io.ReadFull(in.Reader, make([]byte, first)); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("reading %d bytes: %v", first, err)
			}
		}
		if err := in.Close(); err != nil {
			t.Errorf("closing after %d bytes: %v", first, err)
		}
		got, err := s.digest(t.Context(), src, input)
		if err != nil {
			t.Fatalf("reading again after %d bytes: %v", first, err)
		}
		if got != want {
			t.Fatalf("the chunk gives\n%.2000s\nand, once it was left after %d bytes\n%.2000s", want, first, got)
		}
	}
}

// concurrent: one source serves several slots of a worker.
func (s *suite) concurrent(t *testing.T) {
	src := s.fresh(t)
	some := s.sample()
	some = some[:min(len(some), 4)]
	errs := make([]error, len(some))
	var group sync.WaitGroup
	for i, at := range some {
		group.Go(func() {
			alone, err := s.digest(t.Context(), s.fresh(t), s.chunks[at].Input)
			if err == nil {
				var got string
				if got, err = s.digest(t.Context(), src, s.chunks[at].Input); err == nil && got != alone {
					err = fmt.Errorf("it gives\n%.2000s\nand alone\n%.2000s", got, alone)
				}
			}
			errs[i] = err
		})
	}
	again, err := plan(t.Context(), src, nil, s.columns)
	group.Wait()
	if err != nil {
		t.Errorf("planning beside: %v", err)
	} else {
		compare(t, "planned beside", again, s.chunks)
	}
	for i, err := range errs {
		if err != nil {
			t.Errorf("reading chunk %d beside others: %v", some[i], err)
		}
	}
}

// open opens a chunk and checks what Input promises.
func open(ctx context.Context, src source.Source, input json.RawMessage, columns []job.Column) (*source.Input, error) {
	in, err := src.Open(ctx, input, columns)
	if err != nil {
		return nil, fmt.Errorf("opening: %w", err)
	}
	set := 0
	for _, there := range []bool{in.Reader != nil, in.File != nil, in.Relation != ""} {
		if there {
			set++
		}
	}
	switch {
	case in.Close == nil:
		return nil, errors.New("the input has no Close")
	case set != 1:
		err = fmt.Errorf("%d of Reader, File and Relation are set, not one", set)
	case in.Relation == "" && in.Format == "":
		err = errors.New("the input has no format")
	case len(in.Structure) == 0:
		err = errors.New("the input has no structure")
	case in.Bytes < 0:
		err = fmt.Errorf("the input has %d bytes", in.Bytes)
	}
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return in, nil
}

// finish ends an input that was read.
func finish(in *source.Input) error {
	var err error
	if in.Check != nil {
		err = in.Check()
	}
	return errors.Join(err, in.Close())
}

// reader are the bytes of an input that has any, from their start.
func reader(in *source.Input) io.Reader {
	if in.File != nil {
		return io.NewSectionReader(in.File, 0, 1<<62)
	}
	return in.Reader
}
