package borders

import (
	"bytes"
	"context"
	"io"
)

// Lines cuts files whose records end with a newline. It looks only at the
// bytes around a border: nothing before can change what a newline means.
type Lines struct {
	// Escapes is true for the TSV family, where a newline that a backslash
	// escapes belongs to the value.
	Escapes bool
	// JoinBlank makes blank lines belong to the range before them, for
	// readers that skip the blank lines at the end of what they are given.
	JoinBlank bool
	// MaxRecord limits a record's length; 0 is the package's limit.
	MaxRecord int64

	w window
}

// NewLines returns a cutter of the file r of size bytes, with the format of l.
func NewLines(l Lines, r io.ReaderAt, size int64) *Lines {
	l.w = window{r: r, size: size}
	if l.MaxRecord == 0 {
		l.MaxRecord = MaxRecord
	}
	return &l
}

// Next implements Cutter.
func (l *Lines) Next(ctx context.Context, at Position, want int64) (Range, Position, error) {
	if at.Offset >= l.w.size {
		return Range{}, at, io.EOF
	}
	target := at.Offset + max(want, 1)
	end := l.w.size
	for pos := target - 1; pos < l.w.size; {
		if pos > target+l.MaxRecord {
			return Range{}, at, tooLong(target, l.MaxRecord)
		}
		b, pre, last, err := l.w.load(ctx, pos)
		if err != nil {
			return Range{}, at, err
		}
		base := pos - int64(pre)
		n := bytes.IndexByte(b[pre:], '\n')
		if n < 0 {
			pos = base + int64(len(b))
			continue
		}
		n += pre
		if n+1 == len(b) && !last && n > pre {
			pos = base + int64(n) // the byte after it decides
			continue
		}
		pos = base + int64(n) + 1
		if l.JoinBlank && n+1 < len(b) && (b[n+1] == '\n' || b[n+1] == '\r') {
			continue
		}
		if l.Escapes {
			escaped, err := l.escaped(ctx, b[:n], base, at.Offset)
			if err != nil {
				return Range{}, at, err
			}
			if escaped {
				continue
			}
		}
		end = pos
		break
	}
	return Range{at.Offset, end}, Position{Offset: end}, nil
}

// longestEscape is the length of \xHH, the longest escape sequence: bytes
// further back than that can not reach a newline.
const longestEscape = 4

// escaped reports whether an escape sequence in b, which stands at base and is
// followed by a newline, takes that newline. Nothing before start matters.
func (l *Lines) escaped(ctx context.Context, b []byte, base, start int64) (bool, error) {
	lo := max(0, int(start-base))
	if b := b[lo:]; bytes.IndexByte(b[max(0, len(b)-longestEscape+1):], '\\') < 0 && len(b) >= longestEscape-1 {
		return false, nil
	}
	// Go back to a place where no sequence can be open, then read forward.
	w := window{r: l.w.r, size: l.w.size}
	end := base + int64(len(b))
	for back := int64(64); ; back *= 8 {
		from := max(start, end-back)
		buf := make([]byte, end-from)
		if _, err := w.r.ReadAt(buf, from); err != nil && err != io.EOF {
			return false, err
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		i, synced := 0, from == start
		for run := 0; !synced && i < len(buf); i++ {
			if buf[i] == '\\' {
				run = 0
				continue
			}
			if run++; run == longestEscape-1 {
				synced = true
			}
		}
		if synced {
			return takesNext(buf[i:]), nil
		}
		if back > l.MaxRecord {
			return false, tooLong(from, l.MaxRecord)
		}
	}
}

// takesNext reads b from a place where no escape sequence is open, and reports
// whether one is open at its end.
func takesNext(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 {
			return false
		}
		n := 2
		if i+1 < len(b) && b[i+1] == 'x' {
			n = longestEscape
		}
		if i+n > len(b) {
			return true
		}
		b = b[i+n:]
	}
}
