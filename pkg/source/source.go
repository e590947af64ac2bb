// Package source says what a source of data is: something that can be cut into
// chunks, and whose chunks can be opened as bytes in a ClickHouse input format.
// One sub-package holds each kind of source.
package source

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"os"

	"drayage/pkg/job"
)

// Errors that sources return, marked job.Permanent.
var (
	// ErrChanged: the input is not the one the chunk was planned from.
	ErrChanged = errors.New("input changed since it was planned")
	// ErrGone: the input does not exist any more.
	ErrGone = errors.New("input is gone")
	// ErrWhole: the input of a chunk can not be cut any further.
	ErrWhole = errors.New("input can not be cut any further")
	// ErrNoRecords: the input has no text of which parts are records.
	ErrNoRecords = errors.New("input has no raw records")
)

// Seats bounds the connections to a server across all workers and jobs. A
// source takes a seat before it connects, for each connection, and gives it back
// once that is closed. The call waits for a free seat until ctx ends. The context
// that it returns ends when the seat is lost, or with ctx: the connection must be
// closed then.
type Seats func(ctx context.Context) (held context.Context, release func(), err error)

// Take takes a seat; nil bounds nothing.
func (s Seats) Take(ctx context.Context) (held context.Context, release func(), err error) {
	if s == nil {
		return ctx, func() {}, nil
	}
	return s(ctx)
}

// Engine is what a source asks of the ClickHouse engine: the columns of a
// query or table function.
type Engine interface {
	// Describe returns the columns of `DESCRIBE TABLE <relation>`, where
	// relation is a table function or a parenthesised SELECT.
	Describe(ctx context.Context, relation string, settings map[string]string) ([]job.Column, error)
}

// Source is an extraction that can be cut into chunks. Its methods may be
// called concurrently. A Source holds no connection and no file between calls.
type Source interface {
	// Columns returns the columns of the source: the declared ones, checked
	// against the first input where the input names its columns, or those
	// the engine infers from the first input. An input that is empty or
	// absent is an error here, so that it is reported before anything runs;
	// it is marked job.Permanent where trying again can not help.
	Columns(ctx context.Context, eng Engine) ([]job.Column, error)

	// Plan yields the chunks that come after cursor (nil: from the start) in
	// an order that depends on the inputs alone. It reads ahead by at most
	// one chunk, holds memory that does not grow with the number of chunks,
	// and stops at the first error, which it yields last.
	Plan(ctx context.Context, cursor json.RawMessage, columns []job.Column) iter.Seq2[Planned, error]

	// Open opens the chunk that Plan described by input. Opening it twice
	// gives the same bytes, or ErrChanged; for an Unordered Input the same rows,
	// as far as the server that they come from does not change meanwhile.
	Open(ctx context.Context, input json.RawMessage, columns []job.Column) (*Input, error)

	// Size estimates the bytes of the whole input for the progress bar, 0
	// when that can not be told cheaply.
	Size(ctx context.Context) int64
}

// Splitter is a Source that can cut a chunk which is too big for one attempt.
type Splitter interface {
	// Split cuts a chunk into two or more parts that replace it: opened in
	// their order, they give every record of the chunk once, in its order, and
	// nothing else. The parts depend on the chunk alone. It returns ErrWhole
	// when the chunk is too small to be cut, or can not be, and ErrChanged or
	// ErrGone as Open does.
	Split(ctx context.Context, input json.RawMessage, columns []job.Column) ([]job.Part, error)
}

// Querier is what a Counter asks of the ClickHouse engine.
type Querier interface {
	// CountRows returns what `SELECT count() FROM <relation>` returns, where
	// relation is a table function. An error carries the class that it has for
	// a chunk.
	CountRows(ctx context.Context, relation string, settings map[string]string) (uint64, error)
}

// Counter is a Source that can say how many records a chunk has without
// loading it.
type Counter interface {
	// Count returns the number of records of a chunk as the engine counts
	// them, values unread: a record that would be rejected counts. It returns
	// ErrChanged or ErrGone when the input is not the one that was planned,
	// also when that happens meanwhile. Its memory is bounded.
	Count(ctx context.Context, eng Querier, input json.RawMessage, columns []job.Column) (uint64, error)
}

// Planned is a chunk as a source plans it.
type Planned struct {
	Input  json.RawMessage // for Open; with Job's fields below job.MaxDescriptor
	Cursor json.RawMessage // for Plan: go on after this chunk
	Bytes  int64           // of input, as stored
	Inputs uint64          // files, tables, … begun up to and including this chunk
}

// FileRange is a Reader over a range of a regular file. Who can move the bytes
// without reading them may do so, and skips what it moved.
type FileRange interface {
	io.Reader
	Range() (file *os.File, start, end int64) // what is left to read
	Skip(n int64)                             // n bytes, at most end-start
}

// Input is an open chunk: bytes in a format that the engine reads, or rows that
// it fetches itself. Exactly one of Reader, File and Relation is set.
type Input struct {
	Reader io.Reader // read once, front to back
	File   *os.File  // a regular (or memory) file that the engine reads from its start by itself
	// Relation is a table function or a SELECT in parentheses, whose rows have
	// the columns of Structure under their names and types. Each time it is read
	// it gives the same rows.
	Relation string

	Format      string            // a ClickHouse input format; of a Relation none
	Compression string            // of File: "none", "gzip", "zstd", …, as file() takes it
	Structure   []job.Column      // the columns in the order of the bytes
	Settings    map[string]string // engine settings that the format needs
	Bytes       int64             // of input, as stored

	// Pattern, of the format LineAsString, is a regular expression (RE2) that
	// takes each record apart: its groups are the columns of Structure. A record
	// that does not match it as a whole is to be rejected.
	Pattern string
	// Framed, of the format LineAsString, says that a record may be several
	// lines: each stands behind its length, as RowBinary writes a String, with
	// the end of its last line.
	Framed bool

	// Unordered says that the same rows may come in another order when the chunk
	// is opened again, as those of a database do.
	Unordered bool

	// Cut says that Reader is a range of a larger input that was cut at the
	// borders of its records, so that no quote is open at its end.
	Cut bool

	// Doubt, when it is not empty, says why the planner could not cut the
	// input at the borders of its records: the engine may take broken bytes
	// for values, so each record is to be looked at before any is loaded.
	Doubt string

	// Check is called once the bytes were read and before anything is
	// loaded. It returns ErrChanged when the input changed meanwhile.
	Check func() error
	// Close frees what Open took. It may be called at any time, once.
	Close func() error
}
