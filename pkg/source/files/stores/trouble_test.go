package stores_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files"
	"drayage/pkg/source/files/store/web"
	"drayage/pkg/source/files/stores"
	"drayage/pkg/testkit/s3test"
)

const address = "s3://" + s3test.Bucket + "/"

// cutOff breaks the connection off after some bytes of the body.
type cutOff struct {
	http.ResponseWriter
	left int
}

func (c *cutOff) Write(b []byte) (int, error) {
	if len(b) > c.left {
		_, _ = c.ResponseWriter.Write(b[:c.left])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(b)
	return c.ResponseWriter.Write(b)
}

// numbers are n records of ten bytes.
func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%09d\n", i)
	}
	return b.String()
}

// The connection breaks in the middle of a chunk: it is read on from there. One
// that always breaks is given up, and the chunk is tried again later.
func TestBrokenConnection(t *testing.T) {
	t.Parallel()
	text := numbers(100_000)
	columns := cols("line", "String")
	for _, tt := range []struct {
		name, file string
		text       string
		want       string
	}{
		{"range", "a.log", text, text},
		{"compressed", "a.log.gz", gz(t, text), text},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := bucket(t, map[string]string{tt.file: tt.text})
			s := mustNew(t, files.Config{Paths: []string{address + tt.file}, Columns: columns, Stores: reached(server).Openers()})
			chunks, err := plan(t.Context(), s, nil, columns)
			if err != nil || len(chunks) != 1 {
				t.Fatalf("%d chunks: %v", len(chunks), err)
			}
			piece := len(tt.text)/3 + 1
			server.Requests()
			server.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(&cutOff{w, piece}, r)
			})
			if got, err := read(t.Context(), s, chunks[0].Input, columns); err != nil || got != tt.want {
				t.Errorf("%d bytes of %d: %v", len(got), len(tt.want), err)
			}
			if all := server.Requests(); len(all) < 3 || len(all) > 8 {
				t.Errorf("the requests are %v", all)
			}
			server.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(&cutOff{w, 1000}, r)
			})
			if _, err := read(t.Context(), s, chunks[0].Input, columns); job.ClassOf(err) != job.Retry || !strings.Contains(err.Error(), "broke off at byte") {
				t.Errorf("class %v: %v", job.ClassOf(err), err)
			}
			if all := server.Requests(); len(all) > 16 {
				t.Errorf("%d requests were made", len(all))
			}
		})
	}
}

