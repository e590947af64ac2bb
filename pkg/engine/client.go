package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"drayage/pkg/job"
)

// Statement is one statement for a Client.
type Statement struct {
	SQL      string
	Database string
	QueryID  string
	Settings map[string]string
	Params   map[string]string // of {name:Type}
	// Body is the data of an INSERT … FORMAT x, from where it stands to its
	// end; it is not closed. An error of its Read fails the statement, and
	// nothing is inserted. A cancelled context does not wait for a Read that
	// is under way. A regular file is sent without being copied.
	Body io.Reader
}

// Summary is what ClickHouse counted while it ran a statement. WrittenRows is
// no proof: a block that was deduplicated counts as written.
type Summary struct {
	ReadRows, ReadBytes, WrittenRows, WrittenBytes, ResultRows uint64
	Elapsed                                                    time.Duration
}

// Client runs statements on an engine, or on any ClickHouse server, over HTTP.
// Its methods may be called concurrently; each statement is a session of its
// own. A cancelled context ends the statement on the server too. Errors carry
// the class that they have for a chunk (job.ClassOf), and those that ClickHouse
// raised are an *Exception.
type Client struct {
	base     url.URL
	user     string
	password string
	http     *http.Client
	lending  lending      // of files, to a confined engine; nil: it opens them by FilePath
	life     func() *life // of the child that serves now; nil: the engine is not this process's own
}

// NewClient makes a client for http://user:password@host:port, https://… or
// http+unix://user:password@/path/of/socket. It does not connect.
func NewClient(baseURL string) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil {
		return nil, job.WithClass(fmt.Errorf("address of ClickHouse: %w", err), job.Permanent)
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		// On loopback compression costs more than it saves.
		DisableCompression:  true,
		MaxIdleConns:        64,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     30 * time.Second,
		WriteBufferSize:     64 << 10,
		ReadBufferSize:      64 << 10,
	}
	c := &Client{user: u.User.Username(), http: &http.Client{Transport: transport}}
	c.password, _ = u.User.Password()
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	transport.DialContext = dialer.DialContext
	switch u.Scheme {
	case "http", "https":
		c.base = url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/", RawQuery: u.RawQuery}
	case "http+unix":
		socket := u.Path
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
		c.base = url.URL{Scheme: "http", Host: "engine", Path: "/"}
	default:
		return nil, job.WithClass(fmt.Errorf("address of ClickHouse: scheme %q is not http, https or http+unix", u.Scheme), job.Permanent)
	}
	return c, nil
}

// Exec runs a statement and discards its output. It returns nil only when
// ClickHouse has said that the statement ended well.
func (c *Client) Exec(ctx context.Context, s Statement) (Summary, error) {
	res, err := c.do(ctx, s, "", true)
	if err != nil {
		return Summary{}, err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, newBody(ctx, res)); err != nil {
		return Summary{}, err
	}
	return readSummary(res), nil
}

// Query runs a statement and returns its output as it comes. A failure after
// the output began is the error of a Read; the output is whole only when Read
// has returned io.EOF. The caller closes it; closing it early ends the
// statement.
func (c *Client) Query(ctx context.Context, s Statement) (io.ReadCloser, error) {
	res, err := c.do(ctx, s, "", false) //nolint:bodyclose // the body that is returned closes it
	if err != nil {
		return nil, err
	}
	return newBody(ctx, res), nil
}

// Rows runs a statement without a FORMAT of its own and decodes its rows into
// dest, a pointer to a slice of structs, by the names of the columns (JSON
// tags). It is for small results: all of it is held in memory.
func (c *Client) Rows(ctx context.Context, s Statement, dest any) error {
	slice := reflect.ValueOf(dest)
	if slice.Kind() != reflect.Pointer || slice.Elem().Kind() != reflect.Slice {
		return job.WithClass(fmt.Errorf("rows: dest is a %T, not a pointer to a slice", dest), job.Permanent)
	}
	// 64 bit integers as numbers: they are decoded into Go integers.
	settings := map[string]string{"output_format_json_quote_64bit_integers": "0"}
	for k, v := range s.Settings {
		settings[k] = v
	}
	s.Settings = settings
	res, err := c.do(ctx, s, "JSONEachRow", false) //nolint:bodyclose // closed with body
	if err != nil {
		return err
	}
	body := newBody(ctx, res)
	defer func() { _ = body.Close() }() // it was only read
	slice = slice.Elem()
	slice.SetZero()
	for dec := json.NewDecoder(body); ; {
		row := reflect.New(slice.Type().Elem())
		err := dec.Decode(row.Interface())
		if err == io.EOF {
			return nil
		}
		if err != nil {
			var e *Exception
			if errors.As(err, &e) {
				return err
			}
			// What JSON says of a reply that broke off is not what happened.
			if _, rest := io.Copy(io.Discard, body); rest != nil {
				return rest
			}
			return job.WithClass(fmt.Errorf("decode the rows of a query: %w", err), job.Permanent)
		}
		slice.Set(reflect.Append(slice, row.Elem()))
	}
}

