package quarantine

import (
	"bytes"
	"fmt"
)

// lineCutter cuts at newlines; with escapes not at those that a backslash
// escapes.
type lineCutter struct {
	escapes bool
	fields  int // separated by tabs; 0: not counted
	matches func([]byte) bool
}

func (c *lineCutter) next(b []byte, at int) (span, int, bool) {
	if at >= len(b) {
		return span{}, at, false
	}
	end, tabs := len(b), 0
	after := len(b)
scan:
	for i := at; i < len(b); i++ {
		switch b[i] {
		case '\n':
			end, after = i, i+1
			break scan
		case '\t':
			tabs++
		case '\\':
			if c.escapes {
				i++
				if i < len(b) && b[i] == 'x' {
					i += 2
				}
			}
		}
	}
	s := span{start: int64(at), end: int64(end)}
	if trimmed := bytes.TrimSuffix(b[at:end], []byte("\r")); len(trimmed) == 0 {
		s.doubt = emptyLine
	} else if c.fields > 0 && tabs+1 != c.fields {
		s.doubt = fmt.Sprintf("%d fields, %d are expected", tabs+1, c.fields)
	} else if c.matches != nil && !c.matches(trimmed) {
		s.doubt = "the line does not match the regular expression"
	}
	return s, after, true
}
