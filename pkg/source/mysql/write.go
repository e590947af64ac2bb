package mysql

import (
	"database/sql/driver"
	"fmt"
	"strconv"
	"strings"

	"drayage/pkg/job"
)

const (
	bits32 = 32
	bits64 = 64
)

// appendText writes a value of the client as text. A float of the given bits has
// as many digits as tell it from all others.
func appendText(b []byte, v driver.Value, bits int) []byte {
	switch v := v.(type) {
	case []byte:
		return append(b, v...)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case float32:
		return strconv.AppendFloat(b, float64(v), 'g', -1, bits32)
	case float64:
		return strconv.AppendFloat(b, v, 'g', -1, bits)
	case string:
		return append(b, v...)
	}
	return fmt.Append(b, v)
}

// field is how a column is written.
type field struct {
	name string
	bits int  // of a float
	zero bool // a date that is all zeros is NULL
}

// fieldOf returns how a column is written where it is read as the type typ.
func fieldOf(c *column, typ string) field {
	f := field{name: c.name, bits: bits64}
	if c.typ.name == "float" {
		f.bits = bits32
	}
	to, nullable := inner(typ)
	f.zero = nullable && c.typ.is("date", "datetime", "timestamp") && strings.HasPrefix(to, "Date")
	return f
}

func fieldsOf(r *relation, columns []job.Column) []field {
	all := make([]field, len(columns))
	for i, col := range columns {
		all[i] = fieldOf(r.column(col.Name), col.Type)
	}
	return all
}

// mark is what the engine would take for a byte order mark at the very start.
const mark = "\xEF\xBB\xBF"

// appendField writes a value as a field of TSV.
func (f field) append(b []byte, v driver.Value, first bool) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, `\N`...)
	case []byte:
		if f.zero && zeroDate(v) {
			return append(b, `\N`...)
		}
		if first && strings.HasPrefix(string(v[:min(len(v), len(mark))]), mark) {
			b, v = append(b, `\xEF\xBB\xBF`...), v[len(mark):]
		}
		return appendEscaped(b, v)
	}
	return appendText(b, v, f.bits)
}

// zeroDate reports whether a date is 0000-00-00, with or without a time.
func zeroDate(v []byte) bool {
	for _, c := range v {
		if c >= '1' && c <= '9' {
			return false
		}
	}
	return len(v) > 0
}

// appendEscaped writes bytes so that TSV has them in one field.
func appendEscaped(b, v []byte) []byte {
	from := 0
	for i, c := range v {
		var with string
		switch c {
		case '\\':
			with = `\\`
		case '\t':
			with = `\t`
		case '\n':
			with = `\n`
		case '\r':
			with = `\r`
		default:
			continue
		}
		b = append(append(b, v[from:i]...), with...)
		from = i + 1
	}
	return append(b, v[from:]...)
}
