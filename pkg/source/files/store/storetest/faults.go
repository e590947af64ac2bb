package storetest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
)

// faults stand before a server, and spoil its answers.
type faults struct {
	to   http.Handler
	over chan struct{} // closed when the test ends: nothing is held any longer

	mu       sync.Mutex
	fault    fault
	left     int // requests that the fault is for; below 0: all
	requests int
}

// fault is what happens to a request.
type fault struct {
	answer http.HandlerFunc // in place of the server's answer
	cut    int64            // break the connection after so many bytes of the body; 0: not
	hold   int64            // send no more after so many bytes of the body; 0: not
	held   chan struct{}    // closed once an answer is held
}

// spoil makes f happen to the next n requests, or to all when n is negative.
func (s *faults) spoil(n int, f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.left = f, n
}

// heal ends what spoil began.
func (s *faults) heal() { s.spoil(0, fault{}) }

// count is the number of requests so far.
func (s *faults) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func (s *faults) next() fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if s.left == 0 {
		return fault{}
	}
	s.left--
	return s.fault
}

// ServeHTTP implements http.Handler.
func (s *faults) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	f := s.next()
	switch {
	case f.answer != nil:
		f.answer(w, req)
	case f.cut > 0 || f.hold > 0:
		b := &broken{ResponseWriter: w, wait: func() { s.wait(req) }, fault: f, left: max(f.cut, f.hold)}
		defer func() {
			if b.left == 0 {
				panic(http.ErrAbortHandler) // ends the connection, whatever the server made of it
			}
		}()
		s.to.ServeHTTP(b, req)
	default:
		s.to.ServeHTTP(w, req)
	}
}

// wait ends when the client goes away.
func (s *faults) wait(req *http.Request) {
	select {
	case <-req.Context().Done():
	case <-s.over:
	}
}

// errBroken is what the server meets when it writes more than there is room for.
var errBroken = errors.New("the connection was broken by the test")

// broken is an answer that breaks off or stops.
type broken struct {
	http.ResponseWriter
	wait  func()
	fault fault
	left  int64
}

// Unwrap is for http.ResponseController.
func (b *broken) Unwrap() http.ResponseWriter { return b.ResponseWriter }

// Write implements io.Writer.
func (b *broken) Write(data []byte) (int, error) {
	if int64(len(data)) < b.left {
		n, err := b.ResponseWriter.Write(data)
		b.left -= int64(n)
		return n, err
	}
	n, err := b.ResponseWriter.Write(data[:b.left])
	b.left = 0
	if err == nil {
		err = http.NewResponseController(b.ResponseWriter).Flush()
	}
	if b.fault.hold > 0 {
		close(b.fault.held)
		b.wait()
	}
	return n, errors.Join(err, errBroken)
}

// hang answers nothing until the client goes away.
func (s *faults) hang(held chan struct{}) http.HandlerFunc {
	once := sync.OnceFunc(func() { close(held) })
	return func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body) // so that the server watches the connection
		once()
		s.wait(req)
	}
}

// status answers as a proxy would that knows nothing of the store.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(code)
		fmt.Fprintf(w, "<html><title>%d</title></html>", code)
	}
}

// whole answers with all of an object, whatever range was asked for.
func whole(data, version string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		w.Header().Set("Etag", version)
		w.WriteHeader(http.StatusOK)
		if req.Method != http.MethodHead {
			_, _ = io.WriteString(w, data)
		}
	}
}

// fewer answers with less than the range that was asked for, and says so.
func fewer(data string, start int64, size int, version string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, start+int64(len(data))-1, size))
		w.Header().Set("Etag", version)
		w.WriteHeader(http.StatusPartialContent)
		_, _ = io.WriteString(w, data)
	}
}
