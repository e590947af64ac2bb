package postgres

import (
	"fmt"
	"strings"
)

// pgType is the type of a column below its domains.
type pgType struct {
	name  string // pg_type.typname where it is one of PostgreSQL's own, else ""
	enum  bool
	mod   int32   // the modifier, -1 for none
	array bool    // of elem
	elem  *pgType // has the modifier of the array
}

// maxDigits is the precision of ClickHouse's widest Decimal.
const maxDigits = 76

// decimal returns the Decimal that holds every finite value of a numeric.
func decimal(mod int32) (typ string, ok bool) {
	if mod < 4 {
		return "", false
	}
	mod -= 4
	p := mod >> 16 & 0xffff
	s := (mod & 0x7ff) ^ 1024 - 1024 // signed, of 11 bits
	if s < 0 {
		p, s = p-s, 0
	}
	if p < s {
		p = s
	}
	if p > maxDigits {
		return "", false
	}
	return fmt.Sprintf("Decimal(%d, %d)", p, s), true
}

// scalars are the ClickHouse types of PostgreSQL's own types; of those that are
// not here the text is read.
var scalars = map[string]string{
	"bool": "Bool", "int2": "Int16", "int4": "Int32", "int8": "Int64", "oid": "UInt32",
	"float4": "Float32", "float8": "Float64", "uuid": "UUID", "date": "Date32",
	// Without a zone ClickHouse would show a timestamp in the zone of its server,
	// and not as it stands in PostgreSQL.
	"timestamp": "DateTime64(6, 'UTC')", "timestamptz": "DateTime64(6, 'UTC')",
}

// numbers are the types whose elements stand without quotes in an array.
var numbers = map[string]bool{
	"bool": true, "int2": true, "int4": true, "int8": true, "oid": true, "float4": true, "float8": true, "numeric": true,
}

// maxWithin is how many digits the engine reads of a Decimal within an Array.
const maxWithin = 38

// element is the ClickHouse type of the elements of an array of t.
func (t *pgType) element() string {
	typ := t.scalar()
	var p, s int
	if n, _ := fmt.Sscanf(typ, "Decimal(%d, %d)", &p, &s); n == 2 && p > maxWithin {
		return "String"
	}
	return typ
}

// scalar is the ClickHouse type of t, which is no array, without Nullable.
func (t *pgType) scalar() string {
	if t.name == "numeric" {
		if typ, ok := decimal(t.mod); ok {
			return typ
		}
		return "String"
	}
	if typ, ok := scalars[t.name]; ok {
		return typ
	}
	return "String"
}

// clickhouse is the ClickHouse type of a column.
func (c *column) clickhouse() string {
	nullable := "%s"
	if !c.notNull {
		nullable = "Nullable(%s)"
	}
	switch {
	case c.typ.array && c.dims <= 1:
		return fmt.Sprintf("Array(Nullable(%s))", c.typ.elem.element())
	case c.typ.enum:
		return fmt.Sprintf("LowCardinality(%s)", fmt.Sprintf(nullable, "String"))
	}
	return fmt.Sprintf(nullable, c.typ.scalar())
}

// inner is a ClickHouse type without Nullable and LowCardinality.
func inner(typ string) string {
	for _, wrap := range []string{"LowCardinality(", "Nullable("} {
		if in, ok := strings.CutPrefix(typ, wrap); ok {
			typ = strings.TrimSuffix(in, ")")
		}
	}
	return typ
}

// plain reports whether the text of a scalar holds no backslash, tab or end of
// line, whatever its value is.
func (t *pgType) plain() bool {
	_, known := scalars[t.name]
	return known || t.name == "numeric"
}

// writing is how COPY writes a chunk. Text is PostgreSQL's own way, which the
// engine reads as TSV. It can not write bytes as they are: where there is a
// bytea, fields are written as TSV by expressions, and COPY adds nothing.
type writing struct{ escaped bool }

// options are those of COPY. The quote of CSV stands in no escaped field, so
// that nothing is quoted.
func (w writing) options() string {
	if w.escaped {
		return `(FORMAT csv, DELIMITER E'\t', NULL '\N', QUOTE E'\x01')`
	}
	return "(FORMAT text)"
}

// escape writes an expression of text as a field of TSV.
func (w writing) escape(e string) string {
	if !w.escaped {
		return e
	}
	return fmt.Sprintf(`replace(replace(replace(replace(replace(%s, '\', '\\'), E'\t', '\t'), E'\n', '\n'), E'\r', '\r'), E'\x01', '\x01')`, e)
}

// bytesOf writes the bytes of a bytea as escapes of ClickHouse.
func bytesOf(e string) string {
	return fmt.Sprintf(`regexp_replace(encode(%s, 'hex'), '(..)', '\\x\1', 'g')`, e)
}

// expression is what COPY selects for c where it is read as the type typ.
func (w writing) expression(c *column, typ string, nullIsEmpty bool) string {
	e, to := identifier(c.name), inner(typ)
	text := to == "String" || strings.HasPrefix(to, "FixedString(")
	switch {
	case c.typ.array && strings.HasPrefix(to, "Array("):
		null := "NULL"
		if nullIsEmpty {
			null = "[]"
		}
		return w.escape(arrayOf(e, c.typ.elem, inner(strings.TrimSuffix(strings.TrimPrefix(to, "Array("), ")")), null))
	case c.typ.array:
		return w.escape(fmt.Sprintf("array_to_json(%s)::text", e))
	case c.typ.name == "bytea" && text:
		return bytesOf(e)
	case c.typ.name == "bool" && !text:
		return e + "::int4"
	case c.typ.name == "timestamptz" && !text:
		return fmt.Sprintf("(%s AT TIME ZONE 'UTC')", e)
	case c.typ.plain():
		return e
	case c.typ.name == "bpchar" || !w.escaped:
		// A cast of bpchar to text drops spaces at its end; concat does not.
		if w.escaped {
			return w.escape(fmt.Sprintf("CASE WHEN %[1]s IS NOT NULL THEN concat(%[1]s) END", e))
		}
		return e
	}
	return w.escape(e + "::text")
}

// arrayOf writes an array of one dimension as ClickHouse reads an Array of the
// type to from text. What is no number stands in quotes, so that no value can
// become two. An array of several dimensions is written as JSON, which only an
// Array of Arrays of numbers reads.
func arrayOf(e string, elem *pgType, to, null string) string {
	x, text := "concat(_e)", to == "String" || strings.HasPrefix(to, "FixedString(")
	number := numbers[elem.name] && !text
	switch {
	case elem.name == "bool" && number && to != "Bool":
		x = "_e::int4::text"
	case number:
		x = "_e::text"
	case elem.name == "bytea" && text:
		x = bytesOf("_e")
	case elem.name == "timestamptz" && !text:
		x = "(_e AT TIME ZONE 'UTC')::text"
	default:
		x = fmt.Sprintf(`replace(replace(%s, '\', '\\'), '''', '''''')`, x)
	}
	if !number {
		x = "CASE WHEN _e IS NOT NULL THEN '''' || " + x + " || '''' END"
	}
	list := fmt.Sprintf("array_to_string(ARRAY(SELECT %s FROM unnest(%s) AS _u(_e)), ',', 'NULL')", x, e)
	return fmt.Sprintf("CASE WHEN %[1]s IS NULL THEN %[2]s WHEN array_ndims(%[1]s) > 1 THEN array_to_json(%[1]s)::text ELSE '[' || %[3]s || ']' END",
		e, literal(null), list)
}

// identifier writes a name as SQL.
func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// literal writes a text as SQL, where standard_conforming_strings is on.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
