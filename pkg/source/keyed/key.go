package keyed

import (
	"fmt"
	"strconv"
	"strings"
)

// maxBound bounds one bound of a range, in bytes of the server: longer keys are
// no bounds of chunks. Written as texts, those of a chunk and its cursor fit into
// its description.
const maxBound = 200

// Key are the columns that a relation is cut by, and how statements write them.
type Key struct {
	Session
	Columns []*KeyColumn
	From    string // what stands after FROM
	Indexed bool   // by an index whose first columns are the key
	Tuples  bool   // the server looks up a row of values in an index
	IsNull  string // what is written after a column of which NULL is asked
}

// KeyColumn is a column of a Key.
type KeyColumn struct {
	Name, Type string // for people
	SQL        string // what rows are compared and sorted by
	Value      string // the expression of which a bound has the text
	Null       bool   // it may be NULL
	Collation  string // "" for none
	// Length is the expression of the bytes of a value; "" where it is never long.
	Length string
	// Width is how many letters of a bound are one byte; 0: a bound is never long.
	Width int
	// At writes a text of a bound as SQL that compares with SQL.
	At func(text string) string
	// Valid reports whether a text may be one of a bound; nil: every one.
	Valid func(text string) bool
}

// each are texts of the columns, but for empty ones.
func (k *Key) each(text func(c *KeyColumn) string) []string {
	var all []string
	for _, c := range k.Columns {
		if t := text(c); t != "" {
			all = append(all, t)
		}
	}
	return all
}

func (k *Key) values() string {
	return strings.Join(k.each(func(c *KeyColumn) string { return c.Value }), ", ")
}

// Order is what stands after ORDER BY, with a suffix of each column.
func (k *Key) Order(suffix string) string {
	return strings.Join(k.each(func(c *KeyColumn) string { return c.SQL + suffix }), ", ")
}

// valid reports whether a bound may be one of this key, and nothing else: it
// becomes a part of a statement.
func (k *Key) valid(b Bound) bool {
	if len(b) != len(k.Columns) {
		return false
	}
	for i, c := range k.Columns {
		if c.Valid != nil && !c.Valid(b[i]) {
			return false
		}
	}
	return true
}

// within is the predicate of the keys after from, up to and including to; nil is
// no bound. A key of which a part is NULL is within no range.
func (k *Key) within(from, to Bound) string {
	all := k.each(func(c *KeyColumn) string {
		if c.Null {
			return c.SQL + " IS NOT NULL"
		}
		return ""
	})
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
// last column. Without Tuples, comparisons of rows are written out.
func (k *Key) beyond(b Bound, side, last string) string {
	var ways, at []string
	same := ""
	for i, c := range k.Columns {
		op := side
		if i == len(k.Columns)-1 {
			op = last
		}
		at = append(at, c.At(b[i]))
		ways = append(ways, same+c.SQL+" "+op+" "+at[i])
		same += c.SQL + " = " + at[i] + " AND "
	}
	switch {
	case len(ways) == 1:
		return ways[0]
	case k.Tuples:
		return fmt.Sprintf("(%s) %s (%s)", k.Order(""), last, strings.Join(at, ", "))
	}
	return fmt.Sprintf("%s %s= %s AND ((%s))", k.Columns[0].SQL, side, at[0], strings.Join(ways, ") OR ("))
}

// null is the predicate of the keys of which a part is NULL; "" for none.
func (k *Key) null() string {
	return strings.Join(k.each(func(c *KeyColumn) string {
		if c.Null {
			return c.SQL + k.IsNull
		}
		return ""
	}), " OR ")
}

// short is the predicate of the keys that may be bounds, after another.
func (k *Key) short() string {
	return strings.Join(k.each(func(c *KeyColumn) string {
		if c.Length == "" {
			return ""
		}
		return fmt.Sprintf(" AND %s <= %d", c.Length, maxBound/len(k.Columns))
	}), "")
}

// long reports whether a key may be no bound.
func (k *Key) long(b Bound) bool {
	for i, c := range k.Columns {
		if c.Width > 0 && len(b[i]) > c.Width*(maxBound/len(b)) {
			return true
		}
	}
	return false
}

// step returns the key that is n keys, at least 1, after from and not after to;
// nil when there are fewer. As below, a key that is too long for a bound counts
// for none.
func (k *Key) step(from, to Bound, n int64) (Bound, error) {
	return k.bound("walking the key", fmt.Sprintf("SELECT %s FROM %s WHERE %s%s ORDER BY %s LIMIT 1 OFFSET %d",
		k.values(), k.From, k.within(from, to), k.short(), k.Order(""), n-1))
}

// count returns how many keys there are after from and not after to, at most
// limit.
func (k *Key) count(from, to Bound, limit int64) (int64, error) {
	got, err := k.One("counting keys", fmt.Sprintf("SELECT COUNT(*) FROM (SELECT 1 FROM %s WHERE %s%s LIMIT %d) AS _c",
		k.From, k.within(from, to), k.short(), limit))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(got.Text(0), 10, 64)
}

// before returns the largest key after from and smaller than to, nil for none.
func (k *Key) before(from, to Bound) (Bound, error) {
	return k.bound("looking for the largest key", fmt.Sprintf("SELECT %s FROM %s WHERE %s AND %s%s ORDER BY %s LIMIT 1",
		k.values(), k.From, k.within(from, nil), k.beyond(to, "<", "<"), k.short(), k.Order(" DESC")))
}

// Last is the statement of the largest key, long or not, of the rows that meet a
// condition; "" for all.
func (k *Key) Last(where string) string {
	if where != "" {
		where = " AND (" + where + "\n)"
	}
	return fmt.Sprintf("SELECT %s FROM %s WHERE %s%s ORDER BY %s LIMIT 1", k.values(), k.From, k.within(nil, nil), where, k.Order(" DESC"))
}

// last returns the largest key; nil where it is too long for a bound. It reports
// whether there is a key at all.
func (k *Key) last() (b Bound, found bool, err error) {
	b, err = k.bound("looking for the largest key", k.Last(""))
	if found = b != nil; found && k.long(b) {
		b = nil
	}
	return b, found, err
}

// someNull reports whether there is a row with a NULL in its key.
func (k *Key) someNull() (bool, error) {
	some, err := k.Rows("looking for rows without a key", fmt.Sprintf("SELECT 1 FROM %s WHERE %s LIMIT 1", k.From, k.null()))
	return len(some) > 0, err
}

func (k *Key) bound(doing, sql string) (Bound, error) {
	all, err := k.Rows(doing, sql)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	b := make(Bound, len(all[0]))
	for i := range b {
		b[i] = all[0].Text(i)
	}
	return b, nil
}
