package mysql

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"drayage/pkg/job"
	"drayage/pkg/source/keyed"
)

// A bound has the digits of numbers and dates, and of texts the bytes that the
// server stores, as hexadecimals. So nothing but the server ever compares two of
// them, by the column's collation.

// manner is how a column is written in a bound.
type manner int

const (
	unfit  manner = iota // is no key
	digits               // as they are
	quoted               // digits between quotes
	hexed                // bytes
)

func (t sqlType) manner() manner {
	switch {
	case t.integer(), t.is("decimal", "float", "double", "bit", "year", "enum", "set"):
		return digits
	case t.is("date", "datetime", "timestamp", "time", "uuid", "inet4", "inet6"):
		return quoted
	case t.text(), t.is("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"):
		return hexed
	}
	return unfit
}

// value is the expression of which a bound has the text.
func (r *relation) value(c *column) string {
	e := identifier(c.name)
	switch {
	case c.typ.is("enum", "set"): // sorted by their numbers
		return e + " + 0"
	case c.typ.manner() == hexed && r.query:
		return "HEX(CONCAT(" + e + "))" // a UUID of MariaDB looks like a text
	case c.typ.manner() == hexed:
		return "HEX(" + e + ")"
	}
	return c.expression()
}

// at writes a value of a bound as SQL that compares with a column of the type,
// and that the server can look up in an index.
func (t sqlType) at(text, collation string) string {
	switch t.manner() {
	case quoted:
		return "'" + text + "'"
	case hexed:
		if collation != keyed.Binary {
			charset, _, _ := strings.Cut(collation, "_")
			return fmt.Sprintf("_%s X'%s' COLLATE %s", charset, text, collation)
		}
		return "_binary X'" + text + "'"
	}
	return text
}

// number10 is a number as the server writes it.
var number10 = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// valid reports whether a text may be one of a bound.
func (t sqlType) valid(text string) bool {
	switch t.manner() {
	case digits:
		return number10.MatchString(text)
	case quoted:
		return strings.Trim(text, "0123456789abcdefABCDEF.:- ") == ""
	case hexed:
		_, err := hex.DecodeString(text)
		return err == nil
	}
	return false
}

// keyOf returns the key of columns. Comparisons of rows are written out, for the
// server looks up no row in an index. To it IS NULL is also true of the day
// 0000-00-00, where it knows better than we do that there are no NULLs.
func (r *relation) keyOf(columns ...*column) (*keyed.Key, error) {
	k := &keyed.Key{Session: r.c, From: r.SQL, IsNull: " <=> NULL"}
	for _, col := range columns {
		e := identifier(col.name)
		kc := &keyed.KeyColumn{Name: col.name, Type: col.typ.name, SQL: e, Value: r.value(col), Null: !col.notNull, Valid: col.typ.valid}
		kc.At = func(text string) string { return col.typ.at(text, kc.Collation) }
		switch col.typ.manner() {
		case unfit:
			return nil, job.Permanentf("%s: a column of the type %s can not be a key, as %q is", r.c.cfg.Name(), col.typ.name, col.name)
		case hexed:
			kc.Length, kc.Width = "OCTET_LENGTH("+e+")", 2
			if kc.Collation = col.collation; kc.Collation == "" {
				kc.Collation = keyed.Binary
			}
		}
		k.Columns = append(k.Columns, kc)
	}
	for _, ix := range r.indexes {
		if !k.Indexed && len(ix.columns) >= len(columns) && slices.Equal(ix.columns[:len(columns)], columns) {
			k.From, k.Indexed = r.SQL+" FORCE INDEX ("+identifier(ix.name)+")", true
		}
	}
	return k, nil
}

func (r *relation) named(names []string) []*column {
	all := make([]*column, len(names))
	for i, name := range names {
		all[i] = r.column(name)
	}
	return all
}

// Find implements keyed.Relation: a unique index without NULLs is best, and the
// primary key comes first.
func (r *relation) Find(named []string) (*keyed.Key, error) {
	if len(named) > 0 {
		return r.keyOf(r.named(named)...)
	}
	for _, ix := range r.indexes {
		fit := ix.unique && ix.whole && len(ix.columns) <= keyed.MaxKey
		for _, col := range ix.columns {
			fit = fit && col.notNull && col.typ.manner() != unfit
		}
		if fit {
			return r.keyOf(ix.columns...)
		}
	}
	return nil, nil
}

const (
	// trusted is from how many rows on the server's own statistics are used.
	trusted = 100_000
	// rowHeader is about what a row takes beside its values, in bytes.
	rowHeader = 8
)

// Settle implements keyed.Relation. It asks how the texts of a query's key are
// compared; without rows there are no bounds that would.
func (r *relation) Settle(k *keyed.Key) (mean int64, err error) {
	if r.query {
		var ask []string
		for _, col := range k.Columns {
			ask = append(ask, "COLLATION(CONCAT("+col.SQL+"))")
		}
		all, err := r.c.Rows("reading how its key is compared", fmt.Sprintf("SELECT %s FROM %s LIMIT 1", strings.Join(ask, ", "), r.SQL))
		if err != nil {
			return 0, err
		}
		for i, col := range k.Columns {
			if len(all) > 0 && col.Collation != "" {
				col.Collation = all[0].Text(i)
			}
		}
	}
	if r.rows >= trusted && r.mean > 0 {
		return r.mean, nil
	}
	sum, from := strconv.Itoa(rowHeader), k.From
	for _, col := range r.columns {
		sum += fmt.Sprintf(" + COALESCE(OCTET_LENGTH(%s), 0)", identifier(col.name))
	}
	if k.Indexed {
		from += " ORDER BY " + k.Order("")
	}
	return keyed.Mean(r.c, sum, from)
}

// Planned implements keyed.Relation. What a statement is made of must be of its
// kind.
func (r *relation) Planned(names, collations []string) (*keyed.Key, error) {
	k, err := r.keyOf(r.named(names)...)
	if err != nil {
		return nil, err
	}
	if len(collations) == 0 {
		collations = make([]string, len(names))
	}
	if len(collations) != len(names) {
		return nil, r.c.cfg.Changed()
	}
	for i, col := range k.Columns {
		if !r.query && col.Collation != collations[i] {
			return nil, r.c.cfg.Changed() // it is sorted otherwise
		}
		col.Collation = collations[i]
		if strings.ContainsFunc(col.Collation, func(r rune) bool {
			return r != '_' && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r))
		}) {
			return nil, job.Permanentf("%s: a chunk names a collation that is none", r.c.cfg.Name())
		}
	}
	return k, nil
}
