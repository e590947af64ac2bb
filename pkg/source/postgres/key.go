package postgres

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"drayage/pkg/source/keyed"
)

// keyOf returns the key of columns. They stand with the name of the relation:
// alone, the name of a column means what is selected under it in ORDER BY, which
// is its text.
func (r *relation) keyOf(columns []*column, indexed bool) *keyed.Key {
	k := &keyed.Key{Session: r.c, From: r.SQL, Indexed: indexed, Tuples: true, IsNull: " IS NULL"}
	for _, c := range columns {
		e := r.ref + "." + identifier(c.name)
		kc := &keyed.KeyColumn{Name: c.name, Type: c.sqlType, SQL: e, Value: e + "::text", Null: !c.notNull, Width: 1}
		if _, fixed := scalars[c.typ.name]; !fixed {
			kc.Length = "octet_length(" + kc.Value + ")"
		}
		kc.At = func(text string) string { return literal(text) + "::" + c.sqlType }
		k.Columns = append(k.Columns, kc)
	}
	return k
}

func (r *relation) named(names []string) []*column {
	all := make([]*column, len(names))
	for i, name := range names {
		all[i] = r.column(name)
	}
	return all
}

// Find implements keyed.Relation: the primary key is best, and blocks are better
// than a key without an index.
func (r *relation) Find(named []string) (*keyed.Key, error) {
	columns, indexed := r.named(named), false
	if r.oid == "" {
		if len(columns) == 0 {
			return nil, nil
		}
		return r.keyOf(columns, false), nil
	}
	// An index in another order of texts or of NULLs, one whose columns are sorted
	// in several directions, and one of a part of the rows, does not serve.
	indexes, err := r.c.Rows("looking for an index", fmt.Sprintf(`SELECT i.indisprimary,
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
		numbers := strings.Fields(ix.Text(1))
		at := r.numbered(numbers)
		switch {
		case fmt.Sprint(len(numbers)) != ix.Text(2): // it does not serve
		case len(named) == 0 && ix.True(0) && len(at) <= keyed.MaxKey:
			columns, indexed = at, true
		case len(named) > 0 && len(at) >= len(named):
			indexed = indexed || slices.Equal(at[:len(named)], columns)
		}
	}
	if len(columns) == 0 || !indexed && r.heap {
		return nil, nil
	}
	return r.keyOf(columns, indexed), nil
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

// rowHeader is what a row takes beside its values, in bytes.
const rowHeader = 28

// Settle implements keyed.Relation.
func (r *relation) Settle(k *keyed.Key) (mean int64, err error) {
	if r.rows >= 1 && r.Bytes > 0 {
		mean = max(int64(float64(r.Bytes)/r.rows), 1)
	} else {
		sum := strconv.Itoa(rowHeader)
		for _, col := range r.columns {
			// As stored: it does not fetch what is stored beside the row.
			sum += fmt.Sprintf(" + coalesce(pg_column_size(%s), 0)", identifier(col.name))
		}
		mean, err = keyed.Mean(r.c, sum, r.SQL)
	}
	if err == nil && k != nil && k.Indexed {
		err = r.c.byIndex()
	}
	return mean, err
}

// Planned implements keyed.Relation.
func (r *relation) Planned(names, _ []string) (*keyed.Key, error) {
	k := r.keyOf(r.named(names), r.oid != "")
	if !k.Indexed {
		return k, nil
	}
	return k, r.c.byIndex()
}

// byIndex makes the server read an index in its order, and not sort the table.
func (c *session) byIndex() error {
	_, err := c.Rows("preparing to walk the index", "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off")
	return err
}

// Watermark implements keyed.Relation. Its bounds may have any length.
func (r *relation) Watermark(name string) (*keyed.Key, error) {
	k := r.keyOf(r.named([]string{name}), false)
	k.Columns[0].Width = 0
	return k, nil
}

// Largest implements keyed.Relation.
func (r *relation) Largest(k *keyed.Key, where string) (doing, sql string) {
	if where == "" {
		where = "true"
	}
	return "looking for the largest " + k.Columns[0].Name, fmt.Sprintf("SELECT max(%s)::text FROM %s WHERE (%s\n)", k.Columns[0].SQL, r.SQL, where)
}

// Back implements keyed.Relation.
func (r *relation) Back(k *keyed.Key, value string) (string, error) {
	l := r.c.cfg.Watermark.Lookback
	by := fmt.Sprint(l.N)
	if l.Unit != "" {
		by = fmt.Sprintf("interval '%d %s'", l.N, l.Unit)
	}
	return fmt.Sprintf("(%s - %s)::%s::text", k.Columns[0].At(value), by, k.Columns[0].Type), nil
}
