package api

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/pprof"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/rs/zerolog"

	"drayage/coordinator/api/guard"
)

// base begins the paths of the JSON API.
const base = "/api/v1"

// ServerDeps are what a Server serves.
type ServerDeps struct {
	Service *Service
	Log     zerolog.Logger
	Version string  // of the program
	Routes  []Route // of others: health endpoints, the page
	// LoginPage shows the form of a login, which posts token and next to /login;
	// refused is why the last one failed, or nil. nil: a plain form.
	LoginPage func(w http.ResponseWriter, r *http.Request, next string, refused *guard.Refusal)
}

// Server serves the JSON API, and what else it is given, to those who may have
// it. Make it with NewServer.
type Server struct {
	ServerDeps
	addr    string
	cfg     guard.Config
	guard   *guard.Guard
	routes  *routes
	api     huma.API
	streams chan struct{} // holds a value for each stream and wait
	handler http.Handler
}

// NewServer makes the server that will listen on addr, DRAY_HTTP_ADDR. It
// refuses a configuration that would let strangers in: a *guard.SettingError.
func NewServer(cfg guard.Config, addr string, deps ServerDeps) (*Server, error) {
	s := &Server{ServerDeps: deps, addr: addr, cfg: cfg, streams: make(chan struct{}, max(cfg.Streams, 1))}
	var err error
	if s.guard, err = guard.New(cfg, addr, deps.Log, s.refuse); err != nil {
		return nil, err
	}
	s.routes = &routes{mux: http.NewServeMux(), guard: s.guard, log: deps.Log, roles: map[string]guard.Role{}, streams: map[string]bool{}}
	s.api = humago.New(s.routes, describe(deps.Version))
	s.operations()
	for _, r := range s.own() {
		s.routes.add(r)
	}
	for _, r := range deps.Routes {
		s.routes.add(r)
	}
	s.handler = s.guard.Handler(s.routes)
	return s, nil
}

// own are the routes beside the JSON API.
func (s *Server) own() []Route {
	all := []Route{
		{Pattern: "GET /login", Role: guard.Open, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.loginPage(w, r, r.URL.Query().Get("next"), nil)
		})},
		{Pattern: "POST /login", Role: guard.Open, Handler: s.guard.Login(func(w http.ResponseWriter, r *http.Request, why guard.Refusal) {
			s.loginPage(w, r, r.PostFormValue("next"), &why)
		})},
		{Pattern: "POST /logout", Role: guard.Open, Handler: s.guard.Logout()},
	}
	if s.cfg.Pprof {
		for path, h := range map[string]http.HandlerFunc{"": pprof.Index, "cmdline": pprof.Cmdline, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace} {
			all = append(all, Route{Pattern: "GET /debug/pprof/" + path, Role: guard.Admin, Handler: h})
		}
	}
	return all
}

// Handler answers requests as Serve does, for a server of one's own.
func (s *Server) Handler() http.Handler { return s.handler }

// Roles says which role each route needs, by its pattern.
func (s *Server) Roles() map[string]guard.Role { return maps.Clone(s.routes.roles) }

// Bounds of a connection. An answer has a deadline of its own, see patient.
const (
	headerIn  = 5 * time.Second
	requestIn = 30 * time.Second
	idleFor   = 2 * time.Minute
	maxHeader = 32 << 10 // bytes
	shutdown  = 3 * time.Second
)

// Serve listens and serves until ctx ends, when it returns nil. It calls ready
// with the address once it listens.
func (s *Server) Serve(ctx context.Context, ready func(net.Addr)) error {
	secure, err := s.guard.TLS()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("listening for HTTP (DRAY_HTTP_ADDR=%s): %w", s.addr, err)
	}
	if ready != nil {
		ready(listener.Addr())
	}
	if secure != nil {
		listener = tls.NewListener(listener, secure)
	}
	// Streams and waits end with it, or no connection would become idle.
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	server := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: headerIn, IdleTimeout: idleFor, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return serving },
		ErrorLog:    log.New(debugLines{s.Log}, "", 0),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		end()
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdown)
		defer cancel()
		if server.Shutdown(closing) != nil {
			_ = server.Close()
		}
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("serving HTTP: %w", err)
	}
	<-stopped
	return nil
}

// debugLines logs what the HTTP server says of broken connections.
type debugLines struct{ log zerolog.Logger }

func (d debugLines) Write(p []byte) (int, error) {
	d.log.Debug().Msg(strings.TrimSpace(string(p)))
	return len(p), nil
}

// refuse answers what the guard does not let through: a browser that has to log
// in is sent there.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, why guard.Refusal) {
	if why.Status == http.StatusUnauthorized && (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		strings.Contains(r.Header.Get("Accept"), "text/html") && !strings.HasPrefix(r.URL.Path, base+"/") {
		http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		return
	}
	writeProblem(w, &Problem{Status: why.Status, Title: why.Title, Detail: why.Detail, Hint: why.Hint})
}

// writeProblem answers with a Problem.
func writeProblem(w http.ResponseWriter, p *Problem) {
	if p.Type == "" {
		p.Type = "about:blank"
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // to a client that may be gone
}

// problemType is the media type of RFC 9457.
const problemType = "application/problem+json"
