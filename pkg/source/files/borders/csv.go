package borders

import (
	"bytes"
	"context"
	"io"
)

// CSV cuts as ClickHouse reads CSV: a quote opens only at the start of a field
// (spaces and tabs before it are skipped), two quotes inside are one, a quote
// elsewhere is a letter, and a row ends at a newline outside quotes, to which
// one carriage return after it belongs.
type CSV struct {
	// Delimiter separates fields.
	Delimiter byte
	// Quote may quote a field; 0 when nothing does.
	Quote byte
	// SpaceIsText is true when spaces and tabs before a quote are not skipped,
	// as when one of them is the delimiter.
	SpaceIsText bool
	// JoinBlank makes blank lines belong to the range before them, for
	// readers that skip the blank lines at the end of what they are given.
	JoinBlank bool
	// MaxRecord limits a record's length; 0 is the package's limit.
	MaxRecord int64

	w window
}

// NewCSV returns a cutter of the file r of size bytes, with the format of c.
func NewCSV(c CSV, r io.ReaderAt, size int64) *CSV {
	c.w = window{r: r, size: size}
	if c.MaxRecord == 0 {
		c.MaxRecord = MaxRecord
	}
	return &c
}

// Next implements Cutter. It reads every byte from at to the border, and where
// nothing quotes only those around the border: none before them matters.
func (c *CSV) Next(ctx context.Context, at Position, want int64) (Range, Position, error) {
	if at.Offset >= c.w.size {
		return Range{}, at, io.EOF
	}
	s := csvScan{c: c, target: at.Offset + max(want, 1), pos: at.Offset, here: fieldStart}
	if c.Quote == 0 {
		// Two back: the line's end may have a CR after its LF.
		s.pos = min(max(at.Offset, s.target-2), c.w.size)
	}
	for s.end == 0 {
		if s.pos > s.target+c.MaxRecord {
			return Range{}, at, s.tooLong()
		}
		b, pre, last, err := c.w.load(ctx, s.pos)
		if err != nil {
			return Range{}, at, err
		}
		if err := s.block(b, pre, last); err != nil {
			return Range{}, at, err
		}
	}
	return Range{at.Offset, s.end}, Position{Offset: s.end}, nil
}

// csvScan is the state of one Next between two blocks.
type csvScan struct {
	c      *CSV
	target int64 // the border is the first at or after it
	pos    int64 // everything before was seen
	quoted bool  // pos is in a quoted field
	opened int64 // where its quote is
	here   place // of pos, outside quotes
	end    int64 // the border, once it is found
}

// block goes through b, whose first pre bytes were seen before, and moves pos.
// What can not be judged without the bytes after b is left for the next block.
func (s *csvScan) block(b []byte, pre int, last bool) error {
	base := s.pos - int64(pre) // the offset of b[0]
	i := pre
	for i < len(b) {
		if s.quoted {
			i += s.closing(b[i:])
			if i == len(b) || i+1 == len(b) && !last {
				break // is it doubled? the next block tells
			}
			if i+1 < len(b) && b[i+1] == s.c.Quote {
				i += 2
				continue
			}
			i++
			s.quoted, s.here = false, inField
			// Mostly a delimiter and a quote follow, or the next line's quote.
			if i+1 < len(b) && b[i+1] == s.c.Quote &&
				(b[i] == s.c.Delimiter || b[i] == '\n' && base+int64(i)+1 < s.target) {
				i++
				s.quoted, s.opened = true, base+int64(i)
				i++
			}
			continue
		}
		q := s.nextQuote(b[i:])
		if base+int64(i+q)+1 >= s.target {
			// Two back: the line's end may have a CR after its LF.
			from := max(i, int(s.target-base)-2)
			if done, wait := s.border(b, base, from, i+q, last); done {
				return nil
			} else if wait >= 0 {
				s.here = inField // at a newline
				i = wait
				break
			}
		}
		s.here = s.place(b, i, i+q)
		if i += q; i == len(b) {
			break
		}
		switch s.here {
		case fieldStart:
			s.quoted, s.opened = true, base+int64(i)
		case eitherWay:
			return &Error{base + int64(i), "a quote after CR LF CR",
				"ClickHouse reads it in two ways; end lines with LF or CRLF"}
		}
		s.here = inField
		i++
	}
	s.pos = base + int64(i)
	if !last || i < len(b) {
		return nil
	}
	if s.quoted {
		return &Error{s.opened, "the quote that opens here is never closed", "everything after it would be one value"}
	}
	s.end = s.c.w.size
	return nil
}

// shortField is how far a quote is searched byte by byte before the machine's
// wide search pays.
const shortField = 16

// closing is the index of the next quote in b, or its length.
func (s *csvScan) closing(b []byte) int {
	for i, c := range b[:min(shortField, len(b))] {
		if c == s.c.Quote {
			return i
		}
	}
	if len(b) > shortField {
		if i := bytes.IndexByte(b[shortField:], s.c.Quote); i >= 0 {
			return shortField + i
		}
	}
	return len(b)
}

// nextQuote is the index of the first quote in b, or its length.
func (s *csvScan) nextQuote(b []byte) int {
	if s.c.Quote != 0 {
		if i := bytes.IndexByte(b, s.c.Quote); i >= 0 {
			return i
		}
	}
	return len(b)
}

// border looks for the border in the unquoted bytes b[from:to]. When a newline
// there can not be judged without what follows b, wait is its index, else -1.
func (s *csvScan) border(b []byte, base int64, from, to int, last bool) (done bool, wait int) {
	for {
		j := bytes.IndexByte(b[from:to], '\n')
		if j < 0 {
			return false, -1
		}
		n := from + j
		if n+2 >= len(b) && !last {
			return false, n
		}
		end := n + 1
		if end < len(b) && b[end] == '\r' {
			if n > 0 && b[n-1] == '\r' {
				// After CRLF the engine takes a further CR for part of the
				// line's end or of the next field, depending on the type of
				// the last column. No cut here.
				from = n + 1
				continue
			}
			end++
		}
		if s.c.JoinBlank && end < len(b) && (b[end] == '\n' || b[end] == '\r') {
			from = n + 1
			continue
		}
		if e := base + int64(end); e >= s.target {
			s.end = e
			return true, -1
		}
		from = n + 1
	}
}

// place says what a quote at b[k] would be, where b[lo:k] is unquoted and
// s.here answers for lo.
func (s *csvScan) place(b []byte, lo, k int) place {
	if !s.c.SpaceIsText {
		for k > lo && (b[k-1] == ' ' || b[k-1] == '\t') && b[k-1] != s.c.Delimiter {
			k--
		}
	}
	if k == lo {
		return s.here
	}
	switch b[k-1] {
	case s.c.Delimiter, '\n':
		return fieldStart
	case '\r':
		// The CR of LF CR ends the line; any other is a field's first letter.
		if k < 2 || b[k-2] != '\n' {
			return inField
		}
		if k > 2 && b[k-3] == '\r' {
			return eitherWay
		}
		return fieldStart
	}
	return inField
}

// place is what a quote would be somewhere outside quotes.
type place uint8

const (
	inField    place = iota // a letter
	fieldStart              // the opening of a field
	eitherWay               // one or the other, depending on the column before
)

func (s *csvScan) tooLong() error {
	if !s.quoted {
		return tooLong(s.target, s.c.MaxRecord)
	}
	e := tooLong(s.opened, s.c.MaxRecord)
	e.Msg = "the field whose quote opens here does not end; " + e.Msg
	return e
}
