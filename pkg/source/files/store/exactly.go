package store

import (
	"errors"
	"io"

	"drayage/pkg/job"
)

// Exactly returns body as a reader of n bytes of the object name, -1: of all
// there are. It ends with io.EOF after them, and with an error that names the
// object, marked job.Retry, when the body ends before or breaks.
func Exactly(name string, body io.ReadCloser, n int64) io.ReadCloser {
	return &exactly{name, body, n}
}

type exactly struct {
	name string
	body io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (e *exactly) Read(b []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	if e.left > 0 {
		b = b[:min(int64(len(b)), e.left)]
	}
	n, err := e.body.Read(b)
	if e.left > 0 {
		e.left -= int64(n)
	}
	switch {
	case err == nil, errors.Is(err, io.EOF) && e.left <= 0:
		return n, err
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, job.Retryf("reading %s: %w", e.name, err)
}

// Close implements io.Closer.
func (e *exactly) Close() error { return e.body.Close() }
