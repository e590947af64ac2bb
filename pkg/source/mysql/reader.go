package mysql

import (
	"database/sql/driver"
	"errors"
	"io"
	"sync"

	"drayage/pkg/job"
)

const (
	// buffered is how many bytes of rows are made at once.
	buffered = 256 << 10
	// kept is the largest buffer that stays when a large row is gone.
	kept = 4 << 20
)

// reader writes the rows of a SELECT as TSV as they are read.
type reader struct {
	c       *session
	rows    driver.Rows
	fields  []field
	checked bool // the last value says which field lost a character
	place   string
	values  []driver.Value
	begun   bool

	mu   sync.Mutex // Close may come from elsewhere
	text []byte     // made, and read from rest on
	rest int
	err  error
	left bool
}

// Read implements io.Reader.
func (r *reader) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rest == len(r.text) && r.err == nil && len(b) > 0 {
		r.fill()
	}
	if r.rest < len(r.text) {
		n := copy(b, r.text[r.rest:])
		r.rest += n
		return n, nil
	}
	return 0, r.err
}

// fill makes rows until the buffer is full or an error comes. What was made
// before the error is read first.
func (r *reader) fill() {
	if cap(r.text) > kept {
		r.text = nil
	}
	r.text, r.rest = r.text[:0], 0
	for len(r.text) < buffered && r.err == nil {
		err := r.rows.Next(r.values)
		if err == nil {
			r.row()
			continue
		}
		r.c.ended(err)
		if errors.Is(err, io.EOF) {
			err = r.rows.Close()
		}
		if r.err = io.EOF; err != nil {
			r.err = r.c.reading(err)
		}
	}
}

// row writes one row.
func (r *reader) row() {
	for i, f := range r.fields {
		if i > 0 {
			r.text = append(r.text, '\t')
		}
		r.text = f.append(r.text, r.values[i], !r.begun)
		r.begun = true
	}
	r.text = append(r.text, '\n')
	if !r.checked {
		return
	}
	lost := r.values[len(r.fields)]
	if n, ok := lost.(int64); ok && n == 0 {
		return
	} else if ok && n > 0 && n <= int64(len(r.fields)) {
		r.err = job.Permanentf("%s: a text of %s has a character that is not in Unicode: read its bytes, with query: SELECT …, CAST(%s AS BINARY)",
			r.place, r.fields[n-1].name, identifier(r.fields[n-1].name))
		return
	}
	r.err = job.Permanentf("%s: the server did not say whether a text lost a character, but %v", r.place, lost)
}

// Err implements keyed.Rows.
func (r *reader) Err() error { return r.err }

// Close implements keyed.Rows: it ends the session. A Read that waits for the
// server ends, for the connection was closed by the end of its context.
func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left {
		return nil
	}
	r.left = true
	if r.err == nil {
		r.err = io.ErrClosedPipe
		r.text, r.rest = nil, 0
	}
	r.c.Close()
	return nil
}
