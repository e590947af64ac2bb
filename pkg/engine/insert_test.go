package engine

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	chcompress "github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// block is rows of one Native block, made by the engine.
func block(t *testing.T, c *Client, query string) []byte {
	t.Helper()
	out, err := output(t.Context(), c, Statement{SQL: query + " FORMAT Native", Settings: map[string]string{"max_block_size": "10000000", "max_threads": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	return []byte(out)
}

// load inserts a body as Drayage does, under a token.
func load(ctx context.Context, c *Client, table, token string, body io.Reader) (Summary, error) {
	settings := map[string]string{
		"insert_deduplicate": "1", "deduplicate_insert": "enable", "insert_deduplication_token": token,
		"deduplicate_blocks_in_dependent_materialized_views": "1", "async_insert": "0", "wait_for_async_insert": "1",
		"max_insert_threads": "1", "min_insert_block_size_rows": "0", "min_insert_block_size_bytes": "0",
		"optimize_on_insert": "0", "session_timezone": "UTC", "log_comment": "test",
	}
	return c.Exec(ctx, Statement{SQL: "INSERT INTO " + table + " FORMAT Native", Settings: settings, Body: body, QueryID: table + token + rand.Text()})
}

// running reports whether statements run whose query id begins with prefix.
func running(t *testing.T, c *Client, prefix string) bool {
	t.Helper()
	return text(t, c, "SELECT count() FROM system.processes WHERE startsWith("+marked+", "+quote(prefix)+")") != "0"
}

func createLoadTable(t *testing.T, c *Client, name string) {
	t.Helper()
	run(t, c, "CREATE TABLE "+name+" (n UInt64, s String) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 1000")
}

func TestTokensDeduplicate(t *testing.T) {
	p, db := use(t)
	c := p.Client()
	table := db + ".t"
	createLoadTable(t, c, table)
	run(t, c, "CREATE TABLE "+db+".sums (m UInt64, k UInt64) ENGINE = MergeTree ORDER BY m SETTINGS non_replicated_deduplication_window = 1000")
	// The scalar subquery is one that breaks other ways of inserting.
	run(t, c, "CREATE MATERIALIZED VIEW "+db+".v TO "+db+".sums AS SELECT n % 10 AS m, count() + (SELECT 0) AS k FROM "+table+" GROUP BY m")
	const rows = 2_000_000 // more than any block of the engine's own
	data := block(t, c, fmt.Sprintf("SELECT number AS n, toString(number) AS s FROM numbers(%d)", rows))
	check := func(what string, want int) {
		t.Helper()
		if got := text(t, c, "SELECT count(), uniqExact(n), (SELECT sum(k) FROM "+db+".sums) FROM "+table); got != fmt.Sprintf("%d\t%d\t%d", want, min(want, rows), want) {
			t.Errorf("%s: rows, different rows, rows of the view: %s, want %d", what, got, want)
		}
	}
	for range 2 {
		if s, err := load(t.Context(), c, table, "a/0", bytes.NewReader(data)); err != nil || s.WrittenRows < rows || s.ReadRows < rows {
			t.Fatalf("load: %+v, %v", s, err)
		}
		check("the same token", rows)
	}
	var twins sync.WaitGroup
	for range 4 {
		twins.Go(func() {
			if _, err := load(t.Context(), c, table, "a/1", bytes.NewReader(data)); err != nil {
				t.Errorf("twin: %v", err)
			}
		})
	}
	twins.Wait()
	check("twins at once", 2*rows)
	if _, err := load(t.Context(), c, table, "a/0", bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	check("again", 2*rows)
}

// encodings are ways to encode a body; each must tell a cut one.
var encodings = []struct {
	name, contentEncoding, parameter string
	encode                           func(io.Writer) io.WriteCloser
}{
	{"plain", "", "", func(w io.Writer) io.WriteCloser { return nopCloser{w} }},
	{"gzip", "gzip", "", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }},
	{"deflate", "deflate", "", func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }},
	{"br", "br", "", func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) }},
	{"zstd", "zstd", "", func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z }},
	{"lz4", "lz4", "", func(w io.Writer) io.WriteCloser { return lz4.NewWriter(w) }},
	{"blocks", "", "1", func(w io.Writer) io.WriteCloser {
		b := &blockWriter{w: w, z: chcompress.NewWriter(chcompress.LevelZero, chcompress.LZ4)}
		return flushing{b}
	}},
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

