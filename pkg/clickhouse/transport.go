package clickhouse

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// transport is the way of one clickhouse-go connection to the server. It
// passes everything through but inserts: those it sends itself, because
// clickhouse-go would copy the body through small buffers, in HTTP chunks,
// uncompressed, and cut quoted names out of the statement.
type transport struct{ base *http.Transport }

// CloseIdleConnections is what clickhouse-go closes a connection with.
func (t *transport) CloseIdleConnections() { t.base.CloseIdleConnections() }

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if s, ok := req.Body.(*insert); ok {
		return s.send(t.base, req)
	}
	if query := req.URL.Query(); query.Has(formatMark) {
		// QueryFormat leaves the protocol version of clickhouse-go's own
		// decoder in the address; Native would come in a dialect that
		// nothing else reads.
		query.Del("client_protocol_version")
		req = req.Clone(req.Context())
		req.URL.RawQuery = query.Encode()
	}
	return t.base.RoundTrip(req)
}

// formatMark is a setting that clickhouse-go gives to QueryFormat's requests
// alone.
const formatMark = "http_write_exception_in_output_format"

// The phases of an insert. Only the last two matter to the outcome.
const (
	phaseIdle   = iota // no byte of the request has left
	phaseSent          // the request is on its way, whole as far as we know
	phaseBroken        // writing it failed: the server can not have all of it
)

// insert is the body of an INSERT on its way through clickhouse-go, and what
// became of it. The transport recognises it by its type.
type insert struct {
	statement   string
	settings    map[string]string
	queryID     string
	body        io.Reader
	length      int64
	compression string

	phase   atomic.Int32
	summary atomic.Pointer[string]
	mu      sync.Mutex
	failed  error // of body
}

// Read is never called: the transport reads body instead. It makes insert a
// reader, which is what clickhouse-go takes.
func (s *insert) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Close does nothing: the body is the caller's to close.
func (s *insert) Close() error { return nil }

func (s *insert) send(base *http.Transport, req *http.Request) (*http.Response, error) {
	req = req.Clone(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		// Pessimistic: from here on the server may have had all of it,
		// unless writing is known to have failed.
		GotConn: func(httptrace.GotConnInfo) { s.phase.Store(phaseSent) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err != nil {
				s.phase.Store(phaseBroken)
			}
		},
	}))
	query := req.URL.Query()
	for name, value := range s.settings {
		query.Set(name, value)
	}
	query.Set("query", s.statement)
	if s.queryID != "" {
		query.Set("query_id", s.queryID)
	}
	req.URL.RawQuery = query.Encode()

	defer s.attach(req)()
	res, err := base.RoundTrip(req)
	if err == nil {
		text := res.Header.Get("X-ClickHouse-Summary")
		s.summary.Store(&text)
	}
	return res, err
}

// attach gives the request its body. The function it returns waits until
// nobody reads the caller's body any more.
//
// A file is not given to net/http to be sent with sendfile: that was measured,
// and takes as much CPU as copying (BenchmarkLoad). In return nothing that the
// caller does to the body after Load can reach the server.
func (s *insert) attach(req *http.Request) (stop func()) {
	guard := &guarded{ctx: req.Context(), insert: s, left: s.length}
	req.Body, req.ContentLength, req.GetBody = guard, s.length, nil
	if s.compression == CompressionNone {
		return guard.wait
	}
	req.Header.Set("Content-Encoding", s.compression)
	req.ContentLength = -1
	req.Body, stop = s.compressed(req.Context(), guard)
	return stop
}

// compressed returns the body compressed as it is read.
func (s *insert) compressed(ctx context.Context, body io.Reader) (io.ReadCloser, func()) {
	pr, pw := io.Pipe()
	done := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() { _ = pw.CloseWithError(context.Cause(ctx)) })
	go func() {
		defer close(done)
		pw.CloseWithError(s.compress(pw, body))
	}()
	return pr, func() {
		unhook()
		_ = pr.CloseWithError(io.ErrClosedPipe)
		<-done
	}
}

func (s *insert) compress(to io.Writer, body io.Reader) error {
	var w io.WriteCloser
	if s.compression == CompressionZSTD {
		enc, err := zstd.NewWriter(to, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
		if err != nil {
			return fmt.Errorf("compressing: %w", err)
		}
		w = enc
	} else {
		enc := lz4.NewWriter(to)
		if err := enc.Apply(lz4.BlockSizeOption(lz4.Block1Mb), lz4.ChecksumOption(false)); err != nil {
			return fmt.Errorf("compressing: %w", err)
		}
		w = enc
	}
	if _, err := io.Copy(w, body); err != nil {
		// No end is written: the server must not take this for a whole.
		return fmt.Errorf("compressing: %w", err)
	}
	return w.Close()
}

// guarded reads exactly the length of the body, remembers the body's own
// error, and lets a body that ends early fail. It gives out nothing any more
// once the context has ended: a sender that was stopped in the middle and goes
// on much later, when somebody else may have its work, must not finish.
type guarded struct {
	ctx    context.Context //nolint:containedctx // the request's, which a Read has no other way to
	insert *insert
	mu     sync.Mutex // held while the caller's body is read
	left   int64
	closed error // what every further Read gives
}

func (g *guarded) Read(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed != nil:
		return 0, g.closed
	case g.left == 0:
		return 0, io.EOF
	case ended(g.ctx) != nil:
		return 0, g.fail(ended(g.ctx))
	}
	n, err := g.insert.body.Read(p[:min(int64(len(p)), g.left)])
	if over := ended(g.ctx); over != nil { // the Read may have taken long
		return 0, g.fail(over)
	}
	g.left -= int64(n)
	switch {
	case err == nil:
	case err != io.EOF: //nolint:errorlint // io.Reader's contract is the value itself
		return n, g.fail(err)
	case g.left > 0:
		return n, g.fail(fmt.Errorf("the body ended %d bytes early: %w", g.left, io.ErrUnexpectedEOF))
	}
	return n, nil
}

// fail remembers the body's error.
func (g *guarded) fail(err error) error {
	g.closed = err
	g.insert.mu.Lock()
	defer g.insert.mu.Unlock()
	g.insert.failed = err
	return err
}

// ended is why the context has ended, or nil. A deadline that has passed counts
// before its timer has fired: a process that was stopped runs on before its
// timers do.
func ended(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// Close does not close the caller's body.
func (g *guarded) Close() error { return nil }

// wait returns when no Read is in progress, and lets none follow.
func (g *guarded) wait() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = io.ErrClosedPipe
}

func (s *insert) bodyErr() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// written is how many rows the server says it wrote, 0 when it does not say.
// It is no proof that they are new: a deduplicated insert reports them too.
func (s *insert) written() uint64 {
	text := s.summary.Load()
	if text == nil {
		return 0
	}
	var summary struct {
		Written string `json:"written_rows"`
	}
	if json.Unmarshal([]byte(*text), &summary) != nil {
		return 0
	}
	rows, err := strconv.ParseUint(summary.Written, 10, 64)
	if err != nil {
		return 0
	}
	return rows
}
