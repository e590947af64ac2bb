package store

import "io"

// Exactly returns body as a reader of n bytes: it ends with io.EOF after them,
// and with io.ErrUnexpectedEOF when the body ends before.
func Exactly(body io.ReadCloser, n int64) io.ReadCloser { return &exactly{body, n} }

type exactly struct {
	body io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (e *exactly) Read(b []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.body.Read(b[:min(int64(len(b)), e.left)])
	e.left -= int64(n)
	if err == io.EOF && e.left > 0 { //nolint:errorlint // as io.Reader has it
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close implements io.Closer.
func (e *exactly) Close() error { return e.body.Close() }
