package storetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/source/files/store"
	"drayage/pkg/source/files/store/storetest"
)

const page = 4 // objects of a page of the listing

// shelf is a server of objects: GET /?prefix=&after= lists, GET /KEY reads.
type shelf struct {
	mu      sync.Mutex
	objects map[string]string
}

func version(data string) string {
	return fmt.Sprintf("%q", strconv.Itoa(int(crc32.ChecksumIEEE([]byte(data)))))
}

func (s *shelf) put(key, data string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = data
}

func (s *shelf) drop(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
}

// ServeHTTP implements http.Handler.
func (s *shelf) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.URL.Path == "/" {
		var found []store.Object
		for _, k := range slices.Sorted(maps.Keys(s.objects)) {
			if strings.HasPrefix(k, req.FormValue("prefix")) && k > req.FormValue("after") && len(found) < page {
				found = append(found, store.Object{Key: k, Size: int64(len(s.objects[k])), Version: version(s.objects[k])})
			}
		}
		_ = json.NewEncoder(w).Encode(found)
		return
	}
	data, ok := s.objects[req.URL.Path[1:]]
	wanted := req.Header.Get("If-Match")
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	case wanted != "" && wanted != version(data):
		w.WriteHeader(http.StatusPreconditionFailed)
	default:
		w.Header().Set("ETag", version(data))
		http.ServeContent(w, req, "", time.Time{}, strings.NewReader(data))
	}
}

// client is a store of a shelf, which makes a mistake.
type client struct {
	url, mistake string
}

func (c client) is(mistake string) bool { return c.mistake == mistake }

// get makes a request, three times at most.
func (c client) get(ctx context.Context, method, key, query string, header http.Header) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		res, err := c.try(ctx, method, key, query, header)
		class := job.ClassOf(err)
		if err == nil || class == job.Permanent || attempt == 3 || c.is("gives up") {
			return res, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (c client) try(ctx context.Context, method, key, query string, header http.Header) (*http.Response, error) {
	if c.is("is deaf") {
		ctx = context.WithoutCancel(ctx)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+"/"+url.PathEscape(key)+"?"+query, nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	var class job.Class
	is := errors.New(res.Status)
	switch res.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		if res.StatusCode == http.StatusOK && header.Get("Range") != "" && !c.is("overlooks 200") {
			is = errors.New("the server overlooked the range")
			break
		}
		return res, nil
	case http.StatusNotFound:
		is, class = store.ErrNotFound, job.Permanent
	case http.StatusPreconditionFailed:
		is, class = store.ErrChanged, job.Permanent
	case http.StatusTooManyRequests:
		class = job.SlowDown
	case http.StatusUnauthorized, http.StatusForbidden:
		class = job.Permanent
	}
	if c.is("classes") {
		class = job.Retry
	}
	if c.is("tells") {
		is = fmt.Errorf("%w for hush-hush", is)
	}
	return nil, errors.Join(job.WithClass(fmt.Errorf("%s: %w", key, is), class), res.Body.Close())
}

// List implements store.Store.
func (c client) List(ctx context.Context, prefix, after string, yield func(store.Object) error) error {
	if c.is("lists from the begin") {
		after = ""
	}
	for {
		if c.is("confuses names") {
			prefix, _ = url.QueryUnescape(prefix)
		}
		res, err := c.get(ctx, http.MethodGet, "", url.Values{"prefix": {prefix}, "after": {after}}.Encode(), http.Header{})
		if err != nil && c.is("ends the listing") {
			return nil
		}
		if err != nil {
			return err
		}
		var found []store.Object
		err = json.NewDecoder(res.Body).Decode(&found)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			return err
		}
		if c.is("lists in no order") {
			slices.Reverse(found)
		}
		for _, o := range found {
			after = max(after, o.Key)
			if err := yield(o); err != nil && !c.is("goes on") {
				if c.is("wraps") {
					err = fmt.Errorf("listing: %w", err)
				}
				return err
			}
		}
		if len(found) < page || c.is("lists one page") {
			return nil
		}
	}
}

