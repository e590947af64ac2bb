package rest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	"drayage/pkg/job"
)

const (
	maxWaiting   = 20 * time.Second // for retries, within the read of a chunk
	firstBackoff = 500 * time.Millisecond
	maxRedirects = 10
	excerpt      = 200      // bytes of an answer in an error
	maxDrain     = 64 << 10 // of an answer that is not wanted
)

// client makes the requests of one chunk, one after the other.
type client struct {
	s      *Source
	http   *http.Client
	waited time.Duration
}

// newClient reads the certificates.
func newClient(s *Source) (*client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns = 1
	s.cfg.Allow.Guard(transport)
	if s.cfg.Some() {
		var err error
		if transport.TLSClientConfig, err = s.cfg.TLS(); err != nil {
			return nil, err
		}
	}
	return &client{s: s, http: &http.Client{Transport: transport, CheckRedirect: s.redirect}}, nil
}

// sameOrigin reports whether what is secret for a may be sent to b: the same
// host, not by a less safe way.
func sameOrigin(a, b *url.URL) bool {
	if a.Scheme == "http" && b.Scheme == "https" && a.Hostname() == b.Hostname() && a.Port() == "" && b.Port() == "" {
		return true
	}
	return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host)
}

// redirect is http.Client.CheckRedirect. Beyond what net/http takes away, no
// header of the configuration goes to another host, or to another port of it,
// nor does the address that sent it there, whose query may be secret.
func (s *Source) redirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects || via[0].Method != http.MethodGet && (req.Method != via[0].Method || !sameOrigin(via[0].URL, req.URL)) {
		return http.ErrUseLastResponse
	}
	for _, hop := range append(via[1:], req) {
		if !sameOrigin(via[0].URL, hop.URL) {
			for name := range s.cfg.Headers {
				req.Header.Del(name)
			}
			req.Header.Del("Authorization")
			req.Header.Del("Referer")
			req.Header.Set("Accept", accept)
			return nil
		}
	}
	return nil
}

const accept = "application/json, application/x-ndjson;q=0.9, */*;q=0.1"

// response is an answer of status 200 whose body is JSON as far as one sees.
type response struct {
	body   io.Reader // bounded and watched
	close  func()
	header http.Header
	url    *url.URL // after redirects
	lines  bool     // NDJSON by its type
	empty  bool     // 204
}

// get makes a request, again where that may help.
func (c *client) get(ctx context.Context, to *url.URL, body string) (*response, error) {
	for attempt := 0; ; attempt++ {
		if err := c.s.allow(ctx); err != nil {
			return nil, failure(ctx, err)
		}
		res, after, err := c.try(ctx, to, body)
		if err == nil {
			return res, nil
		}
		if ctx.Err() != nil {
			return nil, failure(ctx, err)
		}
		class := job.ClassOf(err)
		if class == job.Permanent {
			return nil, err
		}
		wait := after
		if wait <= 0 {
			wait = firstBackoff << min(attempt, 10)
			wait += time.Duration(rand.Int64N(int64(wait)/4 + 1)) //nolint:gosec // spreads load
		}
		if after > 0 && wait > maxWaiting-c.waited {
			return nil, job.WithClass(fmt.Errorf("%w; it asks to come back in %s", err, after.Round(time.Second)), job.SlowDown)
		}
		if attempt >= *c.s.cfg.Retries || wait > maxWaiting-c.waited {
			return nil, err
		}
		c.waited += wait
		if err := c.s.sleep(ctx, wait); err != nil {
			return nil, failure(ctx, err)
		}
	}
}

// try makes one request. After is what the server said in Retry-After.
func (c *client) try(ctx context.Context, to *url.URL, body string) (res *response, after time.Duration, err error) {
	cfg := &c.s.cfg
	reqCtx, cancel := context.WithCancelCause(ctx)
	watch := time.AfterFunc(c.s.timeout, func() { cancel(errSilent) })
	end := func() { watch.Stop(); cancel(nil) }
	defer func() {
		if err != nil {
			end()
		}
	}()
	var payload io.Reader
	if cfg.Method == http.MethodPost {
		payload = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(reqCtx, cfg.Method, to.String(), payload)
	if err != nil {
		return nil, 0, job.Permanentf("the request can not be made: %w", failure(ctx, err))
	}
	c.s.headers(req)
	got, err := c.http.Do(req)
	if err != nil {
		return nil, 0, c.problem(ctx, reqCtx, err)
	}
	in := &watched{c: c, ctx: ctx, reqCtx: reqCtx, body: got.Body, watch: watch, left: cfg.MaxPage}
	defer func() {
		if err != nil {
			_, _ = io.CopyN(io.Discard, in, maxDrain) // so that the connection can serve again
			_ = got.Body.Close()
		}
	}()
	buffered := bufio.NewReaderSize(in, 4<<10)
	if got.StatusCode == http.StatusNoContent {
		end()
		_ = got.Body.Close()
		return &response{empty: true, header: got.Header, url: got.Request.URL, close: func() {}}, 0, nil
	}
	if got.StatusCode != http.StatusOK && got.StatusCode != http.StatusPartialContent {
		return nil, retryAfter(got.Header, c.s.now()), c.status(got, buffered)
	}
	lines, err := c.looksJSON(got, buffered)
	if err != nil {
		return nil, 0, err
	}
	return &response{
		body: buffered, header: got.Header, url: got.Request.URL, lines: lines,
		close: func() { end(); _ = got.Body.Close() },
	}, 0, nil
}

// headers sets those of a request.
func (s *Source) headers(req *http.Request) {
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "drayage")
	if s.cfg.Method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, v := range s.cfg.Headers {
		req.Header.Set(name, v)
	}
	if s.cfg.Bearer != "" {
		req.Header.Set("Authorization", "Bearer "+s.cfg.Bearer)
	}
	if b := s.cfg.Basic; b != nil {
		req.SetBasicAuth(b.Username, b.Password)
	}
}

