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
	sql     string // what stands after FROM
	query   bool   // not a table or view
	stored  bool   // a table, and no view
	columns []*column
	indexes []*index

	// Of a table, estimated by the server:
	rows, bytes, mean int64
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

// describe asks for the relation; a table that is not there is found = false.
// It is kept from being altered until the session ends.
func (c *session) describe() (r *relation, found bool, err error) {
	r = &relation{sql: "(" + c.s.query + "\n) AS _q", query: true}
	if c.s.cfg.Table != "" {
		r.sql, r.query = c.s.table.sql(), false
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

// fields reads the names and types of what a SELECT of everything gives. From
// then on the transaction keeps the tables as they are.
func (c *session) fields(r *relation) error {
	rows, err := c.query("SELECT * FROM " + r.sql + " LIMIT 0")
	if err != nil {
		return c.failed("reading its columns", err)
	}
	types, ok := rows.(interface {
		driver.RowsColumnTypeDatabaseTypeName
		driver.RowsColumnTypePrecisionScale
	})
	if !ok {
		return job.Permanentf("%s: the client of MySQL tells no types", c.s.cfg.Name())
	}
	r.columns = nil
	for i, name := range rows.Columns() {
		if r.column(name) != nil {
			return job.Permanentf("%s: it has two columns %q: give one of them another name", c.s.cfg.Name(), name)
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
	if c.s.table.database != "" {
		database = literal(c.s.table.database)
	}
	return fmt.Sprintf("TABLE_SCHEMA = %s AND TABLE_NAME = %s", database, literal(c.s.table.table))
}

// details fills in what is known of a table and its columns.
func (c *session) details(r *relation) error {
	t, err := c.rows("looking for the table", "SELECT TABLE_TYPE, TABLE_ROWS, DATA_LENGTH, AVG_ROW_LENGTH FROM information_schema.TABLES WHERE "+c.of())
	if err != nil {
		return err
	}
	if len(t) > 0 {
		r.stored = !strings.HasSuffix(t[0].text(0), "VIEW")
		r.rows, r.bytes, r.mean = t[0].number(1), t[0].number(2), t[0].number(3)
	}
	all, err := c.rows("reading its columns", `SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE = 'NO',
	COALESCE(CHARACTER_SET_NAME, ''), COALESCE(COLLATION_NAME, ''), NUMERIC_PRECISION, COALESCE(NUMERIC_SCALE, DATETIME_PRECISION, 0)
FROM information_schema.COLUMNS WHERE `+c.of()+" ORDER BY ORDINAL_POSITION")
	if err != nil {
		return err
	}
	seen := r.columns
	r.columns = nil
	for _, t := range all {
		col := &column{
			name: t.text(0), typ: tableType(t.text(1), t.text(2), t.number(6), t.number(7)), declared: t.text(2),
			notNull: t.text(3) == "1", charset: t.text(4), collation: t.text(5), hidden: true,
		}
		for _, shown := range seen {
			col.hidden = col.hidden && shown.name != col.name
		}
		r.columns = append(r.columns, col)
	}
	for _, shown := range seen {
		if r.column(shown.name) == nil {
			return job.Permanentf("%s: information_schema does not show its column %q to the user of the url", c.s.cfg.Name(), shown.name)
		}
	}
	if !r.stored {
		return nil
	}
	return c.indexed(r)
}

// indexed reads the indexes of a table. Only one that is sorted by the columns
// as a SELECT sorts them serves: a tree, no prefixes of texts, no expressions,
// all in one direction.
func (c *session) indexed(r *relation) error {
	all, err := c.rows("looking for an index", `SELECT INDEX_NAME, COALESCE(COLUMN_NAME, ''), NON_UNIQUE, SUB_PART IS NULL, COALESCE(COLLATION, ''), INDEX_TYPE
FROM information_schema.STATISTICS WHERE `+c.of()+" ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX")
	if err != nil {
		return err
	}
	direction := ""
	for _, t := range all {
		var ix *index
		if n := len(r.indexes); n > 0 && r.indexes[n-1].name == t.text(0) {
			ix = r.indexes[n-1]
		} else {
			ix = &index{name: t.text(0), whole: true, unique: t.text(2) == "0"}
			r.indexes = append(r.indexes, ix)
			direction = t.text(4)
		}
		col := r.column(t.text(1))
		if col == nil || t.text(3) != "1" || t.text(4) != direction || t.text(5) != "BTREE" {
			ix.whole = false
		}
		if ix.whole {
			ix.columns = append(ix.columns, col)
		}
	}
	return nil
}

// shape is a fingerprint of the names and types of the columns that a job
// reads; ok is false where one of them is not there.
func (r *relation) shape(columns []job.Column) (shape string, ok bool) {
	return keyed.Shape(columns, func(name string) (string, bool) {
		c := r.column(name)
		if c == nil {
			return "", false
		}
		return fmt.Sprintf("%q %q %v %t %q", c.name, c.declared, c.typ, c.notNull, c.collation), true
	})
}
