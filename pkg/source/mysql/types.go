package mysql

import (
	"fmt"
	"slices"
	"strings"
)

// sqlType is the type of a column.
type sqlType struct {
	name     string // as information_schema names it, such as "bigint"
	unsigned bool
	// The digits of a decimal, and those of them after the point; the bits of a
	// bit; and in scale those of a fraction of a second.
	precision, scale int64
}

// tableType is the type of a column of a table.
func tableType(name, declared string, precision, scale int64) sqlType {
	return sqlType{strings.ToLower(name), strings.Contains(strings.ToLower(declared), "unsigned"), precision, scale}
}

// wireType is the type of a column of a query, by the names of the client.
func wireType(name string, precision, scale int64) sqlType {
	name, unsigned := strings.CutPrefix(strings.ToLower(name), "unsigned ")
	switch name {
	case "bit":
		precision = 64
	case "decimal":
		precision++ // the client takes away the sign, which an unsigned one has not
	}
	return sqlType{name, unsigned, precision, scale}
}

// maxDigits is the precision of ClickHouse's widest Decimal.
const maxDigits = 76

// integers are the sizes of integers in bits.
var integers = map[string]int{"tinyint": 8, "smallint": 16, "mediumint": 32, "int": 32, "bigint": 64}

// scalar is the ClickHouse type of t, without Nullable. What is not named here
// is read as its text or bytes.
func (t sqlType) scalar() string {
	if bits, ok := integers[t.name]; ok {
		if t.unsigned {
			return fmt.Sprintf("UInt%d", bits)
		}
		return fmt.Sprintf("Int%d", bits)
	}
	switch t.name {
	case "decimal":
		if t.precision >= 1 && t.precision <= maxDigits && t.scale <= t.precision {
			return fmt.Sprintf("Decimal(%d, %d)", t.precision, t.scale)
		}
	case "float":
		return "Float32"
	case "double":
		return "Float64"
	case "bit":
		for _, bits := range []int64{8, 16, 32} {
			if t.precision <= bits {
				return fmt.Sprintf("UInt%d", bits)
			}
		}
		return "UInt64"
	case "date":
		return "Date32"
	case "datetime", "timestamp":
		// Without a zone ClickHouse would show the time in the zone of its server,
		// and not as it stands in MySQL.
		return fmt.Sprintf("DateTime64(%d, 'UTC')", t.scale)
	case "year":
		return "UInt16"
	case "uuid":
		return "UUID"
	case "inet4":
		return "IPv4"
	case "inet6":
		return "IPv6"
	}
	return "String"
}

// clickhouse is the ClickHouse type of a column.
func (c *column) clickhouse() string {
	typ := c.typ.scalar()
	if !c.notNull {
		typ = "Nullable(" + typ + ")"
	}
	if c.typ.name == "enum" {
		typ = "LowCardinality(" + typ + ")"
	}
	return typ
}

// decimals are the digits after the point of a number.
func (t sqlType) decimals() int64 {
	if t.name == "decimal" {
		return t.scale
	}
	return 0
}

// is reports whether the type has one of the names.
func (t sqlType) is(names ...string) bool { return slices.Contains(names, t.name) }

func (t sqlType) integer() bool { return integers[t.name] != 0 }

func (t sqlType) text() bool {
	return t.is("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set")
}

// expression is what is selected of a column. A FLOAT as it stands would be
// rounded to six digits by the server; a bit field would be bytes.
func (c *column) expression() string {
	e := identifier(c.name)
	switch {
	case c.typ.name == "float":
		return e + " + 0e0"
	case c.typ.name == "bit":
		return "CAST(" + e + " AS UNSIGNED)"
	}
	return e
}

// lossless are the charsets each of whose texts is one of Unicode.
var lossless = []string{"utf8mb4", "utf8mb3", "utf8", "latin1"}

// strays is a condition that a text has a character without a place in Unicode,
// in whose place the server would send a question mark; "" when it has none,
// whatever it is.
func (c *column) strays() string {
	if !c.typ.text() || slices.Contains(lossless, c.charset) {
		return ""
	}
	e, known := identifier(c.name), ""
	if c.charset == "" {
		known = "CHARSET(" + e + ") NOT IN ('" + strings.Join(lossless, "', '") + "') AND "
	}
	if c.typ.is("enum", "set") {
		e = "CONCAT(" + e + ")"
	}
	u := "CONVERT(" + e + " USING utf8mb4)"
	marks := func(e string) string {
		return fmt.Sprintf("CHAR_LENGTH(%[1]s) - CHAR_LENGTH(REPLACE(%[1]s, '?', ''))", e)
	}
	return fmt.Sprintf("(%s%s IS NOT NULL AND COALESCE(INSTR(%s, '?') > 0 AND %s <> %s, TRUE))", known, e, u, marks(u), marks(e))
}

// inner is a ClickHouse type without Nullable and LowCardinality.
func inner(typ string) (in string, nullable bool) {
	typ = strings.TrimSpace(typ)
	for _, wrap := range []string{"LowCardinality(", "Nullable("} {
		if in, ok := strings.CutPrefix(typ, wrap); ok {
			typ = strings.TrimSpace(strings.TrimSuffix(in, ")"))
			nullable = nullable || wrap == "Nullable("
		}
	}
	return typ, nullable
}
