package mysql

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

func (s *Source) parsePiece(input json.RawMessage) (piece, error) {
	var p piece
	err := json.Unmarshal(input, &p)
	if err == nil && (p.Shape == "" || len(p.Key) == 0 && (p.Null || p.From != nil || p.To != nil)) {
		err = errors.New("it names no range")
	}
	if err != nil {
		return p, job.Permanentf("%s: the input of a chunk does not parse: %w", s.cfg.Name(), err)
	}
	return p, nil
}

// selection writes the SELECT of a piece. The last column says which column, from 1,
// has a character that would be lost; checked is false where none can.
func (c *session) selection(r *relation, p piece, columns []job.Column) (sql string, checked bool, err error) {
	var list []string
	strays := "CASE"
	for i, want := range columns {
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
	from, where, order := r.sql, "TRUE", ""
	if len(p.Key) > 0 {
		k, err := c.plannedKey(r, p.Key, p.Collations, p.From, p.To)
		if err != nil {
			return "", false, err
		}
		if from, where = k.from(), k.within(p.From, p.To); p.Null {
			where = "(" + k.null() + ")"
		}
		order = " ORDER BY " + k.order("")
	}
	if c.s.cfg.Where != "" {
		where += " AND (" + c.s.cfg.Where + "\n)"
	}
	spanned, err := c.spanned(r)
	if err != nil {
		return "", false, err
	}
	if spanned != "" {
		where += " AND (" + spanned + ")"
	}
	return fmt.Sprintf("SELECT %s FROM %s WHERE %s%s", strings.Join(list, ", "), from, where, order), checked, nil
}

// Open implements source.Source. The reader is one SELECT whose rows are taken
// from the connection as they are read; it holds one row and a quarter of a
// megabyte. The rows come in the order of the key, or as the server finds them.
// Opening a chunk twice gives the same rows when none of them changed meanwhile:
// MySQL keeps no version of a table that could be asked for.
func (s *Source) Open(ctx context.Context, input json.RawMessage, columns []job.Column) (*source.Input, error) {
	p, err := s.parsePiece(input)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	c, err := s.connect(ctx)
	if err != nil {
		stop()
		return nil, err
	}
	abandon := func(err error) (*source.Input, error) {
		c.close()
		stop()
		return nil, err
	}
	r, err := c.planned(p.Shape, columns)
	if err != nil {
		return abandon(err)
	}
	sql, checked, err := c.selection(r, p, columns)
	if err != nil {
		return abandon(err)
	}
	rows, err := c.query(sql)
	if err != nil {
		return abandon(c.reading(err))
	}
	in := &reader{c: c, rows: rows, fields: fieldsOf(r, columns), checked: checked, place: s.place(p)}
	in.values = make([]driver.Value, len(rows.Columns()))
	return &source.Input{
		Reader: in, Format: "TSV", Compression: "none",
		Structure: columns, Settings: source.RowSettings(), Bytes: p.Bytes, Unordered: true,
		Check: func() error { return s.cfg.Ended(in.err) },
		Close: func() error {
			stop()
			in.leave()
			return nil
		},
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
