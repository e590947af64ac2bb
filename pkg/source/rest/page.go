package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"drayage/pkg/job"
)

// parsePath cuts "data.items" into its keys. A dot within a key has a backslash
// before it.
func parsePath(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	const dot = "\x00"
	keys := strings.Split(strings.ReplaceAll(text, `\.`, dot), ".")
	for i, k := range keys {
		keys[i] = strings.ReplaceAll(k, dot, ".")
	}
	if slices.Contains(keys, "") {
		return nil, fmt.Errorf("%q is not a path: a key is empty", text)
	}
	return keys, nil
}

const (
	maxDepth = 512      // of an answer around its records
	maxKeys  = 20       // named in an error
	maxKey   = 60       // bytes of each
	element  = "\x00[]" // stands in a path for the elements of an array
)

// paths are where an answer has what is wanted of it.
type paths struct {
	records       []string
	values        bool // each value of the answer is a record
	cursor, total []string
}

// answer is a page that is being read: record by record, without holding more
// than one of them.
type answer struct {
	dec    *json.Decoder
	want   paths
	stack  []level
	here   []string // path of the value that comes next
	inside bool     // within the array of records
	lines  bool     // each value at the top is a record
	ended  bool
	raw    json.RawMessage // the record, kept for its room

	found  bool             // the records
	count  int              // of records so far
	keys   map[int][]string // those seen on the way to the records, by depth
	kind   string           // of the answer
	cursor json.RawMessage  // nil: absent
	total  json.RawMessage  // nil: absent
	other  string           // what stood in the place of the records
}

type level struct {
	object bool
	key    bool // the next token is a key, or the end
}

func newAnswer(r io.Reader, want paths, lines bool) *answer {
	dec := json.NewDecoder(r)
	dec.UseNumber()
	return &answer{dec: dec, want: want, lines: lines || want.values, keys: map[int][]string{}}
}

// next returns the next record as the server wrote it, or io.EOF after the
// last, when the whole answer was read.
func (a *answer) next() (json.RawMessage, error) {
	for !a.ended {
		if a.inside {
			if a.dec.More() {
				return a.record()
			}
			if _, err := a.dec.Token(); err != nil {
				return nil, early(err)
			}
			a.inside = false
			a.after()
			continue
		}
		if len(a.stack) == 0 && a.lines && a.kind != "array" {
			if !a.dec.More() {
				// More is false at the end, before a stray bracket, and where
				// the bytes can not be read.
				if _, err := a.dec.Token(); err == nil {
					return nil, job.Retryf("the answer is not JSON after record %d", a.count)
				} else if !errors.Is(err, io.EOF) {
					return nil, early(err)
				}
				a.ended, a.found = true, true
				break
			}
			if !a.want.values && a.kind == "" {
				// An array is not a line, but holds the records.
				if first, err := a.first(); err != nil || first {
					if err != nil {
						return nil, err
					}
					continue
				}
			}
			a.kind = "line"
			return a.record()
		}
		if err := a.step(); err != nil {
			return nil, err
		}
	}
	return nil, io.EOF
}

