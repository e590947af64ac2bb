package mysql

import (
	"database/sql/driver"
	"fmt"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source/keyed"
)

// Read implements keyed.Relation. The last column says which column, from 1, has a
// character that would be lost, where one can.
func (r *relation) Read(s keyed.Selection) (keyed.Rows, error) {
	var list []string
	strays, checked := "CASE", false
	for i, want := range s.Columns {
		col := r.column(want.Name)
		list = append(list, col.expression())
		if lost := col.strays(); lost != "" {
			checked = true
			strays += fmt.Sprintf(" WHEN %s THEN %d", lost, i+1)
		}
	}
	if checked {
		list = append(list, strays+" ELSE 0 END")
	}
	rows, err := r.c.query(fmt.Sprintf("SELECT %s FROM %s WHERE %s%s", strings.Join(list, ", "), s.From, s.Where, s.Order))
	if err != nil {
		return nil, r.c.reading(err)
	}
	return &reader{
		c: r.c, rows: rows, fields: fieldsOf(r, s.Columns), checked: checked, place: s.Place,
		values: make([]driver.Value, len(rows.Columns())),
	}, nil
}

// reading is the error of a SELECT of a chunk.
func (c *session) reading(err error) error {
	failed := c.failed("reading rows", err)
	if n := number(failed); n == errStatementTime || n == errExecutionTime {
		return job.WithClass(failed, job.TooBig) // half of it may take half the time
	}
	return failed
}
