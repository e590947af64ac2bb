// Package web is the store of files that a web server gives out. Its keys are
// what follows the host in an address, with a query where there is one.
//
// A version is the ETag of a file, or else the time of its last change. It is
// sent with every read, and compared with what the answer says.
package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"drayage/pkg/allow"
	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files/store"
)

// Config says how web servers are asked.
type Config struct {
	// Headers are sent with each request, such as Authorization. They go to the
	// host of the address, and not to another that it refers to.
	Headers map[string]string
	// Seats bounds the connections; nil: unbounded.
	Seats source.Seats
	// Allow says which hosts may be reached; nil: all.
	Allow *allow.Rules
}

const (
	maxRedirects = 5
	attempts     = 3
	firstPause   = 250 * time.Millisecond // after a request that failed; each further one is twice as long
)

// own are headers that the requests of this package have.
var own = []string{"Range", "If-Range", "If-Match", "If-Unmodified-Since", "Accept-Encoding", "Host", "Content-Length"}

var validHeader = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// Validate reports the mistakes in c, the fields below "http", or nil. It shows
// no value.
func (c Config) Validate() source.FieldErrors {
	var all source.FieldErrors
	for name, value := range c.Headers {
		field := "http.headers." + name
		switch {
		case !validHeader.MatchString(name):
			all.Bad("http.headers", "", "%q is not the name of a header", name)
		case strings.ContainsAny(value, "\r\n\x00"):
			all.Bad(field, "", "holds a line break")
		case slices.Contains(own, http.CanonicalHeaderKey(name)):
			all.Bad(field, "leave it out", "is set by Drayage")
		}
	}
	slices.SortFunc(all, func(a, b *source.FieldError) int { return strings.Compare(a.Field, b.Field) })
	return all
}

// Store is the files of a server. It implements store.Store.
type Store struct {
	cfg  Config
	base *url.URL
	http *http.Client
}

var _ store.Store = (*Store)(nil)

// New returns the store of a server, such as https://user:password@host. It
// connects to nothing.
func New(cfg Config, server string) (*Store, error) {
	base, err := url.Parse(server + "/")
	if err != nil {
		return nil, job.Permanentf("the address of a server does not parse: look at its host, and write letters that are special in a user or password as %%40 and the like")
	}
	s := &Store{cfg: cfg, base: base}
	s.http = &http.Client{Transport: store.NewTransport(cfg.Seats, cfg.Allow), CheckRedirect: s.redirect}
	return s, nil
}

// redirect is http.Client.CheckRedirect: what is secret does not go to another
// host, nor over a connection that anybody can read.
func (s *Store) redirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errRedirects
	}
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return errInsecure
	}
	for _, hop := range append(via[1:], req) {
		if hop.URL.Scheme != s.base.Scheme || !strings.EqualFold(hop.URL.Host, s.base.Host) {
			for name := range s.cfg.Headers {
				req.Header.Del(name)
			}
			req.Header.Del("Authorization")
			req.Header.Del("Referer")
			return nil
		}
	}
	return nil
}

// List implements store.Store: a web server has no listing.
func (s *Store) List(context.Context, string, string, func(store.Object) error) error {
	return job.Permanentf("%s: a web server does not list its files: name each of them", s.name(""))
}

// name is the address of a key without what may be secret.
func (s *Store) name(key string) string {
	key, _, _ = strings.Cut(key, "?")
	return s.base.Scheme + "://" + s.base.Host + "/" + key
}

// Stat implements store.Store. Not every server answers HEAD as it does GET, and
// whether it reads parts is only seen when it does: so the first byte is asked
// for.
func (s *Store) Stat(ctx context.Context, key string) (store.Object, error) {
	res, err := s.ask(ctx, key, http.Header{"Range": {"bytes=0-0"}})
	if err != nil {
		return store.Object{}, err
	}
	defer res.Body.Close()
	o := store.Object{Key: key, Size: res.ContentLength, Version: versionOf(res.Header)}
	switch res.StatusCode {
	case http.StatusPartialContent:
		if o.Size, err = total(res.Header); err != nil {
			return o, job.Permanentf("%s: %w", s.name(key), err)
		}
	case http.StatusRequestedRangeNotSatisfiable: // it is empty
		o.Size = 0
		if o.Version == "" {
			o.Version = "empty"
		}
	default:
		o.Whole = true
	}
	if o.Version == "" {
		return o, job.Permanentf("%s: the server gives neither ETag nor Last-Modified, so it can not be told whether it is still the same file: load a copy of it", s.name(key))
	}
	if at, err := http.ParseTime(res.Header.Get("Last-Modified")); err == nil {
		o.Modified = at
	}
	return o, nil
}

