package clickhouse

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"drayage/pkg/job"
)

// recordTable is a table of Drayage's own, such as the ledger, with rows that are R
// in Go.
type recordTable[R any] struct {
	table  Table
	fields []field[R]
	tail   string // of CREATE TABLE, from ENGINE on
}

// field is a column of a recordTable: its type there, and how a value of every
// row gets into it.
type field[R any] struct {
	name, kind string
	data       func([]R) proto.ColInput
}

// column makes the data of a column from a value of every row.
func column[R, T any, C interface {
	proto.ColInput
	Append(T)
}](make func() C, value func(R) T) func([]R) proto.ColInput {
	return func(rows []R) proto.ColInput {
		col := make()
		for _, r := range rows {
			col.Append(value(r))
		}
		return col
	}
}

func text[R any](name string, value func(R) string) field[R] {
	return field[R]{name, "String", column(func() *proto.ColStr { return new(proto.ColStr) }, value)}
}

// label is a text of which there are few: LowCardinality.
func label[R any](name string, value func(R) string) field[R] {
	f := text(name, value)
	f.kind = "LowCardinality(String)"
	return f
}

func texts[R any](name string, value func(R) []string) field[R] {
	return field[R]{name, "Array(String)", column(func() *proto.ColArr[string] { return new(proto.ColStr).Array() }, value)}
}

func count64[R any](name string, value func(R) uint64) field[R] {
	return field[R]{name, "UInt64", column(func() *proto.ColUInt64 { return new(proto.ColUInt64) }, value)}
}

func count32[R any](name string, value func(R) uint32) field[R] {
	return field[R]{name, "UInt32", column(func() *proto.ColUInt32 { return new(proto.ColUInt32) }, value)}
}

func size64[R any](name string, value func(R) int64) field[R] {
	return field[R]{name, "Int64", column(func() *proto.ColInt64 { return new(proto.ColInt64) }, value)}
}

func flag[R any](name string, value func(R) bool) field[R] {
	return field[R]{name, "Bool", column(func() *proto.ColBool { return new(proto.ColBool) }, value)}
}

func moment[R any](name string, value func(R) time.Time) field[R] {
	return field[R]{name, "DateTime64(3, 'UTC')", column(func() *proto.ColDateTime64 {
		return new(proto.ColDateTime64).WithPrecision(proto.PrecisionMilli)
	}, func(r R) time.Time {
		if t := value(r); t.Year() >= 1970 {
			return t
		}
		return time.Unix(0, 0) // the zero time is outside of the type
	})}
}

// ensure makes the table where it is not there, and adds the columns that an
// older one lacks.
func (r recordTable[R]) ensure(ctx context.Context, c *Client, what string) error {
	var columns, later []string
	for _, f := range r.fields {
		columns = append(columns, quoteName(f.name)+" "+f.kind)
		later = append(later, "ADD COLUMN IF NOT EXISTS "+quoteName(f.name)+" "+f.kind)
	}
	if err := c.exec(ctx, what, "", "CREATE TABLE IF NOT EXISTS "+r.table.SQL()+" ("+strings.Join(columns, ", ")+")\n"+r.tail); err != nil {
		return err
	}
	info, err := c.Describe(ctx, r.table)
	if err != nil {
		return err
	}
	for _, f := range r.fields {
		if info.Column(f.name) == nil {
			return c.exec(ctx, what, "", "ALTER TABLE "+r.table.SQL()+" "+strings.Join(later, ", "))
		}
	}
	return nil
}

// encode makes one Native block of the rows.
func (r recordTable[R]) encode(rows []R) ([]byte, error) {
	input := make([]proto.InputColumn, len(r.fields))
	for i, f := range r.fields {
		input[i] = proto.InputColumn{Name: f.name, Data: f.data(rows)}
	}
	var buf proto.Buffer
	// Revision 0: that of Native over HTTP.
	if err := (proto.Block{Columns: len(input), Rows: len(rows)}).EncodeRawBlock(&buf, 0, input); err != nil {
		return nil, job.WithClass(fmt.Errorf("encoding rows for %s: %w", r.table, err), job.Permanent)
	}
	return buf.Buf, nil
}

// load is the insert of an encoded block.
func (r recordTable[R]) load(block []byte, rows int, token string) Load {
	names := make([]string, len(r.fields))
	for i, f := range r.fields {
		names[i] = f.name
	}
	return Load{
		Table: r.table, Columns: names,
		Body: bytes.NewReader(block), Length: int64(len(block)), Rows: uint64(rows), //nolint:gosec // a length
		Token: token, Comment: "drayage " + r.table.Name,
	}
}