// What a store answers, and what it means for a chunk and for a plan.
func TestAnswers(t *testing.T) {
	t.Parallel()
	columns := cols("line", "String")
	answer := func(status int, code, message string, headers ...string) s3test.Between {
		return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			s3test.Answer(w, status, code, message)
		}
	}
	for _, tt := range []struct {
		name   string
		do     func(*s3test.Server) error
		answer s3test.Between
		class  job.Class
		is     error
		parts  []string
	}{
		{"slow down", nil, answer(503, "SlowDown", "Please reduce your request rate."), job.SlowDown, nil, []string{"503 SlowDown"}},
		{"fails", nil, answer(500, "InternalError", "We encountered an internal error."), job.Retry, nil, []string{"500 InternalError"}},
		{"no right", nil, answer(403, "AccessDenied", "Access Denied"), job.Permanent, nil, []string{"AccessDenied", "the pipeline (access_key)", "s3:GetObject"}},
		{"expired", nil, answer(400, "ExpiredToken", "The provided token has expired."), job.Permanent, nil, []string{"ExpiredToken", "the pipeline (access_key)", "renew"}},
		{"another region", nil, answer(301, "PermanentRedirect", "Use another endpoint.", "x-amz-bucket-region", "eu-west-1"), job.Permanent, nil, []string{"region: eu-west-1"}},
		{"archive", nil, answer(403, "InvalidObjectState", "The storage class is GLACIER."), job.Permanent, nil, []string{"restore"}},
		{"no bucket", nil, answer(404, "NoSuchBucket", "The bucket does not exist."), job.Permanent, nil, []string{"no such bucket"}},
		{"deleted", func(s *s3test.Server) error { return s.Delete("a.log") }, nil, job.Permanent, source.ErrGone, []string{"a.log"}},
		{"replaced", func(s *s3test.Server) error { return s.Put("a.log", numbers(1000)+"x\n") }, nil, job.Permanent, source.ErrChanged, []string{"a.log"}},
		{"replaced by as many bytes", func(s *s3test.Server) error { return s.Put("a.log", strings.Repeat("other....\n", 1000)) }, nil, job.Permanent, source.ErrChanged, []string{"a.log"}},
		{"a server that gives all", nil, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.Header.Del("Range")
			next.ServeHTTP(w, r)
		}, job.Permanent, nil, []string{"parts"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := bucket(t, map[string]string{"a.log": numbers(1000)})
			s := mustNew(t, files.Config{Paths: []string{address + "*.log"}, Columns: columns, ChunkBytes: 4000, Stores: reached(server).Openers()})
			chunks, err := plan(t.Context(), s, nil, columns)
			if err != nil || len(chunks) != 3 {
				t.Fatalf("%d chunks: %v", len(chunks), err)
			}
			if tt.do != nil {
				if err := tt.do(server); err != nil {
					t.Fatal(err)
				}
			}
			server.Intercept(tt.answer)
			in, err := s.Open(t.Context(), chunks[1].Input, columns)
			if err == nil {
				_ = in.Close() // it should not be there
			}
			check := func(what string, err error, is error) {
				t.Helper()
				if err == nil || job.ClassOf(err) != tt.class || is != nil && !errors.Is(err, is) {
					t.Fatalf("%s: class %v of %v", what, job.ClassOf(err), err)
				}
				for _, p := range tt.parts {
					if !strings.Contains(err.Error(), p) {
						t.Errorf("%s: no %q in: %v", what, p, err)
					}
				}
				for _, secret := range []string{s3test.SecretKey, s3test.AccessKey, "Signature"} {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("%s: a secret is in %v", what, err)
					}
				}
			}
			check("opening", err, tt.is)
			if tt.answer != nil && tt.name != "a server that gives all" {
				_, err = plan(t.Context(), s, nil, columns)
				check("planning", err, nil)
			}
			if errors.Is(tt.is, source.ErrChanged) {
				_, err = plan(t.Context(), s, chunks[0].Cursor, columns)
				check("planning on", err, tt.is)
				if again, err := plan(t.Context(), s, nil, columns); err != nil || len(again) < 3 {
					t.Errorf("planning anew: %d chunks, %v", len(again), err)
				}
			}
		})
	}
}

// The object is replaced after the first half of a chunk: no mixture.
func TestReplacedInTheMiddle(t *testing.T) {
	t.Parallel()
	columns := cols("line", "String")
	server := bucket(t, map[string]string{"a.log": numbers(10_000)})
	s := mustNew(t, files.Config{Paths: []string{address + "a.log"}, Columns: columns, Stores: reached(server).Openers()})
	chunks, err := plan(t.Context(), s, nil, columns)
	if err != nil {
		t.Fatal(err)
	}
	var once atomic.Bool
	server.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if once.CompareAndSwap(false, true) {
			defer func() {
				if err := server.Put("a.log", numbers(10_001)); err != nil {
					t.Error(err)
				}
				panic(http.ErrAbortHandler)
			}()
			next.ServeHTTP(&cutOff{w, 50_000}, r)
		}
		next.ServeHTTP(w, r)
	})
	if _, err := read(t.Context(), s, chunks[0].Input, columns); !errors.Is(err, source.ErrChanged) || job.ClassOf(err) != job.Permanent {
		t.Error(err)
	}
}

// A server of other credentials, and one that is not there.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	server := bucket(t, map[string]string{"a.log": "x\n"})
	wrong := reached(server)
	wrong.S3.AccessKey = "AKISOMEBODYELSE"
	refused := reached(server)
	gone := httptest.NewServer(nil)
	refused.S3.Endpoint = gone.URL
	gone.Close()
	for _, tt := range []struct {
		name  string
		c     stores.Config
		class job.Class
		part  string
	}{
		{"wrong key", wrong, job.Permanent, "the pipeline (access_key)"},
		{"nobody listens", refused, job.Retry, "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, path := range []string{"a.log", "*.log"} {
				s := mustNew(t, files.Config{Paths: []string{address + path}, Stores: tt.c.Openers()})
				if _, err := s.Columns(t.Context(), eng); job.ClassOf(err) != tt.class || !strings.Contains(err.Error(), tt.part) || strings.Contains(err.Error(), s3test.SecretKey) {
					t.Errorf("%s: class %v of %v", path, job.ClassOf(err), err)
				}
			}
		})
	}
}

