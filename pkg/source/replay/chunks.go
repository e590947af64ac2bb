package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// List calls fn with the chunks to load again whose ordinal in the other job is
// from or more, in ascending order, and stops at fn's first error, which it
// returns as it is. It holds no more than a bounded part of them in memory, and
// gives the same chunks each time.
type List func(ctx context.Context, from uint64, fn func(ordinal uint64, input json.RawMessage, bytes int64) error) error

// Chunks is a source of chunks of another job that had the same source. It
// plans those of a list; all else is done by the source itself.
type Chunks struct {
	source.Source
	list List
}

// New returns the source of the chunks that list gives, which inner opens.
func New(inner source.Source, list List) *Chunks { return &Chunks{inner, list} }

var (
	_ source.Source   = (*Chunks)(nil)
	_ source.Splitter = (*Chunks)(nil)
	_ source.Counter  = (*Chunks)(nil)
	_ source.Locator  = (*Chunks)(nil)
)

// Plan implements source.Source: the chunks of the list, each an input of its
// own.
func (c *Chunks) Plan(ctx context.Context, from json.RawMessage, _ []job.Column) iter.Seq2[source.Planned, error] {
	return func(yield func(source.Planned, error) bool) {
		at, first, err := begin(from)
		if err == nil {
			err = c.list(ctx, first, func(ordinal uint64, input json.RawMessage, bytes int64) error {
				next, err := at.advance(ordinal)
				if err != nil {
					return err
				}
				if !yield(source.Planned{Input: input, Cursor: next, Bytes: bytes, Inputs: at.Count}, nil) {
					return errStop
				}
				return nil
			})
		}
		if err != nil && !errors.Is(err, errStop) {
			yield(source.Planned{}, fmt.Errorf("listing the chunks to load again: %w", err))
		}
	}
}

// Size implements source.Source: the bytes of all chunks of the list, 0 when
// they can not be listed.
func (c *Chunks) Size(ctx context.Context) int64 {
	var total int64
	err := c.list(ctx, 0, func(_ uint64, _ json.RawMessage, bytes int64) error {
		total += bytes
		return nil
	})
	if err != nil {
		return 0
	}
	return total
}

// Split implements source.Splitter where the inner source does, and returns
// source.ErrWhole where it does not.
func (c *Chunks) Split(ctx context.Context, input json.RawMessage, columns []job.Column) ([]job.Part, error) {
	if s, ok := c.Source.(source.Splitter); ok {
		return s.Split(ctx, input, columns)
	}
	return nil, job.WithClass(source.ErrWhole, job.Permanent)
}

// Count implements source.Counter where the inner source does, and returns
// errors.ErrUnsupported where it does not.
func (c *Chunks) Count(ctx context.Context, eng source.Querier, input json.RawMessage, columns []job.Column) (uint64, error) {
	if s, ok := c.Source.(source.Counter); ok {
		return s.Count(ctx, eng, input, columns)
	}
	return 0, job.Permanentf("counting the records of a chunk: %w", errors.ErrUnsupported)
}

// Locate implements source.Locator where the inner source does, and returns
// errors.ErrUnsupported where it does not.
func (c *Chunks) Locate(input json.RawMessage) (source.Location, error) {
	if s, ok := c.Source.(source.Locator); ok {
		return s.Locate(input)
	}
	return source.Location{}, job.Permanentf("locating a chunk: %w", errors.ErrUnsupported)
}