// first looks whether the answer is an array, and enters it.
func (a *answer) first() (array bool, err error) {
	buffered, err := io.ReadAll(io.LimitReader(a.dec.Buffered(), 512))
	if err != nil {
		return false, err
	}
	if trimmed := bytes.TrimLeft(buffered, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '[' {
		return false, nil
	}
	return true, a.step()
}

// record reads one record, valid until the next one.
func (a *answer) record() (json.RawMessage, error) {
	if err := a.dec.Decode(&a.raw); err != nil {
		return nil, early(err)
	}
	a.count++
	if a.raw[0] != '{' {
		return nil, job.Permanentf("record %d is no object but %s", a.count, kindOf(a.raw))
	}
	return a.raw, nil
}

// step reads one token outside the records.
func (a *answer) step() error {
	token, err := a.dec.Token()
	if errors.Is(err, io.EOF) && len(a.stack) == 0 {
		a.ended = true
		if a.kind == "" {
			return job.Retryf("the answer is empty")
		}
		return nil
	}
	if err != nil {
		return early(err)
	}
	if len(a.stack) == 0 && a.kind != "" {
		return job.Retryf("more follows the end of the JSON")
	}
	top := len(a.stack) - 1
	if key, ok := token.(string); ok && top >= 0 && a.stack[top].key {
		a.stack[top].key = false
		if depth := len(a.here); depth <= len(a.want.records) && slices.Equal(a.here, a.want.records[:depth]) && len(a.keys[depth]) <= maxKeys {
			a.keys[depth] = append(a.keys[depth], key)
		}
		a.here = append(a.here, key)
		return nil
	}
	delim, _ := token.(json.Delim)
	switch delim {
	case '{', '[':
		return a.enter(delim == '{')
	case '}', ']':
		if !a.stack[top].object {
			a.here = a.here[:len(a.here)-1]
		}
		a.stack = a.stack[:top]
		a.after()
		return nil
	}
	a.scalar(token)
	a.after()
	return nil
}

// enter begins an object or an array.
func (a *answer) enter(object bool) error {
	kind := "array"
	if object {
		kind = "object"
	}
	if len(a.stack) == 0 {
		a.kind = kind
	}
	if slices.Equal(a.here, a.want.records) {
		if !object {
			a.inside, a.found = true, true
			return nil
		}
		a.other = "an object"
	}
	if slices.Equal(a.here, a.want.cursor) && len(a.want.cursor) > 0 {
		return job.Permanentf("the next cursor at %s is an %s", strings.Join(a.want.cursor, "."), kind)
	}
	if len(a.stack) == maxDepth {
		return job.Permanentf("the answer is nested deeper than %d", maxDepth)
	}
	a.stack = append(a.stack, level{object: object, key: object})
	if !object {
		a.here = append(a.here, element)
	}
	return nil
}

// scalar keeps a value that is wanted.
func (a *answer) scalar(token json.Token) {
	if len(a.stack) == 0 {
		a.kind = "value"
	}
	if slices.Equal(a.here, a.want.records) {
		// Many servers write null for an empty list.
		if a.found = token == nil; !a.found {
			a.other = "a plain value"
		}
	}
	raw, _ := json.Marshal(token) // of what was JSON
	if len(a.want.cursor) > 0 && slices.Equal(a.here, a.want.cursor) {
		a.cursor = raw
	}
	if len(a.want.total) > 0 && slices.Equal(a.here, a.want.total) {
		a.total = raw
	}
}

// after goes on behind a value.
func (a *answer) after() {
	if top := len(a.stack) - 1; top >= 0 && a.stack[top].object {
		a.here = a.here[:len(a.here)-1]
		a.stack[top].key = true
	}
}

// missing is the error of an answer that was read and had no records.
func (a *answer) missing() error {
	if a.found {
		return nil
	}
	at := strings.Join(a.want.records, ".")
	hint := "write records: PATH, the path of the array of records"
	what := "the answer is no array"
	if at != "" {
		what = fmt.Sprintf("there are no records at %q, the answer is of the kind %s", at, a.kind)
		hint = "check records"
		if a.other != "" {
			what = fmt.Sprintf("%q is no array of records but %s", at, a.other)
		}
	} else {
		hint += `, or records: "." where the answer is one record`
	}
	for depth := len(a.want.records); depth >= 0; depth-- {
		if keys := a.keys[depth]; len(keys) > 0 {
			more := ""
			if len(keys) > maxKeys {
				keys, more = keys[:maxKeys], ", …"
			}
			for i, k := range keys {
				keys[i] = k[:min(len(k), maxKey)]
			}
			where := "it has"
			if depth > 0 {
				where = strings.Join(a.want.records[:depth], ".") + " has"
			}
			return job.Permanentf("%s; %s the keys %s%s: %s", what, where, strings.Join(keys, ", "), more, hint)
		}
	}
	return job.Permanentf("%s: %s", what, hint)
}

// early turns the end of the bytes within a value into an error.
func early(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return job.Retryf("the answer ends early: %w", io.ErrUnexpectedEOF)
	}
	return err
}

func kindOf(raw json.RawMessage) string {
	switch raw[0] {
	case '[':
		return "an array"
	case '"':
		return "a text"
	case 'n':
		return "null"
	case 't', 'f':
		return "true or false"
	}
	return "a number"
}
