package mysql

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source/keyed"
)

// relation is what is read, as the server describes it now.
type relation struct {
	keyed.Table // IndexOnly, where it is a table and no view
	c           *session
	query       bool // not a table or view
	columns     []*column
	indexes     []*index

	// Of a table, estimated by the server:
	rows, mean int64
}

// column is a column of a relation.
type column struct {
	name      string
	typ       sqlType
	declared  string // as SHOW CREATE TABLE has it, "" of a query
	notNull   bool
	charset   string // of texts in a table
	collation string
	hidden    bool // SELECT * leaves it out
}

// index is an index of a table in which keys can be walked.
type index struct {
	name    string
	columns []*column
	whole   bool // columns are all of it
	unique  bool
}

func (r *relation) column(name string) *column {
	for _, c := range r.columns {
		if strings.EqualFold(c.name, name) {
			return c
		}
	}
	return nil
}

// Describe implements keyed.Session.
func (c *session) Describe() (_ keyed.Relation, found bool, err error) {
	r := &relation{c: c, query: c.cfg.Table == ""}
	if r.SQL = "(" + c.cfg.Query + "\n) AS _q"; !r.query {
		if c.table, err = parseTable(c.cfg.Table); err != nil {
			return nil, false, job.Permanentf("table %w", err)
		}
		r.SQL = c.table.sql()
	}
	err = c.fields(r)
	switch {
	case !r.query && number(err) == errNoSuchTable:
		return nil, false, nil
	case err != nil || r.query:
		return r, err == nil, err
	}
	return r, true, c.details(r)
}

// Altered implements keyed.Session.
func (c *session) Altered(err error) error {
	switch number(err) {
	case errNoSuchTable:
		return c.cfg.Gone()
	case errBadField, errViewInvalid:
		return c.cfg.Changed()
	}
	return err
}

// fields reads the names and types of what a SELECT of everything gives. From
// then on the transaction keeps the tables as they are.
func (c *session) fields(r *relation) error {
	rows, err := c.query("SELECT * FROM " + r.SQL + " LIMIT 0")
	if err != nil {
		return c.failed("reading its columns", err)
	}
	types, ok := rows.(interface {
		driver.RowsColumnTypeDatabaseTypeName
		driver.RowsColumnTypePrecisionScale
	})
	if !ok {
		return job.Permanentf("%s: the client of MySQL tells no types", c.cfg.Name())
	}
	r.columns = nil
	for i, name := range rows.Columns() {
		if r.column(name) != nil {
			return job.Permanentf("%s: it has two columns %q: give one of them another name", c.cfg.Name(), name)
		}
		precision, scale, _ := types.ColumnTypePrecisionScale(i)
		r.columns = append(r.columns, &column{name: name, typ: wireType(types.ColumnTypeDatabaseTypeName(i), precision, scale)})
	}
	err = rows.Next(make([]driver.Value, len(r.columns)))
	c.ended(err)
	if errors.Is(err, io.EOF) {
		err = rows.Close()
	}
	return c.failed("reading its columns", err)
}

// of is the condition that a row of information_schema is of the table.
func (c *session) of() string {
	database := "DATABASE()"
	if c.table.database != "" {
		database = literal(c.table.database)
	}
	return fmt.Sprintf("TABLE_SCHEMA = %s AND TABLE_NAME = %s", database, literal(c.table.table))
}

// details fills in what is known of a table and its columns.
func (c *session) details(r *relation) error {
	t, err := c.Rows("looking for the table", "SELECT TABLE_TYPE, TABLE_ROWS, DATA_LENGTH, AVG_ROW_LENGTH FROM information_schema.TABLES WHERE "+c.of())
	if err != nil {
		return err
	}
	if len(t) > 0 {
		r.IndexOnly = !strings.HasSuffix(t[0].Text(0), "VIEW")
		r.rows, r.Bytes, r.mean = t[0].Number(1), t[0].Number(2), t[0].Number(3)
	}
	all, err := c.Rows("reading its columns", `SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE = 'NO',
	COALESCE(CHARACTER_SET_NAME, ''), COALESCE(COLLATION_NAME, ''), NUMERIC_PRECISION, COALESCE(NUMERIC_SCALE, DATETIME_PRECISION, 0)
FROM information_schema.COLUMNS WHERE `+c.of()+" ORDER BY ORDINAL_POSITION")
	if err != nil {
		return err
	}
	seen := r.columns
	r.columns = nil
	for _, t := range all {
		col := &column{
			name: t.Text(0), typ: tableType(t.Text(1), t.Text(2), t.Number(6), t.Number(7)), declared: t.Text(2),
			notNull: t.Text(3) == "1", charset: t.Text(4), collation: t.Text(5), hidden: true,
		}
		for _, shown := range seen {
			col.hidden = col.hidden && shown.name != col.name
		}
		r.columns = append(r.columns, col)
	}
	for _, shown := range seen {
		if r.column(shown.name) == nil {
			return job.Permanentf("%s: information_schema does not show its column %q to the user of the url", c.cfg.Name(), shown.name)
		}
	}
	if !r.IndexOnly {
		return nil
	}
	return c.indexed(r)
}

// indexed reads the indexes of a table. Only one that is sorted by the columns
// as a SELECT sorts them serves: a tree, no prefixes of texts, no expressions,
// all in one direction.
func (c *session) indexed(r *relation) error {
	all, err := c.Rows("looking for an index", `SELECT INDEX_NAME, COALESCE(COLUMN_NAME, ''), NON_UNIQUE, SUB_PART IS NULL, COALESCE(COLLATION, ''), INDEX_TYPE
FROM information_schema.STATISTICS WHERE `+c.of()+" ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX")
	if err != nil {
		return err
	}
	direction := ""
	for _, t := range all {
		var ix *index
		if n := len(r.indexes); n > 0 && r.indexes[n-1].name == t.Text(0) {
			ix = r.indexes[n-1]
		} else {
			ix = &index{name: t.Text(0), whole: true, unique: t.Text(2) == "0"}
			r.indexes = append(r.indexes, ix)
			direction = t.Text(4)
		}
		col := r.column(t.Text(1))
		if col == nil || t.Text(3) != "1" || t.Text(4) != direction || t.Text(5) != "BTREE" {
			ix.whole = false
		}
		if ix.whole {
			ix.columns = append(ix.columns, col)
		}
	}
	return nil
}

// Columns implements keyed.Relation.
func (r *relation) Columns() []keyed.Column {
	all := make([]keyed.Column, len(r.columns))
	for i, c := range r.columns {
		all[i] = keyed.Column{
			Column: job.Column{Name: c.name, Type: c.clickhouse()}, Hidden: c.hidden,
			Shape: fmt.Sprintf("%q %q %v %t %q", c.name, c.declared, c.typ, c.notNull, c.collation),
		}
	}
	return all
}
