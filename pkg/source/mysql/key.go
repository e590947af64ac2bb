package mysql

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"drayage/pkg/job"
	"drayage/pkg/source/keyed"
)

// maxBound bounds one bound of a range, in bytes: longer keys are no bounds of
// chunks. In hexadecimals, four of them fit into a chunk's description and
// cursor.
const maxBound = 200

// A bound has the digits of numbers and dates, and of texts the bytes that the
// server stores, as hexadecimals. So nothing but the server ever compares two of
// them, by the column's collation.

// key are the columns that a relation is cut by.
type key struct {
	rel        *relation
	columns    []*column
	collations []string // of texts, "binary" of bytes, "" of others
	index      string   // whose first columns are the key; "" for none
}

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
func (k *key) value(i int) string {
	c := k.columns[i]
	e := identifier(c.name)
	switch {
	case c.typ.is("enum", "set"): // sorted by their numbers
		return e + " + 0"
	case c.typ.manner() == hexed && k.rel.query:
		return "HEX(CONCAT(" + e + "))" // a UUID of MariaDB looks like a text
	case c.typ.manner() == hexed:
		return "HEX(" + e + ")"
	}
	return c.expression()
}

func (k *key) values() string {
	all := make([]string, len(k.columns))
	for i := range k.columns {
		all[i] = k.value(i)
	}
	return strings.Join(all, ", ")
}

func (k *key) order(suffix string) string {
	all := make([]string, len(k.columns))
	for i, c := range k.columns {
		all[i] = identifier(c.name) + suffix
	}
	return strings.Join(all, ", ")
}

// from is what stands after FROM.
func (k *key) from() string {
	if k.index == "" {
		return k.rel.sql
	}
	return k.rel.sql + " FORCE INDEX (" + identifier(k.index) + ")"
}

// at writes a value of a bound as SQL that compares with its column, and that
// the server can look up in an index.
func (k *key) at(i int, text string) string {
	switch k.columns[i].typ.manner() {
	case quoted:
		return "'" + text + "'"
	case hexed:
		if c := k.collations[i]; c != binary {
			return fmt.Sprintf("_%s X'%s' COLLATE %s", charsetOf(c), text, c)
		}
		return "_binary X'" + text + "'"
	}
	return text
}

// binary is the collation of bytes.
const binary = "binary"

// charsetOf is the charset of a collation.
func charsetOf(collation string) string {
	charset, _, _ := strings.Cut(collation, "_")
	return charset
}

// number10 is a number as the server writes it.
var number10 = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// valid reports whether a bound may be one of this key, and nothing else: it
// becomes a part of a statement.
func (k *key) valid(b keyed.Bound) bool {
	if len(b) != len(k.columns) {
		return false
	}
	for i, text := range b {
		var good bool
		switch k.columns[i].typ.manner() {
		case digits:
			good = number10.MatchString(text)
		case quoted:
			good = strings.Trim(text, "0123456789abcdefABCDEF.:- ") == ""
		case hexed:
			_, err := hex.DecodeString(text)
			good = err == nil
		case unfit:
		}
		if !good {
			return false
		}
	}
	return true
}

// within is the predicate of the keys after from, up to and including to; nil is
// no bound. A key of which a part is NULL is within no range. Comparisons of
// rows are written out, for the server looks up no row in an index.
func (k *key) within(from, to keyed.Bound) string {
	var all []string
	for _, c := range k.columns {
		if !c.notNull {
			all = append(all, identifier(c.name)+" IS NOT NULL")
		}
	}
	if from != nil {
		all = append(all, k.beyond(from, ">", ">"))
	}
	if to != nil {
		all = append(all, k.beyond(to, "<", "<="))
	}
	if len(all) == 0 {
		return "TRUE"
	}
	return strings.Join(all, " AND ")
}

// beyond writes that the key stands on one side of a bound; last compares the
// last column.
func (k *key) beyond(b keyed.Bound, side, last string) string {
	var ways []string
	same := ""
	for i, c := range k.columns {
		op := side
		if i == len(k.columns)-1 {
			op = last
		}
		name, at := identifier(c.name), k.at(i, b[i])
		ways = append(ways, same+name+" "+op+" "+at)
		same += name + " = " + at + " AND "
	}
	if len(ways) == 1 {
		return ways[0]
	}
	return fmt.Sprintf("%s %s= %s AND ((%s))", identifier(k.columns[0].name), side, k.at(0, b[0]), strings.Join(ways, ") OR ("))
}