// Describe returns the columns of a relation: a table, a table function or a
// parenthesised SELECT.
func (c *Client) Describe(ctx context.Context, relation string, settings map[string]string) ([]job.Column, error) {
	var columns []job.Column
	err := c.Rows(ctx, Statement{SQL: "DESCRIBE TABLE " + relation, Settings: settings}, &columns)
	return columns, err
}

// CountRows counts the rows of a relation: a table, a table function or a
// parenthesised SELECT. A file is read for it each time: the engine keeps counts
// by path, and a path under /proc is many files in turn.
func (c *Client) CountRows(ctx context.Context, relation string, settings map[string]string) (uint64, error) {
	with := map[string]string{"use_cache_for_count_from_files": "0"}
	maps.Copy(with, settings)
	var rows []struct {
		N uint64 `json:"n"`
	}
	if err := c.Rows(ctx, Statement{SQL: "SELECT count() AS n FROM " + relation, Settings: with}, &rows); err != nil {
		return 0, err
	}
	if len(rows) != 1 {
		return 0, job.WithClass(fmt.Errorf("ClickHouse counted %d times", len(rows)), job.Retry)
	}
	return rows[0].N, nil
}

// FilePath is the path under which an engine on this machine, running as the
// same user, reads an open file of this process, for as long as it stays open.
// Linux only.
func FilePath(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }

// do sends a statement and returns the reply, whose status is 200.
func (c *Client) do(ctx context.Context, s Statement, format string, small bool) (_ *http.Response, err error) {
	sql, takeBack, err := c.lend(s.SQL)
	if err != nil {
		return nil, err
	}
	s.SQL = sql
	defer func() {
		if err != nil {
			takeBack()
		}
	}()
	query := c.base.Query()
	for k, v := range s.Settings {
		query.Set(k, v)
	}
	for k, v := range s.Params {
		query.Set("param_"+k, v)
	}
	if s.Database != "" {
		query.Set("database", s.Database)
	}
	if s.QueryID != "" {
		query.Set("query_id", s.QueryID)
	}
	if format != "" {
		query.Set("default_format", format)
	}
	if small {
		// The whole summary then comes in the headers.
		query.Set("wait_end_of_query", "1")
	}
	var body io.Reader = strings.NewReader(s.SQL)
	length := int64(0)
	if s.Body != nil {
		query.Set("query", s.SQL)
		body, length = upload(ctx, s.Body)
	}
	u := c.base
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), body)
	if err != nil {
		return nil, job.WithClass(fmt.Errorf("make a request for ClickHouse: %w", err), job.Permanent)
	}
	if length > 0 {
		req.ContentLength = length
	}
	if c.user != "" || c.password != "" {
		req.Header.Set("X-ClickHouse-User", c.user)
		req.Header.Set("X-ClickHouse-Key", c.password)
	}
	var life *life
	if c.life != nil {
		life = c.life()
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, life, err, body)
	}
	if res.StatusCode == http.StatusOK {
		res.Body = &closing{res.Body, takeBack, life}
		return res, nil
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, broken(ctx, life, err)
	}
	e := parseException(string(text))
	if code, err := strconv.Atoi(res.Header.Get(headerCode)); err == nil && code > 0 {
		e.Code = code
	} else if e.Code == codeForeign {
		e.Message = fmt.Sprintf("HTTP status %s: %s", res.Status, e.Message)
		if res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500 {
			return nil, job.WithClass(e, job.Retry)
		}
		return nil, job.WithClass(e, job.Permanent)
	}
	return nil, job.WithClass(e, e.class())
}

// closing does something more when a body is closed.
type closing struct {
	io.ReadCloser
	then func()
	life *life // of the child whose reply this is
}

// Close implements io.Closer.
func (c *closing) Close() error {
	err := c.ReadCloser.Close()
	if c.then != nil {
		c.then()
		c.then = nil
	}
	return err
}

