package postgres

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"drayage/pkg/job"
	"drayage/pkg/source/keyed"
)

// relation is what is read, as the server describes it now.
type relation struct {
	keyed.Table
	c       *session
	ref     string // its name in expressions
	columns []*column
	// Of a table:
	oid    string
	blocks int64
	rows   float64 // estimated; below 1: not known
	file   string  // which file holds the blocks: another one when it is rewritten
	heap   bool    // a table with blocks that are all its own
	strict bool    // its NOT NULL holds for every row
}

// column is a column of a relation.
type column struct {
	name    string
	number  string // pg_attribute.attnum
	sqlType string // to cast a text to
	typ     pgType
	notNull bool
	dims    int64 // declared dimensions of an array
}

func (r *relation) column(name string) *column {
	for _, c := range r.columns {
		if c.name == name {
			return c
		}
	}
	return nil
}

// Describe implements keyed.Session. A table that was rewritten while it was asked
// for is an error: a transaction that began before sees no row of it.
func (c *session) Describe() (_ keyed.Relation, found bool, err error) {
	r := &relation{c: c, ref: "_q"}
	r.SQL = "(" + c.cfg.Query + "\n) AS _q"
	if c.cfg.Table != "" {
		if found, err = c.table(r); err != nil || !found {
			return nil, false, err
		}
	}
	err = c.columns(r)
	if r.oid != "" && state(err) == undefinedTable {
		return nil, false, nil
	}
	if r.Keyless.Manner = keyed.AsWhole; r.heap {
		r.Keyless = keyed.Blocks{Manner: keyed.ByBlocks, End: r.blocks, File: r.file}
	}
	return r, err == nil, err
}

// Altered implements keyed.Session.
func (c *session) Altered(err error) error {
	switch state(err) {
	case undefinedTable:
		return c.cfg.Gone()
	case undefinedColumn:
		return c.cfg.Changed()
	}
	return err
}

// table fills in what is known of a table.
func (c *session) table(r *relation) (found bool, err error) {
	all, err := c.Rows("looking for the table", fmt.Sprintf(
		`SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind, c.reltuples,
	CASE WHEN c.relkind IN ('r', 'm') THEN pg_relation_size(c.oid) ELSE 0 END,
	CASE WHEN c.relkind IN ('r', 'm') THEN pg_table_size(c.oid) ELSE 0 END,
	current_setting('block_size'),
	c.relkind IN ('r', 'm') AND a.amname = 'heap' AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid)
		AND current_setting('server_version_num')::int >= 140000,
	c.relkind = 'p' OR c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid)
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am a ON a.oid = c.relam
	WHERE c.oid = to_regclass(%s)`, literal(c.cfg.Table)))
	if err != nil || len(all) == 0 {
		return false, err
	}
	t := all[0]
	r.ref = t.Text(1)
	r.oid, r.SQL, r.heap, r.strict = t.Text(0), t.Text(1), t.True(7), t.True(8)
	switch kind := t.Text(2); kind {
	case "r", "m", "v", "p", "f":
	default:
		return false, job.Permanentf("%s: it is no table or view (relkind %s)", c.cfg.Name(), kind)
	}
	r.rows, _ = strconv.ParseFloat(t.Text(3), 64)
	var size, block int64
	for i, to := range map[int]*int64{4: &size, 5: &r.Bytes, 6: &block} {
		if *to, err = strconv.ParseInt(t.Text(i), 10, 64); err != nil {
			return false, fmt.Errorf("%s: reading its size: %w", c.cfg.Name(), err)
		}
	}
	block = max(block, 1)
	r.blocks = (size + block - 1) / block
	return true, nil
}

// fields describes the answer of a statement, which has no rows.
func (c *session) fields(sql string) ([]pgconn.FieldDescription, error) {
	answers := c.conn.Exec(c.ctx, sql)
	var fields []pgconn.FieldDescription
	if answers.NextResult() {
		fields = slices.Clone(answers.ResultReader().FieldDescriptions())
	}
	return fields, answers.Close()
}