// How much is read to plan: a little around each border of lines, and each byte
// once where quotes may hold newlines; and of a chunk what is in it.
func TestRequests(t *testing.T) {
	t.Parallel()
	json := strings.Repeat("{\"n\":12345678}\n", 800_000)
	csv := strings.Repeat("12345678,\"a\"\n", 800_000)
	n := cols("n", "UInt64")
	two := cols("n", "UInt64", "s", "String")
	parquet := written(t, "SELECT number AS n FROM numbers(20000)", "Parquet")
	for _, tt := range []struct {
		name, file, data string
		c                files.Config
		columns          []job.Column
		planned          int // requests of the plan, at most, beside two a file and one a chunk
		// share is how many of the bytes the plan may read, in percent: with what is
		// on its way when a chunk ends.
		share int
	}{
		{"lines", "a.log", json, files.Config{}, cols("line", "String"), 0, 25},
		{"lines of JSON", "a.ndjson", json, files.Config{}, n, 0, 25},
		{"JSON", "a.json", json, files.Config{}, n, 4, 140},
		{"CSV", "a.csv", csv, files.Config{Header: new(bool)}, two, 4, 140},
		{"CSV without quotes", "a.csv", csv, files.Config{Header: new(bool), Quote: "none"}, two, 0, 25},
		{"Parquet", "a.parquet", parquet, files.Config{ChunkBytes: 8000}, n, 0, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := bucket(t, map[string]string{tt.file: tt.data})
			tt.c.Paths, tt.c.Columns, tt.c.Stores = []string{address + tt.file}, tt.columns, reached(server).Openers()
			if tt.c.ChunkBytes == 0 {
				tt.c.ChunkBytes = 4 << 20
			}
			s := mustNew(t, tt.c)
			// A request that its client has left may still write when the next is made:
			// each counts where counting stood when it began.
			var sent atomic.Pointer[atomic.Int64]
			sent.Store(new(atomic.Int64))
			server.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(&counted{w, sent.Load()}, r)
			})
			chunks, err := plan(t.Context(), s, nil, tt.columns)
			if err != nil || len(chunks) < 2 {
				t.Fatalf("%d chunks: %v", len(chunks), err)
			}
			all := server.Requests()
			if most := 3 + len(chunks) + tt.planned; len(all) > most {
				t.Errorf("%d requests, and %d would do: %v", len(all), most, all)
			}
			if got := int(sent.Load().Load()) * 100 / len(tt.data); got > tt.share {
				t.Errorf("%d %% of the bytes were read to plan, %d %% would do", got, tt.share)
			}
			for _, c := range chunks {
				ofChunk := new(atomic.Int64)
				sent.Store(ofChunk)
				if _, err := read(t.Context(), s, c.Input, tt.columns); err != nil {
					t.Fatal(err)
				}
				if tt.name != "Parquet" && ofChunk.Load() != c.Bytes {
					t.Errorf("%d bytes were read of a chunk of %d", ofChunk.Load(), c.Bytes)
				}
				if all := server.Requests(); tt.name != "Parquet" && len(all) != 1 {
					t.Errorf("a chunk is read by %v", all)
				}
			}
		})
	}
}

// counted counts the bytes of an answer.
type counted struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	c.sent.Add(int64(len(b)))
	return c.ResponseWriter.Write(b)
}

