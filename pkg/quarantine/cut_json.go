package quarantine

import (
	"bytes"
	"encoding/json"
	"fmt"

	"drayage/pkg/job"
)

// jsonCutter cuts JSON values that follow one another: white space, commas and
// semicolons between them, perhaps in one array.
//
// A record that is not JSON is one line: what follows the line is looked at
// anew, so that one bracket too few does not take the records after it along.
type jsonCutter struct {
	open    byte // '{' or '['
	any     bool // any value will do
	columns map[string]bool
	names   int // of columns that must be there; of values, where rows are arrays
	need    []job.Column
	begun   bool
	reread  int
}

func newJSONCutter(open byte, columns []job.Column) *jsonCutter {
	c := &jsonCutter{open: open, columns: map[string]bool{}, need: columns, names: len(columns)}
	for _, col := range columns {
		c.columns[col.Name] = true
	}
	return c
}

func (c *jsonCutter) next(b []byte, at int) (span, int, bool) {
	at = c.between(b, at)
	if at == len(b) {
		return span{}, at, false
	}
	if b[at] != c.open {
		end, after := line(b, at)
		return span{start: int64(at), end: int64(end), doubt: "a JSON row was expected"}, after, true
	}
	end := len(b)
	whole := false
	if c.reread <= rescans*len(b) {
		end, whole = value(b, at)
	}
	body := b[at:end]
	doubt := ""
	switch {
	case !whole:
		doubt = "the JSON row does not end"
	case !json.Valid(body):
		doubt = "not valid JSON"
	default:
		doubt = c.missing(body)
	}
	if !whole || doubt == "not valid JSON" && bytes.IndexByte(body, '\n') >= 0 {
		c.reread += len(body)
		e, after := line(b, at)
		return span{start: int64(at), end: int64(e), doubt: doubt}, after, true
	}
	return span{start: int64(at), end: int64(end), doubt: doubt}, end, true
}

// between skips what stands between records.
func (c *jsonCutter) between(b []byte, at int) int {
	for ; at < len(b); at++ {
		switch b[at] {
		case ' ', '\t', '\n', '\r', '\f', '\v', ',', ';':
		case '[':
			if c.open == '[' || c.begun {
				return at
			}
			c.begun = true
		case ']':
			// The end of the array, with nothing but white space behind.
			if c.open == '[' || len(bytes.Trim(b[at+1:], " \t\r\n;")) > 0 {
				return at
			}
		default:
			c.begun = true
			return at
		}
	}
	return at
}

// value is the end of the object or array that begins at b[at], and whether
// there is one.
func value(b []byte, at int) (int, bool) {
	depth := 0
	for i := at; i < len(b); i++ {
		switch b[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1, true
			}
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		}
	}
	return len(b), false
}

// missing says what a valid row lacks, or has too much.
func (c *jsonCutter) missing(body []byte) string {
	if c.any {
		return ""
	}
	if c.open == '[' {
		var values []json.RawMessage
		if json.Unmarshal(body, &values) == nil && len(values) != c.names {
			return fmt.Sprintf("%d values, %d are expected", len(values), c.names)
		}
		return ""
	}
	var keys map[string]json.RawMessage
	if json.Unmarshal(body, &keys) != nil {
		return ""
	}
	for k := range keys {
		if !c.columns[k] {
			return fmt.Sprintf("the key %q is no column", k)
		}
	}
	if len(keys) < c.names {
		for _, col := range c.need {
			if _, ok := keys[col.Name]; !ok && !nullable(col.Type) {
				return fmt.Sprintf("the key %q is missing", col.Name)
			}
		}
	}
	return ""
}