// columns fills in the columns.
func (c *session) columns(r *relation) error {
	fields, err := c.fields("SELECT * FROM " + r.SQL + " LIMIT 0")
	if err != nil {
		return c.failed("reading its columns", err)
	}
	if len(fields) == 0 {
		return job.Permanentf("%s: it has no columns", c.cfg.Name())
	}
	var list strings.Builder
	for i, f := range fields {
		if r.column(f.Name) != nil {
			return job.Permanentf("%s: it has two columns %q: give one of them another name", c.cfg.Name(), f.Name)
		}
		r.columns = append(r.columns, &column{name: f.Name, typ: pgType{mod: -1}})
		fmt.Fprintf(&list, ", (%d, %d::oid, %d, %s)", i, f.DataTypeOID, f.TypeModifier, literal(f.Name))
	}
	oid := "NULL::oid"
	if r.oid != "" {
		oid = r.oid + "::oid"
	}
	rows, err := c.Rows("reading the types of its columns", fmt.Sprintf(`WITH RECURSIVE f(i, typ, mod, name) AS (VALUES %[1]s),
d AS (SELECT i, typ, mod FROM f UNION ALL
	SELECT d.i, t.typbasetype, t.typtypmod FROM d JOIN pg_type t ON t.oid = d.typ WHERE t.typtype = 'd'),
tree(oid) AS (VALUES (%[2]s) UNION SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid)
SELECT f.i, format_type(f.typ, f.mod), CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN t.typname END, t.typtype = 'e', d.mod,
	e.oid IS NOT NULL, CASE WHEN e.typnamespace = 'pg_catalog'::regnamespace THEN e.typname END,
	coalesce(a.attnotnull, false), coalesce(a.attndims, 0), coalesce(a.attnum, 0),
	coalesce(pg_relation_filenode(%[2]s), 0),
	(SELECT coalesce(bool_or(pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode), false)
		FROM tree JOIN pg_class c ON c.oid = tree.oid WHERE c.relkind IN ('r', 'm'))
FROM f JOIN d ON d.i = f.i JOIN pg_type t ON t.oid = d.typ AND t.typtype <> 'd'
LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typoutput = 'array_out'::regproc
LEFT JOIN pg_attribute a ON a.attrelid = %[2]s AND a.attname = f.name AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY f.i`, list.String()[2:], oid))
	if err != nil {
		return err
	}
	if len(rows) != len(r.columns) {
		return job.Permanentf("%s: the server does not know the types of all its columns", c.cfg.Name())
	}
	for i, t := range rows {
		col := r.columns[i]
		mod, err := strconv.ParseInt(t.Text(4), 10, 32)
		if err != nil {
			return fmt.Errorf("%s: reading the type of %s: %w", c.cfg.Name(), col.name, err)
		}
		col.sqlType = t.Text(1)
		col.typ = pgType{name: t.Text(2), enum: t.True(3), mod: int32(mod), array: t.True(5)}
		if col.typ.array {
			col.typ.elem = &pgType{name: t.Text(6), mod: int32(mod)}
		}
		col.notNull = r.strict && t.True(7)
		col.dims, _ = strconv.ParseInt(t.Text(8), 10, 64)
		col.number = t.Text(9)
		r.file = t.Text(10)
		if t.True(11) {
			return job.Retryf("%s: it was rewritten this very moment", c.cfg.Name())
		}
	}
	return nil
}

// Columns implements keyed.Relation.
func (r *relation) Columns() []keyed.Column {
	all := make([]keyed.Column, len(r.columns))
	for i, c := range r.columns {
		all[i] = keyed.Column{Column: job.Column{Name: c.name, Type: c.clickhouse()}, Shape: fmt.Sprintf("%q %q %t", c.name, c.sqlType, c.notNull)}
	}
	return all
}
