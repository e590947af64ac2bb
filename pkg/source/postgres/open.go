package postgres

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
)

func (s *Source) parsePiece(input json.RawMessage) (piece, error) {
	var p piece
	err := json.Unmarshal(input, &p)
	if err == nil && (p.Manner == byKey && len(p.Key) == 0 || p.Manner == byBlocks && p.End <= p.Begin ||
		p.Manner != byKey && p.Manner != byBlocks && p.Manner != asWhole) {
		err = errors.New("it names no range")
	}
	if err != nil {
		return p, job.Permanentf("%s: the input of a chunk does not parse: %w", s.cfg.Name(), err)
	}
	return p, nil
}

// copySQL writes the COPY of a piece.
func (c *session) copySQL(r *relation, p piece, columns []job.Column) (string, error) {
	var w writing
	for _, col := range columns {
		t := &r.column(col.Name).typ
		if t.name == "bytea" || t.array && t.elem.name == "bytea" {
			w.escaped = true
		}
	}
	var list []string
	for _, col := range columns {
		list = append(list, w.expression(r.column(col.Name), col.Type, len(c.s.cfg.Columns) > 0))
	}
	where, order := "true", ""
	switch p.Manner {
	case byBlocks:
		if r.file != p.File {
			return "", job.Permanentf("%s: %w: it was rewritten (VACUUM FULL, CLUSTER, TRUNCATE, ALTER TABLE) while it is read by its blocks; start a new job, or name an indexed key",
				c.s.cfg.Name(), source.ErrChanged)
		}
		where = fmt.Sprintf("ctid >= '(%d,0)'::tid AND ctid < '(%d,0)'::tid", p.Begin, p.End)
	case byKey:
		// Where many rows share the first column of the key, the server would
		// read and sort the whole table for each chunk.
		k, err := c.walked(r, p.Key)
		if err != nil {
			return "", err
		}
		for _, b := range []keyed.Bound{p.From, p.To} {
			if b != nil && len(b) != len(k.columns) {
				return "", job.Permanentf("%s: the input of a chunk has a bound that is not of its key", c.s.cfg.Name())
			}
		}
		where = k.within(p.From, p.To)
		if p.Null {
			where = "(" + k.null() + ")"
		}
		order = " ORDER BY " + k.order("")
	case asWhole:
	}
	if c.s.cfg.Where != "" {
		where += " AND (" + c.s.cfg.Where + "\n)"
	}
	spanned, err := c.spanned(r)
	if err != nil {
		return "", err
	}
	if spanned != "" {
		where += " AND (" + spanned + ")"
	}
	return fmt.Sprintf("COPY (SELECT %s FROM %s WHERE %s%s) TO STDOUT %s", strings.Join(list, ", "), r.sql, where, order, w.options()), nil
}

// copyBuffer is how many bytes of rows are read ahead.
const copyBuffer = 256 << 10

// Open implements source.Source. The reader is one COPY; it holds one row and
// a quarter of a megabyte. The rows come in the order of the key, or as the
// server finds them. Opening a chunk twice gives the same rows when none of them
// changed meanwhile: PostgreSQL keeps no version of a table that could be asked
// for.
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
	sql := ""
	r, err := c.planned(p.Shape, columns)
	if err == nil {
		sql, err = c.copySQL(r, p, columns)
	}
	if err != nil {
		stop()
		c.close()
		return nil, err
	}
	out, in := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w := bufio.NewWriterSize(in, copyBuffer)
		_, err := c.conn.CopyTo(c.ctx, &guard{w: w}, sql)
		if err == nil {
			err = w.Flush()
		}
		in.CloseWithError(c.failed("reading rows", err)) // nil: io.EOF
	}()
	// Who does not read must not keep a seat that was lost.
	left := context.AfterFunc(c.ctx, func() { in.CloseWithError(c.failed("reading rows", c.ctx.Err())) })
	rows := &reader{from: out}
	return &source.Input{
		Reader: rows, Format: "TSV", Compression: "none",
		Structure: columns, Settings: source.RowSettings(), Bytes: p.Bytes, Unordered: true,
		Check: func() error { return s.cfg.Ended(rows.err) },
		Close: func() error {
			left()
			stop()
			_ = out.Close() // of a pipe: it does not fail
			<-ended
			c.close()
			return nil
		},
	}, nil
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

// reader remembers how reading ended.
type reader struct {
	from io.Reader
	err  error
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
