package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"
)

// uploadBuffer is how much of a body is read at once.
const uploadBuffer = 256 << 10

// upload prepares a body for the transport, and tells its length, 0 when that
// is not known. A known length spares both sides the framing of chunks, and a
// file goes to the socket inside the kernel.
func upload(ctx context.Context, body io.Reader) (io.Reader, int64) {
	switch b := body.(type) {
	case *bytes.Reader, *bytes.Buffer, *strings.Reader:
		return body, 0 // the transport knows them
	case *os.File:
		info, err := b.Stat()
		if err != nil || !info.Mode().IsRegular() {
			break
		}
		at, err := b.Seek(0, io.SeekCurrent)
		if err == nil && info.Size() > at {
			return io.NopCloser(b), info.Size() - at
		}
	}
	return &reading{ctx: ctx, src: body}, 0
}

// reading reads ahead of the transport in a goroutine of its own, one Read at
// a time, so that a cancelled request need not wait for a reader that blocks:
// the transport would. It also keeps the reader's error, which outranks what
// the transport makes of it.
type reading struct {
	ctx     context.Context
	src     io.Reader
	buf     []byte
	rest    []byte // of buf, read and not given out yet
	err     error
	failure atomic.Pointer[error]
}

type readResult struct {
	n   int
	err error
}

func (r *reading) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if r.buf == nil {
			r.buf = make([]byte, uploadBuffer)
		}
		read := make(chan readResult, 1)
		go func(buf []byte) {
			n, err := r.src.Read(buf)
			read <- readResult{n, err}
		}(r.buf)
		select {
		case got := <-read:
			r.rest, r.err = r.buf[:got.n], got.err
			if got.err != nil && !errors.Is(got.err, io.EOF) {
				r.failure.Store(&got.err)
			}
		case <-r.ctx.Done():
			// The buffer is the abandoned Read's now.
			r.buf, r.err = nil, context.Cause(r.ctx)
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
