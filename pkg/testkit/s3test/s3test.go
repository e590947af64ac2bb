// Package s3test is a server that speaks the protocol of S3, in the process of a
// test. It is gofakes3, with what that leaves out: a read is refused when its
// If-Match names another version, and so is a request without the right key.
package s3test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// Bucket is there from the start.
const Bucket = "bucket"

// sendBuffer bounds the bytes of an answer that are sent and not yet received, so
// that a test can tell how much was read.
const sendBuffer = 64 << 10

// Credentials that the server knows.
const (
	AccessKey = "AKIDRAYAGETEST"
	SecretKey = "a-secret-key-of-the-tests"
)

// Server is an S3 with the bucket Bucket.
type Server struct {
	URL string

	http    *httptest.Server
	inner   http.Handler
	backend *s3mem.Backend
	public  bool
	between atomic.Pointer[Between]

	mu       sync.Mutex
	ended    *sync.Cond // a request was answered
	requests []string
	active   int
	most     int
}

// Between stands between clients and the server: it answers a request itself, or
// hands it on.
type Between func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Start starts a server; public: it takes requests without credentials. Close
// ends it.
func Start(public bool) (*Server, error) {
	s := &Server{backend: s3mem.New(), public: public}
	s.ended = sync.NewCond(&s.mu)
	if err := s.backend.CreateBucket(Bucket); err != nil {
		return nil, fmt.Errorf("making the bucket: %w", err)
	}
	s.inner = gofakes3.New(s.backend, gofakes3.WithTimeSkewLimit(0)).Server()
	s.http = httptest.NewUnstartedServer(s)
	// So that tests which look for what is left behind find nothing.
	s.http.Config.SetKeepAlivesEnabled(false)
	s.http.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetWriteBuffer(sendBuffer)
		}
		return ctx
	}
	s.http.Start()
	s.URL = s.http.URL
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.begin(r)
	defer s.end()
	next := http.HandlerFunc(s.answer)
	if b := s.between.Load(); b != nil {
		(*b)(w, r, next)
		return
	}
	next(w, r)
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	if !s.allowed(r) {
		Answer(w, http.StatusForbidden, "InvalidAccessKeyId", "The access key does not exist in our records.")
		return
	}
	s.inner.ServeHTTP(&matching{ResponseWriter: w, want: r.Header.Get("If-Match")}, r)
}

// Close ends the server and its connections.
func (s *Server) Close() {
	s.http.CloseClientConnections()
	s.http.Close()
}

// Put writes an object.
func (s *Server) Put(key, data string) error {
	_, err := s.backend.PutObject(Bucket, key, map[string]string{}, bytes.NewReader([]byte(data)), int64(len(data)), nil)
	return err
}

// Delete removes an object.
func (s *Server) Delete(key string) error {
	_, err := s.backend.DeleteObject(Bucket, key)
	return err
}

// Intercept puts b between clients and the server; nil takes it away.
func (s *Server) Intercept(b Between) {
	if b == nil {
		s.between.Store(nil)
		return
	}
	s.between.Store(&b)
}

// Requests are those since the last call, such as "GET bucket/a.csv bytes=0-9".
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.requests
	s.requests = nil
	return all
}

// Most is how many requests were answered at once, at most.
func (s *Server) Most() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

func (s *Server) begin(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, strings.TrimSpace(r.Method+" "+strings.TrimPrefix(r.URL.Path, "/")+" "+r.Header.Get("Range")))
	s.active++
	s.most = max(s.most, s.active)
}

func (s *Server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	s.ended.Broadcast()
}

// Quiet waits until no request is being answered, for as long as ctx lasts: a
// client has the end of an answer before the server is done with it. It reports
// whether that came.
func (s *Server) Quiet(ctx context.Context) bool {
	defer context.AfterFunc(ctx, s.ended.Broadcast)()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.active > 0 && ctx.Err() == nil {
		s.ended.Wait()
	}
	return s.active == 0
}

func (s *Server) allowed(r *http.Request) bool {
	auth := r.Header.Get("Authorization")
	return s.public && auth == "" || strings.Contains(auth, "Credential="+AccessKey+"/")
}

// Answer writes an error as S3 does.
func Answer(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
}

// matching refuses to answer with another version than the one wanted.
type matching struct {
	http.ResponseWriter
	want          string // "": any
	sent, refused bool
}

// WriteHeader implements http.ResponseWriter.
func (m *matching) WriteHeader(status int) {
	if m.sent {
		return
	}
	m.sent = true
	if m.want == "" || status >= 300 || m.Header().Get("ETag") == m.want {
		m.ResponseWriter.WriteHeader(status)
		return
	}
	m.refused = true
	clear(m.Header())
	Answer(m.ResponseWriter, http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
}

// Write implements io.Writer.
func (m *matching) Write(b []byte) (int, error) {
	if !m.sent {
		m.WriteHeader(http.StatusOK)
	}
	if m.refused {
		return len(b), nil
	}
	return m.ResponseWriter.Write(b)
}
