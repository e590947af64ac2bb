package messages

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"drayage/pkg/job"
)

// Field is what a broker knows of a message, under the name of its column.
type Field struct {
	Name string
	Type string // of the column, where none is declared
}

// Datum is the value of a Field: exactly one of its members counts, by Kind.
type Datum struct {
	Kind    Kind
	Text    []byte
	Int     int64 // or milliseconds or nanoseconds since 1970
	Headers []Header
}

// Header is a name that stands before a message, with its values. A name is
// there once.
type Header struct {
	Name   string
	Values []string
}

// HeadersType is the type of a column of headers.
const HeadersType = "Map(String, Array(String))"

// Kind is the kind of a Datum.
type Kind uint8

// The kinds of Datum.
const (
	Null Kind = iota
	Text
	Int
	Millis
	Nanos
	Headers
)

// encoder turns messages into rows of a Format. Its methods keep nothing
// between calls, and may be called concurrently.
type encoder struct {
	format    Format
	fields    []Field
	at        []int  // of fields, in the order of the columns, -1 for the value
	empty     []bool // of fields: its column takes no NULL
	keepsNull bool   // a message without a value is a row: of Raw, where its column is Nullable
}

// newEncoder returns the encoder for columns. Of fields it writes those that
// columns name.
func newEncoder(f Format, columns []job.Column, fields []Field) *encoder {
	e := &encoder{format: f, fields: fields, empty: make([]bool, len(fields))}
	for _, c := range columns {
		i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == c.Name })
		switch {
		case i >= 0:
			e.at = append(e.at, i)
			e.empty[i] = !nullable(c)
		case f == Raw:
			e.at = append(e.at, -1)
			e.keepsNull = nullable(c)
		}
	}
	return e
}

// Append appends the row of a message to dst; data has one entry a field. A
// value of JSONEachRow that is no JSON object becomes a line with a JSON text,
// which is rejected by itself: whatever it holds, it does not touch the rows
// around it. Likewise a value of CSV with a quote that is not closed, or one of
// TSV with a backslash at its end, is made one line that no parser takes.
func (e *encoder) Append(dst, value []byte, data []Datum) []byte {
	switch e.format {
	case JSONEachRow:
		return e.object(dst, value, data)
	case Raw:
		return e.raw(dst, value, data)
	default:
		if end := e.format.unclosed(value); end != "" {
			return append(append(oneLine(dst, value), end...), '\n')
		}
		dst = append(dst, value...)
	}
	if len(value) == 0 || value[len(value)-1] != '\n' {
		dst = append(dst, '\n')
	}
	return dst
}

func (e *encoder) object(dst, value []byte, data []Datum) []byte {
	value = bytes.Trim(value, " \t\r\n")
	if len(value) == 0 || value[0] != '{' || !json.Valid(value) {
		return append(quote(dst, value), '\n')
	}
	dst = append(dst, '{')
	for n, i := range e.at {
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = quote(dst, []byte(e.fields[i].Name))
		dst = append(dst, ':')
		switch d := data[i]; d.Kind {
		case Text:
			dst = quote(dst, d.Text)
		case Int:
			dst = strconv.AppendInt(dst, d.Int, 10)
		case Millis, Nanos:
			dst = append(dst, '"')
			dst = append(moment(dst, d), '"')
		case Headers:
			dst = headers(dst, d.Headers, quote)
		case Null:
			if e.empty[i] {
				dst = append(dst, `""`...)
			} else {
				dst = append(dst, "null"...)
			}
		}
	}
	rest := value[1:]
	if len(e.at) > 0 && bytes.TrimLeft(rest, " \t\r\n")[0] != '}' {
		dst = append(dst, ',')
	}
	// Valid JSON has newlines between its tokens alone.
	return append(oneLine(dst, rest), '\n')
}

// oneLine appends value with spaces for its newlines.
func oneLine(dst, value []byte) []byte {
	from := len(dst)
	dst = append(dst, value...)
	for i := from; i < len(dst); i++ {
		if dst[i] == '\n' || dst[i] == '\r' {
			dst[i] = ' '
		}
	}
	return dst
}

// unclosed returns what is to follow a value that would go on in the next
// message, so that it is rejected by itself; empty for any other value.
func (f Format) unclosed(value []byte) string {
	switch {
	case f == CSV && openQuote(value):
		return "\" the quote of this message is not closed"
	case f == TSV && (len(value)-len(bytes.TrimRight(value, `\`)))%2 == 1:
		return "\\\tthe backslash at the end of this message escapes nothing"
	}
	return ""
}

func (e *encoder) raw(dst, value []byte, data []Datum) []byte {
	for n, i := range e.at {
		if n > 0 {
			dst = append(dst, '\t')
		}
		d := Datum{Kind: Text, Text: value}
		if i >= 0 {
			d = data[i]
		} else if value == nil && e.keepsNull {
			d.Kind = Null
		}
		switch d.Kind {
		case Text:
			dst = escape(dst, d.Text)
		case Int:
			dst = strconv.AppendInt(dst, d.Int, 10)
		case Millis, Nanos:
			dst = moment(dst, d)
		case Headers:
			dst = headers(dst, d.Headers, single)
		case Null:
			if i < 0 || !e.empty[i] {
				dst = append(dst, `\N`...)
			}
		}
	}
	return append(dst, '\n')
}

// moment writes a time such as 2026-01-31T12:00:00.000Z.
func moment(dst []byte, d Datum) []byte {
	if d.Kind == Nanos {
		return time.Unix(0, d.Int).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000000Z")
	}
	return time.UnixMilli(d.Int).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
}

// headers writes a Map, with the quotes of its place.
func headers(dst []byte, all []Header, quote func(dst, text []byte) []byte) []byte {
	dst = append(dst, '{')
	for i, h := range all {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(quote(dst, []byte(h.Name)), ":["...)
		for n, v := range h.Values {
			if n > 0 {
				dst = append(dst, ',')
			}
			dst = quote(dst, []byte(v))
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// single writes a text within a field of TSV.
func single(dst, text []byte) []byte {
	dst = append(dst, '\'')
	for _, c := range text {
		if c == '\'' {
			dst = append(dst, '\\')
		}
		dst = escape(dst, []byte{c})
	}
	return append(dst, '\'')
}

// quote writes a JSON text with the bytes of text, valid UTF-8 or not.
func quote(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// escape writes a field of TSV.
func escape(dst, text []byte) []byte {
	for _, c := range text {
		switch c {
		case '\\':
			dst = append(dst, '\\', '\\')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case 0:
			dst = append(dst, '\\', '0')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// openQuote reports whether a field of CSV that began with a quote goes on
// after the end of value.
func openQuote(value []byte) bool {
	open, begins := false, true
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case open && c == '"' && i+1 < len(value) && value[i+1] == '"':
			i++
		case open:
			open = c != '"'
			begins = false
		case c == '"' && begins:
			open = true
		case c == ',' || c == '\n':
			begins = true
		case c != ' ' && c != '\t':
			begins = false
		}
	}
	return open
}
