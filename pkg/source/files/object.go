package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/source/files/store"
)

const (
	// heldBytes is how much of what was read last an object holds: who looks for
	// borders looks back a little.
	heldBytes = 64 << 10
	// firstAhead and secondAhead are how many bytes are asked for by the first
	// request at a place, and by the next one when reads go on where it ended. The
	// one after that asks for the rest.
	firstAhead  = 256 << 10
	secondAhead = 1 << 20
	// nearBytes is how far back a read still goes on with those before: the next
	// chunk begins a little before what was seen to find its border.
	nearBytes = 512 << 10

	// maxBreaks is how often in a row a connection may break off with less than
	// breakBytes between.
	maxBreaks  = 4
	breakBytes = 8 << 20
	// firstPause is waited after the first break; each further pause is twice as
	// long.
	firstPause = 100 * time.Millisecond
	// silence is how long the store may be silent in the middle of an answer.
	silence = time.Minute
)

// object is the bytes of an object. Reads that follow one another are one
// request, as long as nothing lies between them. It may be closed while it is
// read, which then fails.
type object struct {
	ctx    context.Context //nolint:containedctx // it is that of the reads
	cancel context.CancelCauseFunc
	store  store.Store
	o      store.Object
	path   string

	held  []byte // what was read last
	at    int64  // of the byte after held
	ahead int64  // how many bytes the last request was for

	mu   sync.Mutex
	next *stream // goes on at at; nil: nobody does
}

var errClosed = errors.New("it was closed")

// local implements blob.
func (o *object) local() *os.File { return nil }

// unchanged implements blob.
func (o *object) unchanged(v version) error {
	if o.o.Version != v.Tag || o.o.Size != v.Size {
		return objectError(o.path, store.ErrChanged)
	}
	return nil
}

// pause implements blob.
func (o *object) pause() {
	if s := o.current(); s != nil {
		s.hangUp()
	}
}

func (o *object) current() *stream {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.next
}

// goOn puts a stream in the place of the one before.
func (o *object) goOn(s *stream, at int64) {
	o.pause()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next, o.at = s, at
}

// Close implements io.Closer.
func (o *object) Close() error {
	o.cancel(errClosed)
	o.pause()
	return nil
}

// section implements blob.
func (o *object) section(start, end int64) (io.Reader, error) {
	s := o.stream(start, end)
	if start == end {
		return s, nil
	}
	o.held = nil
	o.goOn(s, start) // to be closed with the object
	if err := s.connect(); err != nil {
		return nil, err
	}
	return s, nil
}

func (o *object) stream(start, end int64) *stream {
	return &stream{ctx: o.ctx, store: o.store, o: o.o, path: o.path, at: start, end: end}
}

// ReadAt implements io.ReaderAt.
func (o *object) ReadAt(b []byte, at int64) (n int, err error) {
	want := b
	if size := o.o.Size; size >= 0 {
		if at >= size {
			return 0, io.EOF
		}
		want = b[:min(int64(len(b)), size-at)]
	}
	if first := o.at - int64(len(o.held)); at >= first && at < o.at {
		n = copy(want, o.held[at-first:])
	}
	for n < len(want) && err == nil {
		n, err = o.more(want, n, at+int64(n))
	}
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return n, err
}

// more reads on at the offset at, which is that of b[n], and returns how many
// bytes of b there are now.
func (o *object) more(b []byte, n int, at int64) (int, error) {
	next := o.current()
	if at != o.at || next == nil || next.done() {
		next = o.request(at, int64(len(b)-n))
	}
	got, err := next.Read(b[n:])
	o.remember(b[n : n+got])
	if errors.Is(err, io.EOF) && o.o.Size >= 0 && o.at < o.o.Size {
		err = nil // of the request
	}
	return n + got, err
}

// request begins a request for at least n bytes at an offset.
func (o *object) request(at, n int64) *stream {
	switch {
	case at > o.at || at < o.at-nearBytes || o.ahead == 0:
		o.ahead = firstAhead
	case o.ahead == firstAhead:
		o.ahead = secondAhead
	default:
		o.ahead = o.o.Size
	}
	if at != o.at {
		o.held = o.held[:0]
	}
	end := o.o.Size
	if !o.o.Whole {
		end = min(end, at+max(n, o.ahead))
	}
	s := o.stream(at, end)
	o.goOn(s, at)
	return s
}

// remember keeps the last bytes of what was read.
func (o *object) remember(b []byte) {
	o.at += int64(len(b))
	if len(b) >= heldBytes {
		o.held = append(o.held[:0], b[len(b)-heldBytes:]...)
		return
	}
	if over := len(o.held) + len(b) - heldBytes; over > 0 {
		o.held = append(o.held[:0], o.held[over:]...)
	}
	o.held = append(o.held, b...)
}

