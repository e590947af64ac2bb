package keyed

import (
	"context"
	"io"
	"strconv"

	"drayage/pkg/job"
)

// Server is a kind of server.
type Server struct {
	// Connect begins a transaction that sees what is read as of one moment.
	Connect func(context.Context, Config) (Session, error)
	// Same reports whether two names of columns are the same.
	Same func(a, b string) bool
	// Missing says that there is no such table, and what to do.
	Missing string
	// Manners says that each of its chunks has a Manner; else none has.
	Manners bool
}

// Session is a connection within one transaction. It takes one seat. Its errors
// have a class, and say what is read and what was being done.
type Session interface {
	// Describe asks for the relation; a table that is not there is found = false.
	// It is kept from being altered until the session ends.
	Describe() (r Relation, found bool, err error)
	// Altered is the error of describing what was there when it was planned.
	Altered(err error) error
	// Rows runs a statement whose answer is small.
	Rows(doing, sql string) ([]Row, error)
	// One runs a statement whose answer is one row.
	One(doing, sql string) (Row, error)
	// Close ends the session, and a statement that goes on.
	Close()
}

// Relation is what is read, as its server describes it within a session. Names
// that its methods are asked for are those of columns that it has.
type Relation interface {
	// Of is what is the same at every server.
	Of() *Table
	// Columns are all columns, in their order.
	Columns() []Column
	// Find returns the key of the columns that are named, or else the one that is
	// best; nil where the relation is to be cut without one.
	Find(named []string) (*Key, error)
	// Settle estimates the bytes of a row, at least 1, and finds out what only the
	// rows tell of a key, nil for none. Then the session can walk the key.
	Settle(k *Key) (mean int64, err error)
	// Planned returns the key that was planned, which the session can walk.
	Planned(names, collations []string) (*Key, error)
	// Read begins to read rows. Without an error, closing them ends the session.
	Read(s Selection) (Rows, error)

	// Watermark returns the column of a watermark as a key. Indexed may be wrong.
	Watermark(name string) (*Key, error)
	// Largest is the statement of the largest key of the rows that meet a
	// condition, "" for all, and what it does.
	Largest(k *Key, where string) (doing, sql string)
	// Back is the expression of a value of k less the look-back, NULL where that
	// is before the first value that there is.
	Back(k *Key, value string) (string, error)
}

// Table is what every relation has.
type Table struct {
	SQL   string // what stands after FROM
	Bytes int64  // of a table, estimated
	// IndexOnly says that a key without an index is a mistake.
	IndexOnly bool
	// Keyless is how it is cut without a key.
	Keyless Blocks
}

// Of implements Relation.
func (t *Table) Of() *Table { return t }

// Column is a column of a Relation.
type Column struct {
	job.Column        // its own name, and the type that it is read as
	Hidden     bool   // SELECT * leaves it out
	Shape      string // is another when it was altered
}

// Selection is what is read of a relation.
type Selection struct {
	Blocks                          // some of which alone are read, ByBlocks
	Columns            []job.Column // that it has
	From, Where, Order string       // what stands after FROM, WHERE, and at the end
	Place              string       // for people
}

// Rows are rows as the engine reads TSV. Close may be called while they are read.
type Rows interface {
	io.ReadCloser
	// Err is how reading has ended, io.EOF at the end, nil where it goes on.
	Err() error
}

// Row is a row of an answer; nil is NULL.
type Row [][]byte

// Text is a value as the server writes it, "" of NULL.
func (r Row) Text(i int) string { return string(r[i]) }

// Number is an integer; 0 of NULL and of what is too large.
func (r Row) Number(i int) int64 {
	n, _ := strconv.ParseInt(string(r[i]), 10, 64)
	return n
}

// True reports whether a Boolean of PostgreSQL is true.
func (r Row) True(i int) bool { return string(r[i]) == "t" }

// One is the row of an answer that must have one; err is how asking for it, which
// doing names, went.
func One(doing string, rows []Row, err error) (Row, error) {
	if err == nil && len(rows) != 1 {
		err = job.Retryf("%s: the server gave %d rows in place of one", doing, len(rows))
	}
	if err != nil {
		return nil, err
	}
	return rows[0], nil
}

// Mean estimates the bytes of a row, at least 1, by the first rows: bytes is the
// expression of those of one, and from what stands after FROM.
func Mean(c Session, bytes, from string) (int64, error) {
	got, err := c.One("estimating the size of a row", "SELECT ROUND(COALESCE(AVG(_s), 0)) FROM (SELECT "+bytes+" AS _s FROM "+from+" LIMIT 1000) AS _m")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(got.Text(0), 10, 64)
	return max(n, 1), err
}
