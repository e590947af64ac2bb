package postgres

import (
	"fmt"
	"strconv"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source/keyed"
)

// maxBound bounds the text of one bound of a range, in bytes: longer keys are
// no bounds of chunks. Escaped, two of them fit into a chunk's description.
const maxBound = 200

// key are the columns that a relation is cut by.
type key struct {
	rel     *relation
	columns []*column
	indexed bool // by an index whose first columns are the key
}

// names are the columns with the name of the relation: alone, the name of a
// column means what is selected under it in ORDER BY, which is its text.
func (k *key) names() []string {
	all := make([]string, len(k.columns))
	for i, c := range k.columns {
		all[i] = k.rel.ref + "." + identifier(c.name)
	}
	return all
}

func (k *key) tuple() string { return "(" + strings.Join(k.names(), ", ") + ")" }

func (k *key) order(suffix string) string {
	return strings.Join(k.names(), suffix+", ") + suffix
}

func (k *key) texts() string {
	var all []string
	for _, name := range k.names() {
		all = append(all, name+"::text")
	}
	return strings.Join(all, ", ")
}

// at writes a bound as SQL.
func (k *key) at(b keyed.Bound) string {
	all := make([]string, len(b))
	for i, text := range b {
		all[i] = literal(text) + "::" + k.columns[i].sqlType
	}
	return "(" + strings.Join(all, ", ") + ")"
}

// within is the predicate of the keys after from, up to and including to; nil is
// no bound. A key of which a part is NULL is within no range.
func (k *key) within(from, to keyed.Bound) string {
	var all []string
	for _, c := range k.columns {
		if !c.notNull {
			all = append(all, identifier(c.name)+" IS NOT NULL")
		}
	}
	if from != nil {
		all = append(all, k.tuple()+" > "+k.at(from))
	}
	if to != nil {
		all = append(all, k.tuple()+" <= "+k.at(to))
	}
	if len(all) == 0 {
		return "true"
	}
	return strings.Join(all, " AND ")
}

// null is the predicate of the keys of which a part is NULL; "" for none.
func (k *key) null() string {
	var all []string
	for _, c := range k.columns {
		if !c.notNull {
			all = append(all, identifier(c.name)+" IS NULL")
		}
	}
	return strings.Join(all, " OR ")
}

// short is the predicate of the keys that may be bounds.
func (k *key) short() string {
	var all []string
	for _, c := range k.columns {
		if _, fixed := scalars[c.typ.name]; fixed {
			continue
		}
		all = append(all, fmt.Sprintf(" AND octet_length(%s::text) <= %d", identifier(c.name), maxBound/len(k.columns)))
	}
	return strings.Join(all, "")
}

// find returns the key of r, or nil when it is to be cut otherwise.
func (c *session) find(r *relation) (*key, error) { return c.findKey(r, c.s.cfg.Key) }

// findKey does so for the columns that are named, or the primary key.
func (c *session) findKey(r *relation, named []string) (*key, error) {
	k := &key{rel: r}
	for _, name := range named {
		col := r.column(name)
		if col == nil {
			return nil, job.Permanentf("%s: it has no column %q, which key names", c.s.cfg.Name(), name)
		}
		k.columns = append(k.columns, col)
	}
	if r.oid == "" {
		if len(k.columns) == 0 {
			return nil, nil
		}
		return k, nil
	}
	// An index in another order of texts or of NULLs, one whose columns are sorted
	// in several directions, and one of a part of the rows, does not serve.
	indexes, err := c.rows("looking for an index", fmt.Sprintf(`SELECT i.indisprimary,
	(SELECT string_agg(a.attnum::text, ' ' ORDER BY k) FROM generate_series(0, i.indnkeyatts - 1) k
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k]
		JOIN pg_opclass o ON o.oid = i.indclass[k] AND o.opcdefault
		WHERE i.indcollation[k] IN (0, a.attcollation) AND i.indoption[k] = i.indoption[0] AND i.indoption[k] IN (0, 3)),
	i.indnkeyatts
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
WHERE i.indrelid = %s AND m.amname = 'btree' AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY i.indexrelid`, r.oid))
	if err != nil {
		return nil, err
	}
	for _, ix := range indexes {
		numbers := strings.Fields(ix.text(1))
		if fmt.Sprint(len(numbers)) != ix.text(2) {
			continue
		}
		if len(named) == 0 {
			if ix.is(0) && len(numbers) <= keyed.MaxKey {
				k.columns, k.indexed = r.numbered(numbers), true
				break
			}
			continue
		}
		if len(numbers) >= len(k.columns) {
			at := r.numbered(numbers[:len(k.columns)])
			same := true
			for i := range at {
				same = same && at[i] == k.columns[i]
			}
			k.indexed = k.indexed || same
		}
	}
	if len(k.columns) == 0 || !k.indexed && r.heap {
		return nil, nil
	}
	return k, nil
}

