package clickhouse

import (
	"context"
	"errors"
	"io"
)

// Query runs any statement in the Client's database and writes its result to w
// in a ClickHouse format, as it comes: memory does not grow with the result. A
// FORMAT clause at the end of sql outranks format; "" is TabSeparated. After
// an error w may hold part of a result. A SyntaxError has its place in sql. A
// query whose context ends, or whose w fails, is stopped on the server too.
func (c *Client) Query(ctx context.Context, sql, format string, w io.Writer) error {
	const what = "running the query"
	query, own := splitFormat(sql)
	if own != "" {
		format = own
	}
	if format == "" {
		format = "TabSeparated"
	}
	err := c.stream(ctx, what, c.end.database, query, format, w)
	var written *writeError
	if errors.As(err, &written) {
		return written
	}
	return syntax(what, err, query, 0)
}

// stream is Query in a database, which may be "".
func (c *Client) stream(ctx context.Context, what, database, query, format string, w io.Writer) error {
	var failed error // of w
	err := c.call(ctx, what, func() error {
		return c.wire.stream(ctx, statement{sql: query, database: database}, format, &watched{w, &failed})
	})
	if failed != nil {
		return &writeError{failed}
	}
	return err
}

// writeError is the error of the writer that a result goes to.
type writeError struct{ err error }

func (e *writeError) Error() string { return "writing the result: " + e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// watched remembers the error of a writer, to tell it from the server's.
type watched struct {
	to  io.Writer
	err *error
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	if err != nil {
		*w.err = err
	}
	return n, err
}
