package postgres

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
)

// copyBuffer is how many bytes of rows are read ahead.
const copyBuffer = 256 << 10

// Read implements keyed.Relation, by COPY.
func (r *relation) Read(s keyed.Selection) (keyed.Rows, error) {
	var w writing
	for _, col := range s.Columns {
		t := &r.column(col.Name).typ
		if t.name == "bytea" || t.array && t.elem.name == "bytea" {
			w.escaped = true
		}
	}
	c := r.c
	var list []string
	for _, col := range s.Columns {
		list = append(list, w.expression(r.column(col.Name), col.Type, len(c.cfg.Columns) > 0))
	}
	if s.Manner == keyed.ByBlocks {
		if r.file != s.File {
			return nil, job.Permanentf("%s: %w: it was rewritten (VACUUM FULL, CLUSTER, TRUNCATE, ALTER TABLE) while it is read by its blocks; start a new job, or name an indexed key",
				c.cfg.Name(), source.ErrChanged)
		}
		s.Where += fmt.Sprintf(" AND ctid >= '(%d,0)'::tid AND ctid < '(%d,0)'::tid", s.Begin, s.End)
	}
	sql := fmt.Sprintf("COPY (SELECT %s FROM %s WHERE %s%s) TO STDOUT %s", strings.Join(list, ", "), s.From, s.Where, s.Order, w.options())
	out, in := io.Pipe()
	rows := &reader{c: c, from: out, ended: make(chan struct{})}
	go func() {
		defer close(rows.ended)
		w := bufio.NewWriterSize(in, copyBuffer)
		_, err := c.conn.CopyTo(c.ctx, &guard{w: w}, sql)
		if err == nil {
			err = w.Flush()
		}
		in.CloseWithError(c.failed("reading rows", err)) // nil: io.EOF
	}()
	// Who does not read must not keep a seat that was lost.
	rows.left = context.AfterFunc(c.ctx, func() { in.CloseWithError(c.failed("reading rows", c.ctx.Err())) })
	return rows, nil
}

// guard keeps the engine from taking the first bytes of the first text for a
// byte order mark.
type guard struct {
	w     *bufio.Writer
	begun bool
}

var mark = []byte("\xEF\xBB\xBF")

// Write implements io.Writer; the first call has the whole first row.
func (g *guard) Write(b []byte) (int, error) {
	if !g.begun {
		g.begun = true
		if bytes.HasPrefix(b, mark) {
			if _, err := g.w.WriteString(`\xEF\xBB\xBF`); err != nil {
				return 0, err
			}
			n, err := g.w.Write(b[len(mark):])
			return n + len(mark), err
		}
	}
	return g.w.Write(b)
}

// reader reads the rows of a COPY, and remembers how reading ended.
type reader struct {
	c     *session
	from  *io.PipeReader
	err   error
	left  func() bool
	ended chan struct{} // the COPY
}

// Read implements io.Reader.
func (r *reader) Read(b []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.from.Read(b)
	r.err = err
	return n, err
}

// Err implements keyed.Rows.
func (r *reader) Err() error { return r.err }

// Close implements keyed.Rows.
func (r *reader) Close() error {
	r.left()
	_ = r.from.Close() // of a pipe: it does not fail
	<-r.ended
	r.c.Close()
	return nil
}