// total is the size of a file of which a part came.
func total(h http.Header) (int64, error) {
	_, size, _ := strings.Cut(h.Get("Content-Range"), "/")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("the server sends a part of a file of unknown size (Content-Range: %q)", h.Get("Content-Range"))
	}
	return n, nil
}

// versionOf is what an answer says of the version of its file: the ETag as it
// stands, or the time of change.
func versionOf(h http.Header) string {
	if tag := h.Get("ETag"); tag != "" {
		return tag
	}
	return h.Get("Last-Modified")
}

// Read implements store.Store.
func (s *Store) Read(ctx context.Context, o store.Object, start, end int64) (io.ReadCloser, error) {
	if end >= 0 && start >= end { // no range can be asked for
		now, err := s.Stat(ctx, o.Key)
		if err == nil && now.Version != o.Version {
			err = job.Permanentf("%s: %w", s.name(o.Key), store.ErrChanged)
		}
		return io.NopCloser(strings.NewReader("")), err
	}
	h := http.Header{}
	switch {
	case strings.HasPrefix(o.Version, `"`):
		h.Set("If-Match", o.Version)
	case !strings.HasPrefix(o.Version, "W/"): // a weak ETag is compared below alone
		h.Set("If-Unmodified-Since", o.Version)
	}
	if !o.Whole {
		h.Set("Range", fmt.Sprintf("bytes=%d-%d", start, end-1))
	}
	res, err := s.ask(ctx, o.Key, h)
	if err != nil {
		return nil, err
	}
	if err := s.compare(res, o, start, end); err != nil {
		_ = res.Body.Close() // it is not read
		return nil, err
	}
	n := int64(-1)
	if o.Size >= 0 {
		n = end - start
	}
	return store.Exactly(s.name(o.Key), res.Body, n), nil
}

// compare finds out whether an answer is what was asked for.
func (s *Store) compare(res *http.Response, o store.Object, start, end int64) error {
	changed := job.Permanentf("%s: %w", s.name(o.Key), store.ErrChanged)
	if versionOf(res.Header) != o.Version {
		return changed
	}
	switch {
	case o.Whole:
		if res.StatusCode != http.StatusOK || o.Size >= 0 && res.ContentLength >= 0 && res.ContentLength != o.Size {
			return changed
		}
		return nil
	case res.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return changed
	case res.StatusCode == http.StatusOK && start == 0 && end == o.Size && res.ContentLength == o.Size:
		return nil // all of it was asked for
	case res.StatusCode != http.StatusPartialContent:
		return job.Retryf("%s: the server answered %d where a part of the file was asked for", s.name(o.Key), res.StatusCode)
	}
	size, err := total(res.Header)
	switch {
	case err != nil:
		return job.Permanentf("%s: %w", s.name(o.Key), err)
	case size != o.Size:
		return changed
	case !strings.HasPrefix(res.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/", start, end-1)):
		return job.Retryf("%s: the server gave %q, and not the bytes %d to %d", s.name(o.Key), res.Header.Get("Content-Range"), start, end)
	}
	return nil
}

// ask makes a request, again where that may help. The answer is 200, 206 or 416.
func (s *Store) ask(ctx context.Context, key string, h http.Header) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		res, err := s.try(ctx, key, h)
		if err == nil || attempt == attempts || ctx.Err() != nil || !mayPass(err) {
			return res, err
		}
		wait := time.NewTimer(firstPause << (attempt - 1))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

func (s *Store) try(ctx context.Context, key string, h http.Header) (*http.Response, error) {
	to, err := s.base.Parse(s.base.Scheme + "://" + s.base.Host + "/" + key)
	if err != nil {
		return nil, job.Permanentf("%s: it is not an address", s.name(key))
	}
	to.User = s.base.User
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return nil, job.Permanentf("%s: it is not an address", s.name(key))
	}
	for name, value := range s.cfg.Headers {
		req.Header.Set(name, value)
	}
	for name, values := range h {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", "drayage")
	req.Header.Set("Accept-Encoding", "identity")
	res, err := s.http.Do(req)
	if err != nil {
		return nil, s.unanswered(ctx, key, err)
	}
	switch res.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		return res, nil
	}
	_, _ = io.CopyN(io.Discard, res.Body, maxDrain) // so that the connection can serve again
	_ = res.Body.Close()
	return nil, s.status(key, res)
}

// maxDrain is how many bytes of an answer are read that is not wanted.
const maxDrain = 64 << 10

var (
	errRedirects = errors.New("it refers to another address too often")
	errInsecure  = errors.New("it refers from https to http, which is not followed")
)
