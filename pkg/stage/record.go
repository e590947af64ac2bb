package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Record is a row: a JSON value for each column, as text. What a stage does not
// touch is passed on byte for byte, so nothing of it is lost: no digit of a
// UInt64 or a Decimal, and no byte of a String that is not UTF-8.
//
// The values are as ClickHouse writes them in JSON: integers of 64 bits and
// more, and decimals, as text in quotes, also within arrays and tuples; times
// as 2026-01-31T12:00:00Z, in UTC, dates as 2026-01-31; Array as an array, Map
// and Tuple with names as an object. Set takes numbers with or without quotes.
type Record struct {
	layout *layout
	values []json.RawMessage // by the layout; nil: not set
}

// layout are the columns that the records of a chain of stages may have.
type layout struct {
	names []string
	index map[string]int
	keys  [][]byte // names as JSON
}

func (l *layout) add(name string) int {
	if i, ok := l.index[name]; ok {
		return i
	}
	i := len(l.names)
	l.index[name] = i
	l.names = append(l.names, name)
	l.keys = append(l.keys, quote(name))
	return i
}

// ErrNull means that a column is NULL where a value was asked for.
var ErrNull = errors.New("it is NULL")

// Raw returns the JSON text of a column, nil when there is none: the column does
// not exist here, or has no value yet. It is valid until the column is set, and
// no longer than the call of the stage's function; it must not be changed.
func (r *Record) Raw(name string) json.RawMessage {
	if i, ok := r.layout.index[name]; ok {
		return r.values[i]
	}
	return nil
}

// IsNull reports whether a column is NULL, or has no value.
func (r *Record) IsNull(name string) bool {
	raw := r.Raw(name)
	return raw == nil || string(raw) == "null"
}

// Text returns a value as text: that of a string with its escapes resolved, and
// of all others their JSON. It is how a Decimal or an integer of any width is
// read exactly. ErrNull when there is none.
func (r *Record) Text(name string) (string, error) {
	raw := r.Raw(name)
	switch {
	case r.IsNull(name):
		return "", fmt.Errorf("column %s: %w", name, ErrNull)
	case raw[0] != '"':
		return string(raw), nil
	}
	text, err := unquote(raw)
	if err != nil {
		return "", fmt.Errorf("column %s: %w", name, err)
	}
	return text, nil
}

// Int returns an integer. ErrNull when there is none.
func (r *Record) Int(name string) (int64, error) {
	text, err := r.Text(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("column %s: %w", name, err)
	}
	return n, nil
}

// Uint returns an integer that is not negative. ErrNull when there is none.
func (r *Record) Uint(name string) (uint64, error) {
	text, err := r.Text(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("column %s: %w", name, err)
	}
	return n, nil
}

// Float returns a number, which may be rounded. ErrNull when there is none.
func (r *Record) Float(name string) (float64, error) {
	text, err := r.Text(name)
	if err != nil {
		return 0, err
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("column %s: %w", name, err)
	}
	return f, nil
}

// Bool returns a Bool. ErrNull when there is none.
func (r *Record) Bool(name string) (bool, error) {
	text, err := r.Text(name)
	if err != nil {
		return false, err
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("column %s: %w", name, err)
	}
	return b, nil
}

// Time returns a DateTime, a DateTime64 or a Date, in UTC. ErrNull when there
// is none.
func (r *Record) Time(name string) (time.Time, error) {
	text, err := r.Text(name)
	if err != nil {
		return time.Time{}, err
	}
	form := time.RFC3339Nano
	if len(text) == len(time.DateOnly) {
		form = time.DateOnly
	}
	at, err := time.Parse(form, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("column %s: %w", name, err)
	}
	return at.UTC(), nil
}

// Elements returns the elements of an Array as JSON; none of one that is NULL.
func (r *Record) Elements(name string) ([]json.RawMessage, error) {
	if r.IsNull(name) {
		return nil, nil
	}
	var all []json.RawMessage
	if err := json.Unmarshal(r.Raw(name), &all); err != nil {
		return nil, fmt.Errorf("column %s: %w", name, err)
	}
	return all, nil
}

// Into decodes the JSON of a column into what v points to, as encoding/json
// does. Numbers in quotes need its option "string", or json.Number.
func (r *Record) Into(name string, v any) error {
	raw := r.Raw(name)
	if raw == nil {
		raw = json.RawMessage("null")
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("column %s: %w", name, err)
	}
	return nil
}

// Set gives a column a value: nil, a string or []byte (both as bytes of a
// String), a number, a bool, a time.Time, JSON as json.RawMessage, or what
// encoding/json writes as JSON. It fails when no stage has such a column, or
// when v has no JSON. Whether the value fits the column's type is found out by
// the engine, which rejects the record if not.
func (r *Record) Set(name string, v any) error {
	i, ok := r.layout.index[name]
	if !ok {
		return fmt.Errorf("column %s: no stage declares it", name)
	}
	raw, err := encode(v)
	if err != nil {
		return fmt.Errorf("column %s: %w", name, err)
	}
	r.values[i] = raw
	return nil
}

// Clone returns a copy that can be changed on its own, within the same call of
// the stage's function.
func (r *Record) Clone() *Record {
	return &Record{r.layout, slices.Clone(r.values)}
}
