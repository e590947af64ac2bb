package borders

import (
	"bytes"
	"context"
	"fmt"
	"io"
)

// JSON cuts files of JSON values that follow one another, each over any number
// of lines, as ClickHouse reads them: white space and at most one comma
// between, a semicolon at the end. Rows that are objects may stand in one
// array, whose brackets are in no range. Rows that are arrays may have a
// semicolon in place of the comma, or both.
type JSON struct {
	// Open is the byte that a row begins with: '{', or '[' where rows are
	// arrays.
	Open byte
	// MaxRecord limits a record's length; 0 is the package's limit.
	MaxRecord int64

	w window
}

// NewJSON returns a cutter of the file r of size bytes, with the format of j.
func NewJSON(j JSON, r io.ReaderAt, size int64) *JSON {
	j.w = window{r: r, size: size}
	if j.MaxRecord == 0 {
		j.MaxRecord = MaxRecord
	}
	return &j
}

// Next implements Cutter. It reads every byte from at to the border.
func (j *JSON) Next(ctx context.Context, at Position, want int64) (Range, Position, error) {
	s := jsonScan{open: j.Open, mode: at.Mode, want: max(want, 1), start: -1, end: -1}
	if at.Mode == Rows || at.Mode == Elems {
		s.gap = afterRow
	}
	for pos := at.Offset; pos < j.w.size; {
		if s.depth > 0 && pos-s.record > j.MaxRecord {
			return Range{}, at, tooLong(s.record, j.MaxRecord)
		}
		b, pre, _, err := j.w.load(ctx, pos)
		if err != nil {
			return Range{}, at, err
		}
		done, err := s.block(b[pre:], pos)
		if err != nil {
			return Range{}, at, err
		}
		if done {
			return Range{s.start, s.end}, Position{Offset: s.end, Mode: s.mode}, nil
		}
		pos += int64(len(b) - pre)
	}
	switch {
	case s.depth > 0:
		return Range{}, at, &Error{s.record, "the row that begins here is cut off by the end of the file", "was the file copied whole?"}
	case s.mode == Elems && s.gap < closed:
		return Range{}, at, &Error{j.w.size, "the array has no closing bracket", "was the file copied whole?"}
	case s.marks == 2:
		return Range{}, at, &Error{j.w.size, "the file ends where " + s.expected(), "was the file copied whole?"}
	case s.start < 0:
		return Range{}, at, io.EOF
	}
	return Range{s.start, s.end}, Position{Offset: j.w.size, Mode: Decided}, nil
}

// gap is what was seen since the last row.
type gap uint8

const (
	beforeAny  gap = iota // nothing: a row, or the array's bracket
	inBrackets            // the opening bracket: a row or the closing one
	afterRow              // a row: a comma, a row, or an end
	afterComma            // a comma: a row
	closed                // an end: white space; a semicolon after an array
	sealed                // a semicolon: white space only
)

// jsonScan is the state of one Next between two blocks.
type jsonScan struct {
	open   byte
	mode   Mode
	want   int64
	gap    gap
	marks  int // commas and semicolons since the last row, where rows are arrays
	depth  int
	quoted bool  // in a string
	escape bool  // after a backslash
	record int64 // where the row began
	start  int64 // of the range; -1: no row yet
	end    int64 // of the last whole row
}

// block goes through b, which stands at pos, and reports whether the range is
// complete.
func (s *jsonScan) block(b []byte, pos int64) (bool, error) {
	for i := 0; i < len(b); {
		if s.depth == 0 {
			if err := s.between(b[i], pos+int64(i)); err != nil {
				return false, err
			}
			i++
			continue
		}
		i = s.inside(b, i)
		if s.depth == 0 {
			s.end = pos + int64(i)
			s.gap, s.marks = afterRow, 0
			if s.mode == Fresh {
				s.mode = Rows
			}
			if s.end-s.start >= s.want {
				return true, nil
			}
		}
	}
	return false, nil
}