type flushing struct{ *blockWriter }

func (f flushing) Close() error { return f.flush() }

// TestCutBodiesInsertNothing cuts bodies in every way that a dying client can,
// in formats that would be read happily up to the cut.
func TestCutBodiesInsertNothing(t *testing.T) {
	p, db := use(t)
	c := p.Client()
	run(t, c, "CREATE TABLE "+db+".t (s String) ENGINE = MergeTree ORDER BY s")
	lines := strings.Repeat("a line of thirty characters 123\n", 10_000)
	var native bytes.Buffer // of many blocks
	for range 5 {
		native.Write(block(t, c, "SELECT toString(number) AS s FROM numbers(10000)"))
	}
	for _, format := range []struct{ name, data string }{{"CSV", lines}, {"LineAsString", lines}, {"Native", native.String()}} {
		for _, enc := range encodings {
			var encoded bytes.Buffer
			w := enc.encode(&encoded)
			if _, err := io.WriteString(w, format.data); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			whole := encoded.Bytes()
			half := len(whole) / 2
			for _, cut := range []struct {
				name, head string
				body       []byte
			}{
				{"short content length", fmt.Sprintf("Content-Length: %d", len(whole)), whole[:half]},
				{"content length one short", fmt.Sprintf("Content-Length: %d", len(whole)), whole[:len(whole)-1]},
				{"chunks without end", "Transfer-Encoding: chunked", []byte(fmt.Sprintf("%x\r\n%s\r\n", len(whole), whole))},
				{"half a chunk", "Transfer-Encoding: chunked", []byte(fmt.Sprintf("%x\r\n%s", len(whole), whole[:half]))},
				{"encoding cut", fmt.Sprintf("Content-Length: %d", half), whole[:half]},
			} {
				if cut.name == "encoding cut" && enc.name == "plain" {
					continue // that is a whole, shorter body
				}
				t.Run(format.name+"/"+enc.name+"/"+cut.name, func(t *testing.T) {
					status := sendRaw(t, p, with("query", "INSERT INTO t FORMAT "+format.name, "database", db, "decompress", enc.parameter), enc.contentEncoding, cut.head, cut.body, true)
					if status == 200 {
						t.Errorf("status %d", status)
					}
					if n := text(t, c, "SELECT count() FROM "+db+".t"); n != "0" {
						t.Fatalf("%s rows inserted", n)
					}
				})
			}
			if status := sendRaw(t, p, with("query", "INSERT INTO t FORMAT "+format.name, "database", db, "decompress", enc.parameter), enc.contentEncoding, fmt.Sprintf("Content-Length: %d", len(whole)), whole, false); status != 200 {
				t.Errorf("%s, %s: the whole body: status %d", format.name, enc.name, status)
			}
			if n := text(t, c, "SELECT count() > 0 FROM "+db+".t"); n != "1" {
				t.Errorf("%s, %s: the whole body inserted nothing", format.name, enc.name)
			}
			run(t, c, "TRUNCATE TABLE "+db+".t")
		}
	}
}