// Stat implements store.Store.
func (c client) Stat(ctx context.Context, key string) (store.Object, error) {
	res, err := c.get(ctx, http.MethodHead, key, "", http.Header{})
	if err != nil {
		return store.Object{}, err
	}
	o := store.Object{Key: key, Size: res.ContentLength, Version: res.Header.Get("ETag")}
	if c.is("has no version") {
		o.Version = ""
	}
	return o, res.Body.Close()
}

// Read implements store.Store.
func (c client) Read(ctx context.Context, o store.Object, start, end int64) (io.ReadCloser, error) {
	header := http.Header{"If-Match": {o.Version}, "Accept-Encoding": {"identity"}}
	if c.is("reads any version") {
		header.Del("If-Match")
	}
	if start == end {
		res, err := c.get(ctx, http.MethodHead, o.Key, "", header)
		if err != nil {
			return nil, err
		}
		return http.NoBody, res.Body.Close()
	}
	last := end - 1
	if c.is("reads too far") {
		last = end
	}
	header.Set("Range", fmt.Sprintf("bytes=%d-%d", start, last))
	res, err := c.get(ctx, http.MethodGet, o.Key, "", header)
	if err != nil {
		return nil, err
	}
	if c.is("leaks") {
		go func() { select {} }()
	}
	return &body{res.Body, c, o.Key, end - start}, nil
}

// body notices the early end.
type body struct {
	io.ReadCloser
	c    client
	key  string
	left int64
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	switch {
	case b.c.is("ends early") && err != nil:
		return n, io.EOF
	case errors.Is(err, io.EOF) && b.left > 0:
		return n, fmt.Errorf("%s: it ended early", b.key)
	case err != nil && !errors.Is(err, io.EOF):
		return n, fmt.Errorf("%s: %w", b.key, hide(err))
	}
	return n, err
}

// hide makes another error of io.ErrUnexpectedEOF.
func hide(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the connection broke")
	}
	return err
}

func run(t *testing.T, mistake string) {
	s := &shelf{objects: map[string]string{}}
	storetest.Run(t, storetest.Case{
		Server:  s,
		New:     func(_ *testing.T, url string) store.Store { return client{url, mistake} },
		Put:     func(_ *testing.T, o storetest.Stored) { s.put(o.Key, string(o.Data)) },
		Delete:  func(_ *testing.T, key string) { s.drop(key) },
		Page:    page,
		Secrets: []string{"hush-hush"},
	})
}

// TestRight: a store that does everything right passes.
func TestRight(t *testing.T) { run(t, "") }

// TestMistake is the child of TestMistakes.
func TestMistake(t *testing.T) {
	mistake := os.Getenv("MISTAKE")
	if mistake == "" {
		t.Skip("it is run by TestMistakes")
	}
	run(t, mistake)
}

// TestMistakes: each mistake is found, by the test that is for it.
func TestMistakes(t *testing.T) {
	for mistake, finds := range map[string]string{
		"lists from the begin": "ListAfter",
		"lists in no order":    "List",
		"lists one page":       "List",
		"confuses names":       "ListOdd",
		"goes on":              "ListStops",
		"wraps":                "ListStops",
		"ends the listing":     "ListFails",
		"has no version":       "Stat",
		"reads too far":        "Read",
		"reads any version":    "ReadChanged",
		"ends early":           "ReadShort",
		"overlooks 200":        "ReadMisplaced",
		"classes":              "Answers",
		"tells":                "Answers",
		"gives up":             "Overcome",
		"is deaf":              "Cancelled",
		"leaks":                "Goroutines",
	} {
		t.Run(mistake, func(t *testing.T) {
			t.Parallel()
			only := "TestMistake/Promises/" + finds + "$"
			if finds == "Goroutines" {
				only = "TestMistake/(Promises|Goroutines)/(Read$)?"
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", only, "-test.v", "-test.timeout=1m")
			cmd.Env = append(os.Environ(), "MISTAKE="+mistake)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("the suite passes:\n%s", out)
			}
			if !strings.Contains(string(out), "--- FAIL: TestMistake") || !strings.Contains(string(out), finds) {
				t.Errorf("it is not %s that fails:\n%s", finds, out)
			}
		})
	}
}