// contentType is that of what is sent.
func (s *Source) contentType() string {
	for name, v := range s.cfg.Headers {
		if textproto.CanonicalMIMEHeaderKey(name) == "Content-Type" {
			return v
		}
	}
	return "application/json"
}

// problem says what went wrong with a connection.
func (c *client) problem(ctx, reqCtx context.Context, err error) error {
	if ctx.Err() == nil && errors.Is(context.Cause(reqCtx), errSilent) {
		return job.Retryf("%w (%s)", errSilent, c.s.timeout)
	}
	return failure(ctx, err)
}

// status makes an error of an answer that is none.
func (c *client) status(got *http.Response, body *bufio.Reader) error {
	said := c.excerpt(body)
	code := got.StatusCode
	what := fmt.Sprintf("the server answered %d %s", code, http.StatusText(code))
	switch {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return job.Permanentf("%s: look at the credentials (bearer, basic, headers) and at what they may read: %s", what, said)
	case code == http.StatusNotFound || code == http.StatusGone:
		return job.Permanentf("%s: check url; an API that answers so after its last page needs paging.total: %s", what, said)
	case code == http.StatusTooManyRequests:
		return job.WithClass(fmt.Errorf("%s: set or lower rate: %s", what, said), job.SlowDown)
	case code == http.StatusRequestTimeout || code == http.StatusTooEarly || code >= 500:
		return job.Retryf("%s: %s", what, said)
	case code >= 300 && code < 400:
		to := "no address"
		if u, err := got.Location(); err == nil {
			to = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
		}
		return job.Permanentf("%s to %s, which is not followed: write the address in url", what, to)
	case code < 300:
		return job.Retryf("%s, which carries no page: %s", what, said)
	}
	return job.Permanentf("%s: %s", what, said)
}

// looksJSON refuses an answer that is a page for people, and reports whether
// it is NDJSON by its type.
func (c *client) looksJSON(got *http.Response, body *bufio.Reader) (lines bool, err error) {
	if bom, _ := body.Peek(3); bytes.Equal(bom, []byte("\xef\xbb\xbf")) {
		_, _ = body.Discard(3)
	}
	kind, _, _ := mime.ParseMediaType(got.Header.Get("Content-Type"))
	begin, err := body.Peek(1)
	for err == nil && strings.IndexByte(" \t\r\n", begin[0]) >= 0 {
		_, _ = body.Discard(1)
		begin, err = body.Peek(1)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	lines = strings.Contains(kind, "ndjson") || strings.Contains(kind, "jsonl") || strings.Contains(kind, "json-lines") ||
		strings.Contains(kind, "stream+json") || !strings.Contains(kind, "json")
	if strings.Contains(kind, "html") || strings.Contains(kind, "xml") || len(begin) == 1 && begin[0] != '{' && begin[0] != '[' && begin[0] != 'n' {
		return false, job.Retryf("the server answered %d with no JSON but %q: %s", got.StatusCode, kind, c.excerpt(body))
	}
	return lines, nil
}

// excerpt is the beginning of an answer, without secrets.
func (c *client) excerpt(body *bufio.Reader) string {
	b, _ := body.Peek(4 * excerpt)
	text := c.s.secrets.hide(strings.ToValidUTF8(string(b), "?"))
	if len(text) > excerpt {
		text = strings.ToValidUTF8(text[:excerpt], "") + "…"
	}
	return strconv.Quote(text)
}

// retryAfter is how long the server asks to wait; 0 when it does not.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Duration(min(max(n, 0), 365*24*3600)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// watched is a body that ends with an error when the server is silent for too
// long or says too much.
type watched struct {
	c           *client
	ctx, reqCtx context.Context
	body        io.Reader
	watch       *time.Timer
	left        int64
}

func (w *watched) Read(b []byte) (int, error) {
	w.watch.Reset(w.c.s.timeout)
	n, err := w.body.Read(b)
	w.watch.Stop() // the time between reads is not the server's
	if w.left -= int64(n); w.left < 0 {
		return 0, job.Permanentf("the page is larger than %d bytes (max_page): ask for smaller pages with paging.size, or raise it", w.c.s.cfg.MaxPage)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = w.c.problem(w.ctx, w.reqCtx, err)
	}
	return n, err
}
