package quarantine

import (
	"bytes"
	"fmt"
)

// csvCutter cuts as ClickHouse reads CSV: a quote opens only at the start of a
// field, two quotes inside are one, and a record ends at a newline outside
// quotes, to which a carriage return after it belongs.
//
// A record whose quotes do not fit is one line: what follows the line is looked
// at anew, so that one quote too many does not take the records after it along.
type csvCutter struct {
	delimiter byte
	quote     byte // 0: none
	space     bool // blanks before a quote are text
	fields    int  // 0: not counted
	reread    int
}

func (c *csvCutter) next(b []byte, at int) (span, int, bool) {
	if at >= len(b) {
		return span{}, at, false
	}
	s := span{start: int64(at)}
	i, fields := at, 0
	for {
		fields++
		j := i
		for !c.space && j < len(b) && (b[j] == ' ' || b[j] == '\t') && b[j] != c.delimiter {
			j++
		}
		if c.quote != 0 && j < len(b) && b[j] == c.quote && c.reread <= rescans*len(b) {
			j = c.closing(b, j+1)
			if j < 0 {
				return c.broken(b, at, len(b), "a quote is not closed")
			}
			for j < len(b) && (b[j] == ' ' || b[j] == '\t' || b[j] == '\r') && b[j] != c.delimiter {
				j++
			}
			if j < len(b) && b[j] != c.delimiter && b[j] != '\n' {
				return c.broken(b, at, j, "text after a closing quote")
			}
			i = j
		} else {
			for i < len(b) && b[i] != c.delimiter && b[i] != '\n' {
				i++
			}
		}
		if i == len(b) || b[i] == '\n' {
			break
		}
		i++
	}
	s.end = int64(i)
	after := min(i+1, len(b))
	if after < len(b) && b[after] == '\r' && b[i-min(i, 1)] != '\r' {
		after++
	}
	text := bytes.TrimSuffix(b[at:i], []byte("\r"))
	// The engine allows a delimiter at the end of a record.
	if fields == c.fields+1 && len(text) > 0 && text[len(text)-1] == c.delimiter {
		fields--
	}
	switch {
	case len(text) == 0:
		s.doubt = emptyLine
	case c.fields > 0 && fields != c.fields:
		s.doubt = fmt.Sprintf("%d fields, %d are expected", fields, c.fields)
	}
	return s, after, true
}

// closing is the index after the quote that closes, or -1.
func (c *csvCutter) closing(b []byte, i int) int {
	for i < len(b) {
		q := bytes.IndexByte(b[i:], c.quote)
		if q < 0 {
			return -1
		}
		i += q + 1
		if i == len(b) || b[i] != c.quote {
			return i
		}
		i++
	}
	return -1
}

// broken is the line at b[at], whose quotes do not fit. Read alone, it might
// look as if its quote were closed by the end of the input.
func (c *csvCutter) broken(b []byte, at, seen int, why string) (span, int, bool) {
	c.reread += seen - at
	end, after := line(b, at)
	return span{start: int64(at), end: int64(end), doubt: why, broken: true}, after, true
}
