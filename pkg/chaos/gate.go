package chaos

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// A trick is what a gate does to the inserts that pass it.
type trick int

const (
	honest     trick = iota
	dropAnswer       // the server gets all of it and commits; the client hears nothing
	cutBody          // the server gets half of the body and then nothing more
	refuse503        // the server gets nothing; the client is answered 503
)

// gate is an HTTP proxy in front of ClickHouse that understands enough of an
// insert to spoil it at the worst moment. Everything else passes untouched.
type gate struct {
	listener  net.Listener
	server    *http.Server
	to        *url.URL
	transport *http.Transport
	done      chan struct{}

	mu     sync.Mutex
	trick  trick
	left   int // how many more inserts it is played on
	played map[trick]int

	tokens *tokens
}

// newGate listens on a port of its own and forwards to address.
func newGate(address string, t *tokens) (*gate, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gate{
		listener: l, to: &url.URL{Scheme: "http", Host: address}, done: make(chan struct{}),
		transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16},
		played:    map[trick]int{}, tokens: t,
	}
	g.server = &http.Server{Handler: g, ReadHeaderTimeout: time.Minute}
	go func() {
		defer close(g.done)
		_ = g.server.Serve(l)
	}()
	return g, nil
}

func (g *gate) address() string { return g.listener.Addr().String() }

// play lets the trick be played on the next n inserts; honest ends it.
func (g *gate) play(t trick, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trick, g.left = t, n
}

func (g *gate) next(insert bool) trick {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !insert || g.left == 0 {
		return honest
	}
	g.left--
	g.played[g.trick]++
	return g.trick
}

var errCut = errors.New("cut by the nemesis")

// ServeHTTP implements http.Handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	insert := strings.HasPrefix(strings.TrimSpace(query.Get("query")), "INSERT")
	t := g.next(insert)
	if t == refuse503 {
		// The body is not read: the connection can not be used again.
		w.Header().Set("Connection", "close")
		http.Error(w, "the nemesis says no", http.StatusServiceUnavailable)
		return
	}
	ctx := r.Context()
	if t == dropAnswer {
		// The client may give up; the server is to commit all the same.
		ctx = context.WithoutCancel(ctx)
	}
	out := r.Clone(ctx)
	out.URL.Scheme, out.URL.Host, out.Host, out.RequestURI = g.to.Scheme, g.to.Host, g.to.Host, ""
	if t == cutBody {
		half := r.ContentLength / 2
		if half <= 0 {
			half = 1000 // its length is not known
		}
		out.Body = io.NopCloser(io.MultiReader(io.LimitReader(r.Body, half), broken{}))
	}
	res, err := g.transport.RoundTrip(out)
	if err != nil {
		hangUp(w)
		return
	}
	defer res.Body.Close()
	if t == dropAnswer {
		_, _ = io.Copy(io.Discard, res.Body)
		if res.StatusCode == http.StatusOK {
			g.tokens.answered(query.Get("insert_deduplication_token"))
		}
		hangUp(w)
		return
	}
	for name, values := range res.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(res.StatusCode)
	if _, err := io.Copy(flushing{w}, res.Body); err != nil {
		hangUp(w)
		return
	}
	if insert && res.StatusCode == http.StatusOK {
		g.tokens.answered(query.Get("insert_deduplication_token"))
	}
}

// broken is the rest of a body that is not there.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errCut }

// flushing hands on each piece at once: a client may wait for the first.
type flushing struct{ w http.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if flusher, ok := f.w.(http.Flusher); ok && err == nil {
		flusher.Flush()
	}
	return n, err
}

// hangUp closes the client's connection without an answer, or in the middle of
// one.
func hangUp(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if c, _, err := h.Hijack(); err == nil {
			reset(c)
			return
		}
	}
	panic(http.ErrAbortHandler)
}

func (g *gate) counts() map[trick]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.played)
}

func (g *gate) close() {
	_ = g.server.Close()
	g.transport.CloseIdleConnections()
	<-g.done
}

// tokens counts the inserts that ClickHouse acknowledged, by token. An insert
// that was acknowledged twice under one token was deduplicated once.
type tokens struct {
	mu   sync.Mutex
	seen map[string]int
}

func newTokens() *tokens { return &tokens{seen: map[string]int{}} }

func (t *tokens) answered(token string) {
	// The ledger's inserts repeat by design and are no chunks.
	if token == "" || strings.HasPrefix(token, "ledger/") {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen[token]++
}

// repeated is how many acknowledged inserts had a token that was acknowledged
// before.
func (t *tokens) repeated() (inserts, again int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.seen {
		inserts += n
		again += n - 1
	}
	return inserts, again
}
