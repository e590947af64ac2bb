package quarantine

import (
	"bytes"
	"encoding/binary"
)

// frameCutter cuts what is framed: each record behind its length.
type frameCutter struct {
	matches func([]byte) bool
}

func (c frameCutter) next(b []byte, at int) (span, int, bool) {
	size, n := binary.Uvarint(b[at:])
	if n <= 0 || size > uint64(len(b)-at-n) {
		return span{}, at, false // ours, and never so
	}
	start, end := at+n, at+n+int(size)
	s := span{start: int64(start), end: int64(end)}
	if text := withoutEnd(b[start:end]); len(text) == 0 {
		s.doubt = emptyLine
	} else if c.matches != nil && !c.matches(text) {
		s.doubt = "the record does not match the regular expression"
	}
	return s, end, true
}

// withoutEnd is a record of lines without the end of the last.
func withoutEnd(record []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(record, []byte("\n")), []byte("\r"))
}

// frame is what stands before a record of so many bytes.
func frame(size int64) []byte { return binary.AppendUvarint(nil, uint64(size)) }
