package borders

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// MaxBegin is how much of a line Multiline.Begin is compared with, in bytes.
const MaxBegin = 4 << 10

// Multiline cuts files whose records are one or more lines: a line that Begin
// matches begins one, the lines after it that it does not match belong to it.
// The first line of a file begins a record whatever it is. It reads only around
// a border: no line before changes what begins a record.
type Multiline struct {
	Begin *regexp.Regexp
	// MaxRecord limits how far behind its place a border is looked for; 0 is the
	// package's limit.
	MaxRecord int64

	r    io.ReaderAt
	size int64
}

// NewMultiline returns a cutter of the file r of size bytes, with the format of m.
func NewMultiline(m Multiline, r io.ReaderAt, size int64) *Multiline {
	m.r, m.size = r, size
	if m.MaxRecord == 0 {
		m.MaxRecord = MaxRecord
	}
	return &m
}

// Next implements Cutter.
func (m *Multiline) Next(ctx context.Context, at Position, want int64) (Range, Position, error) {
	if at.Offset >= m.size {
		return Range{}, at, io.EOF
	}
	target := at.Offset + max(want, 1)
	end := m.size
	if target < m.size {
		var err error
		if end, err = m.begin(ctx, target); err != nil {
			return Range{}, at, err
		}
	}
	return Range{at.Offset, end}, Position{Offset: end}, nil
}

// begin is where the first record begins at target or later, or the end.
func (m *Multiline) begin(ctx context.Context, target int64) (int64, error) {
	lines := bufio.NewReaderSize(io.NewSectionReader(m.r, target-1, m.size-target+1), blockSize)
	pos := target - 1 // of what lines gives next
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		rest, err := lines.ReadSlice('\n') // of a line, or a part of one
		pos += int64(len(rest))
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && pos >= m.size:
			return m.size, nil
		case errors.Is(err, io.EOF):
			// The file became shorter, which must not look like its end.
			return 0, fmt.Errorf("reading at byte %d: %w", pos, io.ErrUnexpectedEOF)
		case err != nil:
			return 0, fmt.Errorf("reading at byte %d: %w", pos, err)
		default:
			head, err := lines.Peek(MaxBegin + 1)
			if err != nil && !errors.Is(err, io.EOF) {
				return 0, fmt.Errorf("reading at byte %d: %w", pos, err)
			}
			if err == nil || pos+int64(len(head)) == m.size {
				if len(head) == 0 || Begins(m.Begin, head) {
					return pos, nil
				}
			}
		}
		if pos > target+m.MaxRecord {
			return 0, &Error{target, fmt.Sprintf("no record begins in the %d bytes behind it", m.MaxRecord),
				"does multiline.begin match the first line of each record?"}
		}
	}
}

// Begins reports whether b, which begins with a line, begins a record. It needs
// the whole line or MaxBegin+1 bytes of it, and looks at no more.
func Begins(begin *regexp.Regexp, b []byte) bool {
	b = b[:min(len(b), MaxBegin+1)]
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[:i]
	} else if len(b) > MaxBegin {
		return begin.Match(b[:MaxBegin])
	}
	return begin.Match(bytes.TrimSuffix(b, []byte("\r")))
}