// null is the predicate of the keys of which a part is NULL; "" for none. To the
// server IS NULL is also true of the day 0000-00-00, where it knows better than
// we do that there are no NULLs.
func (k *key) null() string {
	var all []string
	for _, c := range k.columns {
		if !c.notNull {
			all = append(all, identifier(c.name)+" <=> NULL")
		}
	}
	return strings.Join(all, " OR ")
}

// short is the predicate of the keys that may be bounds.
func (k *key) short() string {
	var all strings.Builder
	for _, c := range k.columns {
		if c.typ.manner() == hexed {
			fmt.Fprintf(&all, " AND OCTET_LENGTH(%s) <= %d", identifier(c.name), maxBound/len(k.columns))
		}
	}
	return all.String()
}

// find returns the key of r, or nil when it can not be cut.
func (c *session) find(r *relation) (*key, error) {
	if len(c.s.cfg.Key) > 0 {
		k, err := c.keyOf(r, c.s.cfg.Key)
		if err == nil && r.stored && k.index == "" {
			return nil, job.Permanentf("%s: it has no index that begins with %s; name columns of an index, or leave out key",
				c.s.cfg.Name(), strings.Join(c.s.cfg.Key, ", "))
		}
		return k, err
	}
	for _, ix := range r.indexes {
		fit := ix.unique && ix.whole && len(ix.columns) <= keyed.MaxKey
		var names []string
		for _, col := range ix.columns {
			fit = fit && col.notNull && col.typ.manner() != unfit
			names = append(names, col.name)
		}
		if fit {
			return c.keyOf(r, names)
		}
	}
	return nil, nil
}

// keyOf returns the key of the named columns.
func (c *session) keyOf(r *relation, names []string) (*key, error) {
	k := &key{rel: r}
	for _, name := range names {
		col := r.column(name)
		switch {
		case col == nil:
			return nil, job.Permanentf("%s: it has no column %q, which key names", c.s.cfg.Name(), name)
		case col.typ.manner() == unfit:
			return nil, job.Permanentf("%s: a column of the type %s can not be a key, as %q is", c.s.cfg.Name(), col.typ.name, name)
		}
		k.columns = append(k.columns, col)
		collation := ""
		if col.typ.manner() == hexed {
			if collation = col.collation; collation == "" {
				collation = binary
			}
		}
		k.collations = append(k.collations, collation)
	}
	for _, ix := range r.indexes {
		if k.index != "" || len(ix.columns) < len(k.columns) {
			continue
		}
		same := true
		for i, col := range k.columns {
			same = same && ix.columns[i] == col
		}
		if same {
			k.index = ix.name
		}
	}
	return k, nil
}

// collate asks how the texts of a query's key are compared. Without rows there
// are no bounds that would.
func (c *session) collate(k *key) error {
	if !k.rel.query {
		return nil
	}
	var ask []string
	for _, col := range k.columns {
		ask = append(ask, "COLLATION(CONCAT("+identifier(col.name)+"))")
	}
	all, err := c.rows("reading how its key is compared", fmt.Sprintf("SELECT %s FROM %s LIMIT 1", strings.Join(ask, ", "), k.rel.sql))
	if err != nil || len(all) == 0 {
		return err
	}
	for i, col := range k.columns {
		if col.typ.manner() == hexed {
			k.collations[i] = all[0].text(i)
		}
	}
	return nil
}