// sendRaw sends a request byte by byte, with cut ends the connection's way
// there, and returns the status of the reply.
func sendRaw(t *testing.T, p *Process, parameters url.Values, contentEncoding, head string, body []byte, cut bool) int {
	t.Helper()
	u, err := url.Parse(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	password, _ := u.User.Password()
	fmt.Fprintf(conn, "POST /?%s HTTP/1.1\r\nHost: x\r\nX-ClickHouse-User: default\r\nX-ClickHouse-Key: %s\r\n%s\r\n", parameters.Encode(), password, head)
	if contentEncoding != "" {
		fmt.Fprintf(conn, "Content-Encoding: %s\r\n", contentEncoding)
	}
	fmt.Fprint(conn, "\r\n")
	if _, err := conn.Write(body); err != nil {
		t.Fatal(err)
	}
	if cut {
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no reply: %v", err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

func TestFailingReaderInsertsNothing(t *testing.T) {
	p, db := use(t)
	c := p.Client()
	createLoadTable(t, c, db+".t")
	data := block(t, c, "SELECT number AS n, toString(number) AS s FROM numbers(100000)")
	// A whole block, and then no end: what is there would be a good insert.
	_, err := load(t.Context(), c, db+".t", "x", io.MultiReader(bytes.NewReader(data), failing{}))
	if !errors.Is(err, errReader) {
		t.Errorf("error %v, want the reader's", err)
	}
	eventually(t, "the end of the insert", func() bool { return !running(t, c, db) })
	if n := text(t, c, "SELECT count() FROM "+db+".t"); n != "0" {
		t.Fatalf("%s rows inserted", n)
	}
	// The token is still free.
	if _, err := load(t.Context(), c, db+".t", "x", bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if n := text(t, c, "SELECT count() FROM "+db+".t"); n != "100000" {
		t.Errorf("%s rows after the retry", n)
	}
}

// TestCancelledInsertInsertsNothing cancels while the client has not sent all.
func TestCancelledInsertInsertsNothing(t *testing.T) {
	p, db := use(t)
	c := p.Client()
	createLoadTable(t, c, db+".t")
	data := block(t, c, "SELECT number AS n, toString(number) AS s FROM numbers(100000)")
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer w.Close()
	go func() {
		defer cancel()
		_, _ = w.Write(data)
		eventually(t, "the insert to run", func() bool { return running(t, c, db) })
	}()
	if _, err := load(ctx, c, db+".t", "x", r); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	eventually(t, "the end of the insert", func() bool { return !running(t, c, db) })
	if n := text(t, c, "SELECT count() FROM "+db+".t"); n != "0" {
		t.Fatalf("%s rows inserted", n)
	}
}

// TestTransformOfAnEndlessPipeIsCancelled is the worker giving up a chunk while
// the engine waits for the rest of its bytes.
func TestTransformOfAnEndlessPipeIsCancelled(t *testing.T) {
	p, _ := use(t)
	c := p.Client()
	r, w, err := widePipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() {
		_, err := c.Exec(ctx, Statement{SQL: fmt.Sprintf("SELECT count() FROM file('%s', CSV, 'a Int32')", procPath(r)), QueryID: "endless"})
		over <- err
	}()
	eventually(t, "the transform to run", func() bool { return running(t, c, "endless") })
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	// The pipe stays open until the statement is over, or its end would look
	// like the end of the data; closing it frees the engine's thread.
	w.Close()
	eventually(t, "the end of the transform", func() bool { return !running(t, c, "endless") })
}

// A client that stops in the middle of its INSERT is waited for only so long: its
// rows are not there, and its query_id is free. One that only takes long with its
// answer is not hurried.
func TestSilentClient(t *testing.T) {
	t.Parallel()
	p := start(t, Config{ReceiveTimeout: 300 * time.Millisecond})
	c := p.Client()
	run(t, c, "CREATE TABLE t (a Int32) ENGINE = MergeTree ORDER BY a")
	body, sender := io.Pipe()
	failed := make(chan error, 1)
	go func() {
		_, err := c.Exec(t.Context(), Statement{SQL: "INSERT INTO t FORMAT CSV", QueryID: "silent", Body: body})
		failed <- err
	}()
	if _, err := io.WriteString(sender, "1\n2\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		if err == nil {
			t.Error("half an INSERT was accepted")
		}
	case <-time.After(20 * time.Second):
		t.Error("it waits for the rest for ever")
	}
	_ = sender.Close()
	if got := text(t, c, "SELECT count() FROM t"); got != "0" {
		t.Errorf("there are %s rows", got)
	}
	if _, err := c.Exec(t.Context(), Statement{SQL: "INSERT INTO t FORMAT CSV", QueryID: "silent", Body: strings.NewReader("3\n")}); err != nil {
		t.Errorf("the same query_id again: %v", err)
	}
	const slow = "SELECT sleepEachRow(0.2) FROM numbers(4) SETTINGS max_block_size = 1"
	for _, a := range []answer{curl(t, p, "GET", with("query", slow), nil, nil), curl(t, p, "POST", nil, nil, strings.NewReader(slow))} {
		if a.body != "0\n0\n0\n0\n" {
			t.Errorf("a slow query: %d %q", a.status, a.body)
		}
	}
	if got := text(t, c, "SELECT * FROM t"); got != "3" {
		t.Errorf("the rows are %q", got)
	}
}