// unreachable is the error of a request without a reply.
func (c *Client) unreachable(ctx context.Context, life *life, err error, body io.Reader) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("statement was cancelled: %w", cause)
	}
	if r, ok := body.(*reading); ok {
		if failure := r.failure.Load(); failure != nil {
			return fmt.Errorf("read the data to insert: %w", *failure)
		}
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // its URL holds the statement
	}
	if end := life.fate(ctx); end != nil {
		return end
	}
	return job.WithClass(fmt.Errorf("ClickHouse at %s gave no answer: %w", c.base.Host, err), job.Retry)
}

// broken is the error of a reply that broke off.
func broken(ctx context.Context, life *life, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("statement was cancelled: %w", cause)
	}
	if end := life.fate(ctx); end != nil {
		return end
	}
	return job.WithClass(fmt.Errorf("the answer of ClickHouse broke off: %w", err), job.Retry)
}

// readSummary reads the counters from the headers, or from the trailer when
// the body was longer than the engine holds back.
func readSummary(res *http.Response) Summary {
	text := res.Trailer.Get(headerSummary)
	if text == "" {
		text = res.Header.Get(headerSummary)
	}
	var raw struct {
		ReadRows     uint64 `json:"read_rows,string"`
		ReadBytes    uint64 `json:"read_bytes,string"`
		WrittenRows  uint64 `json:"written_rows,string"`
		WrittenBytes uint64 `json:"written_bytes,string"`
		ResultRows   uint64 `json:"result_rows,string"`
		Elapsed      int64  `json:"elapsed_ns,string"`
	}
	if text == "" || json.Unmarshal([]byte(text), &raw) != nil {
		return Summary{}
	}
	return Summary{raw.ReadRows, raw.ReadBytes, raw.WrittenRows, raw.WrittenBytes, raw.ResultRows, time.Duration(raw.Elapsed)}
}

// exceptionLimit is how long an exception block at the end of a body can be.
const exceptionLimit = 32 << 10

// body reads the output of a statement and finds the exception block that a
// failure leaves at its end.
type replyBody struct {
	ctx    context.Context
	src    io.ReadCloser
	life   *life
	marker []byte // what an exception block begins with
	buf    []byte // read, not given out yet
	err    error
}

func newBody(ctx context.Context, res *http.Response) *replyBody {
	marker := "\r\n__exception__\r\n"
	if tag := res.Header.Get(headerTag); tag != "" {
		marker += tag
	}
	b := &replyBody{ctx: ctx, src: res.Body, marker: []byte(marker)}
	if c, ok := res.Body.(*closing); ok {
		b.life = c.life
	}
	return b
}

// Read gives out what can not be the begin of an exception block.
func (b *replyBody) Read(p []byte) (int, error) {
	for {
		if at := bytes.Index(b.buf, b.marker); at >= 0 {
			if at > 0 {
				n := copy(p, b.buf[:at])
				b.buf = b.buf[n:]
				return n, nil
			}
			return 0, b.exception()
		}
		safe := len(b.buf)
		if b.err == nil {
			safe -= overlap(b.buf, b.marker)
		}
		if safe > 0 {
			n := copy(p, b.buf[:safe])
			b.buf = b.buf[n:]
			return n, nil
		}
		if b.err != nil {
			return 0, b.err
		}
		b.fill()
	}
}

// overlap is the length of the longest end of text that marker begins with.
func overlap(text, marker []byte) int {
	for n := min(len(text), len(marker)-1); n > 0; n-- {
		if bytes.Equal(text[len(text)-n:], marker[:n]) {
			return n
		}
	}
	return 0
}

// fill reads on.
func (b *replyBody) fill() {
	const size = 64 << 10
	if cap(b.buf)-len(b.buf) < size/2 {
		b.buf = append(make([]byte, 0, len(b.buf)+size), b.buf...)
	}
	n, err := b.src.Read(b.buf[len(b.buf):cap(b.buf)])
	b.buf = b.buf[:len(b.buf)+n]
	if err != nil {
		b.err = err
		if err != io.EOF {
			b.err = broken(b.ctx, b.life, err)
		}
	}
}

// exception reads the block that b.buf begins with.
func (b *replyBody) exception() error {
	for b.err == nil && len(b.buf) < exceptionLimit {
		b.fill()
	}
	text := string(b.buf)
	if i := strings.Index(text, "Code: "); i >= 0 {
		text = text[i:]
	}
	if i := strings.LastIndex(text, "\r\n__exception__"); i >= 0 {
		text = text[:i] // text, newline, length and tag
		if i := strings.LastIndexByte(text, '\n'); i >= 0 {
			text = text[:i]
		}
	}
	e := parseException(text)
	b.buf, b.err = nil, job.WithClass(e, e.class())
	return b.err
}

// Close ends the statement when it is still running.
func (b *replyBody) Close() error { return b.src.Close() }