func (r *relation) numbered(numbers []string) []*column {
	var all []*column
	for _, n := range numbers {
		for _, c := range r.columns {
			if c.number == n {
				all = append(all, c)
			}
		}
	}
	return all
}

// byIndex makes the server read the index in its order, and not sort the table.
func (c *session) byIndex(k *key) error {
	if !k.indexed {
		return nil
	}
	_, err := c.rows("preparing to walk the index", "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off")
	return err
}

// walk implements keyed.Keys.
type walk struct {
	c *session
	k *key
}

// Step implements keyed.Keys.
func (w walk) Step(from, to keyed.Bound, n int64) (keyed.Bound, error) {
	k := w.k
	return w.c.bound("walking the key", fmt.Sprintf("SELECT %s FROM %s WHERE %s%s ORDER BY %s OFFSET %d LIMIT 1",
		k.texts(), k.rel.sql, k.within(from, to), k.short(), k.order(""), n-1))
}

// Count implements keyed.Keys.
func (w walk) Count(from, to keyed.Bound, limit int64) (int64, error) {
	k := w.k
	got, err := w.c.one("counting keys", fmt.Sprintf("SELECT count(*) FROM (SELECT FROM %s WHERE %s%s LIMIT %d) AS _c",
		k.rel.sql, k.within(from, to), k.short(), limit))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(got.text(0), 10, 64)
}

// last returns the largest key; nil where it is too long for a bound. It reports
// whether there is a key at all.
func (c *session) last(k *key) (b keyed.Bound, found bool, err error) {
	all, err := c.rows("looking for the largest key", fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT 1",
		k.texts(), k.rel.sql, k.within(nil, nil), k.order(" DESC")))
	if err != nil || len(all) == 0 {
		return nil, false, err
	}
	b = boundOf(all[0])
	for _, text := range b {
		if len(text) > maxBound/len(b) {
			return nil, true, nil
		}
	}
	return b, true, nil
}

// Before implements keyed.Keys.
func (w walk) Before(from, to keyed.Bound) (keyed.Bound, error) {
	k := w.k
	where := k.within(from, to)
	if to != nil {
		where += " AND " + k.tuple() + " < " + k.at(to)
	}
	return w.c.bound("looking for the largest key", fmt.Sprintf("SELECT %s FROM %s WHERE %s%s ORDER BY %s LIMIT 1",
		k.texts(), k.rel.sql, where, k.short(), k.order(" DESC")))
}

// SomeNull implements keyed.Keys.
func (w walk) SomeNull() (bool, error) {
	some, err := w.c.one("looking for rows without a key", fmt.Sprintf("SELECT EXISTS (SELECT FROM %s WHERE %s)", w.k.rel.sql, w.k.null()))
	return err == nil && some.is(0), err
}

func (c *session) bound(doing, sql string) (keyed.Bound, error) {
	all, err := c.rows(doing, sql)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return boundOf(all[0]), nil
}

func boundOf(r row) keyed.Bound {
	b := make(keyed.Bound, len(r))
	for i := range b {
		b[i] = r.text(i)
	}
	return b
}