// stream reads the bytes [at, end) of an object, -1: to its end. A connection
// that breaks is made again where it broke.
type stream struct {
	ctx     context.Context //nolint:containedctx // it is that of the reads
	store   store.Store
	o       store.Object
	path    string
	at, end int64
	ended   bool  // of an object of unknown size: all was read
	breaks  int   // in a row
	broke   int64 // where the last was

	mu sync.Mutex
	in *answer // nil: not connected
}

// answer is one request that is being read.
type answer struct {
	body   io.ReadCloser
	cancel context.CancelCauseFunc
	watch  *time.Timer
}

// Read implements io.Reader.
func (a *answer) Read(b []byte) (int, error) {
	a.watch.Reset(silence)
	defer a.watch.Stop() // the time between reads is not the store's
	return a.body.Read(b)
}

var errSilent = errors.New("the store sends nothing any more")

func (s *stream) done() bool { return s.ended || s.end >= 0 && s.at >= s.end }

// connect asks for what is left. Where that broke off at once and is worth to be
// tried again, nothing is connected.
func (s *stream) connect() error {
	ctx, cancel := context.WithCancelCause(s.ctx)
	watch := time.AfterFunc(silence, func() { cancel(errSilent) })
	start := s.at
	if s.o.Whole {
		start = 0
	}
	body, err := s.store.Read(ctx, s.o, start, s.end)
	watch.Stop()
	if err != nil {
		cancel(nil)
		return s.problem(ctx, err)
	}
	in := &answer{body, cancel, watch}
	s.mu.Lock()
	s.in = in
	s.mu.Unlock()
	if start < s.at {
		_, err = io.CopyN(io.Discard, in, s.at-start)
	}
	switch {
	case s.ctx.Err() != nil, err != nil && !errors.Is(err, io.EOF):
		return s.broken(err) // it may have been closed meanwhile
	case err != nil && s.end < 0:
		s.ended = true
	case err != nil:
		return s.broken(io.ErrUnexpectedEOF)
	}
	return nil
}

func (s *stream) connected() *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in
}

// problem is an error of the store, or what caused it.
func (s *stream) problem(ctx context.Context, err error) error {
	switch {
	case s.ctx.Err() != nil:
		return fmt.Errorf("reading %s: %w", s.path, context.Cause(s.ctx))
	case errors.Is(context.Cause(ctx), errSilent):
		return job.Retryf("reading %s: %w (%s)", s.path, errSilent, silence)
	}
	return objectError(s.path, err)
}

// Read implements io.Reader.
func (s *stream) Read(b []byte) (int, error) {
	for {
		if s.done() {
			s.hangUp()
			return 0, io.EOF
		}
		in := s.connected()
		if in == nil {
			if err := s.connect(); err != nil {
				return 0, err
			}
			continue
		}
		if s.end >= 0 {
			b = b[:min(int64(len(b)), s.end-s.at)]
		}
		n, err := in.Read(b)
		s.at += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			s.ended = s.end < 0
			if !s.done() {
				err = s.broken(io.ErrUnexpectedEOF)
			} else {
				s.hangUp()
				err = nil
			}
		case err != nil:
			err = s.broken(err)
		}
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
	}
}

// broken hangs up after an error of the body, and returns nil when it is worth
// to connect again.
func (s *stream) broken(err error) error {
	switch {
	case s.ctx.Err() != nil:
		s.hangUp()
		return fmt.Errorf("reading %s: %w", s.path, context.Cause(s.ctx))
	case errors.Is(err, store.ErrChanged), errors.Is(err, store.ErrNotFound):
		s.hangUp()
		return objectError(s.path, err)
	}
	s.hangUp()
	if s.at-s.broke >= breakBytes {
		s.breaks = 0
	}
	s.broke = s.at
	if s.breaks++; s.breaks > maxBreaks {
		return job.Retryf("reading %s: the connection broke off at byte %d, %d times in a row: %w", s.path, s.at, s.breaks, err)
	}
	wait := time.NewTimer(firstPause << (s.breaks - 1))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-s.ctx.Done():
		return fmt.Errorf("reading %s: %w", s.path, context.Cause(s.ctx))
	}
}

// hangUp ends the request. What is left can be read by another.
func (s *stream) hangUp() {
	s.mu.Lock()
	in := s.in
	s.in = nil
	s.mu.Unlock()
	if in != nil {
		in.watch.Stop()
		in.cancel(nil)
		_ = in.body.Close() // it was only read
	}
}
