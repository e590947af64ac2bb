package clickhouse_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// spanning is a context within a trace, as another process would have begun it.
func spanning(t *testing.T) (context.Context, trace.SpanContext) {
	t.Helper()
	id, err := trace.TraceIDFromHex("4bf92f3577b34da6a3ce929d0e0e4736")
	if err != nil {
		t.Fatal(err)
	}
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{1, 2, 3, 4, 5, 6, 7, 8}, TraceFlags: trace.FlagsSampled, Remote: true})
	return trace.ContextWithSpanContext(t.Context(), span), span
}

// loadOne loads a row into a new table.
func loadOne(ctx context.Context, t *testing.T, c *clickhouse.Client) {
	t.Helper()
	table := clickhouse.Table{Name: "traced"}
	exec1(t, c, "CREATE TABLE traced (n UInt8) ENGINE = MergeTree ORDER BY n")
	block := native(t, c, "SELECT 1::UInt8 AS n")
	if err := c.Load(ctx, clickhouse.Load{
		Table: table, Columns: []string{"n"}, Body: bytes.NewReader(block), Length: int64(len(block)), Rows: 1, Token: job.Chunk{Job: "traced"}.Token(0, 0),
	}); err != nil {
		t.Fatal(err)
	}
}

// An INSERT over HTTP carries the trace of its context, and no other request does.
func TestTraceOverHTTP(t *testing.T) {
	t.Parallel()
	to, err := url.Parse(shared.URL())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var seen []string
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if parent := r.Header.Get("traceparent"); parent != "" {
			mu.Lock()
			seen = append(seen, parent+" "+r.URL.Query().Get("insert_deduplication_token"))
			mu.Unlock()
		}
		pass.ServeHTTP(w, r)
	}))
	defer server.Close()
	from, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	from.User = to.User
	there := openIn(t, shared.URL())
	c, err := clickhouse.Open(t.Context(), clickhouse.Config{URL: from.String(), Database: there.Database()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, _ := spanning(t)
	loadOne(ctx, t, c)
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"00-4bf92f3577b34da6a3ce929d0e0e4736-0102030405060708-01 traced/0/0/0"}; !slices.Equal(seen, want) {
		t.Errorf("requests within a trace: %q, want %q", seen, want)
	}
}

// Over the native protocol it does too: both identifiers are in the query packet,
// as ClickHouse has them, in two halves of which each is turned round.
func TestTraceOverTCP(t *testing.T) {
	t.Parallel()
	to, err := url.Parse(tcp(t, shared.URL()))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var sent lockedBytes
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { tee(conn, to.Host, &sent) })
		}
	})
	defer wg.Wait()
	defer l.Close()
	there := openIn(t, shared.URL())
	from := *to
	from.Host = l.Addr().String()
	c, err := clickhouse.Open(t.Context(), clickhouse.Config{URL: from.String(), Database: there.Database()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, span := spanning(t)
	id, own := span.TraceID(), span.SpanID()
	slices.Reverse(id[:8])
	slices.Reverse(id[8:])
	slices.Reverse(own[:])
	want := append(append([]byte{1}, id[:]...), own[:]...)
	loadOne(ctx, t, c)
	if n := bytes.Count(sent.bytes(), want); n != 1 {
		t.Errorf("the trace was sent %d times", n)
	}
}

// tee passes a connection on, and keeps what the client sends.
func tee(client net.Conn, host string, kept io.Writer) {
	defer client.Close()
	server, err := net.Dial("tcp", host)
	if err != nil {
		return
	}
	defer server.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(client, server)
		client.Close()
	}()
	_, _ = io.Copy(io.MultiWriter(kept, server), client)
	server.Close()
	<-done
}

type lockedBytes struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBytes) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBytes) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.b.Bytes())
}
