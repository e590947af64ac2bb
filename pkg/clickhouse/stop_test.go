package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// gate is a body that gives its first half and then waits to be let on.
type gate struct {
	first, rest io.Reader
	reached, on chan struct{}
	once        sync.Once
}

func newGate(body []byte) *gate {
	half := len(body) / 2
	return &gate{first: strings.NewReader(string(body[:half])), rest: strings.NewReader(string(body[half:])), reached: make(chan struct{}), on: make(chan struct{})}
}

func (g *gate) Read(p []byte) (int, error) {
	if n, err := g.first.Read(p); err == nil {
		return n, nil
	}
	g.once.Do(func() { close(g.reached) })
	<-g.on
	return g.rest.Read(p)
}

// held starts a load of a chunk that waits half-way; its error comes later.
func held(t *testing.T, c *clickhouse.Client, table clickhouse.Table, chunk job.Chunk) (*gate, <-chan error) {
	t.Helper()
	body := native(t, c, fmt.Sprintf("SELECT number AS id, toString(number) AS s, toLowCardinality('%s') AS _job, toUInt32(%d) AS _chunk FROM numbers(100000) SETTINGS max_block_size = 1000000", chunk.Job, chunk.Ordinal))
	g := newGate(body)
	l := load(table, body, chunk.Token(0, 0))
	l.Body, l.QueryID = g, chunk.Token(0, 0)
	out := make(chan error, 1)
	go func() { out <- c.Load(t.Context(), l) }()
	<-g.reached
	eventually(t, "the insert runs", func() bool {
		return query(t, c, "SELECT count() FROM system.processes WHERE Settings['insert_deduplication_token'] = '"+chunk.Token(0, 0)+"'") == "1"
	})
	return g, out
}

func TestStopInserts(t *testing.T) {
	t.Parallel()
	c, id := jobs(t)
	table := target(t, c, "t")
	chunks := []job.Chunk{{Job: id, Ordinal: 1}, {Job: id, Ordinal: 12, Generation: 3}, {Job: id + "-b", Ordinal: 1}, {Job: id[:len(id)-1], Ordinal: 1}}
	gates := make([]*gate, len(chunks))
	outs := make([]<-chan error, len(chunks))
	for i, chunk := range chunks {
		gates[i], outs[i] = held(t, c, table, chunk)
	}
	// None of these runs.
	for _, none := range []struct {
		job    string
		chunks []uint64
	}{{id, []uint64{2, 120, 0}}, {"nobody", nil}, {id, []uint64{}}} {
		if err := c.StopInserts(t.Context(), none.job, none.chunks); err != nil {
			t.Error(err)
		}
	}
	// An insert whose client is silent stays, but it is killed already.
	killed := func(which int) {
		t.Helper()
		eventually(t, "the insert is killed", func() bool {
			return query(t, c, "SELECT is_cancelled FROM system.processes WHERE Settings['insert_deduplication_token'] = '"+chunks[which].Token(0, 0)+"'") == "1"
		})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.StopInserts(ctx, id, []uint64{12, 13}) }()
	killed(1)
	cancel(job.ErrDraining)
	err := <-done
	var stop *clickhouse.StopError
	if !errors.As(err, &stop) || stop.Running != 1 || stop.Grant != "" || !errors.Is(err, job.ErrDraining) && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	wantClass(t, err, job.Retry)
	close(gates[1].on)
	wantKilled(t, <-outs[1])

	go func() { done <- c.StopInserts(t.Context(), id, nil) }()
	killed(0)
	close(gates[0].on)
	wantKilled(t, <-outs[0])
	if err := <-done; err != nil {
		t.Error(err)
	}
	for i := 2; i < 4; i++ {
		close(gates[i].on)
		if err := <-outs[i]; err != nil {
			t.Error(err)
		}
	}
	if got, want := perChunk(t, c, table), fmt.Sprintf("%s/1=100000 %s-b/1=100000", id[:len(id)-1], id); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func wantKilled(t *testing.T, err error) {
	t.Helper()
	var x *clickhouse.Exception
	if !errors.As(err, &x) || x.Code != 394 || job.ClassOf(err) != job.Retry {
		t.Errorf("got %v", err)
	}
}

// denying passes requests on to an engine, but for those with a text in them:
// they are answered as a server does whose user lacks a right.
func denying(t *testing.T, text string) string {
	t.Helper()
	return denyingAt(t, shared.URL(), text)
}

func denyingAt(t *testing.T, engine, text string) string {
	t.Helper()
	to, err := url.Parse(engine)
	if err != nil {
		t.Fatal(err)
	}
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(string(body)+r.URL.Query().Get("query"), text) {
			w.Header().Set("X-ClickHouse-Exception-Code", "497")
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, "Code: 497. DB::Exception: tester: Not enough privileges. (ACCESS_DENIED) (version 26.7.3.1)")
			return
		}
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(string(body))), int64(len(body))
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	from, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	from.User = to.User
	return from.String()
}

func TestStopInsertsWithoutTheRight(t *testing.T) {
	t.Parallel()
	c, id := jobs(t)
	table := target(t, c, "t")
	g, out := held(t, c, table, job.Chunk{Job: id})
	for text, grant := range map[string]string{"system.processes": "GRANT SELECT ON system.processes", "KILL QUERY": "GRANT KILL QUERY ON *.*"} {
		err := open(t, denying(t, text)).StopInserts(t.Context(), id, nil)
		var stop *clickhouse.StopError
		var x *clickhouse.Exception
		if !errors.As(err, &stop) || stop.Grant != grant || !errors.As(err, &x) || x.Code != 497 || !strings.Contains(err.Error(), grant) {
			t.Errorf("got %v", err)
		}
		wantClass(t, err, job.Permanent)
	}
	close(g.on)
	if err := <-out; err != nil {
		t.Error(err)
	}
}
