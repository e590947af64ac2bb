package clickhouse

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"

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
	req = traced(req)
	if s, ok := req.Body.(posted); ok {
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

// posted is the body of an insert on its way through clickhouse-go. The
// transport recognises it by its type.
type posted struct{ *insert }

// Read is never called: the transport reads the insert's body instead. It makes
// posted a reader, which is what clickhouse-go takes.
func (posted) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Close does nothing: the body is the caller's to close.
func (posted) Close() error { return nil }

func (s posted) send(base *http.Transport, req *http.Request) (*http.Response, error) {
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
	// The connection is given back only when the insert is over, and its
	// failure is a status.
	query.Set("wait_end_of_query", "1")
	query.Set("query", s.statement)
	if s.queryID != "" {
		query.Set("query_id", s.queryID)
	}
	req.URL.RawQuery = query.Encode()

	defer s.attach(req)()
	res, err := base.RoundTrip(req)
	if err == nil {
		s.wrote.Store(written(res.Header.Get("X-ClickHouse-Summary")))
	}
	return res, err
}

// attach gives the request its body. The function it returns waits until
// nobody reads the caller's body any more.
//
// A file is not given to net/http to be sent with sendfile: that was measured,
// and takes as much CPU as copying (BenchmarkLoad). In return nothing that the
// caller does to the body after Load can reach the server.
func (s posted) attach(req *http.Request) (stop func()) {
	guard := &guarded{ctx: req.Context(), insert: s.insert, left: s.length}
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
func (s posted) compressed(ctx context.Context, body io.Reader) (io.ReadCloser, func()) {
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

func (s posted) compress(to io.Writer, body io.Reader) error {
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

// written is how many rows a summary says were written, 0 when it does not say.
func written(text string) uint64 {
	var summary struct {
		Written string `json:"written_rows"`
	}
	if json.Unmarshal([]byte(text), &summary) != nil {
		return 0
	}
	rows, err := strconv.ParseUint(summary.Written, 10, 64)
	if err != nil {
		return 0
	}
	return rows
}