// One seat for all: requests come one at a time, planning holds none while its
// chunks are read, and each is given back.
func TestSeats(t *testing.T) {
	t.Parallel()
	columns := cols("n", "UInt64", "s", "String")
	var csv strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&csv, "%d,\"a\"\n", i)
	}
	server := bucket(t, map[string]string{"a.csv": csv.String(), "b.csv": csv.String()})
	free := make(chan struct{}, 1)
	free <- struct{}{}
	c := reached(server)
	c.Seats = func(ctx context.Context) (context.Context, func(), error) {
		select {
		case <-free:
			return ctx, func() {
				soon, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if !server.Quiet(soon) {
					t.Error("the seat is given back while a request is answered")
				}
				free <- struct{}{}
			}, nil
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
	s := mustNew(t, files.Config{Paths: []string{address + "*.csv"}, Columns: columns, Header: new(bool), ChunkBytes: 100_000, Stores: c.Openers()})
	n := 0
	for p, err := range s.Plan(t.Context(), nil, columns) {
		if err != nil {
			t.Fatal(err)
		}
		got, err := read(t.Context(), s, p.Input, columns)
		if err != nil {
			t.Fatal(err)
		}
		n += strings.Count(got, "\n")
	}
	if n != 100_000 {
		t.Errorf("%d rows", n)
	}
	if most := server.Most(); most != 1 {
		t.Errorf("%d requests at once", most)
	}
	select {
	case <-free:
	default:
		t.Error("the seat is not given back")
	}
}

// good2xx is no class: there is no error.
const good2xx job.Class = -1

// What a web server may do.
func TestWebAnswers(t *testing.T) {
	t.Parallel()
	data := numbers(1000)
	columns := cols("line", "String")
	serve := func(tag string, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", tag)
			http.ServeContent(w, r, "", noTime, strings.NewReader(body))
		}
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Token") != "" || r.Header.Get("Authorization") != "" || r.Header.Get("Referer") != "" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		serve(`"1"`, data)(w, r)
	}))
	t.Cleanup(elsewhere.Close)
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	good := serve(`"1"`, data)
	for _, tt := range []struct {
		name          string
		planned, read http.HandlerFunc
		class         job.Class
		is            error
		part          string // of the error; "": there is none
	}{
		{"good", good, good, good2xx, nil, ""},
		{"weak ETag", serve(`W/"1"`, data), serve(`W/"1"`, data), good2xx, nil, ""},
		{"without length or parts", chunked(data), chunked(data), good2xx, nil, ""},
		{"redirected", good, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, good2xx, nil, ""},
		{"redirected in a circle", good, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/a.log", http.StatusFound) }, job.Permanent, nil, "too often"},
		{"another ETag", good, serve(`"2"`, data), job.Permanent, source.ErrChanged, "a.log"},
		{"another weak ETag", serve(`W/"1"`, data), serve(`W/"2"`, data), job.Permanent, source.ErrChanged, "a.log"},
		{"another size", good, serve(`"1"`, data+"x"), job.Permanent, source.ErrChanged, "a.log"},
		{"no ETag any more", good, serve("", data), job.Permanent, source.ErrChanged, "a.log"},
		{"deleted", good, status(404), job.Permanent, source.ErrGone, "a.log"},
		{"forbidden", good, status(403), job.Permanent, nil, "http.headers"},
		{"too many", good, status(429), job.SlowDown, nil, "429"},
		{"overloaded", good, status(503), job.SlowDown, nil, "503"},
		{"broken", good, status(502), job.Retry, nil, "502"},
		{"a page in its place", good, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, job.Permanent, source.ErrChanged, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var handler atomic.Pointer[http.HandlerFunc]
			handler.Store(&tt.planned)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*handler.Load())(w, r) }))
			t.Cleanup(server.Close)
			far := stores.Config{Web: web.Config{Headers: map[string]string{"X-Token": "a-token-of-the-tests"}}}
			path := strings.Replace(server.URL, "http://", "http://me:a-password@", 1) + "/a.log?sig=a-signature"
			s := mustNew(t, files.Config{Paths: []string{path}, Columns: columns, ChunkBytes: 20_000, Stores: far.Openers()})
			chunks, err := plan(t.Context(), s, nil, columns)
			if err != nil || len(chunks) != 1 {
				t.Fatalf("%d chunks: %v", len(chunks), err)
			}
			handler.Store(&tt.read)
			got, err := read(t.Context(), s, chunks[0].Input, columns)
			if tt.class == good2xx {
				if err != nil || got != data {
					t.Errorf("%d bytes of %d: %v", len(got), len(data), err)
				}
				return
			}
			if err == nil || job.ClassOf(err) != tt.class || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.part) {
				t.Errorf("class %v of %v", job.ClassOf(err), err)
			}
			for _, secret := range []string{"a-token", "a-password", "a-signature"} {
				if err != nil && strings.Contains(err.Error(), secret) || strings.Contains(string(chunks[0].Input), secret) || strings.Contains(string(chunks[0].Cursor), secret) {
					t.Errorf("%s is shown: %v", secret, err)
				}
			}
		})
	}
}
