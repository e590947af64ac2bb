package stage

import (
	"bytes"
	"errors"
	"fmt"
)

var errRow = errors.New("the line is not a JSON object of the columns")

// parse finds the values in a row as the engine writes it. It looks no further
// into them than to find where they end.
func (r *Runner) parse(line []byte, into *Record) error {
	if len(line) < 2 || line[0] != '{' || line[len(line)-1] != '}' {
		return errRow
	}
	b := line[1 : len(line)-1]
	for k := 0; len(b) > 0; k++ {
		end := text(b)
		if end < 0 || end >= len(b) || b[end] != ':' {
			return errRow
		}
		var at int
		if k < len(r.in) && bytes.Equal(b[:end], r.layout.keys[r.in[k]]) {
			at = r.in[k]
		} else {
			name, err := unquote(b[:end])
			if err != nil {
				return err
			}
			i, ok := r.layout.index[name]
			if !ok {
				return fmt.Errorf("the key %q is no column", name)
			}
			at = i
		}
		b = b[end+1:]
		if end = value(b); end <= 0 {
			return errRow
		}
		into.values[at] = b[:end:end]
		b = b[end:]
		if len(b) > 0 {
			if b[0] != ',' {
				return errRow
			}
			b = b[1:]
		}
	}
	for _, at := range r.in {
		if into.values[at] == nil {
			return fmt.Errorf("the key %q is missing", r.layout.names[at])
		}
	}
	return nil
}

// text is where the string that b begins with ends, -1 when it is none.
func text(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return -1
	}
	for i := 1; ; {
		at := bytes.IndexByte(b[i:], '"')
		if at < 0 {
			return -1
		}
		i += at
		escapes := 0
		for b[i-1-escapes] == '\\' {
			escapes++
		}
		if i++; escapes%2 == 0 {
			return i
		}
	}
}

// value is where the value that b begins with ends, -1 when it does not.
func value(b []byte) int {
	if len(b) == 0 {
		return -1
	}
	switch b[0] {
	case '"':
		return text(b)
	case '{', '[':
		depth := 0
		for i := 0; i < len(b); i++ {
			switch b[i] {
			case '"':
				n := text(b[i:])
				if n < 0 {
					return -1
				}
				i += n - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
		return -1
	}
	if at := bytes.IndexByte(b, ','); at >= 0 {
		return at
	}
	return len(b)
}
