// Package borders finds where records end in files that ClickHouse reads, so
// that a file can be cut into ranges of whole records. A range that starts and
// ends at borders, read on its own, gives the engine the rows it would have
// read there in the whole file.
//
// Where the text is such that no reading of it is certain (a quote that is
// never closed, an array without its end), the answer is an error with an
// offset, never a guess.
package borders

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// MaxRecord is the default limit on the length of one record, in bytes. Input
// with a longer one is refused: it is nearly always a quote that is not closed.
const MaxRecord = 256 << 20

// blockSize is how much of a file is in memory during a scan. It is large
// enough for the cost of a read to vanish, and small enough for the processor's
// second-level cache.
const blockSize = 256 << 10

// Range is a run of whole records: the bytes [Start, End) of a file.
type Range struct {
	Start, End int64
}

// Position is where a scan goes on. The zero Position is the start of the file;
// any other comes from Next or from At.
type Position struct {
	Offset int64 `json:"o"`
	Mode   Mode  `json:"m,omitempty"`
}

// Mode is what a JSON file looked like so far; the other formats need none.
type Mode uint8

// The modes of a Position.
const (
	Fresh   Mode = iota // no record was read yet
	Rows                // after a record, outside of an array
	Elems               // after a record of a top-level array
	Decided             // the file is known to have no further record
)

// Cutter cuts one file.
type Cutter interface {
	// Next returns the range that starts with the first record at or after
	// at, and ends at the first border that makes it at least want bytes
	// long, or with the last record. The position it returns is where the
	// next range is to be looked for; it depends on the file and at alone.
	// It returns io.EOF when no record is left, and an *Error when the text
	// can not be cut. Its memory is bounded.
	Next(ctx context.Context, at Position, want int64) (Range, Position, error)
}

// Error says why a file can not be cut.
type Error struct {
	Offset int64  // where in the file, from 0
	Msg    string // what is wrong there
	Hint   string // what to do about it
}

func (e *Error) Error() string {
	s := fmt.Sprintf("at byte %d: %s", e.Offset, e.Msg)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// window is a file seen through one block, with a few bytes before the place
// that was asked for.
type window struct {
	r    io.ReaderAt
	size int64
	step int // of tests; 0 is blockSize
	buf  []byte
}

// lookBack is how many bytes before its place a window holds, where the file
// has them.
const lookBack = 4

// load reads the block at pos. b begins with pre bytes that stand before pos;
// last says that b reaches the end of the file.
func (w *window) load(ctx context.Context, pos int64) (b []byte, pre int, last bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, false, err
	}
	if w.buf == nil {
		n := blockSize
		if w.step > 0 {
			n = w.step
		}
		w.buf = make([]byte, min(w.size, int64(n))+lookBack)
	}
	pre = int(min(pos, lookBack))
	n := min(int64(len(w.buf)), w.size-pos+int64(pre))
	b = w.buf[:n]
	if got, err := w.r.ReadAt(b, pos-int64(pre)); got < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			// The file became shorter: the version check will say so; here it
			// must not look like the end.
			err = io.ErrUnexpectedEOF
		}
		return nil, 0, false, fmt.Errorf("reading at byte %d: %w", pos, err)
	}
	return b, pre, pos-int64(pre)+n == w.size, nil
}

func tooLong(at, limit int64) *Error {
	return &Error{at, fmt.Sprintf("a record is longer than %d bytes", limit),
		"is a quote not closed, or is the format another one?"}
}