// plannedKey returns the key that was planned. What a statement is made of must be
// of its kind.
func (c *session) plannedKey(r *relation, names, collations []string, bounds ...keyed.Bound) (*key, error) {
	if len(names) == 0 {
		return nil, job.Permanentf("%s: a cursor or chunk names no key", c.s.cfg.Name())
	}
	for _, name := range names {
		if r.column(name) == nil {
			return nil, c.s.cfg.Changed()
		}
	}
	k, err := c.keyOf(r, names)
	if err != nil {
		return nil, err
	}
	if len(collations) == 0 {
		collations = make([]string, len(k.columns))
	}
	if !r.query && !slices.Equal(collations, k.collations) || len(collations) != len(k.columns) {
		return nil, c.s.cfg.Changed() // it is sorted otherwise
	}
	k.collations = collations
	for _, collation := range k.collations {
		if strings.ContainsFunc(collation, func(r rune) bool {
			return r != '_' && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r))
		}) {
			return nil, job.Permanentf("%s: a chunk names a collation that is none", c.s.cfg.Name())
		}
	}
	for _, b := range bounds {
		if b != nil && !k.valid(b) {
			return nil, job.Permanentf("%s: the input of a chunk has a bound that is not of its key", c.s.cfg.Name())
		}
	}
	return k, nil
}

// walk implements keyed.Keys.
type walk struct {
	c *session
	k *key
}

// Step implements keyed.Keys.
func (w walk) Step(from, to keyed.Bound, n int64) (keyed.Bound, error) {
	k := w.k
	return w.c.bound("walking the key", fmt.Sprintf("SELECT %s FROM %s WHERE %s%s ORDER BY %s LIMIT 1 OFFSET %d",
		k.values(), k.from(), k.within(from, to), k.short(), k.order(""), n-1))
}

// Count implements keyed.Keys.
func (w walk) Count(from, to keyed.Bound, limit int64) (int64, error) {
	k := w.k
	got, err := w.c.one("counting keys", fmt.Sprintf("SELECT COUNT(*) FROM (SELECT 1 FROM %s WHERE %s%s LIMIT %d) AS _c",
		k.from(), k.within(from, to), k.short(), limit))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(got.text(0), 10, 64)
}

// last returns the largest key of the rows that meet a condition, "" for all;
// nil where it is too long for a bound. It reports whether there is a key at all.
func (c *session) last(k *key, where string) (b keyed.Bound, found bool, err error) {
	if where != "" {
		where = " AND (" + where + "\n)"
	}
	b, err = c.bound("looking for the largest key", fmt.Sprintf("SELECT %s FROM %s WHERE %s%s ORDER BY %s LIMIT 1",
		k.values(), k.from(), k.within(nil, nil), where, k.order(" DESC")))
	if err != nil || b == nil {
		return nil, false, err
	}
	for i, text := range b {
		if k.columns[i].typ.manner() == hexed && len(text) > 2*(maxBound/len(b)) {
			return nil, true, nil
		}
	}
	return b, true, nil
}

// Before implements keyed.Keys.
func (w walk) Before(from, to keyed.Bound) (keyed.Bound, error) {
	k := w.k
	return w.c.bound("looking for the largest key", fmt.Sprintf("SELECT %s FROM %s WHERE %s AND %s%s ORDER BY %s LIMIT 1",
		k.values(), k.from(), k.within(from, nil), k.beyond(to, "<", "<"), k.short(), k.order(" DESC")))
}

// SomeNull implements keyed.Keys.
func (w walk) SomeNull() (bool, error) {
	some, err := w.c.rows("looking for rows without a key", fmt.Sprintf("SELECT 1 FROM %s WHERE %s LIMIT 1", w.k.from(), w.k.null()))
	return len(some) > 0, err
}

func (c *session) bound(doing, sql string) (keyed.Bound, error) {
	all, err := c.rows(doing, sql)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	b := make(keyed.Bound, len(all[0]))
	for i := range b {
		b[i] = all[0].text(i)
	}
	return b, nil
}

// shown is a bound for people: texts that are readable stand as they are.
func shown(b keyed.Bound, collations []string) string {
	all := make([]string, len(b))
	for i, text := range b {
		all[i] = text
		if raw, err := hex.DecodeString(text); err == nil && i < len(collations) && collations[i] != "" {
			all[i] = "0x" + text
			if collations[i] != binary && utf8.Valid(raw) && !strings.ContainsFunc(string(raw), unicode.IsControl) {
				all[i] = strconv.Quote(string(raw))
			}
		}
	}
	return strings.Join(all, ", ")
}
