// Package native walks through blocks of ClickHouse's format Native and copies
// them, without decoding a value: it knows how long each column is.
//
// The dialect is that of a file or of a body over HTTP, which is also that of
// the native protocol below Revision: no block info, and no byte for the kind
// of serialization.
package native

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxText bounds the name and the type of a column, in bytes.
const maxText = 1 << 20

// maxColumns and maxRows bound what a block may say of itself.
const (
	maxColumns = 1 << 20
	maxRows    = 1 << 40
)

// ErrOpaque: a column whose length its type does not tell. Only the function
// of an AggregateFunction knows where its state ends.
var ErrOpaque = errors.New("its type does not say where its values end")

// ErrMalformed: bytes that are no block.
var ErrMalformed = errors.New("not in the format Native")

// ColumnError is a column that can not be copied. It wraps ErrOpaque or
// ErrMalformed.
type ColumnError struct {
	Name, Type string
	Err        error
}

func (e *ColumnError) Error() string {
	return fmt.Sprintf("column %s of type %s: %v", e.Name, e.Type, e.Err)
}

// Unwrap returns what is wrong.
func (e *ColumnError) Unwrap() error { return e.Err }

// Column is what a block says of a column.
type Column struct{ Name, Type string }

// Block is what a block says of itself.
type Block struct {
	Columns []Column
	Rows    uint64
}

// Copy copies the next block from r to w, byte by byte as it is, and no byte
// after it. It returns io.EOF, and has copied nothing, at the end of r, and
// io.ErrUnexpectedEOF within a block. After a *ColumnError with ErrOpaque,
// everything up to the values of that column was copied, and r stands at the
// first of them; Rows and the Columns so far are returned. Memory does not
// grow with the block.
func Copy(w io.Writer, r *bufio.Reader) (Block, error) {
	if _, err := r.Peek(1); err != nil {
		return Block{}, err
	}
	c := &copier{r: r, w: w}
	columns, rows := c.varint(), c.varint()
	if c.err == nil && (columns > maxColumns || rows > maxRows) {
		c.err = ErrMalformed
	}
	b := Block{Rows: rows}
	for range columns {
		if c.err != nil {
			break
		}
		col := Column{c.text(), c.text()}
		if c.err != nil {
			break
		}
		b.Columns = append(b.Columns, col)
		err := c.column(col.Type, rows)
		if errors.Is(err, ErrOpaque) || errors.Is(err, ErrMalformed) {
			err = &ColumnError{col.Name, col.Type, err}
		}
		if err != nil {
			return b, err
		}
	}
	return b, c.err
}

// column copies the values of a column.
func (c *copier) column(name string, rows uint64) error {
	typ, err := parse(name)
	if err != nil {
		return err
	}
	if rows == 0 {
		return nil // nothing of it is there, not even a prefix
	}
	if typ.opaque() {
		return ErrOpaque
	}
	l := &layout{copier: c}
	copyValues := l.prefix(typ)
	if l.ok() {
		copyValues(rows)
	}
	if l.err != nil {
		return l.err
	}
	return c.err
}

// copier copies pieces. After an error it does nothing more.
type copier struct {
	r   *bufio.Reader
	w   io.Writer
	err error
}

func (c *copier) fail(err error) {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if c.err == nil {
		c.err = err
	}
}

func (c *copier) write(p []byte) {
	if _, err := c.w.Write(p); err != nil {
		c.fail(err)
	}
}

// bytes copies n bytes.
func (c *copier) bytes(n uint64) { c.each(n, func([]byte) {}) }

// each copies n bytes and shows them in pieces.
func (c *copier) each(n uint64, show func([]byte)) {
	for n > 0 && c.err == nil {
		if _, err := c.r.Peek(1); err != nil {
			c.fail(err)
			return
		}
		p, _ := c.r.Peek(int(min(n, uint64(c.r.Buffered())))) //nolint:gosec,errcheck // what is buffered is there
		show(p)
		c.write(p)
		n -= uint64(len(p))
		_, _ = c.r.Discard(len(p)) // likewise
	}
}

// varint copies a number of variable length.
func (c *copier) varint() uint64 {
	var buf [binary.MaxVarintLen64]byte
	for i := range buf {
		if c.err != nil {
			return 0
		}
		b, err := c.r.ReadByte()
		if err != nil {
			c.fail(err)
			return 0
		}
		buf[i] = b
		if b < 0x80 {
			c.write(buf[:i+1])
			n, _ := binary.Uvarint(buf[:i+1])
			return n
		}
	}
	c.fail(ErrMalformed)
	return 0
}

// word copies a number of 8 bytes.
func (c *copier) word() uint64 {
	var buf [8]byte
	if c.err != nil {
		return 0
	}
	if _, err := io.ReadFull(c.r, buf[:]); err != nil {
		c.fail(err)
		return 0
	}
	c.write(buf[:])
	return binary.LittleEndian.Uint64(buf[:])
}

// text copies a short string.
func (c *copier) text() string {
	n := c.varint()
	if n > maxText {
		c.fail(ErrMalformed)
	}
	if c.err != nil {
		return ""
	}
	var s []byte
	c.each(n, func(p []byte) { s = append(s, p...) })
	return string(s)
}

// strings copies n strings. Those that are in the buffer as a whole are copied
// together.
func (c *copier) strings(n uint64) {
	for n > 0 && c.err == nil {
		if _, err := c.r.Peek(1); err != nil {
			c.fail(err)
			return
		}
		p, _ := c.r.Peek(c.r.Buffered()) //nolint:errcheck // it is there
		whole := 0
		for n > 0 && whole < len(p) {
			size, m := uint64(p[whole]), 1
			if size >= 0x80 { // a longer length
				size, m = binary.Uvarint(p[whole:])
			}
			if m <= 0 || size > uint64(len(p)-whole-m) {
				break
			}
			whole += m + int(size) //nolint:gosec // within p
			n--
		}
		c.write(p[:whole])
		_, _ = c.r.Discard(whole) // it is there
		if n > 0 && c.err == nil {
			c.bytes(c.varint()) // one that crosses the end of the buffer
			n--
		}
	}
}