// class tells the bytes that matter inside a row from the others.
var class = [256]byte{'"': 1, '\\': 2, '{': 3, '[': 3, '}': 4, ']': 4}

// inside goes on inside a row at b[i] and returns the index after the row's
// end, with depth 0, or len(b).
func (s *jsonScan) inside(b []byte, i int) int {
	if s.escape && i < len(b) {
		s.escape = false
		i++
	}
	if s.quoted {
		i = s.text(b, i)
	}
	for i < len(b) {
		k := class[b[i]]
		i++
		if k == 0 {
			continue
		}
		switch k {
		case 1:
			s.quoted = true
			i = s.text(b, i)
		case 2:
			if i == len(b) {
				s.escape = true
				return i
			}
			i++
		case 3:
			s.depth++
		case 4:
			if s.depth--; s.depth == 0 {
				return i
			}
		}
	}
	return i
}

const (
	// shortText is how far a string is searched byte by byte before the
	// machine's wide search pays.
	shortText = 24
	// longText is how far the wide search goes at once: it looks for two bytes
	// one after the other, and must not look far for one when the other is near.
	longText = 1024
)

// text goes on inside a string at b[i], and returns the index after its closing
// quote, or len(b).
func (s *jsonScan) text(b []byte, i int) int {
	for i < len(b) {
		for stop := min(i+shortText, len(b)); i < stop && b[i] != '"' && b[i] != '\\'; {
			i++
		}
		if i == len(b) {
			return i
		}
		if b[i] != '"' && b[i] != '\\' {
			rest := b[i:min(i+longText, len(b))]
			if q := bytes.IndexByte(rest, '"'); q >= 0 {
				rest = rest[:q]
			}
			if e := bytes.IndexByte(rest, '\\'); e >= 0 {
				rest = rest[:e]
			}
			if i += len(rest); i == len(b) {
				return i
			}
			if b[i] != '"' && b[i] != '\\' {
				continue
			}
		}
		if b[i] == '"' {
			s.quoted = false
			return i + 1
		}
		if i += 2; i > len(b) {
			s.escape = true
			return len(b)
		}
	}
	return i
}

// between judges the byte c at pos, outside of all rows.
func (s *jsonScan) between(c byte, pos int64) error {
	switch c {
	case ' ', '\t', '\n', '\r', '\f', '\v':
		return nil
	case s.open:
		if s.gap <= afterComma {
			s.depth, s.record = 1, pos
			if s.start < 0 {
				s.start = pos
			}
			return nil
		}
	case '[':
		if s.gap == beforeAny && s.mode == Fresh {
			s.mode, s.gap = Elems, inBrackets
			return nil
		}
	case ',', ';':
		if s.open == '[' {
			if s.marks++; s.marks <= s.marksAllowed() {
				return nil
			}
			break
		}
		if c == ';' {
			if s.gap == closed || s.mode != Elems && (s.gap == afterRow || s.gap == beforeAny) {
				s.gap = sealed
				return nil
			}
			break
		}
		if s.gap == afterRow {
			s.gap = afterComma
			return nil
		}
	case ']':
		if s.mode == Elems && (s.gap == inBrackets || s.gap == afterRow) {
			s.gap = closed
			return nil
		}
	}
	return &Error{pos, fmt.Sprintf("%q where %s", c, s.expected()), "is the format another one?"}
}

// marksAllowed is how many commas and semicolons the engine passes over where
// rows are arrays.
func (s *jsonScan) marksAllowed() int {
	if s.mode == Fresh {
		return 1
	}
	return 2
}

func (s *jsonScan) expected() string {
	switch row := fmt.Sprintf("a row (%q)", s.open); s.gap {
	case afterRow:
		return "a comma or " + row + " was expected"
	case closed, sealed:
		return "the file should end"
	default:
		return row + " was expected"
	}
}
