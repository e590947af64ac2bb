package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"

	"drayage/pkg/job"
)

// Steps is a plan that is made one chunk at a time from a cursor of the type C
// alone, as that of a table is whose server is asked for each border.
type Steps[C any] struct {
	// Name is what is planned, for errors.
	Name string
	// Done reports whether nothing comes after a cursor.
	Done func(at *C) bool
	// Next plans the chunk after at, and moves at behind it; begun is false for
	// the first of all. piece is encoded as the chunk's input. Nothing found ends
	// the plan.
	Next func(ctx context.Context, at *C, begun bool) (piece any, bytes int64, found bool, err error)
}

// maxSteps bounds the encoded piece and cursor of a chunk together.
const maxSteps = 3 << 10

// Plan is what Source.Plan returns.
func (s Steps[C]) Plan(ctx context.Context, from json.RawMessage) iter.Seq2[Planned, error] {
	return func(yield func(Planned, error) bool) {
		var at C
		begun := len(from) > 0
		if begun {
			if err := json.Unmarshal(from, &at); err != nil {
				yield(Planned{}, job.Permanentf("%s: the cursor of a plan does not parse: %w", s.Name, err))
				return
			}
		}
		for !s.Done(&at) {
			piece, size, found, err := s.Next(ctx, &at, begun)
			begun = true
			if err == nil && !found {
				return
			}
			var p Planned
			if err == nil {
				p, err = s.planned(piece, at, size)
			}
			if err != nil {
				yield(Planned{}, err)
				return
			}
			if !yield(p, nil) {
				return
			}
		}
	}
}

func (s Steps[C]) planned(piece any, at C, size int64) (Planned, error) {
	input, err1 := compact(piece)
	next, err2 := compact(at)
	if err := errors.Join(err1, err2); err != nil {
		return Planned{}, err
	}
	if len(input)+len(next) > maxSteps {
		return Planned{}, job.Permanentf("%s: its key is too long for a chunk's description of %d bytes: name another key", s.Name, maxSteps)
	}
	return Planned{Input: input, Cursor: next, Bytes: size, Inputs: 1}, nil
}

// compact encodes without the escapes for HTML, which are six times as long.
func compact(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
